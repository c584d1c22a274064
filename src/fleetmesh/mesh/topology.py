"""
Which members hear which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from fleetmesh.errors import TopologyError


@attrs.frozen
class Topology:
    """
    Which members hear the records of which.

    Make one with `full()`, `hub(name)` or `pairs([...])`. A topology may name clusters that are no
    members: it says how they are linked once they join.

    Attributes:
        kind: `full`, `hub` or `pairs`.
        center: The name of the hub, "" for the other kinds.
        links: The linked pairs, each in order of names and all sorted; empty for the other kinds.
    """

    kind: Literal["full", "hub", "pairs"]
    center: str = ""
    links: tuple[tuple[str, str], ...] = ()
    _peers: Mapping[str, frozenset[str]] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        peers: dict[str, set[str]] = {}
        for one, other in self.links:
            peers.setdefault(one, set()).add(other)
            peers.setdefault(other, set()).add(one)
        object.__setattr__(self, "_peers", {name: frozenset(found) for name, found in peers.items()})

    @classmethod
    def full(cls) -> Topology:
        """Every member hears every other one."""
        return cls("full")

    @classmethod
    def hub(cls, name: str) -> Topology:
        """
        Shared services: the hub hears all, the other members (tenants) hear the hub only.

        Raises:
            TopologyError: The name is empty or no string.
        """
        if not _is_name(name):
            raise TopologyError(f"hub {name!r} is not the name of a cluster")
        return cls("hub", name)

    @classmethod
    def pairs(cls, pairs: Iterable[tuple[str, str]]) -> Topology:
        """
        Only the clusters of each pair hear each other. A pair may be given twice, and either way round.

        Raises:
            TopologyError: An item is not two names, or links a cluster with itself.
        """
        found: set[tuple[str, str]] = set()
        for item in pairs:
            if not _is_pair(item):
                raise TopologyError(f"pair {item!r} is not two names of clusters")
            one, other = item
            if one == other:
                raise TopologyError(f"pair {item!r} links a cluster with itself")
            found.add((min(one, other), max(one, other)))
        return cls("pairs", links=tuple(sorted(found)))

    @classmethod
    def parse(cls, value: Any) -> Topology:
        """
        A topology as `fleet.yaml` writes it: `full`, `{hub: NAME}` or `{pairs: [[A, B], ...]}`.

        Raises:
            TopologyError: It is none of them.
        """
        if value == "full":
            return cls.full()
        if isinstance(value, Mapping) and len(value) == 1:
            if "hub" in value:
                return cls.hub(value["hub"])
            if isinstance(value.get("pairs"), list):
                return cls.pairs(value["pairs"])
        raise TopologyError(f"topology {value!r} is not full, {{hub: NAME}} or {{pairs: [[A, B], ...]}}")

    @property
    def named(self) -> tuple[str, ...]:
        """The clusters that the topology names, sorted."""
        return (self.center,) if self.kind == "hub" else tuple(sorted(self._peers))

    def linked(self, one: str, other: str) -> bool:
        """Whether two clusters hear each other. Links have no direction, and nobody is linked with itself."""
        if one == other:
            return False
        if self.kind == "full":
            return True
        if self.kind == "hub":
            return self.center in (one, other)
        return other in self._peers.get(one, ())

    def tenant(self, name: str) -> bool:
        """Whether a cluster is a tenant of a hub."""
        return self.kind == "hub" and name != self.center

    def heard(self, viewer: str, members: Mapping[str, int]) -> list[int]:
        """
        The cluster ids that a viewer hears, ascending.

        Args:
            viewer: A name; whether it is a member doesn't matter.
            members: Name -> cluster id of those that can be heard.
        """
        if self.kind == "pairs":
            names: Iterable[str] = self._peers.get(viewer, ())
            return sorted(members[name] for name in names if name in members)
        if self.kind == "hub" and viewer != self.center:
            return [members[self.center]] if self.center in members else []
        return sorted(number for name, number in members.items() if name != viewer)

    def __str__(self) -> str:
        if self.kind == "hub":
            return f"hub {self.center}"
        if self.kind == "pairs":
            return "pairs " + ", ".join(f"{one}-{other}" for one, other in self.links)
        return "full"


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_pair(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_is_name(each) for each in value)

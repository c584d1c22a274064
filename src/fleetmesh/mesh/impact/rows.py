"""
What turns between the ends of two states, gathered for each end whose policies are behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import attrs
import numpy as np

from fleetmesh.mesh.impact.ends import Ends
from fleetmesh.mesh.impact.kinds import Kind
from fleetmesh.mesh.impact.pods import ABSENT, PodRows
from fleetmesh.mesh.impact.ports import Ports
from fleetmesh.mesh.impact.turns import Turn, turns
from fleetmesh.mesh.impact.verdicts import OPEN, Judgements, Verdicts
from fleetmesh.policy.rule import Direction

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pair_of(source: Kind, destination: Kind) -> tuple[str, str] | None:
    """One that stands for all; `None` where there is none, as nobody is a pair with itself."""
    if source is not destination:
        return source.one, destination.one
    members = source.ends.members
    return (members[0], members[1]) if len(members) > 1 else None


@attrs.frozen
class Subject:
    """
    Whose policies are behind a turn.

    Attributes:
        place: Among all kinds.
        direction: Egress: it is the source, and its peers are destinations. Ingress: the reverse.
    """

    place: int
    direction: Direction


Found: TypeAlias = dict[tuple[Turn, tuple[Ports, ...]], int]
"""What turns at which ports -> the places of those with whom it does, as bits."""


@attrs.define(eq=False)
class Rows:
    """
    Attributes:
        kinds: Those of a cluster together, the node first.
        found: By whose policies are behind it; where an end comes or goes either end is the subject.
    """

    kinds: Sequence[Kind]
    before: Judgements
    after: Judgements
    found: dict[Subject, Found] = attrs.field(factory=dict, init=False)
    _turns: dict[tuple[int, ...], dict[Turn, tuple[Ports, ...]]] = attrs.field(factory=dict, init=False)
    _places: dict[str, list[int]] = attrs.field(factory=dict, init=False)
    """Cluster -> places of its kinds: the node, then all others."""
    _outside: dict[Ends, int] = attrs.field(factory=dict, init=False)
    """The place of the first of those whom several clusters call the same."""

    def __attrs_post_init__(self) -> None:
        for place, kind in enumerate(self.kinds):
            self._places.setdefault(kind.cluster, []).append(place)
            if kind.outside:
                self._outside.setdefault(kind.ends, place)

    def look(self, unsteady: Sequence[bool]) -> None:
        """At every two kinds one of which is not steady."""
        if not any(unsteady):
            return
        pods = PodRows.of(self.kinds, self.before.deciding, self.after.deciding)
        steady = np.logical_not(np.array(unsteady))
        for place, kind in enumerate(self.kinds):
            if not unsteady[place]:
                continue
            if kind.ends.kind == "pods":
                self._pods(pods, place, np.ones_like(steady), ingress=False)
                self._pods(pods, place, steady, ingress=True)
            for other in self._peers(kind):
                self._pair(place, other)
                if not unsteady[other]:
                    self._pair(other, place)

    def _peers(self, kind: Kind) -> Iterator[int]:
        """
        All between whom and a kind somebody judges, and whom policies of one cluster tell from others; not
        pods of pods.
        """
        here = self._places[kind.cluster]
        if kind.outside:
            yield from (place for place in here if not self.kinds[place].outside)
            return
        yield from (place for place in here if self.kinds[place].outside)
        pods = kind.ends.kind != "pods"
        for places in self._places.values():
            for place in places if pods else places[:1]:
                if not self.kinds[place].outside:
                    yield place

    def _pods(self, pods: PodRows, place: int, among: NDArray[np.bool_], *, ingress: bool) -> None:
        had, has = pods.rows(place, ingress=ingress)
        apart = (had != has) & among
        if len(self.kinds[place].ends.members) == 1:
            apart[place] = False
        moving = (had == ABSENT) | (has == ABSENT)
        for other in np.flatnonzero(apart & ~moving).tolist():
            self._pair(*((other, place) if ingress else (place, other)))
        apart &= moving
        if not apart.any():
            return
        subject = Subject(place, "ingress" if ingress else "egress")
        lists = pods.lists
        for row in (had, has):
            for number in np.unique(row[apart & (row >= 0)]).tolist():
                sides = (lists[number], OPEN)
                found = turns(sides, None) if row is had else turns(None, sides)
                peers = np.packbits(apart & (row == number), bitorder="little").tobytes()
                for turn, ports in found.items():
                    self._add(subject, turn, ports, int.from_bytes(peers, "little"))

    def _pair(self, source: int, destination: int) -> None:
        one, other = self.kinds[source], self.kinds[destination]
        ends = pair_of(one, other)
        if ends is None:
            return
        lists: list[tuple[Verdicts, Verdicts] | None] = []
        for hearing, there in (
            (self.before, one.before is not None and other.before is not None),
            (self.after, one.after is not None and other.after is not None),
        ):
            lists.append((hearing.egress(*ends), hearing.ingress(*ends)) if there else None)
        key = tuple(0 if each is None else id(part) for each in lists for part in each or (None, None))
        if key not in self._turns:
            self._turns[key] = turns(*lists)
        for turn, ports in self._turns[key].items():
            by_source = one.moves if turn.direction is None else turn.direction == "egress"
            if by_source:
                peer = self._outside.get(other.ends, destination)
                self._add(Subject(source, "egress"), turn, ports, 1 << peer)
            else:
                peer = self._outside.get(one.ends, source)
                self._add(Subject(destination, "ingress"), turn, ports, 1 << peer)

    def _add(self, subject: Subject, turn: Turn, ports: tuple[Ports, ...], peers: int) -> None:
        found = self.found.setdefault(subject, {})
        found[turn, ports] = found.get((turn, ports), 0) | peers

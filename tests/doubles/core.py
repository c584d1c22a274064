"""
The C++ core's interface over plain dicts, every answer computed from scratch.

Same signatures and results as `fleetmesh._core`. A transaction works on a deep copy, and what was committed
is never changed, so that snapshots and forks may share it. The real core compares inputs where this one
compares answers: a `Delta` there may list (service, class) pairs whose answer stayed the same, but never
lacks one that changed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from doubles import answers
from doubles.answers import Backend, Candidate, Frontend
from doubles.facts import (
    LOADED,
    Facts,
    Key,
    Loaded,
    Member,
    RecordEntry,
    ServiceSpec,
    Slice,
    Socket,
    canonical,
    rank,
)

__all__ = ["Backend", "Core", "Delta", "Frontend", "ServiceSpec", "Snapshot", "Transaction"]


@attrs.frozen
class Delta:
    """
    What one transaction changed.

    Attributes:
        changes: One (namespace, name, viewers) for each class of viewers (those that select equal backends)
            of each service that changed.
    """

    old: int
    new: int
    changes: list[tuple[str, str, tuple[str, ...]]]

    def services(self, entry: type[Any]) -> tuple[Any, ...]:
        return tuple(entry(*change) for change in self.changes)


class Snapshot:
    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    @property
    def generation(self) -> int:
        return self._facts.generation

    def services(self, cluster_id: int) -> list[tuple[str, str]]:
        return sorted(self._facts.members[cluster_id].specs)

    def spec(self, cluster_id: int, namespace: str, name: str) -> ServiceSpec | None:
        return self._facts.members[cluster_id].spec((namespace, name))

    def holders(self, namespace: str, name: str) -> list[int]:
        key = (namespace, name)
        return sorted(
            cluster
            for cluster, member in self._facts.members.items()
            if key in member.specs or member.slice_rows(key, self._facts.strict)
        )

    def exporters(self, namespace: str, name: str) -> list[int]:
        members = self._facts.members.items()
        return sorted(cluster for cluster, member in members if member.export_is_valid((namespace, name)))

    def hears(self, viewer: int) -> list[int]:
        return sorted(self._facts.members[viewer].hears)

    def frontends(
        self, cluster_id: int, namespace: str, name: str, node: str | None = None
    ) -> list[Frontend]:
        return answers.frontends(self._facts, cluster_id, (namespace, name), node)

    def candidates(
        self, cluster_id: int, namespace: str, name: str, node: str | None = None
    ) -> list[Candidate]:
        return answers.candidates(self._facts, cluster_id, (namespace, name), node)

    def record(self, cluster_id: int, namespace: str, name: str) -> list[RecordEntry] | None:
        return self._facts.members[cluster_id].record((namespace, name), self._facts.strict)

    def backends(
        self, cluster_id: int, namespace: str, name: str
    ) -> list[tuple[str, str, int, int, tuple[str, ...], int, int, str, str, str]]:
        member = self._facts.members[cluster_id]
        return [
            (
                row.slice,
                row.address,
                row.port,
                row.protocol,
                row.names,
                row.state,
                row.weight,
                row.node,
                row.zone,
                row.hostname,
            )
            for row in answers.own_rows(member, (namespace, name), self._facts.strict)
        ]

    def changed_since(self, other: Snapshot) -> list[tuple[str, str]]:
        keys = self._facts.keys() | other._facts.keys()
        return sorted(key for key in keys if facts_of(self._facts, key) != facts_of(other._facts, key))

    def duplicates(self, namespace: str, name: str) -> list[tuple[str, int, int, list[int]]]:
        key = (namespace, name)
        strict = self._facts.strict
        claimed: dict[Socket, set[int]] = {}
        for cluster, member in self._facts.members.items():
            for row in member.slice_rows(key, strict):
                claimed.setdefault(row.socket, set()).add(cluster)
        return [
            (*socket, sorted(clusters))
            for socket, clusters in sorted(claimed.items(), key=lambda item: (rank(item[0][0]), item[0]))
            if len(clusters) > 1
        ]


def facts_of(facts: Facts, key: Key) -> Any:
    """What can be seen of a service's declarations, whenever they were."""
    seen = {
        cluster: (
            member.spec(key),
            sorted(map(str, member.slice_rows(key, facts.strict))),
            sorted(map(str, member.export_rows(key, facts.strict).items())),
        )
        for cluster, member in facts.members.items()
        if key in member.services()
    }
    return {cluster: what for cluster, what in seen.items() if any(what)}


class Transaction:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._facts = copy.deepcopy(core._facts)

    def _arrive(self) -> int:
        self._facts.revision += 1
        return self._facts.revision

    def _member(self, cluster_id: int) -> Member:
        if cluster_id not in self._facts.members:
            raise IndexError(f"no member has the cluster id {cluster_id}")
        return self._facts.members[cluster_id]

    def join(
        self, cluster_id: int, name: str, *, enable_ipv6: bool = True, service_topology: bool = False
    ) -> None:
        if not 1 <= cluster_id <= self._facts.capacity:
            raise ValueError(f"cluster id {cluster_id} is not in 1..{self._facts.capacity}")
        if cluster_id in self._facts.members:
            raise ValueError(f"cluster id {cluster_id} is taken")
        self._facts.members[cluster_id] = Member(name, enable_ipv6, service_topology, self._arrive())

    def leave(self, cluster_id: int) -> None:
        self._member(cluster_id)
        self._arrive()
        del self._facts.members[cluster_id]
        for member in self._facts.members.values():
            member.hears.pop(cluster_id, None)

    def hear(self, viewer: int, publishers: Sequence[int]) -> None:
        member = self._member(viewer)
        revision = self._arrive()
        for publisher in publishers:
            self._member(publisher)
        member.hears = {
            publisher: member.hears.get(publisher, revision)
            for publisher in publishers
            if publisher != viewer
        }

    def set_node(self, cluster_id: int, node: str, zone: str) -> None:
        self._arrive()
        self._member(cluster_id).nodes[node] = zone

    def remove_node(self, cluster_id: int, node: str) -> None:
        self._arrive()
        self._member(cluster_id).nodes.pop(node, None)

    def set_service(self, cluster_id: int, namespace: str, name: str, spec: ServiceSpec) -> None:
        member, key, revision = self._member(cluster_id), (namespace, name), self._arrive()
        if member.spec(key) != spec:
            member.specs.setdefault(key, []).append((revision, spec))
            member.refresh_record(key, self._facts.strict, revision)

    def remove_service(self, cluster_id: int, namespace: str, name: str) -> None:
        member, key, revision = self._member(cluster_id), (namespace, name), self._arrive()
        member.specs.pop(key, None)
        member.refresh_record(key, self._facts.strict, revision)

    def set_slice(
        self,
        cluster_id: int,
        namespace: str,
        service: str,
        slice: str,  # noqa: A002 - the core's name for it
        endpoints: Sequence[tuple[Sequence[str], int, str, str, str, Sequence[str]]],
        ports: Sequence[tuple[str, int, int]],
        weight: int = 100,
    ) -> None:
        if slice == LOADED:
            raise ValueError("a slice needs a name")
        member, key, revision = self._member(cluster_id), (namespace, service), self._arrive()
        given = tuple(
            (tuple(addresses), conditions, node, hostname, zone, tuple(for_zones))
            for addresses, conditions, node, hostname, zone, for_zones in endpoints
        )
        new = Slice(given, tuple(ports), weight, revision)
        old = member.slices.get(key, {}).get(slice)
        if old is not None and list(new.entries(slice)) == list(old.entries(slice)):
            return
        member.slices.setdefault(key, {})[slice] = new
        member.refresh_record(key, self._facts.strict, revision)

    def remove_slice(self, cluster_id: int, namespace: str, service: str, slice: str) -> None:  # noqa: A002
        member, key, revision = self._member(cluster_id), (namespace, service), self._arrive()
        slices = member.slices.get(key, {})
        slices.pop(slice, None)
        if not slices:
            member.slices.pop(key, None)
        member.refresh_record(key, self._facts.strict, revision)

    def load(
        self,
        services: Sequence[tuple[str, str]],
        *,
        service: Any,
        cluster: Any,
        address: Any,
        port: Any,
        protocol: Any = 6,
        state: Any = 0,
        remove: Any = False,
    ) -> None:
        count = len(service)
        protocols = np.broadcast_to(protocol, count).tolist()
        states = np.broadcast_to(state, count).tolist()
        removes = np.broadcast_to(remove, count).tolist()
        revision = self._arrive()
        touched: set[tuple[int, Key]] = set()
        for i in range(count):
            namespace, name = services[int(service[i])]
            key, member = (namespace, name), self._member(int(cluster[i]))
            socket = (plain(address[i]), int(port[i]), protocols[i])
            known = member.loaded.setdefault(key, Loaded({}, 0))  # older than every slice
            if removes[i]:
                known.states.pop(socket, None)
            else:
                known.states[socket] = states[i]
            if not known.states:
                del member.loaded[key]
            touched.add((int(cluster[i]), key))
        for cluster_id, key in touched:
            self._member(cluster_id).refresh_record(key, self._facts.strict, revision)

    def commit(self) -> Delta:
        core = self._core
        if core.generation != self._facts.generation:
            raise RuntimeError("another transaction was committed since this one began")
        old = core._facts
        self._facts.generation += 1
        core._facts = copy.deepcopy(self._facts)
        return Delta(old.generation, core.generation, changes(old, core._facts))


def plain(address: Any) -> str:
    """One row of an address column: a number (IPv4) or 16 bytes."""
    if np.ndim(address) == 0:
        number = int(address)
        return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    data = bytes(address).hex()
    text = canonical(":".join(data[i : i + 4] for i in range(0, 32, 4)))
    assert text is not None
    return text


def full_answer(facts: Facts, viewer: int, key: Key, nodes: Sequence[str]) -> list[list[Frontend]]:
    """What the viewer uses: from all its nodes together, then from each."""
    if viewer not in facts.members:
        return [[] for _ in (None, *nodes)]
    return [answers.frontends(facts, viewer, key, node) for node in (None, *nodes)]


def named_nodes(member: Member) -> set[str]:
    """Every node that something of the member names, and one that nothing does: all may be asked."""
    names = {"nowhere", *member.nodes}
    for history in member.specs.values():
        names |= set(history[-1][1].exposed_on or ())
    for key in member.slices:
        names |= {row.node for row in member.slice_rows(key, strict=False)}
    return names - {""}


def changes(old: Facts, new: Facts) -> list[tuple[str, str, tuple[str, ...]]]:
    members = {**old.members, **new.members}
    out: list[tuple[str, str, tuple[str, ...]]] = []
    for key in sorted(old.keys() | new.keys()):
        classes: list[tuple[list[list[list[Backend]]], list[int]]] = []
        for viewer in sorted(members):
            states = [facts for facts in (old, new) if viewer in facts.members]
            nodes = sorted({node for facts in states for node in named_nodes(facts.members[viewer])})
            now = full_answer(new, viewer, key, nodes)
            if full_answer(old, viewer, key, nodes) == now:
                continue
            selected = [[frontend[6] for frontend in found] for found in now]
            for known, viewers in classes:
                if known == selected:
                    viewers.append(viewer)
                    break
            else:
                classes.append((selected, [viewer]))
        out += [(*key, tuple(members[viewer].name for viewer in viewers)) for _, viewers in classes]
    return out


class Core:
    def __init__(self, *, strict: bool = False, capacity: int = 255) -> None:
        self._facts = Facts(strict, capacity)

    @property
    def generation(self) -> int:
        return self._facts.generation

    @property
    def facts(self) -> Facts:
        """What a rebuild starts from."""
        return self._facts

    def begin(self) -> Transaction:
        return Transaction(self)

    def snapshot(self) -> Snapshot:
        return Snapshot(self._facts)

    def fork(self) -> Core:
        other = Core.__new__(Core)
        other._facts = self._facts
        return other

"""
What the double of the data path is told about a mesh, and how its decisions are laid beside the real ones.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

import fleetmesh as fm
from doubles import datapath as double
from doubles import maglev
from doubles.datapath import Backend, Frontend, FrontendKey, Packet, Place, View, Walk
from doubles.datapath_policy import Judging, everywhere_known
from doubles.packet_hash import Address
from fleetmesh.services.global_service import Frontend as Seen

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}


def view_of(mesh: fm.Mesh, cluster: str) -> View:
    """What a member decides with."""
    settings = mesh.members[cluster].settings
    frontends: dict[FrontendKey, Frontend] = {}
    for namespace, name in mesh.services(cluster):
        declared = mesh.declared_service(cluster, namespace, name)
        assert declared is not None
        for seen in mesh.service(namespace, name).frontends(cluster):
            address = ip_address(seen.address)
            if int(address) == 0:  # a NodePort stands for addresses that nobody knows here
                continue
            key = (address, seen.port, PROTOCOLS[seen.protocol], seen.scope)
            frontends[key] = Frontend(
                service=(namespace, name),
                backends=tuple(
                    Backend((ip_address(b.address), b.port, PROTOCOLS[b.protocol]), b.state, b.cluster)
                    for b in seen.backends
                ),
                in_use=seen.in_use,
                table=_table(seen, settings.maglev_table_size, settings.maglev_hash_seed),
                affinity=declared.session_affinity_seconds,
            )
    view = mesh.viewpoint()
    numbers = {name: number for number, name in view.names.items()}
    heard = {numbers[cluster], *view.snapshot.hears(numbers[cluster])}
    ranges = [each for each in everywhere(mesh) if numbers[each[1]] in heard]
    judging = Judging(mesh, cluster)
    return View(cluster, frontends, ranges, settings.maglev_hash_seed, judging.identity, judging.judge)


def everywhere(mesh: fm.Mesh) -> list[tuple[IPv4Network | IPv6Network, str]]:
    return [
        (ip_network(cidr), name)
        for name, member in mesh.members.items()
        for cidr in (*member.ranges.pod_cidrs, *member.ranges.node_cidrs)
    ]


def _table(seen: Seen, size: int, seed: str) -> Sequence[int]:
    used = seen.backends[: seen.in_use]
    return _filled(tuple((b.address, b.port, b.protocol, b.weight) for b in used), size, seed)


@cache
def _filled(used: tuple[tuple[str, int, Any, int], ...], size: int, seed: str) -> Sequence[int]:
    if not used:
        return ()
    texts = [fm.maglev.Candidate(1, *each).text for each in used]
    return maglev.lookup_table(
        texts, [each[3] for each in used], range(len(used)), size, base64.b64decode(seed)
    )


def columns(packets: Sequence[Packet]) -> fm.Packets:
    """Packets of one family."""
    rest = (
        np.array([each.source_port for each in packets], np.uint16),
        np.array([each.destination_port for each in packets], np.uint16),
        np.array([each.protocol for each in packets], np.uint8),
        np.array([each.flags for each in packets], np.uint8),
        np.array([each.time for each in packets], np.uint64),
    )
    source, destination = [each.source for each in packets], [each.destination for each in packets]
    if packets and packets[0].source.version == 6:
        return fm.Packets.v6(_rows(source), _rows(destination), *rest)
    return fm.Packets.v4(_numbers(source), _numbers(destination), *rest)


def _numbers(addresses: Sequence[Address]) -> NDArray[np.uint32]:
    return np.array([int(each) for each in addresses], np.uint32)


def _rows(addresses: Sequence[Address]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(each.packed for each in addresses), np.uint8).reshape(-1, 16)


@attrs.frozen
class Decided:
    """One row of the columns, with what its numbers stand for."""

    verdict: int
    egress: int
    ingress: int
    reason: int
    state: int
    source: Address
    source_port: int
    destination: Address
    destination_port: int
    backend: Place | None
    service: FrontendKey | None
    source_identity: int
    destination_identity: int
    proxy_port: int


def expected(walk: Walk) -> Decided:
    """What the double found."""
    return Decided(
        walk.verdict,
        walk.egress,
        walk.ingress,
        walk.reason,
        walk.state,
        walk.source,
        walk.source_port,
        walk.destination,
        walk.destination_port,
        walk.backend,
        walk.asked or walk.service,
        walk.source_identity,
        walk.destination_identity,
        walk.proxy_port,
    )


_TRANSLATED = {
    "source",
    "destination",
    "backend",
    "service",
    "source_identity",
    "destination_identity",
}


class Meanings:
    """What the numbers of a data path stand for. They never come to mean anything else."""

    def __init__(self, *paths: fm.Datapath) -> None:
        self._paths = paths
        self.backends: dict[int, Place] = {}
        self.frontends: dict[int, FrontendKey] = {}

    def read(self, decisions: fm.Decisions) -> list[Decided]:
        for number in np.unique(decisions.service[decisions.service != 0]).tolist():
            self._learn_frontend(number)
        for number in np.unique(decisions.backend[decisions.backend != 0]).tolist():
            self._learn_backend(number)
        return [self._row(decisions, at) for at in range(len(decisions))]

    def _learn_frontend(self, number: int) -> None:
        for found in filter(None, (path.frontend(number) for path in self._paths)):
            seen = found.frontend
            key = (ip_address(seen.address), seen.port, PROTOCOLS[seen.protocol], str(seen.scope))
            assert self.frontends.setdefault(number, key) == key
        assert number in self.frontends

    def _learn_backend(self, number: int) -> None:
        for seen in filter(None, (path.backend(number) for path in self._paths)):
            place = (ip_address(seen.address), seen.port, PROTOCOLS[seen.protocol])
            assert self.backends.setdefault(number, place) == place
        assert number in self.backends

    def _row(self, decisions: fm.Decisions, at: int) -> Decided:
        row: dict[str, Any] = {
            field.name: int(getattr(decisions, field.name)[at])
            for field in attrs.fields(Decided)
            if field.name not in _TRANSLATED
        }
        return Decided(
            **row,
            source_identity=everywhere_known(int(decisions.source_identity[at])),
            destination_identity=everywhere_known(int(decisions.destination_identity[at])),
            source=_address(decisions.source[at]),
            destination=_address(decisions.destination[at]),
            backend=self.backends.get(int(decisions.backend[at])),
            service=self.frontends.get(int(decisions.service[at])),
        )


def _address(stored: Any) -> Address:
    return IPv6Address(stored.tobytes()) if isinstance(stored, np.ndarray) else IPv4Address(int(stored))


def counted(path: double.Datapath) -> list[tuple[Any, ...]]:
    """The double's counters as rows."""
    rows = {key[:2] for key in path.counters}
    return sorted(
        (
            (
                *name,
                cluster,
                path.counters[name, cluster, "packets"],
                path.counters[name, cluster, "connections"],
            )
            for name, cluster in rows
        ),
        key=lambda row: (row[0], row[1], row[2] or ""),
    )


def rows_of(counters: Iterable[fm.datapath.ServiceCounter]) -> list[tuple[Any, ...]]:
    return [attrs.astuple(each) for each in counters]

"""
A sample of connections: who gets them, and what becomes of them when something changes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from fleetmesh.cli import plain
from fleetmesh.cli.words import counted, listed, shares
from fleetmesh.datapath import Datapath, Packets, Reason, Verdict
from fleetmesh.mesh import Mesh
from fleetmesh.services.frontends import PROTOCOLS

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper
    from fleetmesh.services.global_service import Frontend

CONNECTIONS = 1000
"""To each service, from pods of each cluster."""
MOST_PAIRS = 2000
"""Of a cluster and a service; beyond, whoever wants a sample asks with a mesh of fewer."""

_SECOND = 10**9
_SYN, _ACK = 2, 16
_ANY = ("0.0.0.0", "::")  # of a NodePort
_CLIENTS = 200

Name = tuple[str, str]


@attrs.define
class _Flows:
    """The connections of one cluster's pods to one service, and the clusters that serve them: "" for none."""

    packets: Packets
    clusters: np.ndarray[tuple[int], np.dtype[np.object_]] | None = None


class Sample:
    """
    Connections that are opened once and then go on, so that every look says who serves them now.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._time = 0
        self._paths: dict[str, Datapath] = {}
        self._flows: dict[tuple[str, Name], _Flows] = {}

    def of(self, mesh: Mesh) -> Sample:
        """
        The sample of that mesh: this one, or one that begins anew if another mesh has taken its place.
        """
        return self if mesh is self._mesh else Sample(mesh)

    def look(self) -> list[plain.Plain]:
        """
        Send the next packet of each connection, the first one of new ones. One row a cluster and service.

        Nothing, where the mesh has too many of them.
        """
        self._time += _SECOND
        mesh = self._mesh
        viewers = [name for name in mesh.members if not mesh.members[name].failed]
        services = {viewer: mesh.services(viewer) for viewer in viewers}
        if sum(map(len, services.values())) > MOST_PAIRS:
            return []
        rows = []
        for viewer in viewers:
            for name in services[viewer]:
                row = self._look(viewer, name)
                if row is not None:
                    rows.append(row)
        return rows

    def _look(self, viewer: str, name: Name) -> plain.Plain | None:
        frontend = _first(self._mesh.service(*name).frontends(viewer))
        if frontend is None:
            self._flows.pop((viewer, name), None)
            return None
        path = self._paths.get(viewer)
        if path is None:
            path = self._paths[viewer] = self._mesh.datapath(viewer)
        flows = self._flows.get((viewer, name))
        packets = _packets(self._mesh, viewer, frontend, self._time, opening=flows is None)
        if packets is None:
            return None
        before = flows.clusters if flows is not None else None
        decisions = path.process(packets)
        served = decisions.verdict != Verdict.DENY
        clusters = np.full(len(packets), "", object)
        for number in np.unique(decisions.backend[served]).tolist():
            backend = path.backend(number)
            assert backend is not None  # a packet has just had it
            clusters[decisions.backend == number] = backend.cluster
        self._flows[viewer, name] = _Flows(packets, clusters)
        return {
            "viewer": viewer,
            "namespace": name[0],
            "name": name[1],
            "connections": len(packets),
            "before": None if before is None else _spread(before),
            "after": _spread(clusters),
            "moved": None if before is None else int((before != clusters).sum()),
            "without_backend": int((decisions.reason == Reason.NO_BACKEND).sum()),
        }


def _first(frontends: Sequence[Frontend]) -> Frontend | None:
    """The frontend that pods use: the first with an address of its own."""
    return next((each for each in frontends if each.address not in _ANY), None)


def _packets(mesh: Mesh, viewer: str, frontend: Frontend, time: int, *, opening: bool) -> Packets | None:
    """The same connections each time: from many pods, each with a few ports."""
    address = ipaddress.ip_address(frontend.address)
    pods = [ipaddress.ip_network(cidr) for cidr in mesh.members[viewer].ranges.pod_cidrs]
    network = next((each for each in pods if each.version == address.version), None)
    if network is None:
        return None
    number = np.arange(CONNECTIONS)
    clients = int(network.network_address) + 1 + number % min(_CLIENTS, max(network.num_addresses - 2, 1))
    ports = (32768 + number // _CLIENTS * 977 + number % _CLIENTS).astype(np.uint16)
    protocol = PROTOCOLS[frontend.protocol]
    flags = _SYN if opening else _ACK
    if address.version == 4:
        target = np.full(CONNECTIONS, int(address), np.uint32)
        return Packets.v4(clients.astype(np.uint32), target, ports, frontend.port, protocol, flags, time)
    sources = np.frombuffer(b"".join(int(each).to_bytes(16, "big") for each in clients), np.uint8)
    target6 = np.frombuffer(address.packed * CONNECTIONS, np.uint8)
    return Packets.v6(
        sources.reshape(-1, 16), target6.reshape(-1, 16), ports, frontend.port, protocol, flags, time
    )


def _spread(clusters: np.ndarray[tuple[int], np.dtype[np.object_]]) -> dict[str, int]:
    found, counts = np.unique(clusters[clusters != ""].astype(str), return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def draw(paper: Paper, rows: Sequence[plain.Plain], members: Sequence[str]) -> None:
    """
    Which part of the connections each cluster serves; after a change also what was before and how many moved.
    """
    if not rows:
        return
    changed = any(row["before"] is not None for row in rows)
    shown = [row for row in rows if row["moved"] or row["without_backend"]] if changed else rows
    if not shown:
        paper.line("Every connection of the sample stays where it is.")
        return
    alike: dict[tuple[str, ...], list[str]] = {}
    for row in shown:
        service = f"{row['namespace']}/{row['name']}"
        cells = [_shares(row["after"], row["connections"])]
        if changed:
            cells = [_shares(row["before"] or {}, row["connections"]), *cells, str(row["moved"] or 0)]
        alike.setdefault((service, *cells), []).append(row["viewer"])
    head = ("SERVICE", "SEEN FROM", *(("BEFORE", "AFTER", "MOVED") if changed else ("CONNECTIONS",)))
    paper.table(
        head,
        ((service, listed(viewers, members), *cells) for (service, *cells), viewers in alike.items()),
        right=(4,) if changed else (),
    )
    paper.line(
        f"{counted(CONNECTIONS, 'connection')} to each service from pods of each cluster"
        + ("; those not listed stay where they are." if changed else ".")
    )


def _shares(spread: dict[str, int], connections: int) -> str:
    return shares({name: number / connections for name, number in spread.items()}) or "nobody"

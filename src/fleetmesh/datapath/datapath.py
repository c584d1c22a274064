"""
The decision procedure over columns of packets, as one cluster or one of its nodes carries it out.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from fleetmesh import _core
from fleetmesh.datapath.packets import Decisions, Packets
from fleetmesh.records import PROTOCOL_NAMES
from fleetmesh.services.global_service import Backend, Frontend
from fleetmesh.services.words import FRONTEND_TYPES, STATES

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_TCP_CONNECTIONS = 524_288
DEFAULT_OTHER_CONNECTIONS = 262_144
DEFAULT_AFFINITIES = 65_536


class Ground(Protocol):
    """What a data path decides with, at one generation of a mesh."""

    @property
    def tables(self) -> _core.Tables: ...

    @property
    def policy(self) -> _core.PolicyTables:
        """Of its cluster; one object while nothing changes."""

    @property
    def names(self) -> Mapping[int, str]:
        """Cluster id -> name."""

    @property
    def setup(self) -> object:
        """What nodes can't change while they run: where it is another, the data path begins afresh."""


class Source(Protocol):
    """A viewer of a mesh, as a data path asks it."""

    def newest(self) -> Ground: ...


@attrs.frozen
class ServiceCounter:
    """
    What a data path has sent to the backends of one service in one cluster.

    Attributes:
        cluster: `None` counts the packets for which there was no backend.
        packets: To the service; answers are not counted.
        connections: How many of them began a connection, or had it balanced afresh.
    """

    namespace: str
    name: str
    cluster: str | None
    packets: int
    connections: int


@attrs.frozen
class Connections:
    """
    How full the tables of connections are, over all shards.

    Attributes:
        tcp: Entries; a connection through a service has one as its client sees it, one as it leaves and one
            as it arrives, as far as these are in this data path.
        other: Entries of all other protocols.
        evicted: Entries that had to go early for others.
    """

    tcp: int
    other: int
    evicted: int


@attrs.frozen
class ServiceFrontend:
    """A frontend and the service that it belongs to."""

    namespace: str
    name: str
    frontend: Frontend


class Datapath:
    """
    Takes packets through services, connections, affinity and translation, as Cilium's kernel program would.

    It keeps what packets leave behind and belongs to one thread at a time; made by `Mesh.datapath`.
    A packet to a service is balanced wherever it comes from. One whose source is elsewhere is tracked only
    on its way in, one whose destination is elsewhere only on its way out. NodePorts stand for any address
    of a node, which is not known here, so they are not among the frontends.

    The rules are those of Cilium 1.20 (bpf/bpf_lxc.c, bpf/lib/lb.h, bpf/lib/conntrack.h), but for the time at
    which an entry is forgotten: exactly when it is over, not when a sweep comes by. A full table forgets its
    oldest entry that is over, or was not used since it was last spared.
    """

    def __init__(
        self,
        source: Source,
        *,
        tcp_connections: int = DEFAULT_TCP_CONNECTIONS,
        other_connections: int = DEFAULT_OTHER_CONNECTIONS,
        affinities: int = DEFAULT_AFFINITIES,
        shards: int = 1,
    ) -> None:
        self._source = source
        self._bounds = {
            "tcp_connections": _positive("tcp_connections", tcp_connections),
            "other_connections": _positive("other_connections", other_connections),
            "affinities": _positive("affinities", affinities),
            "shards": _positive("shards", shards),
        }
        self._begin(source.newest())

    def _begin(self, ground: Ground) -> None:
        # The secret only keeps others from aiming at one bucket; no answer depends on it.
        self._core = _core.Datapath(ground.tables, ground.policy, **self._bounds, secret=secrets.randbits(64))
        self._ground = ground

    def process(self, packets: Packets) -> Decisions:
        """
        Decide on packets, one after another, with the newest state of the mesh.

        Runs without the interpreter's lock, so that other threads go on.

        Raises:
            TypeError: They are no `Packets`.
            ValueError: Time runs backwards, within the packets or since the last ones; nothing was done then.
        """
        if not isinstance(packets, Packets):
            raise TypeError(
                f"packets are {type(packets).__name__}; expected Packets, from Packets.v4 or Packets.v6"
            )
        self.catch_up()
        return Decisions(*self._core.process(*columns(packets)))

    def catch_up(self) -> None:
        """Take the newest state of the mesh, as `process` does at its start."""
        ground = self._source.newest()
        if ground is self._ground:
            return
        if ground.setup != self._ground.setup:
            self._begin(ground)
            return
        self._core.adopt(ground.tables, ground.policy)
        self._ground = ground

    @property
    def generation(self) -> int:
        """Of the state that the last call decided with."""
        return self._ground.tables.generation

    def backend(self, number: int) -> Backend | None:
        """
        The backend that a number of the column `backend` stands for; `None` if it was never given.

        A number stays with its backend as long as a connection holds it. The weight is not known here.
        """
        found = self._core.backend(number)
        if found is None:
            return None
        cluster, address, port, protocol, state, weight = found
        name = self._ground.names.get(cluster, "")
        return Backend(name, address, port, (), PROTOCOL_NAMES[protocol], STATES[state], weight)

    def frontend(self, number: int) -> ServiceFrontend | None:
        """The frontend that a number of the column `service` stands for; `None` where it is not in force."""
        found = self._core.frontend(number)
        if found is None:
            return None
        namespace, name, kind, internal, address, port, protocol, port_name = found
        frontend = Frontend(
            FRONTEND_TYPES[kind],
            "internal" if internal else "external",
            address,
            port,
            PROTOCOL_NAMES[protocol],
            port_name,
            (),
            0,
        )
        return ServiceFrontend(namespace, name, frontend)

    @property
    def counters(self) -> tuple[ServiceCounter, ...]:
        """Since the beginning, sorted by service and cluster."""
        names = self._ground.names
        found = [
            ServiceCounter(
                namespace, name, names.get(cluster, str(cluster)) if cluster else None, packets, opened
            )
            for namespace, name, cluster, packets, opened in self._core.counters()
        ]
        return tuple(sorted(found, key=lambda each: (each.namespace, each.name, each.cluster or "")))

    @property
    def connections(self) -> Connections:
        """How full the tables are; entries whose time is over count until others need their place."""
        return Connections(*self._core.connections())


def columns(packets: Packets) -> tuple[NDArray[Any], ...]:
    """What the core takes, in its order."""
    return attrs.astuple(packets, recurse=False)


def _positive(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; expected a whole number")
    if not 1 <= value <= 2**30:
        raise ValueError(f"{name} is {value}; expected 1 to 2^30")
    return value

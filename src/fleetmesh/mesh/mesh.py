"""
A mesh: its members, who hears whom, and the questions that can be asked of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

import attrs

from fleetmesh._core import Core
from fleetmesh.datapath.datapath import (
    DEFAULT_AFFINITIES,
    DEFAULT_OTHER_CONNECTIONS,
    DEFAULT_TCP_CONNECTIONS,
)
from fleetmesh.errors import NotFoundError
from fleetmesh.findings import Finding
from fleetmesh.identity import Allocations
from fleetmesh.mesh import bulk, limits, membership
from fleetmesh.mesh.affected import changed_addresses, changed_policies
from fleetmesh.mesh.change import Change
from fleetmesh.mesh.datapaths import Datapaths
from fleetmesh.mesh.deciding import Deciding, decide, flow_of
from fleetmesh.mesh.delta import Delta, ServiceDelta
from fleetmesh.mesh.facts import namespace_global
from fleetmesh.mesh.holding import hold
from fleetmesh.mesh.identities import IDENTITY_BITS
from fleetmesh.mesh.learnt_names import LearntNames
from fleetmesh.mesh.listeners import Listeners
from fleetmesh.mesh.matrix import ReachabilityMatrix, asked
from fleetmesh.mesh.member import Member
from fleetmesh.mesh.membership import Terms
from fleetmesh.mesh.names import View
from fleetmesh.mesh.policy_keeper import PolicyKeeper
from fleetmesh.mesh.reach import Reachability
from fleetmesh.mesh.report import Report, report_of
from fleetmesh.mesh.settings import ClusterSettings
from fleetmesh.mesh.tables import TableKeeper
from fleetmesh.mesh.topology import Topology
from fleetmesh.mesh.viewpoint import MemberView, Viewpoint
from fleetmesh.resources.model import Service
from fleetmesh.services.changes import ResourceChanges
from fleetmesh.services.dns import DnsAnswer, resolve
from fleetmesh.services.global_service import GlobalService
from fleetmesh.services.global_service import viewer as cluster_and_node
from fleetmesh.tables import Tables

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fleetmesh._core import Delta as CoreDelta
    from fleetmesh._core import PolicyTables
    from fleetmesh.datapath import Datapath, Decisions, Packets
    from fleetmesh.mesh.compare import Comparison
    from fleetmesh.policy.decision import Decision

Mode = Literal["cilium", "strict"]


class Mesh:
    """
    A cross-cluster network of member clusters.

    Changes go through a lock, one transaction and one generation each; whoever asks takes the newest
    snapshot and never waits for a writer.

    Attributes:
        lineage: One and the same for a mesh and all its forks, which have a common past.
        listeners: Who is told of every transaction; a fork begins without.

    Args:
        name: For people.
        topology: Who hears whom.
        mode: `cilium` gives Cilium's answers, quirks included; `strict` those of the specifications,
            whatever the order of changes.
        max_connected_clusters: 255, or 511 with half as many identities a cluster, as in Cilium.
        allocations: The history of another mesh, to give out the same addresses; it is copied.

    Raises:
        ValueError: The mode or the limit is none of those.
        TypeError: The topology is no `Topology`.
    """

    def __init__(
        self,
        name: str,
        *,
        topology: Topology | None = None,
        mode: Mode = "cilium",
        max_connected_clusters: int = 255,
        allocations: Allocations | None = None,
    ) -> None:
        if mode not in ("cilium", "strict"):
            raise ValueError(f"mode is {mode!r}; expected cilium or strict")
        if max_connected_clusters not in limits.MEMBER_LIMITS or isinstance(max_connected_clusters, bool):
            raise ValueError(f"max_connected_clusters is {max_connected_clusters!r}; expected 255 or 511")
        if topology is not None and not isinstance(topology, Topology):
            raise TypeError(f"topology is {topology!r}; expected a Topology, such as Topology.full()")
        self.name = name
        self.topology = Topology.full() if topology is None else topology
        self.mode: Mode = mode
        self.max_connected_clusters = max_connected_clusters
        self.lineage = object()
        self.listeners = Listeners()
        self._lock = threading.RLock()
        self._core = Core(strict=mode == "strict", capacity=max_connected_clusters)
        self._allocations = Allocations() if allocations is None else allocations.copy()
        self._members: dict[str, Member] = {}
        self._report: Report | None = None
        self._tables = TableKeeper()
        bits = IDENTITY_BITS - (max_connected_clusters > 255)
        self._viewpoint = Viewpoint(self._core.snapshot(), self.topology, mode == "strict", bits)
        self._datapaths = Datapaths()
        self._dns = LearntNames()
        self._policies = PolicyKeeper()

    @classmethod
    def from_directory(
        cls, path: Path | str, *, mode: Mode | None = None, only: Collection[str] | None = None
    ) -> Mesh:
        """
        A mesh of a directory of manifests, with or without a `fleet.yaml`; see `fleetmesh.mesh.directory`.

        Whatever is wrong with a file or an object becomes a finding, and the rest is loaded.

        Args:
            path: A folder, or the path of a `fleet.yaml`.
            mode: `None` takes that of `fleet.yaml`, which is `cilium` if it names none.
            only: Clusters that this process runs; others join with `outside`. `None`: all are its own.

        Raises:
            FileNotFoundError, NotFoundError: There is no such folder or file; no cluster of a name in `only`.
        """
        from fleetmesh.mesh.directory import load_directory  # noqa: PLC0415 - it makes meshes

        return load_directory(Path(path), mode, only)

    def __repr__(self) -> str:
        members = f"{len(self._members)} members, {self.topology}"
        return f"<Mesh {self.name!r}: {members}, generation {self.generation}>"

    # Members

    @property
    def members(self) -> Mapping[str, Member]:
        """Name -> member, in order of cluster id."""
        return MappingProxyType(self._members)

    def join(
        self,
        name: str | Member,
        *,
        cluster_id: int | None = None,
        settings: ClusterSettings | None = None,
        labels: Mapping[str, str] | None = None,
        pod_cidrs: Iterable[str] = (),
        service_cidrs: Iterable[str] = (),
        node_cidrs: Iterable[str] = (),
        routing_domain: str | None = None,
        outside: bool = False,
    ) -> Member:
        """
        Take in a cluster.

        Args:
            name: A new cluster's name; or a member that has left a mesh, which comes back with all that
                it has and was joined with (what is given beside it changes that).
            cluster_id: 1..255 (511); needed for a new cluster.
            pod_cidrs, service_cidrs, node_cidrs: Both families in one list. Of a kind without any, the
                cluster gets defaults of its own, apart from what others declare.
            routing_domain: All members must have the same; `None` is the default one.
            outside: Whether another process runs it, so that it is heard only (see `Member.hear`).

        Raises:
            AlreadyInMeshError: The member is in a mesh.
            TooManyMembersError, InvalidClusterNameError, ClusterNameTakenError, InvalidClusterIdError,
            ClusterIdTakenError, InvalidRangeError, OverlappingPodRangesError, RoutingDomainError,
            SelfManagedMeshError: See each. The mesh is unchanged.
            TypeError: Settings or labels are of another kind. The mesh is unchanged.
        """
        terms = Terms.given(
            name.name if isinstance(name, Member) else name,
            cluster_id=cluster_id,
            settings=settings,
            labels=labels,
            pod_cidrs=pod_cidrs,
            service_cidrs=service_cidrs,
            node_cidrs=node_cidrs,
            routing_domain=routing_domain,
            outside=outside,
        )
        with self._lock:
            joined: list[Member] = []
            self._change(
                lambda change: joined.append(
                    membership.join(change, name, terms, self.max_connected_clusters)
                )
            )
            (member,) = joined
            member._mesh = self
            return member

    def leave(self, name: str) -> Member:
        """
        Let a member go. It keeps its resources and can join again by being passed to `join`; what was
        loaded for it in bulk is forgotten.

        Raises:
            NotFoundError: There is no such member.
        """
        with self._lock:
            member = self._member(name)
            self._change(lambda change: membership.leave(change, member))
            member._mesh = None
            return member

    def _member(self, name: str) -> Member:
        member = self._members.get(name)
        if member is None:
            raise NotFoundError("member", name, self._members)
        return member

    # Changes

    def apply(self, changes: ResourceChanges) -> Delta:
        """
        Apply proposed changes in memory, all in one transaction.

        Raises:
            NotFoundError: A member isn't there any more; nothing is applied.
            StaleChangeError: An object is not any more what its change was made from; nothing is applied.
        """

        def carry_out(change: Change) -> None:
            for each in changes:
                change.carry_out(self._member(each.member), each)

        return self._change(carry_out)

    def load(
        self,
        services: Sequence[tuple[str, str] | Service],
        *,
        service: NDArray[np.uint32],
        cluster: NDArray[np.uint16],
        address: NDArray[np.uint32] | NDArray[np.uint8],
        port: NDArray[np.uint16],
        protocol: NDArray[np.uint8] | int = 6,
        state: NDArray[np.uint8] | int = 0,
        remove: NDArray[np.bool_] | bool = False,
    ) -> Delta:
        """
        Set or remove single backends in bulk, one a row; one transaction. Several rows of one backend
        are taken in order, and count once. Ports are unnamed, and match every port of the service.

        Rows live in the core only: they are not in `Member.resources` and are forgotten by `leave`.

        Args:
            services: What column `service` refers to: (namespace, name) each. A `Service` in its place is
                also declared, as it is, in every member that has a row of it; it is in the core only, too,
                and has to bring its cluster IP, which may be the same everywhere.
            service: (n,) indexes into `services`.
            cluster: (n,) cluster ids of the members that have the backends.
            address: (n,) IPv4 addresses as numbers (10.0.0.1 is 0x0A000001), or (n, 16) bytes of IPv6.
            port: (n,) plain numbers.
            protocol: (n,) IANA numbers, or one for all: 6 TCP, 17 UDP, 132 SCTP.
            state: (n,) or one for all: 0 active, 1 terminating, 2 terminating and not serving,
                3 quarantined, 4 maintenance.
            remove: (n,) or one for all: whether the row takes the backend away.

        Raises:
            TypeError: A column is of another type or shape.
            ValueError: An index or number is out of range, a cluster is no member or is drained. Nothing
                is loaded.
        """
        columns = bulk.Columns(
            service=service,
            cluster=cluster,
            address=address,
            port=port,
            protocol=protocol,
            state=state,
            remove=remove,
        )
        return self._change(lambda change: bulk.load(change, services, columns))

    def _change(self, carry_out: Callable[[Change], None]) -> Delta:
        """One transaction: all of it, or nothing."""
        with self._lock:
            change = Change.of(
                self._core.begin(), self._viewpoint, self._allocations, self._members, self.topology
            )
            try:
                carry_out(change)
                change.finish()
                delta = change.core.commit()
            except BaseException:
                change.drop()
                raise
            return self.listeners.tell(self._publish(delta, change))

    def _publish(self, delta: CoreDelta, change: Change) -> Delta:
        """Let readers see what was committed."""
        self._members, self._allocations = change.members, change.allocations
        last, report = self._viewpoint, self._report
        changed = delta.services(ServiceDelta)
        touched = last.touched.with_more(
            delta.new,
            ((each.namespace, each.name) for each in changed),
            everything=change.heard_anew,
            known=None if report is None else report.view.snapshot.generation,
        )
        view = last.after(change, self._core.snapshot(), touched)
        hold(last, view, change)
        policies = changed_policies(change, changed)
        self._policies.note(view, change, services=bool(changed))
        self._viewpoint = view
        return Delta(delta.old, delta.new, changed, changed_addresses(change, last), policies)

    # Questions

    @property
    def generation(self) -> int:
        """How many transactions there were."""
        return self._viewpoint.snapshot.generation

    @property
    def allocations(self) -> Allocations:
        """A copy of the history of what was given out, to save or to make another mesh with."""
        return self._allocations.copy()

    def viewpoint(self) -> Viewpoint:
        """The newest state. It never changes, whatever happens to the mesh."""
        return self._viewpoint

    def service(self, namespace: str, name: str) -> GlobalService:
        """
        The service of that namespace and name over all members.

        Raises:
            NotFoundError: No member has a Service or endpoints of that name; the message names the nearest.
        """
        view = self._viewpoint
        if not view.snapshot.holders(namespace, name):
            known = {key for number in view.names for key in view.snapshot.services(number)}
            raise NotFoundError("service", f"{namespace}/{name}", ["/".join(key) for key in sorted(known)])
        return GlobalService(namespace, name, self)

    def services(self, viewer: str) -> tuple[tuple[str, str], ...]:
        """
        (namespace, name) of every Service that the viewer has, sorted; those derived of imports too.

        Raises:
            NotFoundError: There is no such member.
        """
        view = self._viewpoint
        number, _ = cluster_and_node(view.names, viewer)
        return tuple(view.snapshot.services(number))

    def tables(self, seen_from: str) -> Tables:
        """
        What the viewer decides with at the newest state: `"east"`, or `"east/node-1"` where nodes differ.

        Raises:
            NotFoundError: There is no such member.
        """
        return self.tables_of(self._viewpoint, seen_from)

    def datapath(
        self,
        cluster: str,
        node: str | None = None,
        *,
        tcp_connections: int = DEFAULT_TCP_CONNECTIONS,
        other_connections: int = DEFAULT_OTHER_CONNECTIONS,
        affinities: int = DEFAULT_AFFINITIES,
        shards: int = 1,
    ) -> Datapath:
        """
        A data path of a member, or of one of its nodes where nodes differ: services, connections and
        translation for columns of packets. It takes the newest state of the mesh at the start of each call.

        Args:
            tcp_connections: How many entries of TCP connections it holds; the default is Cilium's.
            other_connections: The same for all other protocols.
            affinities: How many clients' backends it remembers for services with session affinity.
            shards: How many threads share the work, each with its part of the entries; what one packet gets
                is the same for any number, as long as nothing has to be evicted.

        Raises:
            NotFoundError: There is no such member.
            TypeError, ValueError: A bound is no whole number from 1.
        """
        bounds = (tcp_connections, other_connections, affinities)
        return self._datapaths.make(self, cluster, node, bounds, shards)

    def process(self, packets: Packets) -> Decisions:
        """
        Take packets through both ends: out through the data path of the source's cluster, then in through
        that of the destination's. Who is where is told by the pod and node ranges of the members.

        The mesh keeps one data path for each member, which remember connections from call to call.

        Raises:
            TypeError: They are no `Packets`.
            ValueError: Time runs backwards; nothing was done then.
        """
        return self._datapaths.process(self, packets)

    def resolve(self, name: str, *, seen_from: str, type: str = "A") -> DnsAnswer:  # noqa: A002 (as DNS calls it)
        """
        What a pod of the viewer gets from DNS. Iterating the answer gives its records.

        Args:
            name: Such as `checkout.shop.svc.cluster.local` or `checkout.shop.svc.clusterset.local`.
            type: `A`, `AAAA` or `SRV`.

        Raises:
            NotFoundError: There is no such member.
            ValueError: The type is none of the three.
        """
        view = self._viewpoint
        number, _ = cluster_and_node(view.names, seen_from)
        return resolve(View(view, view.member(number)), name, type)

    @property
    def dns(self) -> LearntNames:
        """What names have resolved to, for rules on names: `mesh.dns["api.example.com"] = ["192.0.2.5"]`."""
        return self._dns

    def decide(
        self,
        source: str,
        destination: str,
        *,
        protocol: str = "TCP",
        port: int = 0,
        http: Mapping[str, Any] | None = None,
        dns_query: str | None = None,
    ) -> Decision:
        """
        What becomes of the first packet of a connection: egress is judged by the policies of the source's
        cluster, ingress by those of the destination's.

        Args:
            source: `cluster/namespace/pod`, `host:cluster`, `ip:ADDRESS` or `entity:NAME`.
            destination: Likewise, or `service:namespace/name`, which is resolved in the source's cluster:
                then `Decision.backends` has a decision for each backend, and the verdict is the worst.
            protocol: `TCP`, `UDP`, `SCTP`, `ICMP` or `ICMPv6`.
            port: Of ICMP the type; of a service its own port, which may be left out where it has only one.
            http: A request to judge by L7 rules: `method`, `path`, `host`, `headers`.
            dns_query: A name, likewise.

        Raises:
            NotFoundError: There is no such end; names the nearest.
            ValueError: An end, the protocol, the port or the request is malformed.
            ImportError: An HTTP rule has to be matched, and the extra `l7` is not installed.
        """
        flow = flow_of(protocol, port, http, dns_query)
        with self.judged() as deciding:
            return decide(self, deciding, source, destination, flow)

    @overload
    def reachability(self, *, protocol: str | None = ..., port: int | None = ...) -> ReachabilityMatrix: ...
    @overload
    def reachability(self, *, to: str, protocol: str = ..., port: int = ...) -> Reachability: ...
    @overload
    def reachability(self, *, source: str, protocol: str = ..., port: int = ...) -> Reachability: ...
    def reachability(
        self,
        *,
        to: str | None = None,
        source: str | None = None,
        protocol: str | None = None,
        port: int | None = None,
    ) -> Reachability | ReachabilityMatrix:
        """
        Which pods can open connections to an end, or which pods an end can open them to; without an end,
        the matrix of all pods. Worked out for classes of pods that no policy tells apart.

        Args:
            to, source: The destination or the source: an end of `decide` that is no service.
            protocol, port: As of `decide`: to or from an end it is one port that is asked about, TCP 0 unless
                they are given. The matrix is of all ports, unless they are given.

        Raises:
            NotFoundError: There is no such end; names the nearest.
            ValueError: Both ends are given, or something is malformed.
        """
        with self.judged() as deciding:
            return asked(deciding, to=to, source=source, protocol=protocol, port=port)

    def who_can_reach(self, destination: str, *, protocol: str = "TCP", port: int = 0) -> tuple[str, ...]:
        """
        The pods of the mesh whose connections to a port of an end are allowed or redirected, sorted; raises
        what `reachability` raises. Whom rules let in at some port only is among them if that port is asked
        about.
        """
        return self.reachability(to=destination, protocol=protocol, port=port).allowed

    def fork(self) -> Mesh:
        """
        A mesh of the same state, to be changed separately: for asking what would happen.

        Costs nothing that grows with the objects, and a change of it what is changed.
        """
        with self._lock:
            other = Mesh.__new__(Mesh)
            other.name, other.topology, other.mode = self.name, self.topology, self.mode
            other.max_connected_clusters = self.max_connected_clusters
            other.lineage, other.listeners = self.lineage, Listeners()
            other._lock = threading.RLock()
            other._core = self._core.fork()
            other._allocations = self._allocations.copy()
            other._members = {name: member._forked(other) for name, member in self._members.items()}
            other._report = self._report
            other._tables = TableKeeper()
            other._datapaths = Datapaths()
            other._viewpoint = self._viewpoint
            other._dns, other._policies = self._dns.copy(), PolicyKeeper()
            return other

    def compare(self, other: Mesh) -> Comparison:
        """
        What is different in another state of the mesh, mostly a fork of this one: for each viewer and
        service what moves; and the flows that policies allow in one of them only, each with the rule behind.

        Raises:
            ValueError: The other is in another mode.
        """
        from fleetmesh.mesh.compare import compare  # noqa: PLC0415 - it asks meshes

        if self.mode != other.mode:
            raise ValueError(f"can't compare a mesh in mode {self.mode} with one in mode {other.mode}")
        return compare(self, other)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that is worth telling, the worst first. Worked out when asked for, and only what changed."""
        # The last report first: its state is then not newer than the one that is asked about.
        last = self._report
        with self._judged() as (view, deciding):
            report = report_of(view, last, deciding)
        self._report = report
        return report.findings

    @contextmanager
    def _judged(self) -> Iterator[tuple[Viewpoint, Deciding | None]]:
        """The newest state, and what decides there, if anybody has policies."""
        view = self._viewpoint
        if not any(len(member._store.policies) for member in view.members.values()):
            yield view, None
            return
        with self.judged() as deciding:
            yield deciding.view, deciding

    # For what belongs to the mesh

    def tables_of(self, view: Viewpoint, seen_from: str) -> Tables:
        """What a viewer decides with at a state of this mesh."""
        number, node = cluster_and_node(view.names, seen_from)
        return self._tables.get(view, number, node, lambda: self._policy_tables(view, view.names[number]))

    def _policy_tables(self, view: Viewpoint, member: str) -> PolicyTables:
        with self.judged() as newest:
            deciding = newest if newest.view is view else Deciding(view, self._dns.parsed())
            return deciding.tables(member)

    @contextmanager
    def judged(self) -> Iterator[Deciding]:
        """What decides at the newest state, for the time of a question."""
        with self._policies.at(self.viewpoint, self._dns) as deciding:
            yield deciding

    def declared_service(self, member: str, namespace: str, name: str) -> Service | None:
        """The Service as the member's manifests have it."""
        found = self._seen(member)._store.resources.get(("Service", namespace, name))
        return found if isinstance(found, Service) else None

    def namespace_global(self, member: str, namespace: str) -> bool:
        """Whether the member publishes what is in the namespace."""
        return namespace_global(self._seen(member), namespace)

    def _seen(self, member: str) -> MemberView:
        members = self._viewpoint.members
        if member not in members:
            raise NotFoundError("member", member, members)
        return members[member]

    def _set_read_findings(self, found: Iterable[Finding]) -> None:
        """What was found where the mesh was read from; in the place of what was found before."""
        with self._lock:
            self._viewpoint = attrs.evolve(self._viewpoint, read_findings=tuple(dict.fromkeys(found)))

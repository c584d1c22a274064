"""
A global service: Services of one namespace and name in several clusters, with merged backends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast

import attrs

from fleetmesh.errors import NotFoundError
from fleetmesh.records import PROTOCOL_NAMES
from fleetmesh.services.annotations import AFFINITY, GLOBAL, SHARED, ServiceAnnotations
from fleetmesh.services.changes import ResourceChange, ResourceChanges
from fleetmesh.services.explain import explain
from fleetmesh.services.words import FRONTEND_TYPES, STATES

if TYPE_CHECKING:
    from fleetmesh._core import Snapshot
    from fleetmesh.resources.model import Service
    from fleetmesh.services.explain import Explanation

Affinity = Literal["local", "remote", "none"]
CoreBackend: TypeAlias = tuple[int, str, int, int, tuple[str, ...], int, int, tuple[str, ...]]


@attrs.frozen
class Backend:
    """
    An endpoint that serves.

    Attributes:
        cluster: The name of the cluster that it is in.
        port_names: The names of its port, sorted; empty where it has none.
        state: One of `STATES` (Cilium pkg/loadbalancer/loadbalancer.go).
        weight: 0..65535; 100 where nothing else is said. Under `fleetmesh.io/cluster-weights` those in use
            of a frontend have weights by which each cluster gets its share.
        nodes: Which of the viewer's nodes have it in use; empty where they don't differ.
    """

    cluster: str
    address: str
    port: int
    port_names: tuple[str, ...]
    protocol: str
    state: str
    weight: int
    nodes: tuple[str, ...] = ()


@attrs.frozen
class Frontend:
    """
    An address, port and protocol that clients use, with the backends selected for it.

    Attributes:
        type: One of `FRONTEND_TYPES`.
        scope: `internal` for the second entry that Cilium makes when exactly one of the two traffic
            policies is Local.
        address: `0.0.0.0` or `::` for a NodePort.
        backends: In the order of Cilium's service map; those in maintenance come last.
        in_use: How many of them, from the first, take new connections.
    """

    type: str
    scope: Literal["external", "internal"]
    address: str
    port: int
    protocol: str
    port_name: str
    backends: tuple[Backend, ...]
    in_use: int


class Viewpoint(Protocol):
    """One state of a mesh, as a global service asks it."""

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def names(self) -> Mapping[int, str]:
        """Cluster id -> name, of the members."""

    @property
    def failed(self) -> frozenset[int]:
        """The members that have failed: they see nothing and nobody hears them."""


class Source(Protocol):
    """A mesh, as a global service asks it."""

    def viewpoint(self) -> Viewpoint:
        """The newest state."""

    def declared_service(self, member: str, namespace: str, name: str) -> Service | None:
        """The Service as the member's manifests have it."""

    def namespace_global(self, member: str, namespace: str) -> bool:
        """Whether the member publishes what is in the namespace."""


def viewer(names: Mapping[int, str], seen_from: str) -> tuple[int, str | None]:
    """
    Whom `"east"` or `"east/node-1"` means: a cluster id and a node, `None` for all its nodes.

    Raises:
        NotFoundError: There is no such member. A node need not be declared.
        ValueError: The part after the slash is empty.
    """
    cluster, slash, node = seen_from.partition("/")
    if slash and not node:
        raise ValueError(f"seen_from is {seen_from!r}; expected CLUSTER or CLUSTER/NODE")
    for number, name in names.items():
        if name == cluster:
            return number, node or None
    raise NotFoundError("member", cluster, names.values())


def frontends_of(
    view: Viewpoint, number: int, node: str | None, namespace: str, name: str
) -> tuple[Frontend, ...]:
    """What a viewer has of a service; nothing where it has failed or has no such Service."""
    if number in view.failed:
        return ()

    def backend(row: CoreBackend) -> Backend:
        cluster, address, port, protocol, names, state, weight, nodes = row
        protocol_name = PROTOCOL_NAMES[protocol]
        return Backend(
            view.names[cluster],
            address,
            port,
            tuple(names),
            protocol_name,
            STATES[state],
            weight,
            tuple(nodes),
        )

    return tuple(
        Frontend(
            FRONTEND_TYPES[kind],
            "internal" if internal else "external",
            address,
            port,
            PROTOCOL_NAMES[protocol],
            port_name,
            tuple(backend(row) for row in found),
            in_use,
        )
        for kind, internal, address, port, protocol, port_name, found, in_use in view.snapshot.frontends(
            number, namespace, name, node
        )
    )


def backends_of(
    view: Viewpoint, number: int, node: str | None, namespace: str, name: str
) -> tuple[Backend, ...]:
    """The union of what a viewer's frontends have in use, in order of cluster id, address and port."""
    if number in view.failed:
        return ()
    return cast("tuple[Backend, ...]", view.snapshot.used(Backend, number, namespace, name, node))


@attrs.frozen
class GlobalService:
    """
    Services of one namespace and name in the members of a mesh, seen as one.

    It is a way of asking: every answer is that of the mesh as it is at the call.
    """

    namespace: str
    name: str
    _source: Source = attrs.field(repr=False)

    @property
    def clusters(self) -> tuple[str, ...]:
        """
        The names of the contributing clusters, in order of cluster id: those that export it to others.

        A Service that is marked global, but not shared or in a namespace that is not global,
        contributes nothing.
        """
        view = self._source.viewpoint()
        exporters = view.snapshot.exporters(self.namespace, self.name)
        return tuple(view.names[number] for number in exporters if number not in view.failed)

    def frontends(self, seen_from: str) -> tuple[Frontend, ...]:
        """
        Everything that the viewer has of the service, sorted by type, address, port, protocol and scope.

        Args:
            seen_from: `"east"`, the union over the cluster's nodes, or `"east/node-1"`, one of them.

        Raises:
            NotFoundError: There is no such member.
        """
        view = self._source.viewpoint()
        number, node = viewer(view.names, seen_from)
        return frontends_of(view, number, node, self.namespace, self.name)

    def backends(self, seen_from: str) -> tuple[Backend, ...]:
        """
        What takes the viewer's new connections: the union over its frontends, sorted by cluster id, address,
        port and protocol. Empty where the viewer has no such Service.

        Raises:
            NotFoundError: There is no such member.
        """
        view = self._source.viewpoint()
        number, node = viewer(view.names, seen_from)
        return backends_of(view, number, node, self.namespace, self.name)

    def explain(self, seen_from: str) -> Explanation:
        """
        Every candidate, in or out, and the rule that decided.

        Raises:
            NotFoundError: There is no such member.
        """
        view = self._source.viewpoint()
        number, node = viewer(view.names, seen_from)
        return explain(view.snapshot, view.names, number, node, self.namespace, self.name, view.failed)

    def share(self, in_: Iterable[str] | None = None) -> ResourceChanges:
        """
        The changes that make the service global and shared in these clusters (`None`: in all that have it).

        Raises:
            NotFoundError: There is no such member, or it has no such Service.
        """
        return self._annotate(_to_share, in_, self._share_note)

    def unshare(self, in_: Iterable[str] | None = None) -> ResourceChanges:
        """
        The changes after which these clusters keep their backends to themselves; they go on using others'.

        Raises:
            NotFoundError: There is no such member, or it has no such Service.
        """
        return self._annotate(_to_unshare, in_, self._unshare_note)

    def set_affinity(self, affinity: Affinity, in_: Iterable[str] | None = None) -> ResourceChanges:
        """
        The changes after which these clusters prefer their own backends (`local`), those of others
        (`remote`) or none.

        Raises:
            NotFoundError: There is no such member, or it has no such Service.
            ValueError: The affinity is none of the three.
        """
        if affinity not in ("local", "remote", "none"):
            raise ValueError(f"affinity is {affinity!r}; expected local, remote or none")
        return self._annotate(lambda service: _to_prefer(service, affinity), in_, self._affinity_note)

    def _annotate(
        self,
        needed: Callable[[Service], dict[str, str]],
        clusters: Iterable[str] | None,
        note: Callable[[str, Service], str],
    ) -> ResourceChanges:
        changes, notes = [], []
        for member in self._members(clusters):
            old = self._source.declared_service(member, self.namespace, self.name)
            if old is None:
                raise NotFoundError("Service", f"{self.namespace}/{self.name}", (), place=member)
            new = attrs.evolve(old, annotations=MappingProxyType({**old.annotations, **needed(old)}))
            if new != old:
                changes.append(ResourceChange(member, old, new))
            said = note(member, new)
            if said:
                notes.append(said)
        return ResourceChanges(tuple(changes), tuple(notes))

    def _members(self, clusters: Iterable[str] | None) -> list[str]:
        names = list(self._source.viewpoint().names.values())
        if clusters is None:
            return [name for name in names if self._source.declared_service(name, self.namespace, self.name)]
        wanted = {clusters} if isinstance(clusters, str) else set(clusters)
        for name in sorted(wanted - set(names)):
            raise NotFoundError("member", name, names)
        return [name for name in names if name in wanted]

    def _share_note(self, member: str, _: Service) -> str:
        if self._source.namespace_global(member, self.namespace):
            return ""
        return f"{member}: namespace {self.namespace} is not global, so nothing of it is published"

    @staticmethod
    def _unshare_note(member: str, service: Service) -> str:
        if ServiceAnnotations.of(service).is_global:
            return ""
        return f"{member}: {service.subject} is not global, so it isn't published anyway"

    @staticmethod
    def _affinity_note(member: str, service: Service) -> str:
        if ServiceAnnotations.of(service).is_global:
            return ""
        return f"{member}: {service.subject} is not global, so its affinity has no effect"


def _to_share(service: Service) -> dict[str, str]:
    """The annotations that are lacking for it to be shared."""
    said = ServiceAnnotations.of(attrs.evolve(service, annotations={**service.annotations, GLOBAL: "true"}))
    lacking = {} if ServiceAnnotations.of(service).is_global else {GLOBAL: "true"}
    return lacking if said.shared else {**lacking, SHARED: "true"}


def _to_unshare(service: Service) -> dict[str, str]:
    return {SHARED: "false"} if ServiceAnnotations.of(service).shared else {}


def _to_prefer(service: Service, affinity: Affinity) -> dict[str, str]:
    return {} if ServiceAnnotations.of(service).affinity == affinity else {AFFINITY: affinity}

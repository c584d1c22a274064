"""
One cluster of a mesh.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import attrs

from fleetmesh.errors import MeshError
from fleetmesh.findings import Finding
from fleetmesh.identity import Ranges
from fleetmesh.mesh.heard import RecordKey
from fleetmesh.mesh.hearing import hear
from fleetmesh.mesh.publish import records_of
from fleetmesh.mesh.report import member_findings
from fleetmesh.mesh.settings import ClusterSettings
from fleetmesh.mesh.store import Key, Store
from fleetmesh.resources.manifests import Manifests, load_manifests, problem_findings, read_manifests
from fleetmesh.resources.model import Pod, Resource

if TYPE_CHECKING:
    from fleetmesh.mesh.delta import Delta
    from fleetmesh.mesh.mesh import Mesh
    from fleetmesh.records import Record

Input: TypeAlias = "Iterable[Resource] | Resource | Manifests | Path | str"


def _read_only(labels: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(labels))


@attrs.define(eq=False)
class Member:
    """
    One cluster of a mesh; made by `Mesh.join`.

    Attributes:
        name: Unique in the mesh.
        cluster_id: 1..255 (511), unique in the mesh.
        settings: What its Cilium is configured with.
        labels: Of the member itself, as in a fleet.
        declared: The ranges that it was joined with.
        routing_domain: `None` is the default one.
    """

    name: str
    cluster_id: int
    settings: ClusterSettings = attrs.field(factory=ClusterSettings, repr=False)
    labels: Mapping[str, str] = attrs.field(factory=dict, converter=_read_only)
    declared: Ranges = attrs.field(factory=Ranges, repr=False)
    routing_domain: str | None = attrs.field(default=None, repr=False)
    _store: Store = attrs.field(factory=Store, repr=False)
    _mesh: Mesh | None = attrs.field(default=None, repr=False)

    # Changing it

    def apply(self, resources: Input) -> Delta:
        """
        Create or update objects, by kind, namespace and name, in the order given; one transaction.

        Args:
            resources: One resource, several, or a source as `load_manifests` takes it. Of a source, what
                can't be understood becomes a finding (`manifest-problem`) and the rest is applied.

        Raises:
            SelfManagedMeshError: They tell that the cluster runs a mesh of its own; nothing is applied.
            MeshError: The member is in no mesh.
            TypeError: Something is no resource; nothing is applied.
        """
        given, said = _read(resources)
        return self._in_mesh()._change(lambda change: change.apply(self, given, said))

    def delete(self, resources: Input) -> Delta:
        """
        Remove objects by kind, namespace and name; those that aren't there are passed over.

        Raises:
            ManifestError: A source could not be understood; nothing is removed.
            MeshError: The member is in no mesh.
            TypeError: Something is no resource; nothing is removed.
        """
        given = load_manifests(resources) if isinstance(resources, Path | str) else _read(resources)[0]
        return self._in_mesh()._change(lambda change: change.delete(self, given))

    def replace(self, resources: Input, source: str, *, remove: bool | None = None) -> Delta:
        """
        Apply what a source gives now, and remove what it gave before and doesn't give any more.

        An object that another source (or a plain `apply`) has given since belongs to that one and stays.

        Args:
            remove: Whether anything is removed. `None`: only where every document of the source could be
                read, since the one that couldn't may have held any of it. Who knows what a broken document
                held, and gives that again, says `True`.

        Raises:
            SelfManagedMeshError: As for `apply`; nothing is changed.
            MeshError: The member is in no mesh.
            TypeError: Something is no resource; nothing is changed.
        """
        given, said = _read(resources)
        whole = all(each.code != "manifest-problem" for each in said) if remove is None else remove
        return self._in_mesh()._change(lambda change: change.replace(self, given, source, said, remove=whole))

    def drain(self) -> Delta:
        """
        Take away all its endpoints, as if its pods had been evicted; its clients go on. See `restore`.
        """
        return self._in_mesh()._change(lambda change: change.drain(self))

    def fail(self) -> Delta:
        """
        Cut it off: nobody hears it any more, and it sees nothing. See `restore`.

        This is what is left once its records are withdrawn. With `cache_ttl` 0, Cilium's default, the
        others would keep using its backends for ever; the finding `cluster-failed-kept` names them.
        """
        return self._in_mesh()._change(lambda change: change.fail(self))

    def restore(self) -> Delta:
        """
        Undo `drain` and `fail`.
        """
        return self._in_mesh()._change(lambda change: change.restore(self))

    def hear(self, put: Iterable[Record] = (), withdrawn: Iterable[RecordKey] = ()) -> Delta:
        """
        Take in what a member that another process runs has published since; one transaction.

        Args:
            put: Records that came or changed.
            withdrawn: Of those that went: kind as of `records`, and name (see `RecordKey`); what isn't there
                is passed over.

        Raises:
            MeshError: The member is in no mesh, or is run by this process.
            ValueError: A record is of another cluster, or a key of no kind; nothing is taken in.
        """
        return self._in_mesh()._change(lambda change: hear(change, self, put, withdrawn))

    # Asking it

    def heard_names(self, kind: str) -> Collection[str]:
        """
        The names of the records that it is known by, as in a `RecordKey`; of a member of this process none.

        Raises:
            ValueError: There is no such kind.
        """
        heard = self._seen().heard
        return () if heard is None else heard.names(kind)

    def heard_count(self, kind: str) -> int:
        """
        How many records of a kind it is known by; costs nothing that grows with them.

        Raises:
            ValueError: There is no such kind.
        """
        heard = self._seen().heard
        return 0 if heard is None else heard.count(kind)

    @property
    def outside(self) -> bool:
        """Whether another process runs it, so that only what it publishes is known (see `hear`)."""
        return self._seen().heard is not None

    @property
    def ranges(self) -> Ranges:
        """The ranges in force: as declared, and defaults where nothing is."""
        return self._seen().ranges

    @property
    def resources(self) -> Mapping[Key, Resource]:
        """What it declares now: (kind, namespace, name) -> resource, in order of the last change."""
        return MappingProxyType(self._seen().resources)

    @property
    def pods(self) -> tuple[Pod, ...]:
        """
        Its pods with their addresses, declared and made for workloads, sorted. None while it is drained.
        """
        store = self._seen()
        if store.drained:
            return ()
        return tuple(pod for _, pods in sorted(store.pods.items()) for _, pod in sorted(pods.items()))

    @property
    def drained(self) -> bool:
        """Whether its endpoints have been taken away."""
        return self._seen().drained

    @property
    def failed(self) -> bool:
        """Whether it is cut off."""
        return self._seen().failed

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is worth telling about it, the worst first; findings about the merge are the mesh's."""
        with self._in_mesh()._judged() as (view, deciding):
            return member_findings(view, self.name, deciding)

    def records(self, kind: str | None = None) -> tuple[Record, ...]:
        """
        What it publishes, sorted by kind and name.

        Args:
            kind: `node`, `service`, `endpoints`, `identity`, `ip` or `export`; `None` for all.

        Raises:
            ValueError: There is no such kind.
        """
        return records_of(self._in_mesh().viewpoint(), self.name, kind)

    # Inside

    def _in_mesh(self) -> Mesh:
        if self._mesh is None:
            raise MeshError(f"{self.name!r} is in no mesh; join one first")
        return self._mesh

    def _seen(self) -> Store:
        """What it holds for readers: nothing of a change under way."""
        view = None if self._mesh is None else self._mesh.viewpoint().members.get(self.name)
        return self._store if view is None else view._store

    def _forked(self, mesh: Mesh) -> Member:
        """The same member in a fork."""
        return Member(
            self.name,
            self.cluster_id,
            self.settings,
            self.labels,
            self.declared,
            self.routing_domain,
            store=self._store,
            mesh=mesh,
        )


def _read(given: Input) -> tuple[tuple[Resource, ...], tuple[Finding, ...]]:
    """The resources of an argument, and what its source has to say."""
    if isinstance(given, Path | str):
        given = read_manifests(given)
    if isinstance(given, Manifests):
        said = (*problem_findings(given.problems), *given.findings)
        # Unknown kinds are counted over all that a member has.
        return given.resources, tuple(each for each in said if each.code != "unknown-kind")
    if isinstance(given, Resource):
        return (given,), ()
    resources = tuple(given)
    for each in resources:
        if not isinstance(each, Resource):
            raise TypeError(f"expected resources, got {type(each).__name__}")
    return resources, ()

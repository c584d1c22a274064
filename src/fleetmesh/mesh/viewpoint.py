"""
One state of a mesh, as readers have it: nothing in it ever changes, and nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from fleetmesh.findings import Finding
from fleetmesh.identity import Ranges
from fleetmesh.identity.cow import CowMap
from fleetmesh.mesh.settings import ClusterSettings
from fleetmesh.mesh.topology import Topology

if TYPE_CHECKING:
    from fleetmesh._core import Snapshot
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Name, Store

_MOST_BATCHES = 64


@attrs.frozen(eq=False)
class MemberView:
    """A member in one state of its mesh; attributes as of `Member`."""

    name: str
    cluster_id: int
    settings: ClusterSettings
    declared: Ranges
    _store: Store

    @classmethod
    def of(cls, member: Member) -> MemberView:
        """The member as it is now."""
        return cls(member.name, member.cluster_id, member.settings, member.declared, member._store)

    @property
    def ranges(self) -> Ranges:
        """The ranges in force."""
        return self._store.ranges

    @property
    def drained(self) -> bool:
        """Whether its endpoints have been taken away."""
        return self._store.drained

    @property
    def failed(self) -> bool:
        """Whether it is cut off."""
        return self._store.failed

    @property
    def outside(self) -> bool:
        """Whether another process runs it, so that only its records are known."""
        return self._store.heard is not None


@attrs.frozen
class Touched:
    """
    Which services' answers transactions may have changed, of the newest transactions.

    Attributes:
        batches: (generation, services), in order of generations; what is older is not kept.
        since: The generation after which all are kept: after an older one any answer may have changed.
    """

    batches: tuple[tuple[int, frozenset[Name]], ...] = ()
    since: int = 0

    def with_more(
        self, generation: int, names: Iterable[Name], *, everything: bool, known: int | None
    ) -> Touched:
        """
        With another transaction, which may have changed everything where it changed who hears whom. What
        those who ask know already, up to a generation, is dropped.
        """
        if everything:
            return Touched((), generation)
        since = max(self.since, 0 if known is None else known)
        kept = (*(batch for batch in self.batches if batch[0] > since), (generation, frozenset(names)))
        if len(kept) > _MOST_BATCHES:
            kept = ((generation, frozenset().union(*(batch[1] for batch in kept))),)
        return Touched(kept, since)

    def after(self, generation: int) -> frozenset[Name] | None:
        """The services touched after a generation; `None` if it may be all."""
        if generation < self.since:
            return None
        return frozenset().union(*(names for number, names in self.batches if number > generation))


@attrs.frozen(eq=False)
class Viewpoint:
    """
    Attributes:
        snapshot: The facts of the core.
        topology: Who hears whom, of those that have not failed.
        strict: Whether the mesh is in mode `strict`.
        identity_bits: Of an identity's number below its cluster's id.
        members: Name -> member, in order of cluster ids.
        names: Cluster id -> name, in order of ids.
        failed: The ids of members that are cut off.
        exporters: Namespace and name -> the members that have a ServiceExport of it.
        read_findings: What was found where the mesh was read from.
        touched: Which answers may have changed.
    """

    snapshot: Snapshot
    topology: Topology
    strict: bool
    identity_bits: int
    members: Mapping[str, MemberView] = attrs.field(factory=dict)
    names: Mapping[int, str] = attrs.field(factory=dict)
    failed: frozenset[int] = frozenset()
    exporters: CowMap[Name, frozenset[str]] = attrs.field(factory=CowMap)
    read_findings: tuple[Finding, ...] = ()
    touched: Touched = attrs.field(factory=Touched)

    def after(self, change: Change, snapshot: Snapshot, touched: Touched) -> Viewpoint:
        """The state that a transaction has led to."""
        views = {
            name: MemberView.of(member) if name in change.written else self.members[name]
            for name, member in change.members.items()
        }
        return attrs.evolve(
            self,
            snapshot=snapshot,
            members=views,
            names={each.cluster_id: each.name for each in views.values()},
            failed=frozenset(each.cluster_id for each in views.values() if each.failed),
            exporters=change.exporters,
            touched=touched,
        )

    def member(self, number: int) -> MemberView:
        """The member of a cluster id."""
        return self.members[self.names[number]]

    def hears(self, viewer: str, publisher: str) -> bool:
        """Whether two members, by name, hear each other."""
        failed = any(self.members[name].failed for name in (viewer, publisher))
        return not failed and self.topology.linked(viewer, publisher)

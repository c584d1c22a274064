"""
Who of a mesh is heard from outside: the cluster ids that remote clusters take and give back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import ClusterIdTakenError, MeshError
from fleetmesh.mesh.limits import check_id

if TYPE_CHECKING:
    from fleetmesh.mesh import Member, Mesh


@attrs.define(eq=False)
class Seats:
    """
    Of one mesh; called in the thread that writes to it.

    In mode `cilium` whoever takes an id first keeps it, and who comes later is not heard
    (pkg/clustermesh/idsmgr.go); in mode `strict` it is the first by name, whoever came first.

    Attributes:
        declared: Names of members whose ids somebody has declared, so that they can't be given up.
    """

    _mesh: Mesh
    declared: frozenset[str] = frozenset()
    _evicted: dict[str, Callable[[], None]] = attrs.field(factory=dict, init=False)
    _taken: dict[str, Member] = attrs.field(factory=dict, init=False)

    def lost(self) -> tuple[str, ...]:
        """
        Members that somebody else has let go of since this was asked last. To be asked while the mesh can't
        change: who comes back at once has missed what was heard meanwhile all the same.
        """
        members = self._mesh.members
        lost = tuple(name for name, member in list(self._taken.items()) if members.get(name) is not member)
        for name in lost:
            self._taken.pop(name, None)
        return lost

    def take(self, name: str, cluster_id: int, evicted: Callable[[], None]) -> Member:
        """
        The member of that name and id. If it had another id, all that was known of it goes first.

        Args:
            evicted: Called where another cluster takes the seat.

        Raises:
            MeshError: Another one has the id, or it can't be had. The mesh is as it was, but for what was
                known of the cluster under another id where the new one may be its own one day.
        """
        known = self._mesh.members.get(name)
        if known is not None and not known.outside:
            raise MeshError(f"{name!r} is run by this process, so that it can't be a remote cluster too")
        if known is not None and known.cluster_id != cluster_id:
            if name in self.declared:
                raise MeshError(
                    f"{name!r} says that its cluster id is {cluster_id}; declared is {known.cluster_id}"
                )
            # Cilium takes no notice of a cluster that claims its own id (pkg/clustermesh/types/option.go,
            # `ValidateRemoteConfig`). One that claims another remote's gives up its old one first: two may
            # exchange theirs.
            own = {each.cluster_id: each.name for each in self._mesh.members.values() if not each.outside}
            check_id(cluster_id, self._mesh.max_connected_clusters, own)
            self._give_up(name)
            known = None
        if known is None:
            known = self._join(name, cluster_id)
        self._evicted[name] = evicted
        self._taken[name] = known
        return known

    def leave(self, name: str) -> None:
        """Give the seat back: nothing of the cluster is known any more."""
        self._evicted.pop(name, None)
        member = self._mesh.members.get(name)
        if member is not None and member.outside:
            self._give_up(name)

    def _give_up(self, name: str) -> None:
        self._taken.pop(name, None)
        self._mesh.leave(name)

    def _join(self, name: str, cluster_id: int) -> Member:
        mesh = self._mesh
        try:
            return mesh.join(name, cluster_id=cluster_id, outside=True)
        except ClusterIdTakenError:
            owner = next(each.name for each in mesh.members.values() if each.cluster_id == cluster_id)
            if mesh.mode != "strict" or owner not in self._evicted or owner in self.declared or owner < name:
                raise
        self._give_up(owner)
        self._evicted.pop(owner)()
        return mesh.join(name, cluster_id=cluster_id, outside=True)

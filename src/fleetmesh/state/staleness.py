"""
Which services are served by what is remembered of clusters that are not heard any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from fleetmesh.mesh import Mesh
    from fleetmesh.state.remote_status import RemoteStatus


@attrs.frozen(kw_only=True)
class StaleService:
    """
    A service with backends of a cluster that isn't heard. Cilium tells it of a cluster at most.

    Attributes:
        cluster: Whose backends may be gone by now.
        backends: How many of its backends are in use, at least by one viewer.
        seen_from: The members that use them: those of this process, or all if it runs none.
        stale_for: Seconds since the cluster was last heard.
    """

    namespace: str
    name: str
    cluster: str
    backends: int
    seen_from: tuple[str, ...]
    stale_for: float


def stale_services(mesh: Mesh, remotes: Mapping[str, RemoteStatus]) -> Iterator[StaleService]:
    """
    By cluster, then by service.

    Args:
        remotes: The clusters that are heard, or were.
    """
    viewers = [name for name, member in mesh.members.items() if not member.outside] or list(mesh.members)
    having = {viewer: frozenset(mesh.services(viewer)) for viewer in viewers}
    for cluster, status in sorted(remotes.items()):
        member = mesh.members.get(cluster)
        if member is None or not member.outside or not status.stale_for:
            continue
        for namespace, _, name in sorted(each.partition("/") for each in member.heard_names("service")):
            used = {
                viewer: [
                    backend
                    for backend in mesh.service(namespace, name).backends(seen_from=viewer)
                    if backend.cluster == cluster
                ]
                for viewer in viewers
                if (namespace, name) in having[viewer]
            }
            seen_from = tuple(viewer for viewer, backends in used.items() if backends)
            if seen_from:
                yield StaleService(
                    namespace=namespace,
                    name=name,
                    cluster=cluster,
                    backends=len(
                        {
                            (each.address, each.port, each.protocol)
                            for found in used.values()
                            for each in found
                        }
                    ),
                    seen_from=seen_from,
                    stale_for=status.stale_for,
                )

"""
A mesh as it was, to tell later what has moved since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from fleetmesh.findings import Finding
from fleetmesh.mesh.compare import Comparison

if TYPE_CHECKING:
    from fleetmesh.mesh.mesh import Mesh


@attrs.frozen
class Update:
    """
    What has changed from one look at a mesh to the next.

    Attributes:
        files: Those that came, changed or went, sorted.
        comparison: What it moved: the mesh before against the mesh now.
        joined: Members that came, or came back otherwise, and with which cluster id.
        left: Members that went.
        new_findings: What is to be said now and wasn't before.
        settled: What isn't to be said any more.
    """

    files: tuple[str, ...]
    comparison: Comparison
    joined: Mapping[str, int]
    left: tuple[str, ...]
    new_findings: tuple[Finding, ...]
    settled: tuple[Finding, ...]


class Baseline:
    """
    The state that a mesh has when this is made.

    Attributes:
        mesh: A copy of the mesh, in that state.
    """

    def __init__(self, mesh: Mesh) -> None:
        # The mesh's own report first, so that it is known what the next one may build on.
        _ = mesh.findings
        self.mesh = mesh.fork()
        self._findings = self.mesh.findings

    def until(self, mesh: Mesh, files: Iterable[str] = ()) -> tuple[Update, Baseline]:
        """
        What is different in the mesh now (or in another one that took its place), and the state that this
        was told of: whoever goes on from there misses nothing that others change meanwhile.

        Args:
            files: Those that brought it.
        """
        now = Baseline(mesh)
        before, after = self.mesh, now.mesh
        members = {name: member.cluster_id for name, member in before.members.items()}
        present = {name: member.cluster_id for name, member in after.members.items()}
        update = Update(
            tuple(files),
            before.compare(after) if before.mode == after.mode else Comparison(),
            {name: number for name, number in present.items() if members.get(name) != number},
            tuple(name for name in members if name not in present),
            tuple(each for each in now._findings if each not in self._findings),
            tuple(each for each in self._findings if each not in now._findings),
        )
        return update, now

"""
A directory as a mesh.

With `fleet.yaml` that file says which clusters there are. Without one, manifests at the top go to every
cluster, and folders are clusters, with ids in the order of their names, if there are at least two and
each holds a workload, a pod or a node; otherwise the whole directory is one cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import MeshError, SelfManagedMeshError
from fleetmesh.findings import Finding, finding
from fleetmesh.mesh.fleetfile import FLEET_FILE, ClusterEntry, FleetFile, read_fleet_file
from fleetmesh.mesh.mesh import Mesh, Mode
from fleetmesh.mesh.reader import Reader
from fleetmesh.resources.files import SUFFIXES
from fleetmesh.resources.manifests import Manifests
from fleetmesh.resources.model import Node, Pod, Workload

if TYPE_CHECKING:
    from fleetmesh.mesh.member import Member

SOURCE = "directory"


@attrs.frozen(kw_only=True)
class ClusterContent:
    """
    What a directory has for one cluster.

    Attributes:
        entry: How it joins.
        paths: Where its manifests are, in the order in which they are read.
    """

    entry: ClusterEntry
    paths: tuple[Path, ...]


@attrs.frozen(kw_only=True)
class Layout:
    """
    What a directory is made of, before its manifests are read.

    Attributes:
        file: Its `fleet.yaml`, or what stands in for it.
        findings: About the directory itself.
        from_file: Whether it has a `fleet.yaml`.
        from_folders: Whether each cluster is a folder, without a `fleet.yaml`.
    """

    file: FleetFile
    clusters: tuple[ClusterContent, ...]
    findings: tuple[Finding, ...] = ()
    from_file: bool = False
    from_folders: bool = False


def load_directory(path: Path, mode: Mode | None = None) -> Mesh:
    """See `Mesh.from_directory`."""
    reader = Reader()
    return build(read_layout(path, reader), reader, mode)


def build(layout: Layout, reader: Reader, mode: Mode | None = None) -> Mesh:
    """A mesh of what a directory holds."""
    chosen: Mode = mode or ("strict" if layout.file.mode == "strict" else "cilium")
    mesh = Mesh(
        layout.file.name,
        topology=layout.file.topology,
        mode=chosen,
        max_connected_clusters=layout.file.max_connected_clusters,
    )
    found = list(layout.findings)
    for content in layout.clusters:
        found.extend(admit(mesh, content))
    for content in layout.clusters:
        member = member_of(mesh, content)
        if member is not None:
            found.extend(fill(member, read_cluster(content, reader)))
    mesh._set_read_findings(found)
    return mesh


def member_of(mesh: Mesh, content: ClusterContent) -> Member | None:
    """The member that a cluster of a layout has become; one of the same name may be another's."""
    entry = content.entry
    member = mesh.members.get(entry.name) if isinstance(entry.name, str) else None
    return member if member is not None and member.cluster_id == entry.cluster_id else None


def read_layout(path: Path, reader: Reader) -> Layout:
    """
    Find out which clusters a directory holds.

    Raises:
        FileNotFoundError: There is no such folder or file.
    """
    if path.is_file():
        return _of_fleet_file(path) if path.name == FLEET_FILE else _of_one_file(path)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder or file {str(path)!r}")
    if (path / FLEET_FILE).is_file():
        return _of_fleet_file(path / FLEET_FILE)
    return _of_folders(path, reader)


def admit(mesh: Mesh, content: ClusterContent) -> Iterator[Finding]:
    """Let a cluster join; what the mesh refuses becomes a finding."""
    entry = content.entry
    try:
        mesh.join(
            entry.name,
            cluster_id=entry.cluster_id,
            settings=entry.settings,
            labels=entry.labels,
            pod_cidrs=entry.pod_cidrs,
            service_cidrs=entry.service_cidrs,
            node_cidrs=entry.node_cidrs,
            routing_domain=entry.routing_domain,
        )
    except MeshError as error:
        yield finding("member-refused", f"Cluster {entry.name}", str(error), where=entry.origin)


def read_cluster(content: ClusterContent, reader: Reader) -> Manifests:
    """All manifests of a cluster, file after file, as one source."""
    parts = [reader.read(path) for path in content.paths]
    return Manifests(
        resources=tuple(resource for part in parts for resource in part.resources),
        problems=tuple(problem for part in parts for problem in part.problems),
        findings=tuple(said for part in parts for said in part.findings),
    )


def fill(member: Member, manifests: Manifests) -> Iterator[Finding]:
    """Put manifests into a member in the place of what the directory gave before."""
    try:
        member.replace(manifests, source=SOURCE)
    except SelfManagedMeshError as error:
        yield finding("self-managed-mesh", f"Cluster {member.name}", f"{error}; nothing of it is loaded")


def _of_fleet_file(path: Path) -> Layout:
    file, folder = read_fleet_file(path), path.parent
    common = tuple(folder / each for each in file.common)
    clusters = []
    for entry in file.clusters:
        own = (str(entry.name),) if entry.manifests is None else entry.manifests
        clusters.append(ClusterContent(entry=entry, paths=(*common, *(folder / each for each in own))))
    return Layout(file=file, clusters=tuple(clusters), findings=file.findings, from_file=True)


def _of_one_file(path: Path) -> Layout:
    return _single(path.resolve().parent, path, f"{path.name} is one file")


def _of_folders(path: Path, reader: Reader) -> Layout:
    folders = [each for each in _visible(path) if each.is_dir()]
    top = tuple(each for each in _visible(path) if each.is_file() and each.suffix.lower() in SUFFIXES)
    reason = ""
    if len(folders) < 2:
        reason = "it has fewer than two folders"
    else:
        idle = next((folder.name for folder in folders if not _runs_something(folder, reader)), None)
        if idle is not None:
            reason = f"folder {idle} holds no workload, pod or node"
    if reason:
        return _single(path, path, reason)
    clusters = tuple(
        ClusterContent(entry=ClusterEntry(name=folder.name, cluster_id=number), paths=(*top, folder))
        for number, folder in enumerate(folders, 1)
    )
    return Layout(file=FleetFile(name=path.resolve().name or "mesh"), clusters=clusters, from_folders=True)


def _single(folder: Path, manifests: Path, reason: str) -> Layout:
    name = _cluster_name(folder.resolve().name)
    said = finding(
        "single-cluster-directory", str(manifests), f"read as the one cluster {name!r}, since {reason}"
    )
    entry = ClusterEntry(name=name, cluster_id=1)
    return Layout(
        file=FleetFile(name=folder.resolve().name or "mesh"),
        clusters=(ClusterContent(entry=entry, paths=(manifests,)),),
        findings=(said,),
    )


def _cluster_name(folder: str) -> str:
    """A cluster name that is as near to a folder's as can be."""
    allowed = "".join(each if each.isascii() and each.isalnum() else "-" for each in folder.lower())
    name = allowed[:32].strip("-")
    return name if name and name != "default" else "cluster"


def _visible(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if not each.name.startswith("."))


def _runs_something(folder: Path, reader: Reader) -> bool:
    return any(isinstance(each, Workload | Pod | Node) for each in reader.read(folder).resources)

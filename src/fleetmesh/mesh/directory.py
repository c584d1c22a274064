"""
A directory as a mesh.

With `fleet.yaml` that file says which clusters there are. Without one, manifests at the top go to every
cluster, and folders are clusters, with ids in the order of their names, if there are at least two and
each holds a workload, a pod or a node; otherwise the whole directory is one cluster.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import MeshError, NotFoundError, SelfManagedMeshError
from fleetmesh.findings import Finding, finding
from fleetmesh.mesh.fleetfile import FLEET_FILE, ClusterEntry, FleetFile, read_fleet_file
from fleetmesh.mesh.limits import check_self_managed
from fleetmesh.mesh.mesh import Mesh, Mode
from fleetmesh.mesh.reader import Reader
from fleetmesh.resources.files import SUFFIXES
from fleetmesh.resources.manifests import Manifests
from fleetmesh.resources.model import Node, Pod, Workload

if TYPE_CHECKING:
    from fleetmesh.resources.model import Resource

SOURCE = "directory"


@attrs.frozen(kw_only=True)
class ClusterContent:
    """
    What a directory has for one cluster.

    Attributes:
        entry: How it joins.
        paths: Where its manifests are, in the order in which they are read.
        optional: Those of the paths that needn't be there.
        outside: Whether another process runs it; it has no paths then.
    """

    entry: ClusterEntry
    paths: tuple[Path, ...]
    optional: tuple[Path, ...] = ()
    outside: bool = False


@attrs.frozen(kw_only=True)
class Found:
    """
    What was read for one cluster.

    Attributes:
        missing: Path that should be there and can't be read -> why.
        absent: Paths that aren't there, and needn't be.
    """

    manifests: Manifests
    missing: Mapping[Path, str]
    absent: tuple[Path, ...] = ()


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


def load_directory(path: Path, mode: Mode | None = None, only: Collection[str] | None = None) -> Mesh:
    """See `Mesh.from_directory`."""
    reader = Reader()
    layout = read_layout(path, reader)
    check_names(layout, only or ())
    return build(divide(layout, only), reader, mode)


def names(layout: Layout) -> tuple[str, ...]:
    """Of the clusters of a directory, whether or not the mesh takes them."""
    return tuple(dict.fromkeys(str(content.entry.name) for content in layout.clusters))


def check_names(layout: Layout, given: Iterable[str]) -> None:
    """
    Raises:
        NotFoundError: One of the names is of no cluster of the directory.
    """
    known = names(layout)
    for name in given:
        if name not in known:
            raise NotFoundError("member", name, known)


def divide(layout: Layout, only: Collection[str] | None) -> Layout:
    """The same directory to a process that runs only some of its clusters; `None`: all."""
    if only is None:
        return layout
    clusters = (
        content if str(content.entry.name) in only else attrs.evolve(content, paths=(), outside=True)
        for content in layout.clusters
    )
    return attrs.evolve(layout, clusters=tuple(clusters))


def build(layout: Layout, reader: Reader, mode: Mode | None = None) -> Mesh:
    """A mesh of what a directory holds."""
    mesh = empty_mesh(layout, mode)
    said = list(layout.findings)
    joined = []
    for content in layout.clusters:
        found = read_cluster(content, reader)
        refusal = admit(mesh, content, found.manifests.resources)
        if refusal is None:
            joined.append((content, found))
        else:
            said.append(refusal)
    for content, found in joined:
        if not content.outside:
            mesh.members[content.entry.name].replace(found.manifests, source=SOURCE)
        said.extend(missing(path, why) for path, why in found.missing.items())
    mesh._set_read_findings(said)
    return mesh


def empty_mesh(layout: Layout, mode: Mode | None = None) -> Mesh:
    """The mesh that a directory's clusters are to join."""
    chosen: Mode = mode or ("strict" if layout.file.mode == "strict" else "cilium")
    return Mesh(
        layout.file.name,
        topology=layout.file.topology,
        mode=chosen,
        max_connected_clusters=layout.file.max_connected_clusters,
    )


def read_layout(path: Path, reader: Reader, last: Layout | None = None) -> Layout:
    """
    Find out which clusters a directory holds.

    Args:
        last: What it held before, where it is followed: clusters that are folders stay, with their ids.

    Raises:
        FileNotFoundError: There is no such folder or file.
    """
    if path.is_file():
        return _of_fleet_file(path) if path.name == FLEET_FILE else _of_one_file(path)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder or file {str(path)!r}")
    if (path / FLEET_FILE).is_file():
        return _of_fleet_file(path / FLEET_FILE)
    if last is not None and last.from_folders:
        return _of_more_folders(path, reader, last)
    return _of_folders(path, reader)


def admit(mesh: Mesh, content: ClusterContent, resources: Iterable[Resource] = ()) -> Finding | None:
    """
    Let a cluster join; what keeps it from joining is the result.

    Args:
        resources: What it has, which may tell that it runs a mesh of its own.
    """
    entry = content.entry
    subject = f"Cluster {entry.name}"
    try:
        check_self_managed(str(entry.name), resources)
        mesh.join(
            entry.name,
            cluster_id=entry.cluster_id,
            settings=entry.settings,
            labels=entry.labels,
            pod_cidrs=entry.pod_cidrs,
            service_cidrs=entry.service_cidrs,
            node_cidrs=entry.node_cidrs,
            routing_domain=entry.routing_domain,
            outside=content.outside,
        )
    except SelfManagedMeshError as error:
        return finding("self-managed-mesh", subject, f"it does not join: {error}", where=entry.origin)
    except MeshError as error:
        return finding("member-refused", subject, f"it does not join: {error}", where=entry.origin)
    return None


def read_cluster(content: ClusterContent, reader: Reader) -> Found:
    """All manifests of a cluster, file after file, as one source."""
    parts, lacking, absent = [], {}, []
    for path in content.paths:
        if not path.exists():
            if path in content.optional:
                absent.append(path)
            else:
                lacking[path] = "there is no such file or folder"
            continue
        try:
            parts.append(reader.read(path))
        except OSError as error:  # a folder that can't be listed, or that went just now
            lacking[path] = f"it can't be read: {(error.strerror or str(error)).lower()}"
    manifests = Manifests(
        resources=tuple(resource for part in parts for resource in part.resources),
        problems=tuple(problem for part in parts for problem in part.problems),
        findings=tuple(said for part in parts for said in part.findings),
    )
    return Found(manifests=manifests, missing=lacking, absent=tuple(absent))


def missing(path: Path, why: str) -> Finding:
    """What is told of a source that can't be read."""
    return finding("source-missing", str(path), why)


def _of_fleet_file(path: Path) -> Layout:
    file, folder = read_fleet_file(path), path.parent
    common = tuple(folder / each for each in file.common)
    clusters = []
    for entry in file.clusters:
        names = (str(entry.name),) if entry.manifests is None else entry.manifests
        own = tuple(folder / each for each in names)
        # A cluster may have nothing but what is common to all.
        optional = own if entry.manifests is None and common else ()
        clusters.append(ClusterContent(entry=entry, paths=(*common, *own), optional=optional))
    return Layout(file=file, clusters=tuple(clusters), findings=file.findings(), from_file=True)


def _of_one_file(path: Path) -> Layout:
    return _single(path.resolve().parent, path, f"{path.name} is one file")


def _of_folders(path: Path, reader: Reader) -> Layout:
    folders = _folders(path)
    reason = ""
    if len(folders) < 2:
        reason = "it has fewer than two folders"
    else:
        idle = next((folder.name for folder in folders if not _runs_something(folder, reader)), None)
        if idle is not None:
            reason = f"folder {idle} holds no workload, pod or node"
    if reason:
        return _single(path, path, reason)
    return _each_a_cluster(path, {folder.name: number for number, folder in enumerate(folders, 1)})


def _of_more_folders(path: Path, reader: Reader, last: Layout) -> Layout:
    """
    What was a cluster stays one with its id, even if its folder is gone; others get the next free id.
    """
    ids = {str(content.entry.name): int(content.entry.cluster_id) for content in last.clusters}
    idle = []
    for folder in _folders(path):
        if folder.name in ids:
            continue
        if _runs_something(folder, reader):
            ids[folder.name] = next(number for number in count(1) if number not in ids.values())
        else:
            message = "it holds no workload, pod or node, so that it joins as no cluster; read anew, the "
            message += "directory would be one cluster"
            idle.append(finding("idle-folder", str(folder), message))
    return _each_a_cluster(path, ids, idle)


def _each_a_cluster(path: Path, ids: Mapping[str, int], said: Iterable[Finding] = ()) -> Layout:
    top = tuple(each for each in _visible(path) if each.is_file() and each.suffix.lower() in SUFFIXES)
    clusters = tuple(
        ClusterContent(entry=ClusterEntry(name=name, cluster_id=number), paths=(*top, path / name))
        for name, number in ids.items()
    )
    file = FleetFile(name=path.resolve().name or "mesh")
    return Layout(file=file, clusters=clusters, findings=tuple(said), from_folders=True)


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


def _folders(path: Path) -> list[Path]:
    return [each for each in _visible(path) if each.is_dir()]


def _visible(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if not each.name.startswith("."))


def _runs_something(folder: Path, reader: Reader) -> bool:
    return any(isinstance(each, Workload | Pod | Node) for each in reader.read(folder).resources)

"""
`fleetmesh services`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetmesh.cli import options, plain
from fleetmesh.cli.loading import conclude, load
from fleetmesh.cli.output import Format, emit
from fleetmesh.cli.progress import progress
from fleetmesh.cli.words import counts, listed, numbers
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.mesh import Mode
from fleetmesh.services.mcs import derived_name

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper

_MOST = 4  # rows of one service that tell clusters apart by name


@click.command("services")
@options.path
@options.seen_from
@options.common
def command(path: Path, seen_from: str | None, form: Format, mode: Mode | None) -> int:
    """
    Which services there are, and who serves them for whom.
    """
    mesh = load(path, mode)
    with progress("asking every cluster"):
        data = answer(mesh, options.viewers(list(mesh.members), seen_from))
    emit(form, data, lambda paper: draw(paper, data))
    return conclude(mesh, path)


def answer(mesh: Mesh, viewers: Sequence[str]) -> plain.Plain:
    """
    Every service that one of the viewers has, with what each of them uses.
    """
    clusters = {viewer: viewer.partition("/")[0] for viewer in viewers}
    having = {cluster: frozenset(mesh.services(cluster)) for cluster in clusters.values()}
    imports = _imports(mesh)
    found = [
        {
            "namespace": name[0],
            "name": name[1],
            "import_of": imports.get(name),
            "global_in": [each for each in mesh.members if _is_global(mesh, each, name)],
            "exported_by": list(mesh.service(*name).clusters),
            "views": [
                _view(mesh, viewer, cluster, name)
                for viewer, cluster in clusters.items()
                if name in having[cluster]
            ],
        }
        for name in sorted({service for services in having.values() for service in services})
    ]
    return {"mesh": mesh.name, "members": list(mesh.members), "services": found}


def _view(mesh: Mesh, viewer: str, cluster: str, name: tuple[str, str]) -> plain.Plain:
    spec = mesh.viewpoint().snapshot.spec(mesh.members[cluster].cluster_id, *name)
    kind = "virtual"
    if spec is not None and (spec.headless or spec.external_name):
        kind = "headless" if spec.headless else "external-name"
    used = mesh.service(*name).backends(viewer)
    return {
        "seen_from": viewer,
        "kind": kind,
        "backends": len(used),
        "clusters": counts(backend.cluster for backend in used),
    }


def _is_global(mesh: Mesh, cluster: str, name: tuple[str, str]) -> bool:
    spec = mesh.viewpoint().snapshot.spec(mesh.members[cluster].cluster_id, *name)
    return spec is not None and spec.is_global


def _imports(mesh: Mesh) -> dict[tuple[str, str], str]:
    """The Services that members derive of exports -> the name that was exported."""
    return {
        (namespace, derived_name(namespace, name)): f"{namespace}/{name}"
        for member in mesh.members.values()
        for kind, namespace, name in member.resources
        if kind == "ServiceExport"
    }


def draw(paper: Paper, data: plain.Plain) -> None:
    """
    One row for a service and the viewers that see it alike.
    """
    if not data["services"]:
        paper.line("There are no services.")
        return
    paper.table(
        ("SERVICE", "GLOBAL IN", "SEEN FROM", "BACKENDS"),
        (row for service in data["services"] for row in _rows(service, data["members"])),
    )
    imported = [service for service in data["services"] if service["import_of"]]
    if imported:
        paper.blank()
    for service in imported:
        paper.line(f"{service['namespace']}/{service['name']} is the import of {service['import_of']}.")


def _rows(service: dict[str, Any], members: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    label = f"{service['namespace']}/{service['name']}"
    alike = _alike(service["views"], _said)
    if len(alike) > _MOST:  # in a large mesh nobody reads a row for each cluster that keeps to itself
        alike = _alike(service["views"], _said_in_short)
    for index, (said, viewers) in enumerate(alike.items()):
        where = listed(service["global_in"], members) if index == 0 else ""
        yield label, where, listed(viewers, members), said


def _alike(views: Sequence[dict[str, Any]], said: Callable[[dict[str, Any]], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for view in views:
        found.setdefault(said(view), []).append(view["seen_from"])
    return found


def _said_in_short(view: dict[str, Any]) -> str:
    own = view["seen_from"].partition("/")[0]
    return f"{view['backends']} of its own" if list(view["clusters"]) == [own] else _said(view)


def _said(view: dict[str, Any]) -> str:
    if view["kind"] == "headless":
        return "headless, from DNS"
    if view["kind"] == "external-name":
        return "external name, from DNS"
    return numbers(view["clusters"]) or "none"

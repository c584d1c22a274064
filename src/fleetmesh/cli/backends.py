"""
`fleetmesh backends`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetmesh.cli import options, plain
from fleetmesh.cli.loading import conclude, load
from fleetmesh.cli.output import Format, emit
from fleetmesh.cli.words import counted, place
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.mesh import Mode

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper


@click.command("backends")
@options.path
@click.argument("service", type=options.ServiceName(), metavar="NAMESPACE/NAME")
@options.seen_from
@options.common
def command(
    path: Path, service: tuple[str, str], seen_from: str | None, form: Format, mode: Mode | None
) -> int:
    """
    What serves a service, as each cluster sees it.
    """
    mesh = load(path, mode)
    data = answer(mesh, service, options.viewers(list(mesh.members), seen_from))
    emit(form, data, lambda paper: draw(paper, data))
    return conclude(mesh, path)


def answer(mesh: Mesh, name: tuple[str, str], viewers: Sequence[str]) -> plain.Plain:
    """
    What each viewer has of a service and uses.

    Raises:
        NotFoundError: No member has the service.
    """
    service = mesh.service(*name)
    return {
        "mesh": mesh.name,
        "members": list(mesh.members),
        "namespace": name[0],
        "name": name[1],
        "exported_by": list(service.clusters),
        "views": [
            {
                "seen_from": viewer,
                "has_service": name in mesh.services(viewer.partition("/")[0]),
                "frontends": [plain.frontend(each) for each in service.frontends(viewer)],
                "backends": [plain.backend(each) for each in service.backends(viewer)],
            }
            for viewer in viewers
        ],
    }


def draw(paper: Paper, data: plain.Plain) -> None:
    """
    A block for the viewers that use the same backends.
    """
    alike: list[tuple[dict[str, Any], list[str]]] = []
    for view in data["views"]:
        for known, viewers in alike:
            if (known["has_service"], known["backends"]) == (view["has_service"], view["backends"]):
                viewers.append(view["seen_from"])
                break
        else:
            alike.append((view, [view["seen_from"]]))
    paper.title(f"{data['namespace']}/{data['name']}")
    for view, viewers in alike:
        used = view["backends"]
        paper.blank()
        who = ", ".join(viewers)
        if not view["has_service"]:
            paper.line(f"Seen from {who}: there is no Service of that name, so nothing can use it")
        elif not used:
            headless = "no frontend; addresses of a headless Service come from DNS"
            paper.line(f"Seen from {who}: {'no backend' if view['frontends'] else headless}")
        else:
            paper.line(f"Seen from {who}: {counted(len(used), 'backend')}")
            _table(paper, used)


def _table(paper: Paper, used: Sequence[dict[str, Any]]) -> None:
    by_node = any(each["nodes"] for each in used)
    head = (
        "CLUSTER",
        "BACKEND",
        "PROTOCOL",
        "PORT NAMES",
        "STATE",
        "WEIGHT",
        *(("NODES",) if by_node else ()),
    )
    paper.table(
        head,
        (
            (
                each["cluster"],
                place(each["address"], each["port"]),
                each["protocol"],
                ", ".join(each["port_names"]) or "-",
                each["state"],
                str(each["weight"]),
                *((", ".join(each["nodes"]) or "all",) if by_node else ()),
            )
            for each in used
        ),
        right=(5,),
    )

"""
`fleetmesh resolve`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetmesh.cli import options, plain
from fleetmesh.cli.loading import conclude, load
from fleetmesh.cli.output import Format, emit
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.mesh import Mode

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper

TYPES = ("A", "AAAA", "SRV")


@click.command("resolve")
@options.path
@click.argument("name", metavar="NAME")
@options.seen_from
@click.option(
    "--type",
    "kind",
    type=click.Choice(TYPES, case_sensitive=False),
    default="A",
    show_default=True,
    help="The type of the records.",
)
@options.common
def command(path: Path, name: str, seen_from: str | None, kind: str, form: Format, mode: Mode | None) -> int:
    """
    What a pod gets from DNS.

    NAME is a full name, such as cart.shop.svc.cluster.local or cart.shop.svc.clusterset.local.
    """
    mesh = load(path, mode)
    data = answer(mesh, name, kind, options.viewers(list(mesh.members), seen_from))
    emit(form, data, lambda paper: draw(paper, data))
    return conclude(mesh, path)


def answer(mesh: Mesh, name: str, kind: str, viewers: Sequence[str]) -> plain.Plain:
    """
    The answer that each viewer gets.
    """
    answers = []
    for viewer in viewers:
        found = mesh.resolve(name, seen_from=viewer, type=kind)
        answers.append(
            {
                "seen_from": viewer,
                "type": found.type,
                "code": found.code,
                "records": list(found.records),
                "reason": found.reason,
            }
        )
    return {"mesh": mesh.name, "name": name, "type": kind, "answers": answers}


def draw(paper: Paper, data: plain.Plain) -> None:
    """
    A block for the viewers that get the same answer.
    """
    alike: list[tuple[dict[str, Any], list[str]]] = []
    for found in data["answers"]:
        said = {key: value for key, value in found.items() if key != "seen_from"}
        known = next((viewers for each, viewers in alike if each == said), None)
        if known is None:
            alike.append((said, [found["seen_from"]]))
        else:
            known.append(found["seen_from"])
    paper.title(f"{data['name']} {data['type']}")
    for said, viewers in alike:
        paper.blank()
        paper.line(f"Seen from {', '.join(viewers)}: {said['code']}, {said['reason']}")
        for record in said["records"]:
            paper.line(f"{said['type']} {record}", indent=2)

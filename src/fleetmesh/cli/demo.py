"""
`fleetmesh demo`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import attrs
import click

from fleetmesh.cli import (
    backends,
    compare,
    exits,
    explain,
    findings,
    options,
    plain,
    resolve,
    services,
    status,
)
from fleetmesh.cli.examples import examples
from fleetmesh.cli.loading import load
from fleetmesh.cli.output import Format, emit
from fleetmesh.cli.whatif import Step as Change
from fleetmesh.cli.whatif import Target, carry_out
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.mesh import Mode

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper

    Draw: TypeAlias = Callable[[Paper, plain.Plain], None]


@attrs.frozen
class Step:
    """
    A question, the command that asks it, and the answer.
    """

    title: str
    command: str
    data: plain.Plain
    draw: Draw


@click.command("demo")
@options.common
def command(form: Format, mode: Mode | None) -> int:
    """
    The built-in example from end to end.

    Forms a mesh of three clusters from the manifests of a shop, shows who serves what for whom, lets a
    cluster fail under open connections, drains another, explains an answer and resolves a name. Nothing
    outside is touched.
    """
    folder = _shown(examples() / "shop")
    mesh = load(folder, mode)
    taken = list(steps(mesh, folder))
    data = {
        "example": str(folder),
        "steps": [{"title": step.title, "command": step.command, "result": step.data} for step in taken],
    }
    emit(form, data, lambda paper: _draw(paper, taken))
    return exits.DONE


def _shown(folder: Path) -> Path:
    """The path as one would type it here."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def steps(mesh: Mesh, folder: Path) -> Iterator[Step]:
    """
    What the demo shows, each worked out when it is asked for.
    """
    everybody = list(mesh.members)
    yield Step("Three clusters form a mesh", f"fleetmesh status {folder}", status.answer(mesh), status.draw)
    yield Step(
        "Who serves what, for whom",
        f"fleetmesh services {folder}",
        services.answer(mesh, everybody),
        services.draw,
    )
    yield _what_if(
        mesh, folder, "East fails: who takes over", Change("fail", "east"), "--fail east", traffic=True
    )
    yield _what_if(mesh, folder, "West is drained: what moves", Change("drain", "west"), "--drain west")
    cart = Target("shop", "cart", "north", "none")
    yield _what_if(
        mesh,
        folder,
        "North gives up its affinity",
        Change("affinity", cart),
        "--affinity shop/cart=none@north",
    )
    yield Step(
        "What serves the database",
        f"fleetmesh backends {folder} shop/orders-db",
        backends.answer(mesh, ("shop", "orders-db"), everybody),
        backends.draw,
    )
    yield Step(
        "Why north uses only its own cart",
        f"fleetmesh explain {folder} shop/cart --seen-from north",
        explain.answer(mesh, ("shop", "cart"), ["north"]),
        explain.draw,
    )
    name = "orders-db.shop.svc.cluster.local"
    yield Step(
        "What a pod gets from DNS",
        f"fleetmesh resolve {folder} {name}",
        resolve.answer(mesh, name, "A", everybody),
        resolve.draw,
    )
    yield Step(
        "What is worth telling",
        f"fleetmesh findings {folder}",
        findings.answer(mesh, mesh.findings),
        findings.draw,
    )


def _what_if(
    mesh: Mesh, folder: Path, title: str, change: Change, arguments: str, *, traffic: bool = False
) -> Step:
    other = mesh.fork()
    notes = carry_out([change], other)
    data = compare.answer(mesh, other, [str(change)], notes)
    data["traffic"] = compare.connections(mesh, [change]) if traffic else []
    flag = " --traffic" if traffic else ""
    return Step(title, f"fleetmesh compare {folder} {arguments}{flag}", data, compare.draw)


def _draw(paper: Paper, taken: list[Step]) -> None:
    for number, step in enumerate(taken, 1):
        if number > 1:
            paper.blank()
            paper.blank()
        paper.title(f"{number}. {step.title}")
        paper.verbatim(f"$ {step.command}", style="in")
        paper.blank()
        step.draw(paper, step.data)

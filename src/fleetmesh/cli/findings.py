"""
`fleetmesh findings`
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetmesh.cli import options, plain
from fleetmesh.cli.loading import code_of, load
from fleetmesh.cli.output import Format, emit
from fleetmesh.cli.progress import progress
from fleetmesh.cli.words import counted
from fleetmesh.findings import Finding
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.mesh import Mode

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper

SEVERITIES = ("error", "warning", "info")
_MARK = 7  # letters of the longest


@click.command("findings")
@options.path
@click.option(
    "--severity",
    type=click.Choice(SEVERITIES),
    default="info",
    show_default=True,
    help="Leave out what is less severe.",
)
@options.common
def command(path: Path, severity: str, form: Format, mode: Mode | None) -> int:
    """
    What is worth telling, the worst first.
    """
    mesh = load(path, mode)
    with progress("judging"):
        shown = worst(mesh.findings, severity)
    data = answer(mesh, shown)
    emit(form, data, lambda paper: draw(paper, data))
    return code_of(mesh.findings)


def worst(found: Iterable[Finding], severity: str) -> list[Finding]:
    """
    Those that are at least so severe.
    """
    wanted = SEVERITIES[: SEVERITIES.index(severity) + 1]
    return [each for each in found if each.severity in wanted]


def answer(mesh: Mesh, shown: Iterable[Finding]) -> plain.Plain:
    """
    Findings, and how many there are in all.
    """
    return {
        "mesh": mesh.name,
        "counts": plain.severities(mesh.findings),
        "findings": [plain.finding(each) for each in shown],
    }


def draw(paper: Paper, data: plain.Plain) -> None:
    """
    A block for each finding.
    """
    for each in data["findings"]:
        draw_one(paper, each)
    if data["findings"]:
        paper.blank()
    hidden = sum(data["counts"].values()) - len(data["findings"])
    count = counted(len(data["findings"]), "finding")
    paper.line(f"{count}{f', {hidden} less severe not shown' if hidden else ''}")


def draw_one(paper: Paper, found: dict[str, Any], mark: str = "") -> None:
    """
    A finding, with where it was read and what to do about it.
    """
    where = found["where"]
    # A file that can't be read at all has no line.
    at = "" if where is None else f"{where['file']}:{where['line']}" if where["line"] else where["file"]
    subject = found["subject"]
    if where is not None and subject in (where["file"], at):
        subject = Path(where["file"]).name  # all of the path stands below
    sentence = f"{subject}: {found['message']} ({found['code']})"
    paper.item(f"{mark or found['severity']:{_MARK}}", sentence, style=found["severity"])
    if at:
        paper.verbatim(f"at {at}", indent=_MARK + 2)
    if found["fix"] and found["severity"] != "info":
        paper.line(f"fix: {found['fix']}", indent=_MARK + 2)

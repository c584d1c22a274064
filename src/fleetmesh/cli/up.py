"""
`fleetmesh up`
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from fleetmesh.cli import compare, exits, flows, options, plain, services, status, traffic
from fleetmesh.cli.loading import code_of
from fleetmesh.cli.output import Format, emit
from fleetmesh.cli.progress import progress
from fleetmesh.cli.words import cell
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.baseline import Update
from fleetmesh.mesh.mesh import Mode
from fleetmesh.mesh.watch import DirectoryWatcher

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper

INTERVAL = 0.25  # seconds from one look at the files to the next


class Stopped(BaseException):
    """
    A signal asks to end. Raised wherever the program is, so that no long work delays the end.
    """


@click.command("up")
@options.path
@click.option("--once", is_flag=True, help="Print the state and end.")
@click.option(
    "--traffic/--no-traffic",
    "sampled",
    default=True,
    help="Send a sample of connections through the data path. [default: --traffic]",
)
@options.common
def command(path: Path, form: Format, mode: Mode | None, *, once: bool, sampled: bool) -> int:
    """
    Run a mesh: print its state, then say what each change moves.

    Ends with SIGINT or SIGTERM. A folder that vanishes and a file that can't be understood leave in force
    what they gave last, with a finding. JSON is one object a line, YAML one document each.
    """
    try:
        with _ending_on_signals():
            with progress(f"reading {path}"):
                watcher = DirectoryWatcher(path, mode=mode)
            sample = traffic.Sample(watcher.mesh) if sampled else None
            first = state(watcher.mesh, sample)
            heard = emit(form, first, lambda paper: draw_state(paper, first, path), stream=True)
            if once:
                return code_of(watcher.mesh.findings)
            while heard:
                time.sleep(INTERVAL)
                update = watcher.poll()
                if update is not None:
                    heard = _tell(watcher, update, form, sample)
    except Stopped:
        pass
    return exits.DONE


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the interpreter's signature
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each in before:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def state(mesh: Mesh, sample: traffic.Sample | None) -> plain.Plain:
    """
    The mesh as it is, and who serves a sample of connections.
    """
    return {
        "event": "state",
        **status.answer(mesh),
        "services": services.answer(mesh, list(mesh.members))["services"],
        "traffic": sample.look() if sample else [],
    }


def draw_state(paper: Paper, data: plain.Plain, path: Path) -> None:
    """
    The members, the services, and the number of findings.
    """
    status.draw(paper, data, path)
    paper.blank()
    members = [member["name"] for member in data["members"]]
    services.draw(paper, {**data, "members": members})
    if data["traffic"]:
        paper.blank()
        traffic.draw(paper, data["traffic"], members)


def _tell(watcher: DirectoryWatcher, update: Update, form: Format, sample: traffic.Sample | None) -> bool:
    data = change(watcher.mesh, update, sample)
    told = ("rows", "joined", "left", "new_findings", "settled_findings")
    if form == "table" and not any(data[key] for key in told) and not any(data["flows"].values()):
        return True
    return emit(form, data, lambda paper: draw_change(paper, data, watcher.path), stream=True)


def change(mesh: Mesh, update: Update, sample: traffic.Sample | None) -> plain.Plain:
    """
    What one look at the files brought.
    """
    return {
        "event": "change",
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "generation": mesh.generation,
        "files": list(update.files),
        "members": list(mesh.members),
        "joined": dict(update.joined),
        "left": list(update.left),
        "rows": [plain.comparison_row(each) for each in update.comparison],
        "flows": flows.answer(update.comparison.flows),
        "traffic": sample.look() if sample else [],
        "new_findings": [plain.finding(each) for each in update.new_findings],
        "settled_findings": [plain.finding(each) for each in update.settled],
    }


def draw_change(paper: Paper, data: plain.Plain, root: Path) -> None:
    """
    When, which files of the followed folder, and what moved.
    """
    paths = [Path(file) for file in data["files"] if Path(file) != root]
    at = datetime.fromisoformat(data["time"]).astimezone()
    paper.blank()
    files = [str(path.relative_to(root)) if path.is_relative_to(root) else path.name for path in paths]
    paper.title(f"{at:%H:%M:%S}  {cell(files[:4], len(files), 60)}")
    for name, number in data["joined"].items():
        paper.line(f"{name} joined with cluster id {number}.")
    for name in data["left"]:
        paper.line(f"{name} left.")
    compare.draw_rows(paper, data["rows"], data["members"])
    if data["traffic"]:
        paper.blank()
        traffic.draw(paper, data["traffic"], data["members"])
    if any(data["flows"].values()):
        paper.blank()
        flows.draw(paper, data["flows"])
    compare.draw_findings(paper, data)

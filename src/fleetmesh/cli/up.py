"""
`fleetmesh up`
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetmesh.cli import compare, exits, flows, options, plain, services, status, stores, traffic
from fleetmesh.cli.ending import Stopped, ending_on_signals
from fleetmesh.cli.loading import code_of
from fleetmesh.cli.output import Format, emit
from fleetmesh.cli.progress import progress
from fleetmesh.cli.stores import Stores
from fleetmesh.cli.words import cell
from fleetmesh.findings import Finding
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.baseline import Update
from fleetmesh.mesh.mesh import Mode
from fleetmesh.mesh.watch import DirectoryWatcher

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper

INTERVAL = 0.25  # seconds from one look at the files to the next


@click.command("up")
@options.optional_path
@click.option("--once", is_flag=True, help="Print the state and end.")
@click.option(
    "--traffic/--no-traffic",
    "sampled",
    default=True,
    help="Send a sample of connections through the data path. [default: --traffic]",
)
@stores.options
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to wait for stores before the state is printed. [default: 5, with --once 30]",
)
@options.common
def command(
    path: Path | None,
    form: Format,
    mode: Mode | None,
    *,
    stores: Stores,
    once: bool,
    sampled: bool,
    timeout: float | None,
) -> int:
    """
    Run a mesh: print its state, then say what each change moves.

    Ends with SIGINT or SIGTERM. A folder that vanishes and a file that can't be understood leave in force
    what they gave last, with a finding. JSON is one object a line, YAML one document each.

    With stores, several processes form one mesh: each publishes the members of its --only (all, if it says
    none) and hears the others. A store that is away is told, and what it said last stays in force. Without
    PATH, --clustermesh-config shows a mesh of Cilium's as it is, and writes nothing.
    """
    try:
        with ending_on_signals():
            if stores.given:
                from fleetmesh.cli import up_on_stores  # noqa: PLC0415 - only with stores

                patience = timeout if timeout is not None else 30.0 if once else 5.0
                return up_on_stores.serve(
                    path, form, mode, stores, once=once, sampled=sampled, patience=patience
                )
            if path is None:
                raise click.UsageError("Missing argument 'PATH'")
            with progress(f"reading {path}"):
                watcher = DirectoryWatcher(path, mode=mode, only=stores.only)
            stores.check(watcher.names, set(watcher.names).difference(watcher.outside))
            sample = traffic.Sample(watcher.mesh) if sampled else None
            first = state(watcher.mesh, sample)
            heard = emit(form, first, lambda paper: draw_state(paper, first, path), stream=True)
            if once:
                return code_of(watcher.mesh.findings)
            while heard:
                time.sleep(INTERVAL)
                update = watcher.poll()
                if update is not None:
                    if sample is not None:
                        sample = sample.of(watcher.mesh)
                    heard = _tell(watcher, update, form, sample)
    except Stopped:
        pass
    return exits.DONE


def state(mesh: Mesh, sample: traffic.Sample | None, more: Iterable[Finding] = ()) -> plain.Plain:
    """
    The mesh as it is, and who serves a sample of connections.

    Args:
        more: Findings that aren't the mesh's own.
    """
    return {
        "event": "state",
        **status.answer(mesh, more),
        "services": services.answer(mesh, list(mesh.members))["services"],
        "traffic": sample.look() if sample else [],
    }


def draw_state(paper: Paper, data: plain.Plain, path: Path | None = None) -> None:
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
    if form == "table" and not moves(data):
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


def moves(data: plain.Plain) -> bool:
    """
    Whether a change is more than files that are different.
    """
    told = ("rows", "joined", "left", "new_findings", "settled_findings")
    return any(data[key] for key in told) or any(data["flows"].values())


def draw_change(paper: Paper, data: plain.Plain, root: Path | None) -> None:
    """
    When, which files of the followed folder, and what moved.
    """
    paths = [Path(file) for file in data["files"] if Path(file) != root]
    at = datetime.fromisoformat(data["time"]).astimezone()
    paper.blank()
    files = [
        str(path.relative_to(root)) if root is not None and path.is_relative_to(root) else path.name
        for path in paths
    ]
    paper.title(f"{at:%H:%M:%S}  {cell(files[:4], len(files), 60)}".rstrip())
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

"""
`fleetmesh compare`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetmesh.cli import findings, flows, options, plain, traffic
from fleetmesh.cli.loading import code_of, conclude, load
from fleetmesh.cli.output import Format, emit
from fleetmesh.cli.progress import progress
from fleetmesh.cli.whatif import AffinityType, InOrder, Step, TargetType, carry_out, steps_of
from fleetmesh.cli.words import cell, counted, counts, listed, shares
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.mesh import Mode

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper

_LEAST_EXCESS = 0.0005  # of a table; less is shown as 0.0%


@click.command("compare", cls=InOrder)
@options.path
@click.option("--with", "other", type=options.PATH, metavar="PATH", help="Compare with what is there.")
@click.option("--drain", multiple=True, metavar="CLUSTER", help="Take away its backends; its clients go on.")
@click.option("--fail", multiple=True, metavar="CLUSTER", help="Cut it off, once its records are withdrawn.")
@click.option("--share", multiple=True, type=TargetType(), help="Make it global and shared.")
@click.option("--unshare", multiple=True, type=TargetType(), help="Keep its backends at home.")
@click.option("--affinity", multiple=True, type=AffinityType(), help="Prefer local, remote or none.")
@click.option("--traffic", "sampled", is_flag=True, help="Say also what becomes of open connections.")
@options.common
@click.pass_context
def command(
    ctx: click.Context,
    /,
    path: Path,
    other: Path | None,
    form: Format,
    mode: Mode | None,
    *,
    sampled: bool,
    **_: object,
) -> int:
    """
    What would move if something were different.

    Either another folder (--with), or changes tried on a copy, one after the other in the order given.
    Shown is for each service and viewer who gets which part of new connections, before and after all; and
    which flows policies allow or refuse that they did not before, with the rule responsible.
    """
    changes = steps_of(ctx)
    if bool(other) == bool(changes):
        raise click.UsageError(
            "give either --with PATH, or changes: --drain, --fail, --share, --unshare, --affinity"
        )
    if other and sampled:
        raise click.UsageError("--traffic goes with changes, not with --with: connections stay in one mesh")
    before = load(path, mode)
    after = load(other, before.mode) if other else before.fork()
    notes = carry_out(changes, after)
    with progress("comparing"):
        data = answer(before, after, [str(each) for each in changes] or [f"with {other}"], notes)
        data["traffic"] = connections(before, changes) if sampled else []
    emit(form, data, lambda paper: draw(paper, data))
    # What a change brings is shown above; what was wrong before is told where to find.
    codes = [conclude(before, path)]
    codes.append(conclude(after, other) if other else code_of(after.findings))
    return max(codes)


def answer(before: Mesh, after: Mesh, changes: Sequence[str], notes: Sequence[str] = ()) -> plain.Plain:
    """
    What differs, and which findings come and go.
    """
    had, has = before.findings, after.findings
    comparison = before.compare(after)
    return {
        "mesh": before.name,
        "members": list(dict.fromkeys([*before.members, *after.members])),
        "changes": list(changes),
        "notes": list(notes),
        "blind": [name for name in before.members if _sees(before, name) and not _sees(after, name)],
        "rows": [plain.comparison_row(each) for each in comparison],
        "flows": flows.answer(comparison.flows),
        "new_findings": [plain.finding(each) for each in has if each not in had],
        "settled_findings": [plain.finding(each) for each in had if each not in has],
    }


def connections(before: Mesh, changes: Sequence[Step]) -> list[plain.Plain]:
    """
    What becomes of a sample of connections that are open while the changes are made.
    """
    fork = before.fork()
    sample = traffic.Sample(fork)
    sample.look()
    carry_out(changes, fork)
    return sample.look()


def _sees(mesh: Mesh, name: str) -> bool:
    return name in mesh.members and not mesh.members[name].failed


def draw(paper: Paper, data: plain.Plain) -> None:
    """
    What was changed, what moves, and what is to be said about it.
    """
    paper.title(f"{data['mesh']}: {', '.join(data['changes'])}")
    for note in data["notes"]:
        paper.item("note", note)
    paper.blank()
    if data["blind"]:
        paper.line(f"{', '.join(data['blind'])}: cut off or gone, sees nothing; not listed below.")
        paper.blank()
    draw_rows(paper, [row for row in data["rows"] if row["viewer"] not in data["blind"]], data["members"])
    if data["traffic"]:
        paper.blank()
        traffic.draw(paper, data["traffic"], data["members"])
    if any(data["flows"].values()):
        paper.blank()
        flows.draw(paper, data["flows"])
    draw_findings(paper, data)


def draw_rows(paper: Paper, rows: Sequence[dict[str, Any]], members: Sequence[str]) -> None:
    """
    One row for a service and the viewers for whom the same moves, and one line that sums up.

    MOVED is the part of the Maglev table that leads elsewhere; below it, what of that need not have moved.
    """
    if not rows:
        paper.line("No service moves.")
        return
    alike: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        before, after = _outcome(row, "before"), _outcome(row, "after")
        key = (f"{row['namespace']}/{row['name']}", before, after, _backends(row), _table(row))
        alike.setdefault(key, []).append(row["viewer"])
    paper.table(
        ("SERVICE", "SEEN FROM", "BEFORE", "AFTER", "BACKENDS", "MOVED"),
        ((service, listed(viewers, members), *rest) for (service, *rest), viewers in alike.items()),
    )
    paper.blank()
    _draw_sum(paper, rows)


def _outcome(row: dict[str, Any], when: str) -> str:
    if row["status"] == {"before": "appeared", "after": "disappeared"}[when]:
        return "no service"
    # Nobody on both sides: a headless Service, or one that is without backends anyway.
    silent = not row["share_before"] and not row["share_after"]
    return shares(row[f"share_{when}"]) or ("-" if silent else "nobody")


def _table(row: dict[str, Any]) -> str:
    """What moves of the table, and the excess where it is not next to nothing; `-`: can't be compared."""
    moved, excess = row["table_moved"], row["table_excess"]
    if moved is None:
        return "-"
    return f"{moved:.0%}" + (f"\n+{excess:.1%}" if excess >= _LEAST_EXCESS else "")


def _backends(row: dict[str, Any]) -> str:
    parts = [
        f"{sign}{number} {cluster}"
        for sign, name in (("+", "backends_in"), ("-", "backends_out"))
        for cluster, number in counts(each["cluster"] for each in row[name]).items()
    ]
    if parts:
        return cell(parts)
    return "frontends differ" if row["frontends_in"] or row["frontends_out"] else "same"


def _draw_sum(paper: Paper, rows: Sequence[dict[str, Any]]) -> None:
    services = len({(row["namespace"], row["name"]) for row in rows})
    viewers = len({row["viewer"] for row in rows})
    paper.line(f"{counted(services, 'service')} moved, seen from {counted(viewers, 'cluster')}.")
    lost = [
        row for row in rows if row["status"] == "changed" and row["share_before"] and not row["share_after"]
    ]
    for name in dict.fromkeys(f"{row['namespace']}/{row['name']}" for row in lost):
        there = [row["viewer"] for row in lost if f"{row['namespace']}/{row['name']}" == name]
        paper.line(f"Left without any backend: {name} in {', '.join(there)}.", style="error")


def draw_findings(paper: Paper, data: plain.Plain) -> None:
    """
    The findings that come, and those that go; not those of severity info, which ask for nothing.
    """
    come = [each for each in data["new_findings"] if each["severity"] != "info"]
    about = {(each["code"], each["subject"]) for each in data["new_findings"]}
    gone = [
        each
        for each in data["settled_findings"]
        if each["severity"] != "info" and (each["code"], each["subject"]) not in about
    ]
    if come or gone:
        paper.blank()
    for each in come:
        findings.draw_one(paper, each)
    for each in gone:
        paper.item("settled", f"{each['subject']}: {each['message']} ({each['code']})", style="in")

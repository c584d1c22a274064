"""
`fleetmesh doctor`
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetmesh.cli import exits, options, plain, stores
from fleetmesh.cli.output import Format, emit
from fleetmesh.cli.progress import progress
from fleetmesh.cli.stores import Stores
from fleetmesh.cli.words import counted
from fleetmesh.mesh.mesh import Mode

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper
    from fleetmesh.state.connection_file import EtcdConnection
    from fleetmesh.state.doctor import Check, Target
    from fleetmesh.state.doctor.x509 import Certificate

_MARK = 7  # letters of the longest outcome


@click.command("doctor")
@options.optional_path
@stores.options
@options.common
def command(path: Path | None, form: Format, mode: Mode | None, *, stores: Stores) -> int:
    """
    What keeps the stores of a mesh from being heard.

    Looks at each server of each store: its name, the way to it, TLS, who may connect, what it holds and
    what the user may do. Nothing is written. PATH, if given, says which clusters there are, and --only
    which of them this process would publish. Ends with 1 if a check fails.
    """
    if not stores.given:
        raise click.UsageError("nothing to look at: give --store or --clustermesh-config")
    with progress("asking the stores"):
        data = answer(path, mode, stores)
    emit(form, data, lambda paper: draw(paper, data))
    return exits.FINDING if data["counts"]["error"] else exits.DONE


def answer(path: Path | None, mode: Mode | None, given: Stores) -> plain.Plain:
    """
    All checks of all stores.
    """
    from fleetmesh.state.clock import SystemClock  # noqa: PLC0415 - only when it runs
    from fleetmesh.state.doctor import examine  # noqa: PLC0415

    files = given.follow_directory()
    in_files = {} if files is None else files.connections.clusters
    targets = list(_targets(given, _members(path, mode, given), in_files))
    clock = SystemClock()

    async def looked_at() -> list[tuple[Check, ...]]:
        return await asyncio.gather(
            *(examine(target, clock, open_store=stores.open_store) for target in targets)
        )

    found = asyncio.run(looked_at())
    counted_outcomes = Counter(check.outcome for checks in found for check in checks)
    return {
        "counts": {each: counted_outcomes[each] for each in ("ok", "warning", "error", "skipped")},
        "stores": [
            {
                "clusters": list(target.clusters),
                "endpoints": list(target.connection.endpoints),
                "checks": [_check(check) for check in checks],
            }
            for target, checks in zip(targets, found, strict=True)
        ],
        "findings": [] if files is None else [plain.finding(each) for each in files.connections.findings],
    }


def _members(path: Path | None, mode: Mode | None, given: Stores) -> tuple[str, ...]:
    """Names of the clusters of a directory, after a look at whether the options name them."""
    if path is None:
        if given.only:
            raise click.UsageError("--only names members of PATH, which is missing")
        return ()
    from fleetmesh.cli.loading import load  # noqa: PLC0415 - it loads the mesh

    names = tuple(load(path, mode, given.only or frozenset()).members)
    given.check(names, names)
    return names


def _targets(given: Stores, names: Sequence[str], files: Mapping[str, EtcdConnection]) -> Iterator[Target]:
    from fleetmesh.state.doctor import Target  # noqa: PLC0415 - only when it runs

    own = given.only or frozenset()
    if given.shared is not None:
        yield Target(connection=given.shared, clusters=tuple(names), published=own)
    for name, connection in {**files, **given.single}.items():
        yield Target(connection=connection, clusters=(name,), published=own & {name})


def _check(check: Check) -> plain.Plain:
    return {
        "name": check.name,
        "subject": check.subject,
        "outcome": check.outcome,
        "seen": check.seen,
        "todo": check.todo,
        "details": list(check.details),
        "certificates": [_certificate(each) for each in check.certificates],
    }


def _certificate(found: Certificate) -> plain.Plain:
    return {
        "subject": found.subject,
        "issuer": found.issuer,
        "serial": found.serial,
        "not_before": found.not_before.isoformat(),
        "not_after": found.not_after.isoformat(),
        "names": list(found.names),
        "subject_key": found.subject_key,
        "authority_key": found.authority_key,
        "authority": found.authority,
    }


def draw(paper: Paper, data: plain.Plain) -> None:
    """
    Store by store, what each check brought.
    """
    from fleetmesh.cli.findings import draw_one  # noqa: PLC0415 - it loads the mesh

    for store in data["stores"]:
        paper.title(f"{', '.join(store['clusters']) or 'Store'}: {', '.join(store['endpoints'])}")
        subject = ""
        for check in store["checks"]:
            if check["subject"] != subject:
                subject = check["subject"]
                paper.verbatim(subject, indent=2)
            _draw_check(paper, check)
        paper.blank()
    for found in data["findings"]:
        draw_one(paper, found)
    counts = data["counts"]
    said = [f"{counts['ok']} ok"]
    said += (counted(counts[each], each) for each in ("warning", "error") if counts[each])
    said += [f"{counts['skipped']} skipped"] if counts["skipped"] else []
    paper.line(f"{counted(sum(counts.values()), 'check')}: {', '.join(said)}")


def _draw_check(paper: Paper, check: dict[str, Any]) -> None:
    outcome = check["outcome"]
    mark = {"ok": "in"}.get(outcome, outcome)
    paper.item(f"{outcome:{_MARK}}", f"{check['name']}: {check['seen']}", indent=4, style=mark)
    for line in check["details"]:
        paper.verbatim(line, indent=_MARK + 6)
    if outcome != "ok":
        for each in check["certificates"]:
            paper.verbatim(_line_of(each), indent=_MARK + 6)
    if check["todo"]:
        paper.line(f"do: {check['todo']}", indent=_MARK + 6)


def _line_of(found: dict[str, Any]) -> str:
    names = f", for {', '.join(found['names'])}" if found["names"] else ""
    return f"{found['subject']} by {found['issuer']}, until {found['not_after'][:10]}{names}"

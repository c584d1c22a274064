"""
`fleetmesh explain`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetmesh.cli import options, plain
from fleetmesh.cli.loading import conclude, load
from fleetmesh.cli.output import Format, emit
from fleetmesh.cli.words import place
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.mesh import Mode

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper

_MARKS = {(True, True): "in", (True, False): "idle"}


@click.command("explain")
@options.path
@click.argument("service", type=options.ServiceName(), metavar="NAMESPACE/NAME")
@options.seen_from
@options.common
def command(
    path: Path, service: tuple[str, str], seen_from: str | None, form: Format, mode: Mode | None
) -> int:
    """
    Why a cluster uses the backends that it uses.

    Every candidate of every cluster is in (it takes new connections), idle (selected, but takes none) or
    out, with the rule that decided and what would change it.
    """
    mesh = load(path, mode)
    data = answer(mesh, service, options.viewers(list(mesh.members), seen_from))
    emit(form, data, lambda paper: draw(paper, data))
    return conclude(mesh, path)


def answer(mesh: Mesh, name: tuple[str, str], viewers: Sequence[str]) -> plain.Plain:
    """
    An explanation for each viewer.

    Raises:
        NotFoundError: No member has the service.
    """
    service = mesh.service(*name)
    return {
        "mesh": mesh.name,
        "namespace": name[0],
        "name": name[1],
        "explanations": [_plain(viewer, service.explain(viewer).to_json()) for viewer in viewers],
    }


def _plain(viewer: str, values: dict[str, Any]) -> plain.Plain:
    """Without what stands above already."""
    return {"seen_from": viewer, **{key: values[key] for key in ("frontends", "candidates", "silent")}}


def draw(paper: Paper, data: plain.Plain) -> None:
    """
    For each viewer a block for each frontend: candidates that one rule decided alike stand together.
    """
    for index, each in enumerate(data["explanations"]):
        if index:
            paper.blank()
        paper.title(f"{data['namespace']}/{data['name']} seen from {each['seen_from']}")
        for frontend in each["frontends"] or (None,):
            if frontend is not None:
                paper.line(_name(frontend), indent=2)
            _draw_frontend(paper, each["candidates"], frontend)
        _draw_silent(paper, each)


def _draw_frontend(
    paper: Paper, candidates: Sequence[dict[str, Any]], frontend: dict[str, Any] | None
) -> None:
    told: dict[tuple[str, str, str, str, str], list[str]] = {}
    for candidate in candidates:
        for verdict in candidate["verdicts"]:
            if verdict["frontend"] == frontend:
                mark = _MARKS.get((verdict["selected"], verdict["in_use"]), "out")
                key = (mark, candidate["cluster"], verdict["sentence"], verdict["rule"], verdict["fix"])
                told.setdefault(key, []).append(_where(candidate))
    for (mark, cluster, sentence, rule, fix), places in told.items():
        paper.item(f"{mark:4}", f"{cluster} {', '.join(places)}: {sentence} ({rule})", indent=4, style=mark)
        if mark != "in":
            _draw_fix(paper, fix)


def _draw_silent(paper: Paper, explanation: dict[str, Any]) -> None:
    told: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for silence in explanation["silent"]:
        sentence = silence["sentence"] if silence["rule"] != "not-heard" else ""
        told.setdefault((silence["rule"], sentence), []).append(silence)
    for (rule, sentence), alike in told.items():
        names = ", ".join(silence["cluster"] for silence in alike)
        why = sentence or f"{explanation['seen_from']} does not hear it"
        paper.item("none", f"of {names}: {why} ({rule})", indent=4)
        fixes = {silence["fix"] for silence in alike}
        if len(fixes) == 1:
            _draw_fix(paper, fixes.pop())


def _draw_fix(paper: Paper, fix: str) -> None:
    if fix:
        paper.line(f"fix: {fix}", indent=10)


def _where(candidate: dict[str, Any]) -> str:
    state = "" if candidate["state"] == "active" else f" {candidate['state']}"
    nodes = f" on {', '.join(candidate['nodes'])}" if candidate["nodes"] else ""
    return f"{place(candidate['address'], candidate['port'])}{state}{nodes}"


def _name(frontend: dict[str, Any]) -> str:
    words = [
        frontend["type"],
        f"{place(frontend['address'], frontend['port'])}/{frontend['protocol']}",
        frontend["port_name"],
        "internal" if frontend["scope"] == "internal" else "",
    ]
    return " ".join(word for word in words if word)

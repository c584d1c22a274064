"""
`fleetmesh status`
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetmesh.cli import options, plain, stores
from fleetmesh.cli.loading import code_of, load
from fleetmesh.cli.output import Format, emit
from fleetmesh.cli.stores import Stores
from fleetmesh.cli.words import counted, listed
from fleetmesh.findings import Finding
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.mesh import Mode

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper


@click.command("status")
@options.optional_path
@stores.options
@options.timeout(30)
@options.common
def command(path: Path | None, form: Format, mode: Mode | None, *, stores: Stores, timeout: float) -> int:
    """
    The members of a mesh, and how many findings there are.

    With --store or --clustermesh-config also what is heard of each cluster, as `cilium-dbg status --verbose`
    tells it; nothing is written. The members of --only are read from PATH and compared with what their
    stores have; without --only all are heard.
    """
    if stores.given:
        from fleetmesh.cli.status_on_stores import look  # noqa: PLC0415 - only with stores

        return look(path, form, mode, stores, timeout)
    if path is None:
        raise click.UsageError("Missing argument 'PATH'")
    mesh = load(path, mode, stores.only)
    stores.check(list(mesh.members), [name for name, member in mesh.members.items() if not member.outside])
    data = answer(mesh)
    emit(form, data, lambda paper: draw(paper, data, path))
    return code_of(mesh.findings)


def answer(mesh: Mesh, more: Iterable[Finding] = ()) -> plain.Plain:
    """
    The mesh and its members in numbers.

    Args:
        more: Findings that aren't the mesh's own.
    """
    return {
        "mesh": mesh.name,
        "mode": mesh.mode,
        "topology": plain.topology(mesh.topology),
        "max_connected_clusters": mesh.max_connected_clusters,
        "generation": mesh.generation,
        "members": [_member(mesh, name) for name in mesh.members],
        "findings": plain.severities((*mesh.findings, *more)),
    }


def _member(mesh: Mesh, name: str) -> plain.Plain:
    member, view = mesh.members[name], mesh.viewpoint()
    services = mesh.services(name)
    number = member.cluster_id
    return {
        "name": name,
        "id": number,
        "labels": dict(member.labels),
        "services": len(services),
        "exported": sum(view.snapshot.record(number, *service) is not None for service in services),
        "pods": len(member.pods),
        "nodes": sum(kind == "Node" for kind, _, _ in member.resources),
        "hears": [view.names[other] for other in view.snapshot.hears(number)],
        "pod_ranges": list(member.ranges.pod_cidrs),
        "service_ranges": list(member.ranges.service_cidrs),
        "node_ranges": list(member.ranges.node_cidrs),
        "drained": member.drained,
        "failed": member.failed,
    }


def draw(paper: Paper, data: plain.Plain, path: Path | None = None) -> None:
    """
    One row a member. `path` is where the findings can be asked for.
    """
    members, found = data["members"], data["findings"]
    topology = {
        "full": "all hear each other",
        "pairs": "pairs of them hear each other" if data["topology"]["pairs"] else "none hears another",
        "hub": f"{data['topology']['hub']} is the hub",
    }
    who = f", {topology[data['topology']['kind']]}" if len(members) > 1 else ""
    paper.title(f"Mesh {data['mesh']}: {counted(len(members), 'cluster')}{who}, mode {data['mode']}")
    paper.blank()
    names = [member["name"] for member in members]
    paper.table(
        ("CLUSTER", "ID", "SERVICES", "EXPORTED", "PODS", "NODES", "HEARS", "POD RANGES"),
        (
            (
                member["name"],
                str(member["id"]),
                str(member["services"]),
                str(member["exported"]),
                str(member["pods"]),
                str(member["nodes"]),
                listed(member["hears"], [name for name in names if name != member["name"]]),
                ", ".join(member["pod_ranges"]),
            )
            for member in members
        ),
        right=range(1, 6),
    )
    paper.blank()
    parts = [counted(found[each], each) for each in ("error", "warning") if found[each]]
    parts += [f"{found['info']} info"] if found["info"] else []
    hint = f"; see: fleetmesh findings {path}" if path is not None and parts else ""
    paper.verbatim(f"Findings: {', '.join(parts) or 'none'}{hint}")

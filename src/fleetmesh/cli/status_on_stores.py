"""
`fleetmesh status` of a mesh on stores: heard for a moment, with nothing written.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from fleetmesh.cli import exits, plain, remotes, status
from fleetmesh.cli.connected import Connected
from fleetmesh.cli.ending import run_alone
from fleetmesh.cli.loading import code_of, load
from fleetmesh.cli.output import Format, emit
from fleetmesh.cli.progress import progress
from fleetmesh.cli.stores import Stores
from fleetmesh.errors import StoreDeniedError, StoreError
from fleetmesh.findings import finding
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.mesh import Mode
from fleetmesh.state.addresses import contested_addresses
from fleetmesh.state.live import Live, run
from fleetmesh.state.published import published
from fleetmesh.state.staleness import stale_services

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper
    from fleetmesh.state.remote_status import RemoteStatus

_LOOKING = 0.05  # seconds


def look(path: Path | None, form: Format, mode: Mode | None, options: Stores, timeout: float) -> int:
    """
    Hear all clusters of other processes until each is ready or in trouble, but no longer than `timeout`
    seconds, and print what is known then.
    """
    mesh = mesh_of(path, mode, attrs.evolve(options, only=options.only or frozenset()))
    own = [name for name, member in mesh.members.items() if not member.outside]
    files = options.follow_directory()
    connected = Connected(options, files, lambda: own)
    options.check(list(mesh.members), own, connected.names_of_files())
    with progress("hearing the clusters"):
        data, code = run_alone(_answer(mesh, connected, timeout))
    emit(form, data, lambda paper: draw(paper, data))
    return code


def mesh_of(path: Path | None, mode: Mode | None, options: Stores) -> Mesh:
    """
    The mesh of a directory, or one that has only what is heard.

    Raises:
        click.UsageError: There is neither a directory nor a folder of connection files.
    """
    if path is not None:
        return load(path, mode, options.only)
    check_without_path(options)
    assert options.directory is not None
    return Mesh(options.directory.resolve().name or "mesh", mode=mode or "cilium")


def check_without_path(options: Stores) -> None:
    """
    Raises:
        click.UsageError: What is given needs a directory of manifests.
    """
    if options.directory is None:
        raise click.UsageError("Missing argument 'PATH'")
    given = [name for name, there in (("--store", options.single), ("--only", options.only)) if there]
    if given:
        raise click.UsageError(f"{' and '.join(given)} name members of PATH, which is missing")


async def _answer(mesh: Mesh, connected: Connected, patience: float) -> tuple[plain.Plain, int]:
    outside = [name for name, member in mesh.members.items() if member.outside]
    async with connected, run(mesh, store=connected.to_hear([*outside, *connected.heard_by_files()])) as live:
        try:
            async with asyncio.timeout(patience):
                while not all(map(_settled, live.remotes.values())):  # noqa: ASYNC110 - nobody tells of all of it
                    await asyncio.sleep(_LOOKING)
        except TimeoutError:
            pass  # what isn't ready then is shown as it is
        return await _look(mesh, connected, live)


def _settled(found: RemoteStatus) -> bool:
    """Whether waiting longer would most likely tell nothing else."""
    return found.failures > 0 or found.phase in {"ready", "stale", "waiting", "rejected", "conflict"}


async def _look(mesh: Mesh, connected: Connected, live: Live) -> tuple[plain.Plain, int]:
    found = live.remotes
    more = [*live.store_findings, *connected.findings, *contested_addresses(mesh.viewpoint())]
    own = [name for name, member in mesh.members.items() if not member.outside]
    heard = [remotes.remote(each, connected.connection(name)) for name, each in found.items()]
    compared = []
    looked_at = connected.to_hear(own)
    for name, store in looked_at.items():
        try:
            there = await published(
                store, mesh.viewpoint(), name, cached=connected.options.shared is not None
            )
        except StoreError as error:
            code = "store-denied" if isinstance(error, StoreDeniedError) else "store-unavailable"
            message = f"what is published of it can't be seen: {error}"
            more.append(finding(code, f"Cluster {name}", message))
        else:
            compared.append(remotes.compared(name, there))
    data = {
        **status.answer(mesh, more),
        "remotes": heard,
        "published": compared,
        "stale_services": [remotes.stale(each) for each in stale_services(mesh, found)],
        "store_findings": [plain.finding(each) for each in more],
        "connectivity": remotes.connectivity(mesh, heard, more),
    }
    ready = all(each["ready"] for each in heard) and len(compared) == len(looked_at)
    return data, code_of((*mesh.findings, *more)) if ready else exits.FINDING


def draw(paper: Paper, data: plain.Plain) -> None:
    """
    The members, each remote cluster with all that is known of its connection, and what is stale.
    """
    status.draw(paper, data)
    paper.blank()
    remotes.draw_table(paper, data["remotes"])
    for each in data["remotes"]:
        paper.blank()
        remotes.draw_details(paper, each)
    if data["published"]:
        paper.blank()
        remotes.draw_compared(paper, data["published"])
    remotes.draw_stale(paper, data["stale_services"], [each["name"] for each in data["members"]])
    remotes.draw_findings(paper, data["store_findings"])

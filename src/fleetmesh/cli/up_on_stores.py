"""
`fleetmesh up` of a mesh on stores: its own members are published, the others heard.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from fleetmesh.cli import exits, plain, remotes, traffic, up
from fleetmesh.cli.connected import Connected
from fleetmesh.cli.ending import cancelled_by_signals, run_alone
from fleetmesh.cli.loading import code_of
from fleetmesh.cli.output import Format, emit
from fleetmesh.cli.progress import progress
from fleetmesh.cli.status_on_stores import check_without_path
from fleetmesh.cli.stores import Stores
from fleetmesh.findings import Finding
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.baseline import Baseline
from fleetmesh.mesh.mesh import Mode
from fleetmesh.mesh.watch import DirectoryWatcher
from fleetmesh.state.addresses import contested_addresses
from fleetmesh.state.live import Live, run

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper
    from fleetmesh.state.publication_status import PublicationStatus
    from fleetmesh.state.remote_status import RemoteStatus

LOOKING = 5.0
"""Seconds after which findings are looked at even if nothing seems to have happened."""

RESTING = 3.0
"""How many times as long as it took to tell a change nothing is told then."""


def serve(
    path: Path | None,
    form: Format,
    mode: Mode | None,
    options: Stores,
    *,
    once: bool,
    sampled: bool,
    patience: float,
) -> int:
    """
    Run until a signal comes or nobody reads any more, or print the state `once`.

    Args:
        patience: Seconds to wait for stores before the state is printed.
    """
    watcher: DirectoryWatcher | None = None
    if path is None:
        check_without_path(options)
        assert options.directory is not None
        mesh = Mesh(options.directory.resolve().name or "mesh", mode=mode or "cilium")
    else:
        with progress(f"reading {path}"):
            watcher = DirectoryWatcher(path, mode=mode, only=options.only)
        mesh = watcher.mesh
    process = _Process(watcher, mesh, options, form, sampled=sampled)
    if watcher is not None:
        options.check(watcher.names, process.own(), process.connected.names_of_files())
    return run_alone(process.serve(patience, once=once))


@attrs.frozen
class _Told:
    """
    What has been told.

    Attributes:
        baseline: The state of the mesh.
        phases: Cluster -> the phase that it was in.
        findings: About stores. Of two of a kind about one cluster only the first is told: most have an age.
    """

    baseline: Baseline
    remotes: dict[str, str]
    publications: dict[str, str]
    findings: dict[tuple[str, str], Finding]


@attrs.define(eq=False)
class _Process:
    """What runs: a directory or an empty mesh, on its stores."""

    watcher: DirectoryWatcher | None
    _mesh: Mesh
    options: Stores
    form: Format
    sampled: bool = attrs.field(kw_only=True)
    connected: Connected = attrs.field(init=False)
    _sample: traffic.Sample | None = attrs.field(default=None, init=False)
    _told: _Told | None = attrs.field(default=None, init=False)
    _files: list[str] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.connected = Connected(self.options, self.options.follow_directory(), self.own)
        self._sample = traffic.Sample(self.mesh) if self.sampled else None

    @property
    def mesh(self) -> Mesh:
        return self._mesh if self.watcher is None else self.watcher.mesh

    @property
    def root(self) -> Path | None:
        return None if self.watcher is None else self.watcher.path

    def own(self) -> set[str]:
        """Names of the clusters that this process runs."""
        return set() if self.watcher is None else set(self.watcher.names).difference(self.watcher.outside)

    async def serve(self, patience: float, *, once: bool) -> int:
        task = asyncio.current_task()
        assert task is not None
        with cancelled_by_signals(task) as asked:
            try:
                async with self.connected:
                    while True:
                        code = await self._serve(patience, once=once)
                        if code is not None:
                            return code
            except asyncio.CancelledError:
                if not asked():
                    raise
                return exits.DONE

    async def _serve(self, patience: float, *, once: bool) -> int | None:
        """As long as it is the same mesh; `None` once another has taken its place."""
        mesh, on = self.mesh, self.connected.to_run()
        if isinstance(on, dict):
            for name in [name for name, each in mesh.members.items() if each.outside and name not in on]:
                mesh.leave(name)  # as when its connection file went
        async with run(mesh, store=on) as live:
            late = not await _synced(live, patience)
            if self._told is None:
                heard = await self._begin(live)
                if once:
                    return self._conclude(live, late=late)
                if not heard:
                    return exits.DONE
            return await self._follow(live)

    def _conclude(self, live: Live, *, late: bool) -> int:
        if late:
            waiting = (
                f"{name} is {phase}" for name, phase in live.phases if phase not in {"ready", "written"}
            )
            click.echo(f"fleetmesh: not all is heard and published: {', '.join(waiting)}", err=True)
            return exits.FINDING
        return code_of((*self.mesh.findings, *live.findings, *self.connected.findings))

    async def _follow(self, live: Live) -> int | None:
        rest = up.INTERVAL
        seen: tuple[Any, ...] = ()
        looked = time.monotonic()
        while True:
            await asyncio.sleep(rest)
            rest = up.INTERVAL
            if self.watcher is not None:
                self._files += await asyncio.to_thread(self.watcher.refresh)
                if self.watcher.mesh is not live.mesh:
                    return None
            moved = await self.connected.follow(live)
            state, begun = (live.mesh.generation, live.phases), time.monotonic()
            if not (moved or self._files or state != seen or begun - looked > LOOKING):
                continue
            seen, looked = state, begun
            if not await self._tell(live):
                return exits.DONE
            rest = max(rest, RESTING * (time.monotonic() - begun))

    # Telling. What takes time is done in another thread, so that the stores are listened to meanwhile.

    async def _begin(self, live: Live) -> bool:
        found, published, said = live.remotes, live.publications, self._said(live)
        return await asyncio.to_thread(self._tell_state, found, published, said)

    def _tell_state(
        self,
        found: Mapping[str, RemoteStatus],
        published: Mapping[str, PublicationStatus],
        said: list[Finding],
    ) -> bool:
        baseline = Baseline(self.mesh)
        said = [*said, *contested_addresses(baseline.mesh.viewpoint())]
        self._told = _Told(baseline, _phases(found), _phases(published), _by_subject(said))
        data = up.state(baseline.mesh, self._sample, said)
        data["remotes"] = [self._remote(each) for each in found.values()]
        data["publications"] = [remotes.publication(name, each) for name, each in published.items()]
        data["store_findings"] = [plain.finding(each) for each in said]
        return emit(self.form, data, lambda paper: draw_state(paper, data), stream=True)

    async def _tell(self, live: Live) -> bool:
        found, published, said = live.remotes, live.publications, self._said(live)
        files, self._files = self._files, []
        return await asyncio.to_thread(self._tell_change, found, published, said, files)

    def _tell_change(
        self,
        found: Mapping[str, RemoteStatus],
        published: Mapping[str, PublicationStatus],
        said: list[Finding],
        files: list[str],
    ) -> bool:
        before = self._told
        assert before is not None
        update, baseline = before.baseline.until(self.mesh, sorted(set(files)))
        said = [*said, *contested_addresses(baseline.mesh.viewpoint())]
        now = _Told(baseline, _phases(found), _phases(published), _by_subject(said))
        self._told = now
        if self._sample is not None:
            self._sample = self._sample.of(self.mesh)
        data = up.change(baseline.mesh, update, self._sample)
        new = [each for key, each in now.findings.items() if key not in before.findings]
        settled = [each for key, each in before.findings.items() if key not in now.findings]
        data["new_findings"] += map(plain.finding, new)
        data["settled_findings"] += map(plain.finding, settled)
        data["remotes"] = [
            {**self._remote(found[name]), "phase_before": before.remotes.get(name)}
            for name, phase in now.remotes.items()
            if before.remotes.get(name) != phase
        ]
        data["publications"] = [
            {**remotes.publication(name, published[name]), "phase_before": before.publications.get(name)}
            for name, phase in now.publications.items()
            if before.publications.get(name) != phase
        ]
        if not (
            up.moves(data) or data["remotes"] or data["publications"] or (files and self.form != "table")
        ):
            return True
        return emit(self.form, data, lambda paper: draw_change(paper, data, self.root), stream=True)

    def _remote(self, status: RemoteStatus) -> plain.Plain:
        return remotes.remote(status, self.connected.connection(status.name))

    def _said(self, live: Live) -> list[Finding]:
        return [*live.store_findings, *self.connected.findings]


def draw_state(paper: Paper, data: plain.Plain) -> None:
    """
    The mesh, who is heard and who is published, and what is wrong with stores.
    """
    up.draw_state(paper, data)
    if data["remotes"]:
        paper.blank()
        remotes.draw_table(paper, data["remotes"])
    if data["publications"]:
        paper.blank()
        remotes.draw_publications(paper, data["publications"])
    remotes.draw_findings(paper, data["store_findings"])


def draw_change(paper: Paper, data: plain.Plain, root: Path | None) -> None:
    """
    What moved, and which clusters are heard or published otherwise than before.
    """
    up.draw_change(paper, data, root)
    for each in data["remotes"]:
        was = f" (was {each['phase_before']})" if each["phase_before"] else ""
        paper.line(f"{each['name']} is {remotes.phase(each)}{was}.")
    remotes.draw_publications(paper, data["publications"])


def _phases(found: Mapping[str, RemoteStatus | PublicationStatus]) -> dict[str, str]:
    return {name: each.phase for name, each in found.items()}


def _by_subject(found: list[Finding]) -> dict[tuple[str, str], Finding]:
    by_subject: dict[tuple[str, str], Finding] = {}
    for each in found:
        by_subject.setdefault((each.code, each.subject), each)
    return by_subject


async def _synced(live: Live, patience: float) -> bool:
    try:
        async with asyncio.timeout(patience):
            await live.synced()
    except TimeoutError:
        return False
    return True

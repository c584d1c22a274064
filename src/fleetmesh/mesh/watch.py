"""
Following a directory: what changes in its files is applied to the mesh, and what can't be read leaves the
last good state in force.

Nothing here waits or runs by itself: whoever follows calls `poll` as often as is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.mesh.compare import Comparison
from fleetmesh.mesh.directory import (
    SOURCE,
    ClusterContent,
    Layout,
    admit,
    build,
    fill,
    member_of,
    read_cluster,
    read_layout,
)
from fleetmesh.mesh.fleetfile import FLEET_FILE
from fleetmesh.mesh.reader import Reader, Stamp, files_of, stamp_of
from fleetmesh.resources.manifests import Manifests

if TYPE_CHECKING:
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.mesh import Mesh, Mode
    from fleetmesh.resources.model import Resource


@attrs.frozen
class Update:
    """
    What one look at the files brought.

    Attributes:
        files: Those that came, changed or went, sorted.
        comparison: What it moved: the mesh before against the mesh now.
        new_findings: What is to be said now and wasn't before.
        settled: What isn't to be said any more.
    """

    files: tuple[str, ...]
    comparison: Comparison
    new_findings: tuple[Finding, ...]
    settled: tuple[Finding, ...]


class DirectoryWatcher:
    """
    A mesh that follows a directory.

    Args:
        path, mode: As for `Mesh.from_directory`.

    Raises:
        FileNotFoundError: There is no such folder or file.
    """

    def __init__(self, path: Path | str, *, mode: Mode | None = None) -> None:
        self.path = Path(path)
        self.mode = mode
        self._reader = Reader()
        self._layout = read_layout(self.path, self._reader)
        self._stamps = self._look()
        self._mesh = build(self._layout, self._reader, mode)
        self._unstable = self._take_unstable()

    @property
    def mesh(self) -> Mesh:
        """The mesh as it is now. Another one after a change of topology, mode or limit."""
        return self._mesh

    def poll(self) -> Update | None:
        """
        Look at the files and apply what is different; `None` if nothing is.

        A folder or file that a cluster is made of and that is gone, a file that changes while it is read, and
        one that can't be understood leave in force what they gave before; a finding says so.
        """
        stamps = self._look()
        if stamps == self._stamps and not self._unstable:
            return None
        files = sorted(
            {
                path
                for path in stamps.keys() | self._stamps.keys()
                if stamps.get(path) != self._stamps.get(path)
            }
            | self._unstable
        )
        before, said = self._mesh.fork(), self._mesh.findings
        self._stamps = stamps
        self._apply()
        self._unstable = self._take_unstable()
        now = self._mesh.findings
        return Update(
            tuple(str(path) for path in files),
            before.compare(self._mesh) if before.mode == self._mesh.mode else Comparison(),
            tuple(each for each in now if each not in said),
            tuple(each for each in said if each not in now),
        )

    def _look(self) -> dict[Path, Stamp | None]:
        """Every file that matters now, or did when the layout was read, with what tells its content."""
        roots = {self.path, self.path / FLEET_FILE}
        roots.update(path for content in self._layout.clusters for path in content.paths)
        found: dict[Path, Stamp | None] = {}
        for root in roots:
            try:
                files = list(files_of(root)) if root.exists() else []
            except OSError:
                files = []  # a folder that goes while it is listed is seen as gone, now or at the next look
            found.update((file, stamp_of(file)) for file in files)
            found.setdefault(root, None if not root.is_dir() else (0, 0, 0))
            if root.is_file():
                found[root] = stamp_of(root)
        return found

    def _take_unstable(self) -> set[Path]:
        found, self._reader.unstable = self._reader.unstable, set()
        return found

    def _apply(self) -> None:
        found: list[Finding] = []
        layout = self._new_layout(found)
        if layout is not None and _head(layout) != _head(self._layout):
            self._layout = layout
            self._mesh = build(layout, self._reader, self.mode)
            return
        if layout is not None:
            found.extend(layout.findings)
            found.extend(self._members(self._layout, layout))
            self._layout = layout
        for content in self._layout.clusters:
            member = member_of(self._mesh, content)
            if member is not None:
                found.extend(self._refresh(member, content))
        self._mesh._set_read_findings(found)

    def _new_layout(self, found: list[Finding]) -> Layout | None:
        """The layout as it is now; `None` where the last one stays in force."""
        try:
            layout = read_layout(self.path, self._reader)
        except OSError as error:
            found.extend(self._layout.findings)
            found.append(_missing(self.path, str(error)))
            return None
        if not layout.file.readable:
            found.extend(layout.findings)
            return None
        if not layout.from_file and self._layout.from_file:
            found.extend(self._layout.findings)
            found.append(_missing(self.path / FLEET_FILE, "it is gone; what it said last is in force"))
            return None
        if not layout.from_file and self._layout.from_folders:
            # A cluster's folder that is gone, or holds nothing that runs any more, doesn't make it leave.
            present = {content.entry.name for content in layout.clusters} if layout.from_folders else set()
            if any(content.entry.name not in present for content in self._layout.clusters):
                found.extend(self._layout.findings)
                return None
        return layout

    def _members(self, old: Layout, new: Layout) -> Iterator[Finding]:
        """Let clusters join and leave as the layout says."""
        entries = {content.entry.name: content for content in new.clusters}
        for content in old.clusters:
            known = entries.get(content.entry.name)
            same = known is not None and _joining(known) == _joining(content)
            if not same and member_of(self._mesh, content) is not None:
                self._mesh.leave(content.entry.name)
        for content in new.clusters:
            if member_of(self._mesh, content) is None:
                yield from admit(self._mesh, content)

    def _refresh(self, member: Member, content: ClusterContent) -> Iterator[Finding]:
        """Bring a member to what its files say, as far as they can be read."""
        lost = [path for path in content.paths if not path.exists()]
        manifests = read_cluster(content, self._reader)
        unstable = self._reader.unstable & {file for path in content.paths for file in _files(path)}
        for path in sorted(lost):
            yield _missing(path, "it is gone; what it gave last is in force")
        for file in sorted(unstable):
            yield finding(
                "source-unstable", str(file), "it changed while it was read; what it gave before is in force"
            )
        broken = {problem.file for problem in manifests.problems} | {str(file) for file in unstable}
        given = tuple(
            each
            for each in manifests.resources
            if each.origin is None or each.origin.file not in {str(file) for file in unstable}
        )
        kept = _kept(member, {each.key for each in given}, broken, lost)
        problems = tuple(each for each in manifests.problems if Path(each.file) not in lost)
        yield from fill(member, Manifests((*given, *kept), problems, manifests.findings))


def _kept(
    member: Member, given: Iterable[tuple[str, str, str]], broken: Iterable[str], lost: Iterable[Path]
) -> Iterator[Resource]:
    """What the directory gave before from files that can't be read now."""
    present, unread, gone = set(given), set(broken), tuple(lost)
    for key in member._store.sources.get(SOURCE, ()):
        resource = member._store.resources[key]
        if resource.origin is None or resource.key in present:
            continue
        file = Path(resource.origin.file)
        if str(file) in unread or any(file == path or path in file.parents for path in gone):
            yield resource


def _files(path: Path) -> Iterator[Path]:
    return files_of(path) if path.exists() else iter(())


def _head(layout: Layout) -> tuple[object, ...]:
    file = layout.file
    return (file.name, file.topology, file.mode, file.max_connected_clusters)


def _joining(content: ClusterContent) -> object:
    return attrs.evolve(content.entry, manifests=None, origin=None)


def _missing(path: Path, why: str) -> Finding:
    return finding("source-missing", str(path), why)

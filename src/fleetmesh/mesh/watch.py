"""
Following a directory: what changes in its files is applied to the mesh, and what can't be read leaves the
last good state in force.

Nothing here waits or runs by itself: whoever follows calls `poll` as often as is wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import SelfManagedMeshError
from fleetmesh.findings import Finding, finding
from fleetmesh.mesh.baseline import Baseline, Update
from fleetmesh.mesh.directory import (
    SOURCE,
    ClusterContent,
    Found,
    Layout,
    admit,
    build,
    check_names,
    divide,
    empty_mesh,
    missing,
    names,
    read_cluster,
    read_layout,
)
from fleetmesh.mesh.fleetfile import FLEET_FILE
from fleetmesh.mesh.limits import check_self_managed
from fleetmesh.mesh.publish import records_of
from fleetmesh.mesh.reader import Reader, Stamp, files_of, stamp_of
from fleetmesh.resources.manifests import Manifests

if TYPE_CHECKING:
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.mesh import Mesh, Mode
    from fleetmesh.mesh.viewpoint import Viewpoint
    from fleetmesh.resources.model import Resource

_KEPT = "what it gave last is in force"


class DirectoryWatcher:
    """
    A mesh that follows a directory.

    Args:
        path, mode, only: As for `Mesh.from_directory`.

    Raises:
        FileNotFoundError: There is no such folder or file.
        NotFoundError: No cluster has a name that is in `only`.
    """

    def __init__(
        self, path: Path | str, *, mode: Mode | None = None, only: Collection[str] | None = None
    ) -> None:
        self.path = Path(path)
        self.mode = mode
        self._only = None if only is None else frozenset(only)
        self._reader = Reader()
        layout = read_layout(self.path, self._reader)
        check_names(layout, only or ())
        self._layout = divide(layout, self._only)
        self._stamps = self._look()
        self._mesh = build(self._layout, self._reader, mode)
        self._unstable = self._take_unstable()

    @property
    def mesh(self) -> Mesh:
        """The mesh as it is now. Another one after a change of topology, mode or limit."""
        return self._mesh

    @property
    def names(self) -> tuple[str, ...]:
        """Of the clusters that the directory has now, whether or not the mesh takes them."""
        return names(self._layout)

    @property
    def outside(self) -> tuple[str, ...]:
        """Those of them that other processes run."""
        return tuple(str(each.entry.name) for each in self._layout.clusters if each.outside)

    def poll(self) -> Update | None:
        """
        Look at the files and apply what is different; `None` if nothing is.

        What can't be taken over leaves in force what was there before, and a finding says so: a folder or
        file that is gone, a file that changes while it is read or can't be understood, a `fleet.yaml` in
        which anything can't be understood, an entry that the mesh refuses, and manifests which tell that a
        cluster now runs a mesh of its own.

        What is known of clusters that other processes run stays as long as they have their cluster ids.
        """
        stamps = self._look()
        if not self._differ(stamps):
            return None
        before = Baseline(self._mesh)
        files = self._take(stamps)
        update, _ = before.until(self._mesh, files)  # which may be another mesh now
        return update

    def refresh(self) -> tuple[str, ...]:
        """As `poll`, for those who look themselves at what it moved; the result is the files."""
        stamps = self._look()
        return self._take(stamps) if self._differ(stamps) else ()

    def _differ(self, stamps: Mapping[Path, Stamp | None]) -> bool:
        return stamps != self._stamps or bool(self._unstable)

    def _take(self, stamps: dict[Path, Stamp | None]) -> tuple[str, ...]:
        files = sorted(
            {
                path
                for path in stamps.keys() | self._stamps.keys()
                if stamps.get(path) != self._stamps.get(path)
            }
            | self._unstable
        )
        self._stamps = stamps
        self._apply()
        self._unstable = self._take_unstable()
        return tuple(str(path) for path in files)

    def _look(self) -> dict[Path, Stamp | None]:
        """Every file that matters now, or did when the layout was read, with what tells its content."""
        roots = {self.path, self.path / FLEET_FILE}
        roots.update(path for content in self._layout.clusters for path in content.paths)
        found: dict[Path, Stamp | None] = {}
        for root in roots:
            # What lies beside the clusters of this process may be those of others.
            beside = root == self.path and self._only is not None and self._layout.from_file
            try:
                files = list(files_of(root)) if root.exists() and not beside else []
            except OSError:
                files = []  # a folder that goes while it is listed is seen as gone, now or at the next look
            found.update((file, stamp_of(file)) for file in files)
            found.setdefault(root, None if not root.is_dir() else (0, 0, 0, 0))
            if root.is_file():
                found[root] = stamp_of(root)
        return found

    def _take_unstable(self) -> set[Path]:
        found, self._reader.unstable = self._reader.unstable, set()
        return found

    def _apply(self) -> None:
        layout, said = self._in_force()
        had, before = dict(self._mesh.members), self._mesh.viewpoint()
        if _head(layout) != _head(self._layout):
            self._mesh = empty_mesh(layout, self.mode)
        clusters, joined, refused = self._settle(layout.clusters, had)
        said.extend(refused)
        for content in joined:
            member = self._mesh.members[content.entry.name]
            if content.outside:
                _hear_again(member, before)
                continue
            found = read_cluster(content, self._reader)
            said.extend(self._refresh(member, content, found, had.get(member.name, member)))
        self._layout = attrs.evolve(layout, clusters=clusters)
        self._mesh._set_read_findings(said)

    def _in_force(self) -> tuple[Layout, list[Finding]]:
        """The layout as it is now, or the last one where that can't be understood."""
        last = self._layout
        try:
            layout = divide(read_layout(self.path, self._reader, last), self._only)
        except FileNotFoundError:
            return last, [*last.findings, missing(self.path, f"it is gone; {_KEPT}")]
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            place = Path(error.filename or self.path)
            return last, [*last.findings, missing(place, f"it can't be read: {why}; {_KEPT}")]
        if last.from_file and not layout.from_file:
            return last, [*last.findings, missing(self.path / FLEET_FILE, f"it is gone; {_KEPT}")]
        if layout.file.problems and not last.file.problems:
            return last, [*last.findings, *layout.file.findings(refused=True)]
        return layout, list(layout.findings)

    def _settle(
        self, wanted: Sequence[ClusterContent], had: Mapping[str, Member]
    ) -> tuple[tuple[ClusterContent, ...], list[ClusterContent], list[Finding]]:
        """
        Let clusters join and leave as the layout says. A member whose new entry the mesh refuses stays as
        it was.

        Returns:
            The clusters as they are meant to be now, those of them that are members, and what was refused.
        """
        before: dict[str, ClusterContent] = {}
        for content in self._layout.clusters:
            before.setdefault(str(content.entry.name), content)
        now, kept = list(wanted), dict[int, Finding]()
        while True:
            # Tried on a copy: who stays as it was may be in the way of another.
            _, refused = self._join_and_leave(self._mesh.fork(), before, now, had)
            names = [str(content.entry.name) for content in wanted]
            again = {
                index: said
                for index, said in refused.items()
                if names[index] in had and names.index(names[index]) == index and index not in kept
            }
            if not again:
                break
            kept.update(again)
            for index in again:
                now[index] = before[names[index]]
        joined, refused = self._join_and_leave(self._mesh, before, now, had)
        for index, said in kept.items():
            refused.setdefault(index, attrs.evolve(said, message=f"{said.message}; {_KEPT}"))
        return tuple(now), joined, list(refused.values())

    def _join_and_leave(
        self,
        mesh: Mesh,
        before: Mapping[str, ClusterContent],
        now: Sequence[ClusterContent],
        had: Mapping[str, Member],
    ) -> tuple[list[ClusterContent], dict[int, Finding]]:
        """Change who is in a mesh; the result is who is, and by number which clusters it refuses, and why."""
        wanted: dict[str, ClusterContent] = {}
        for content in now:
            wanted.setdefault(str(content.entry.name), content)
        for name, content in before.items():
            same = name in wanted and _joining(wanted[name]) == _joining(content)
            if not same and name in mesh.members:
                mesh.leave(name)
        joined: dict[str, ClusterContent] = {}
        refused = {}
        for index, content in enumerate(now):
            name = str(content.entry.name)
            member = mesh.members.get(name)
            said = None
            if member is None or member.cluster_id != content.entry.cluster_id or name in joined:
                # What a member's files say now is judged when it is brought up to date.
                news = () if name in had else read_cluster(content, self._reader).manifests.resources
                said = admit(mesh, content, news)
            if said is None:
                joined[name] = content
            else:
                refused[index] = said
        return list(joined.values()), refused

    def _refresh(
        self, member: Member, content: ClusterContent, found: Found, had: Member
    ) -> Iterator[Finding]:
        """
        Bring a member to what its files say, as far as they can be read.

        Args:
            had: The member as it was before, which has what is kept.
        """
        manifests = found.manifests
        try:
            check_self_managed(member.name, manifests.resources)
        except SelfManagedMeshError as error:
            where = content.entry.origin
            message = f"its change is refused: {error}; {_KEPT}"
            yield finding("self-managed-mesh", f"Cluster {member.name}", message, where=where)
            if member is not had:
                member.replace(_given(had), source=SOURCE)
            return
        unstable = self._reader.unstable & {file for path in content.paths for file in _files(path)}
        for file in sorted(unstable):
            yield finding(
                "source-unstable", str(file), "it changed while it was read; what it gave before is in force"
            )
        doubtful = {str(file) for file in unstable}
        given = tuple(
            each for each in manifests.resources if each.origin is None or each.origin.file not in doubtful
        )
        broken = {problem.file for problem in manifests.problems} | doubtful
        lost = (*found.missing, *found.absent)
        kept = tuple(_kept(had, {each.key for each in given}, broken, lost))
        for path in sorted(lost):
            if any(_is_from(each, path) for each in kept):
                why = "it is gone" if path in found.absent or not path.exists() else found.missing[path]
                yield missing(path, f"{why}; {_KEPT}")
            elif path in found.missing:
                yield missing(path, found.missing[path])
        whole = Manifests((*given, *kept), manifests.problems, manifests.findings)
        # What can't be read now is given as it was, so that what is lacking is gone from a file that can be.
        member.replace(whole, source=SOURCE, remove=True)


def _hear_again(member: Member, before: Viewpoint) -> None:
    """
    What was known of a member that another process runs, if it has joined anew under the same id and limit of
    clusters, by which the numbers of identities are told.
    """
    had = before.members.get(member.name)
    same = had is not None and had.outside and had.cluster_id == member.cluster_id
    same = same and before.identity_bits == member._in_mesh().viewpoint().identity_bits
    if same and not member.records():
        member.hear(put=records_of(before, member.name, None))


def _given(member: Member) -> Iterator[Resource]:
    """What the directory gave a member before."""
    for key in member._store.sources.get(SOURCE, ()):
        yield member._store.resources[key]


def _kept(
    member: Member, given: Iterable[tuple[str, str, str]], broken: Iterable[str], lost: Iterable[Path]
) -> Iterator[Resource]:
    """What the directory gave before from files that can't be read now."""
    present, unread, gone = set(given), set(broken), tuple(lost)
    for resource in _given(member):
        if resource.origin is None or resource.key in present:
            continue
        if resource.origin.file in unread or any(_is_from(resource, path) for path in gone):
            yield resource


def _is_from(resource: Resource, path: Path) -> bool:
    """Whether a resource was read from a file, or one in a folder."""
    file = None if resource.origin is None else Path(resource.origin.file)
    return file is not None and (file == path or path in file.parents)


def _files(path: Path) -> Iterator[Path]:
    try:
        yield from files_of(path) if path.exists() else ()
    except OSError:
        return  # what can't be listed has been told


def _head(layout: Layout) -> tuple[object, ...]:
    file = layout.file
    return (file.name, file.topology, file.mode, file.max_connected_clusters)


def _joining(content: ClusterContent) -> object:
    return attrs.evolve(content.entry, manifests=None, origin=None)

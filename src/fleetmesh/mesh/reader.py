"""
Reading manifests again and again: each file is parsed once for each content that it has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TypeAlias

import attrs

from fleetmesh.resources.files import SUFFIXES
from fleetmesh.resources.manifests import Manifests, read_manifests

Stamp: TypeAlias = tuple[
    int, int, int, int
]  # inode, size, times of change of the content and of the inode in ns


@attrs.frozen
class _Parsed:
    stamp: Stamp
    digest: bytes
    manifests: Manifests


@attrs.define(eq=False)
class Reader:
    """
    Attributes:
        unstable: Files that changed while they were read since this was last emptied.
    """

    unstable: set[Path] = attrs.field(factory=set)
    _parsed: dict[Path, _Parsed] = attrs.field(factory=dict)

    def read(self, path: Path) -> Manifests:
        """What a file or a folder holds; one that isn't there is a problem, as for `read_manifests`."""
        if not path.is_dir():
            return self._file(path)
        parts = [self._file(file) for file in files_of(path)]
        return Manifests(
            resources=tuple(resource for part in parts for resource in part.resources),
            problems=tuple(problem for part in parts for problem in part.problems),
            findings=tuple(said for part in parts for said in part.findings),
        )

    def _file(self, path: Path) -> Manifests:
        before = stamp_of(path)
        if before is None:
            self._parsed.pop(path, None)
            return read_manifests(path)
        known = self._parsed.get(path)
        if known is not None and known.stamp == before:
            return known.manifests
        digest = _digest(path)
        same = known is not None and known.digest == digest
        manifests = known.manifests if known is not None and same else read_manifests(path)
        if stamp_of(path) != before or _digest(path) != digest:
            self.unstable.add(path)
            self._parsed.pop(path, None)
        else:
            self._parsed[path] = _Parsed(before, digest, manifests)
        return manifests


def files_of(path: Path) -> Iterator[Path]:
    """The manifests of a folder and all below it, in sorted order; the file itself if it is none."""
    yield from _walk(path, frozenset()) if path.is_dir() else (path,)


def stamp_of(path: Path) -> Stamp | None:
    """What changes when a file does; `None` where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _walk(folder: Path, outer: frozenset[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in outer:
        return
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, outer | {real})
        elif entry.suffix.lower() in SUFFIXES:
            yield entry


def _digest(path: Path) -> bytes:
    try:
        return blake2b(path.read_bytes(), digest_size=16).digest()
    except OSError:
        return b""

"""The texts of a source: a text itself, a file, or the manifests of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fleetmesh.errors import Problem

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
TEXT = "<text>"


def is_path(source: Path | str) -> bool:
    """Whether a source is a path: a `Path` or a str of one line. A str with a newline is text."""
    return isinstance(source, Path) or "\n" not in source


def read_source(source: Path | str) -> Iterator[tuple[str, str] | Problem]:
    """
    (name, text) of each file, in sorted order of their paths, or what keeps it from being read.

    Of a folder, files with other suffixes and names that begin with a dot are passed over.

    Raises:
        TypeError: The source is neither a path nor a str.
    """
    if not isinstance(source, Path | str):
        raise TypeError(f"expected a path or text, got {type(source).__name__}")
    if not is_path(source):
        yield TEXT, str(source)
        return
    if not str(source).strip():
        yield _problem("", "the path is empty")
        return
    path = Path(source)
    try:
        is_folder = path.is_dir()
        path.stat()
    except (OSError, ValueError) as error:
        hint = "; a text needs a line break to be told from a path" if _is_text(source) else ""
        yield _problem(path, f"{_reason(error)}{hint}")
        return
    yield from _folder(path, frozenset()) if is_folder else _file(path)


def _is_text(source: Path | str) -> bool:
    return isinstance(source, str) and (":" in source or "{" in source)


def _folder(folder: Path, outer: frozenset[tuple[int, int]]) -> Iterator[tuple[str, str] | Problem]:
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield _problem(folder, _reason(error))
        return
    identity = (status.st_dev, status.st_ino)
    if identity in outer:
        yield _problem(folder, "the folder contains itself through a symbolic link")
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _folder(entry, outer | {identity})
        elif entry.suffix.lower() not in SUFFIXES:
            continue
        elif entry.exists() and not entry.is_file():
            yield _problem(entry, "is neither a file nor a folder")
        else:
            yield from _file(entry)


def _file(path: Path) -> Iterator[tuple[str, str] | Problem]:
    try:
        data = path.read_bytes()
    except OSError as error:
        yield _problem(path, _reason(error))
        return
    try:
        yield str(path), data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        yield Problem(
            str(path), 0, line, "", f"is not UTF-8: byte 0x{data[error.start]:02x} at {error.start}"
        )


def _problem(path: Path | str, message: str) -> Problem:
    text = str(path)
    return Problem(text if len(text) <= 200 else text[:197] + "...", 0, 0, "", message)


def _reason(error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    return f"can't be read: {os.strerror(number).lower() if number else error}"

"""JSON text to plain values, with the lines of what is wrong found on demand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec

from fleetmesh.resources.documents import Document, Flaw, Path
from fleetmesh.resources.yaml_documents import MAX_DEPTH
from fleetmesh.resources.yaml_lines import line_of

_POSITION = re.compile(r"^JSON is malformed: (?P<what>.*) \(byte (?P<at>\d+)\)$")
_SPACE = re.compile(r"[ \t\r\n]*")


class _Items(msgspec.Struct):
    """A `List` whose items are left as they are written."""

    items: list[msgspec.Raw] = []


def looks_like_json(text: str) -> bool:
    """Whether a text begins as a JSON object or array does (which YAML's flow style does too)."""
    return text.lstrip(" \t\r\n\ufeff")[:1] in ("{", "[")


def read_json(text: str) -> list[Document] | Flaw:
    """
    The objects of a text, which may follow each other as `kubectl` accepts them; or the first flaw.
    """
    text = text.removeprefix("\ufeff")
    try:
        pieces = [(0, text, msgspec.json.decode(text))]
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        try:
            pieces = list(_stream(text))
        except (ValueError, RecursionError):
            return _flaw(text, error)
    documents = []
    for number, (at, piece, value) in enumerate(pieces, 1):
        line = 1 + text.count("\n", 0, at)
        if _deeper(value, MAX_DEPTH):
            return Flaw(number, line, f"nested deeper than {MAX_DEPTH} levels")
        documents.append(Document(number, line, value, _Lines(piece, line)))
    return documents


def _stream(text: str) -> Iterator[tuple[int, str, Any]]:
    decoder = json.JSONDecoder()
    at = _SPACE.match(text).end()  # type: ignore[union-attr]
    while at < len(text):
        value, end = decoder.raw_decode(text, at)
        yield at, text[at:end], value
        at = _SPACE.match(text, end).end()  # type: ignore[union-attr]


def _flaw(text: str, error: Exception) -> Flaw:
    if isinstance(error, RecursionError):
        return Flaw(1, 1, f"nested deeper than {MAX_DEPTH} levels")
    match = _POSITION.match(str(error))
    if not match:
        return Flaw(1, 1, f"broken JSON: {error}")
    line = 1 + text.encode(errors="replace")[: int(match["at"])].count(b"\n")
    return Flaw(1, line, f"broken JSON: {match['what']}")


def _deeper(value: object, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        inner: list[object] = []
        for each in layer:
            if isinstance(each, dict):
                inner += [child for child in each.values() if isinstance(child, dict | list)]
            elif isinstance(each, list):
                inner += [child for child in each if isinstance(child, dict | list)]
        if not inner:
            return False
        layer = inner
    return True


class _Lines:
    """The lines of one object, which begins on a given line of the file."""

    def __init__(self, text: str, line: int) -> None:
        self.text = text
        self.line = line

    def __call__(self, path: Path) -> int:
        # The items of a List are found without going through its whole text once for each of them.
        if len(path) > 1 and path[0] == "items" and isinstance(path[1], int) and path[1] < len(self.items):
            line, item = self.items[path[1]]
            return self.line + line + (line_of(item, path[2:]) if path[2:] else 0)
        return self.line + line_of(self.text, path)

    @cached_property
    def items(self) -> list[tuple[int, str]]:
        """(line from 0, text) of each item."""
        data = self.text.encode()
        found = []
        at = line = 0
        try:
            raws = msgspec.json.decode(data, type=_Items).items
        except msgspec.DecodeError:  # what Python's own decoder took, such as NaN
            return []
        for raw in raws:
            item = bytes(raw)
            start = data.find(item, at)
            line += data.count(b"\n", at, start)
            found.append((line, item.decode()))
            line += item.count(b"\n")
            at = start + len(item)
        return found

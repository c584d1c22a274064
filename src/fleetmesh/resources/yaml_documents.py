"""
YAML text to plain values, one document at a time.

The text is cut at its document markers first, so that a syntax error costs one document and every
document knows its line. Values are built straight from libyaml's events: that takes half the time of
`yaml.CSafeLoader`, and bounds nesting and aliases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import attrs
import yaml
from yaml._yaml import CParser

from fleetmesh.resources import yaml_scalars
from fleetmesh.resources.documents import Document, Flaw, FlawError, Path
from fleetmesh.resources.yaml_lines import line_of

MAX_DEPTH = 200
"""Levels of nesting in a document. Kubernetes' own objects have a few dozen."""

_MARKER = re.compile(r"^(?:---|\.\.\.)(?=[ \t\n]|\Z)", re.MULTILINE)
_PROLOGUE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?(?:\n|\Z)|%[^\n]*(?:\n|\Z))*")
_OPEN = object()  # stands for a list or mapping that isn't complete yet
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)


def read_yaml(text: str) -> Iterator[Document | Flaw]:
    """The documents of a text and what is wrong with it, in order. Empty documents only count."""
    number = 0
    for line, chunk in _split(text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")):
        number += 1
        try:
            # A chunk has several documents where YAML knows a line break that the markers above don't.
            for extra, (root, value, repeated) in enumerate(_Events(chunk).documents()):
                number += bool(extra)
                if value is not None:
                    lines = _Lines(chunk, line, extra)
                    yield Document(
                        number, line + root, value, lines, tuple((line + at, key) for at, key in repeated)
                    )
        except FlawError as error:
            yield Flaw(number, line + error.line, error.message)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            yield Flaw(number, line + (mark.line if mark else 0), f"broken YAML: {_problem(error)}")
        except yaml.reader.ReaderError as error:
            before = chunk.encode()[: error.position]
            message = f"broken YAML: the character U+{error.character:04X} is not allowed"
            yield Flaw(number, line + before.count(b"\n"), message)
        except UnicodeEncodeError as error:
            message = "broken YAML: a lone surrogate is no character"
            yield Flaw(number, line + chunk.count("\n", 0, error.start), message)


def _problem(error: yaml.MarkedYAMLError) -> str:
    # The scanner of newer versions reads ahead, and has a limit of its own, above ours.
    if error.problem is not None and "nesting depth" in error.problem:
        return f"nested deeper than {MAX_DEPTH} levels"
    return ", ".join(filter(None, (error.context, error.problem)))


@attrs.frozen
class _Lines:
    """Finds the line of a field when it is asked for, by reading the document again."""

    chunk: str
    line: int
    document: int

    def __call__(self, path: Path) -> int:
        return self.line + line_of(self.chunk, path, self.document)


def _split(text: str) -> Iterator[tuple[int, str]]:
    """
    (line from 1, text) of each document. Comments and directives before a `---` belong to it.
    """
    start, line = 0, 1
    for match in _MARKER.finditer(text):
        at = match.start()
        if match[0] == "...":
            at = text.find("\n", at) + 1 or len(text)
        elif at == start:
            continue
        elif not text.startswith("---", start) and _PROLOGUE.fullmatch(text, start, at):
            if not _DIRECTIVE.search(text, start, at):
                line += text.count("\n", start, at)
                start = at
            continue
        if match[0] == "---" or not _PROLOGUE.fullmatch(text, start, match.start()):
            yield line, text[start:at]
        line += text.count("\n", start, at)
        start = at
    if not _PROLOGUE.fullmatch(text, start) or _DIRECTIVE.search(text, start):
        yield line, text[start:]


@attrs.define
class _Frame:
    """A list or mapping that is being filled."""

    value: Any
    anchor: str | None
    key: str | None = None  # of a mapping, whose value comes next
    merging: bool = False  # the value that comes next is that of a key `<<`
    merged: list[dict[str, Any]] = attrs.field(factory=list)


class _Events:
    """Builds values from the events of one chunk. Lines are counted from 0, at its beginning."""

    def __init__(self, chunk: str) -> None:
        self.parser = CParser(chunk)
        self.allowance = 10_000 + len(chunk)  # values that aliases may add
        self.reset()

    def reset(self) -> None:
        self.root: Any = None
        self.frame: _Frame | None = None
        self.outer: list[_Frame | None] = []
        self.anchors: dict[str, Any] = {}
        self.repeated: list[tuple[int, str]] = []

    def documents(self) -> Iterator[tuple[int, Any, tuple[tuple[int, str], ...]]]:
        """(line of the first content, value, repeated keys as (line, key)) of each document."""
        next_event = self.parser.get_event
        line = -1
        event: Any = None
        try:
            while True:
                event = next_event()
                if event is None:
                    return
                kind = event.__class__
                if kind is yaml.ScalarEvent:
                    self.scalar(event)
                elif kind is yaml.MappingStartEvent:
                    self.start({}, event)
                elif kind is yaml.SequenceStartEvent:
                    self.start([], event)
                elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                    self.end(event)
                elif kind is yaml.AliasEvent:
                    self.alias(event)
                elif kind is yaml.DocumentStartEvent:
                    self.reset()
                    line = -1
                    continue
                elif kind is yaml.DocumentEndEvent:
                    yield max(line, 0), self.root, tuple(self.repeated)
                    continue
                if line < 0:
                    line = event.start_mark.line
        except ValueError as error:
            raise FlawError(event.start_mark.line, f"broken YAML: {error}") from None
        finally:
            self.parser.dispose()

    def scalar(self, event: Any) -> None:
        value: Any = event.value
        if event.implicit[0]:
            if value[:1] in yaml_scalars.HINTS:
                value = yaml_scalars.plain(value)
            elif value == "<<" and isinstance(self.frame, _Frame) and self.frame.key is None:
                self.frame.merging = isinstance(self.frame.value, dict)
        elif event.tag is not None:
            value = yaml_scalars.tagged(event.tag, value)
        if event.anchor:
            self.anchors[event.anchor] = value
        self.add(value, event)

    def add(self, value: Any, event: Any) -> None:
        frame = self.frame
        if frame is None:
            self.root = value
        elif frame.value.__class__ is list:
            frame.value.append(value)
        elif frame.key is None:
            frame.key = value if value.__class__ is str else yaml_scalars.key(value)
        else:
            if frame.merging:
                frame.merged += _mappings(value)
                frame.merging = False
            else:
                if frame.key in frame.value:
                    self.repeated.append((event.start_mark.line, frame.key))
                frame.value[frame.key] = value
            frame.key = None

    def start(self, value: Any, event: Any) -> None:
        if len(self.outer) >= MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        if event.anchor:
            self.anchors[event.anchor] = _OPEN
        self.outer.append(self.frame)
        self.frame = _Frame(value, event.anchor)

    def end(self, event: Any) -> None:
        frame = self.frame
        if frame is None:
            return
        for mapping in frame.merged:
            for key, value in mapping.items():
                frame.value.setdefault(key, value)
        if frame.anchor:
            self.anchors[frame.anchor] = frame.value
        self.frame = self.outer.pop()
        self.add(frame.value, event)

    def alias(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            raise ValueError(f"the alias *{event.anchor} has no anchor before it")
        if self.anchors[event.anchor] is _OPEN:
            raise ValueError(f"the alias *{event.anchor} stands inside its own anchor")
        self.add(self.copy(self.anchors[event.anchor], len(self.outer)), event)

    def copy(self, value: Any, depth: int) -> Any:
        self.allowance -= 1
        if self.allowance < 0:
            raise ValueError("its aliases expand to more values than a manifest can need")
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            return {key: self.copy(each, depth + 1) for key, each in value.items()}
        if isinstance(value, list):
            return [self.copy(each, depth + 1) for each in value]
        return value


def _mappings(value: object) -> list[dict[str, Any]]:
    mappings: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(mapping, dict) for mapping in mappings):
        raise ValueError("the key << needs a mapping or a list of mappings")
    return mappings

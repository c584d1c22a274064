"""What readers of YAML and JSON hand over: documents, and flaws in place of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

Path = tuple[str | int, ...]
"""The keys and list positions that lead to a field: `("spec", "ports", 0, "port")`."""


@attrs.frozen
class Document:
    """
    One document.

    Attributes:
        number: Its number in the file, from 1.
        line: The line of its first content, from 1.
        value: Mappings with string keys, lists, strings, numbers, booleans and None; nothing in it is
            shared with another part of it.
        line_of: The line of a field, or of the innermost thing around it that is there.
        repeated: Keys that a mapping has twice, as (line, key).
    """

    number: int
    line: int
    value: Any
    line_of: Callable[[Path], int]
    repeated: tuple[tuple[int, str], ...] = ()


@attrs.frozen
class Flaw:
    """Why a document can't be read."""

    number: int
    line: int
    message: str


class FlawError(Exception):
    """Raised inside a reader at the line where a document stops to make sense, and caught there."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def path_text(path: Path) -> str:
    """
    A path as Kubernetes writes it: `spec.ports[0].port`, `metadata.labels[example.com/team]`.
    """
    text = ""
    for step in path:
        if isinstance(step, int) or not step.isidentifier():
            text += f"[{step}]"
        else:
            text += f".{step}"
    return text.removeprefix(".")

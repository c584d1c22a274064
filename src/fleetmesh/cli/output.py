"""
Writing answers: JSON and YAML from plain values, tables for people.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper

Format: TypeAlias = Literal["table", "json", "yaml"]
Data: TypeAlias = Mapping[str, Any]


def emit(form: Format, data: Data, draw: Callable[[Paper], None], *, stream: bool = False) -> bool:
    """
    Write one answer to standard output; False if nobody reads it any more.

    Args:
        data: Plain values, the same for JSON and YAML.
        draw: Draws the answer for people.
        stream: Whether others may follow: JSON is one line then, YAML one document.
    """
    match form:
        case "json":
            return write(json.dumps(data, indent=None if stream else 2, ensure_ascii=False) + "\n")
        case "yaml":
            import yaml  # noqa: PLC0415 - only where it is asked for

            text = yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=100)
            return write(f"---\n{text}" if stream else text)
        case "table":
            from fleetmesh.cli.paper import Paper  # noqa: PLC0415 - it loads rich

            paper = Paper()
            draw(paper)
            return write(paper.text())


def write(text: str) -> bool:
    """
    Write text to standard output at once; False if its reader has gone.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer would fail again, and be told, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True

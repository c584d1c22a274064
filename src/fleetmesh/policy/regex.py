"""
Regular expressions in RE2's syntax, which is Go's and Envoy's; RE2 is the extra `l7`.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import Any

_ANY_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")


@cache
def _re2() -> Any:
    """The module, loaded when the first expression is met; `None` where it is not installed."""
    try:
        return importlib.import_module("re2")
    except ModuleNotFoundError:
        return None


@cache
def _quiet() -> Any:
    options = _re2().Options()
    options.log_errors = False  # to stderr; who asks is told
    return options


def check_regex(text: str) -> str:
    """
    Without RE2 any text passes; who asks about such a rule is told to install it.

    Raises:
        ValueError: It is no regular expression of Go's.
    """
    if not text or _re2() is None:
        return text
    if _ANY_BYTE.search(text):
        raise ValueError(f"is {text!r}; Go's regular expressions have no \\C")
    try:
        _re2().compile(text, _quiet())
    except _re2().error as error:
        said = error.args[0]
        why = said.decode(errors="replace") if isinstance(said, bytes) else said
        raise ValueError(f"is {text!r}, which is no regular expression: {why}") from None
    return text


def matches_whole(pattern: str, text: str) -> bool:
    """
    Raises:
        ImportError: RE2 is not installed.
    """
    if _re2() is None:
        raise ImportError("HTTP rules are matched by RE2; install fleetmesh[l7]")
    return _re2().fullmatch(pattern, text) is not None

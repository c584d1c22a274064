"""
What a peer has written, as errors tell of it: not at length, and with nothing that a terminal would obey.
"""

from __future__ import annotations

_MOST = 80


def shown(text: str) -> str:
    """In quotes, and cut off where it is long."""
    return repr(text) if len(text) <= _MOST else f"{text[:_MOST]!r}..."


def named(text: str) -> str:
    """As it is, where it is a name like any; else `shown`."""
    return text if text and len(text) <= _MOST and text.isprintable() else shown(text)

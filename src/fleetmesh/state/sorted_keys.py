"""
Keys in their order, where many come and go and ranges are asked for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

# A chunk is halved beyond it: insertion then moves few, and there are few chunks to search.
_CHUNK = 1024


class SortedKeys:
    """
    A set of keys, sorted by their bytes.
    """

    def __init__(self) -> None:
        self._chunks: list[list[bytes]] = []
        self._last: list[bytes] = []  # of each chunk

    def add(self, key: bytes) -> None:
        """It must not be in there."""
        if not self._chunks:
            self._chunks.append([key])
            self._last.append(key)
            return
        at = min(bisect_left(self._last, key), len(self._chunks) - 1)
        chunk = self._chunks[at]
        insort(chunk, key)
        if len(chunk) > _CHUNK:
            self._chunks[at : at + 1] = [chunk[: _CHUNK // 2], chunk[_CHUNK // 2 :]]
            self._last[at : at + 1] = [chunk[_CHUNK // 2 - 1], chunk[-1]]
        else:
            self._last[at] = chunk[-1]

    def remove(self, key: bytes) -> None:
        """It must be in there."""
        at = bisect_left(self._last, key)
        chunk = self._chunks[at]
        del chunk[bisect_left(chunk, key)]
        if chunk:
            self._last[at] = chunk[-1]
        else:
            del self._chunks[at], self._last[at]

    def beginning_with(self, prefix: bytes) -> Iterator[bytes]:
        """In order. Nothing may change meanwhile."""
        first = bisect_left(self._last, prefix)
        for at in range(first, len(self._chunks)):
            chunk = self._chunks[at]
            begin = bisect_left(chunk, prefix) if at == first else 0
            if self._last[at].startswith(prefix):
                yield from chunk[begin:] if begin else chunk
                continue
            end = bisect_right(chunk, prefix, begin, key=lambda key: key[: len(prefix)])
            yield from chunk[begin:end]
            return

"""
What packets leave behind, in a dictionary that never holds more than so many.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

K = TypeVar("K")
V = TypeVar("V")


@attrs.define
class Held(Generic[V]):
    """
    Attributes:
        expires: From then on it is not found any more; `None`: never.
        used: Whether it was asked for since it was put in or last spared.
    """

    value: V
    expires: int | None
    used: bool = False

    def over(self, time: int) -> bool:
        return self.expires is not None and self.expires <= time


class Bounded(Generic[K, V]):
    """
    When full, the oldest goes; but one that is not over and was used is spared once, and is the newest then.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.evicted = 0
        self._held: dict[K, Held[V]] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._held)

    def find(self, key: K, time: int) -> Held[V] | None:
        held = self._held.get(key)
        if held is None or held.over(time):
            return None
        held.used = True
        return held

    def put(self, key: K, value: V, time: int, expires: int | None = None) -> None:
        held = self._held.get(key)
        if held is not None:  # it keeps its age
            held.value, held.expires, held.used = value, expires, True
            return
        while len(self._held) >= self.capacity:
            oldest, held = next(iter(self._held.items()))
            del self._held[oldest]
            if held.over(time):
                continue
            if held.used:
                held.used = False
                self._held[oldest] = held
            else:
                self.evicted += 1
        self._held[key] = Held(value, expires)

    def remove(self, key: K) -> None:
        self._held.pop(key, None)

"""
Writing to plain dictionaries so that it can be taken back.
"""

from __future__ import annotations

from typing import Any, TypeVar

K = TypeVar("K")
N = TypeVar("N")
V = TypeVar("V")

_MISSING = object()


class Journal:
    """
    What one transaction wrote, newest last.
    """

    __slots__ = ("_attributes", "_undo")

    def __init__(self) -> None:
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._attributes: list[tuple[object, str, object]] = []

    def set(self, thing: object, attribute: str, value: object) -> None:
        """Set an attribute."""
        self._attributes.append((thing, attribute, getattr(thing, attribute)))
        setattr(thing, attribute, value)

    def put(self, mapping: dict[K, V], key: K, value: V) -> None:
        """Set an entry."""
        self._undo.append((mapping, key, mapping.get(key, _MISSING)))
        mapping[key] = value

    def drop(self, mapping: dict[K, V], key: K) -> V | None:
        """Take an entry out; `None` if there is none."""
        if key not in mapping:
            return None
        value = mapping.pop(key)
        self._undo.append((mapping, key, value))
        return value

    def keep(self, mapping: dict[K, V], key: K, value: V, *, present: bool) -> None:
        """Set an entry, or take it out."""
        if present:
            self.put(mapping, key, value)
        else:
            self.drop(mapping, key)

    def put_in(self, outer: dict[K, dict[N, V]], key: K, name: N, value: V) -> None:
        """Set an entry of an inner dictionary, which is made where it is missing."""
        inner = outer.get(key)
        if inner is None:
            inner = {}
            self.put(outer, key, inner)
        self.put(inner, name, value)

    def drop_in(self, outer: dict[K, dict[N, V]], key: K, name: N) -> V | None:
        """Take an entry out of an inner dictionary, and that too once it is empty."""
        inner = outer.get(key)
        if inner is None:
            return None
        value = self.drop(inner, name)
        if not inner:
            self.drop(outer, key)
        return value

    def roll_back(self) -> None:
        """Bring everything back to what it held, though perhaps in another order."""
        while self._attributes:
            thing, attribute, before = self._attributes.pop()
            setattr(thing, attribute, before)
        while self._undo:
            mapping, key, value = self._undo.pop()
            if value is _MISSING:
                mapping.pop(key, None)
            else:
                mapping[key] = value

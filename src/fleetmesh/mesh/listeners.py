"""
Who wants to be told of every transaction of a mesh.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from fleetmesh.mesh.delta import Delta

Listener: TypeAlias = "Callable[[Delta], None]"


@attrs.define(eq=False)
class Listeners:
    """
    Called in the order of generations, in the thread of the writer and before the next one may write: whoever
    listens only takes note.
    """

    _listeners: tuple[Listener, ...] = ()

    def add(self, listener: Listener) -> None:
        """From the next transaction on."""
        self._listeners = (*self._listeners, listener)

    def remove(self, listener: Listener) -> None:
        """Not any more."""
        self._listeners = tuple(each for each in self._listeners if each != listener)

    def tell(self, delta: Delta) -> Delta:
        """Every listener."""
        for listener in self._listeners:
            listener(delta)
        return delta

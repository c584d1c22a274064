"""
The transactions of a mesh, as they are told to somebody who may be slower than the mesh.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import attrs

if TYPE_CHECKING:
    from fleetmesh.mesh import Delta

MOST_WAITING = 4_096


@attrs.define(eq=False)
class Changes:
    """
    Every transaction since it was made, in order: an asynchronous iterator, which `aclose` ends.

    Whoever is more than 4,096 transactions behind loses the oldest ones, and sees it: `Delta.old` is not the
    `Delta.new` of the one before.
    """

    _forget: Callable[[Changes], None]
    _waiting: deque[Delta] = attrs.field(factory=lambda: deque(maxlen=MOST_WAITING), init=False)
    _news: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        while not self._waiting and not self._closed:
            self._news.clear()
            await self._news.wait()
        if not self._waiting:
            raise StopAsyncIteration
        return self._waiting.popleft()

    def tell(self, delta: Delta) -> None:
        """There was another one."""
        self._waiting.append(delta)
        self._news.set()

    async def aclose(self) -> None:
        """Nothing more is told; what waits can still be read."""
        if not self._closed:
            self._closed = True
            self._forget(self)
            self._news.set()

"""
A clock that goes when a test says so.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from itertools import count


class ManualClock:
    """
    See `fleetmesh.state.clock.Clock`. Who sleeps wakes when `advance` or `run` comes past his time.
    """

    def __init__(self, time: float = 1_800_000_000.0, monotonic: float = 1_000.0) -> None:
        self._time = time
        self._monotonic = monotonic
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def time(self) -> float:
        return self._time

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (self._monotonic + seconds, next(self._order), woken))
        await woken

    @property
    def sleeping(self) -> int:
        """How many sleep."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    @property
    def next_wake(self) -> float | None:
        """Seconds until the next one wakes."""
        while self._sleepers and self._sleepers[0][2].done():
            heappop(self._sleepers)
        return self._sleepers[0][0] - self._monotonic if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Both clocks go on at once; whoever's time is over wakes when the loop runs next."""
        assert seconds >= 0
        self._time += seconds
        self._monotonic += seconds
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            _, _, woken = heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    async def run(self, seconds: float) -> None:
        """
        Time passes as it does in life: whoever wakes acts, and may sleep again within these seconds.
        """
        end = self._monotonic + seconds
        await self.settle()
        while (wait := self.next_wake) is not None and self._monotonic + wait <= end:
            self.advance(max(wait, 0.0))
            await self.settle()
        self.advance(max(end - self._monotonic, 0.0))
        await self.settle()

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock; the monotonic one doesn't notice, and nobody wakes."""
        self._time += seconds

    async def settle(self) -> None:
        """
        Let every task go on until all wait for something: a time, each other, or what is outside.
        """
        await settle()


async def settle() -> None:
    """
    Return when nothing else in the loop can go on at once. It doesn't wait for threads or sockets.
    """
    ready = getattr(asyncio.get_running_loop(), "_ready")  # noqa: B009  # asyncio has no public word for it
    await asyncio.sleep(0)
    while ready:  # noqa: ASYNC110  # nobody tells when the others are done
        await asyncio.sleep(0)

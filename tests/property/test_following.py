"""
Whatever breaks while a store is followed: afterwards what is known is what is there, and nothing that was
there all the time was ever told as gone.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.clock import ManualClock
from doubles.effort import examples
from doubles.flaky_store import FlakyStore
from doubles.follower import Follower
from fleetmesh.errors import OtherStoreError, StoreDeniedError, StoreError, StoreUnavailableError
from fleetmesh.state.following import LONGEST_PAUSE
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.store import Delete, Operation, Put

# Never deleted, though written again, and in every store.
LASTING = [f"in/lasting{number}" for number in range(3)]
PASSING = ["in/a", "in/b", "in/c", "out"]

names = st.sampled_from(PASSING + LASTING)
puts = st.tuples(st.just("put"), st.lists(names, min_size=1, max_size=4, unique=True))
some = st.lists(st.sampled_from(PASSING), min_size=1, max_size=3, unique=True)
deletes = st.tuples(st.just("delete"), some)
troubles = st.sampled_from(
    [
        StoreUnavailableError("gone"),
        StoreDeniedError("not for you"),
        StoreError("something"),
        OtherStoreError("restored"),
    ]
)
steps = st.one_of(
    puts,
    puts,
    deletes,
    st.tuples(st.just("compact"), st.none()),
    st.tuples(st.just("mark"), st.none()),
    st.tuples(st.just("break"), troubles),
    st.tuples(st.just("fail"), troubles),
    st.tuples(st.just("heal"), st.none()),
    st.tuples(st.just("break list"), st.tuples(troubles, st.integers(0, 2))),
    st.tuples(st.just("other store"), some),
    st.tuples(st.just("somebody else asks"), st.none()),
    st.tuples(st.just("time"), st.sampled_from([0.0, 0.1, 0.3, 2.0, 40.0])),
    st.tuples(st.just("settle"), st.none()),
)


class World:
    """
    A store, somebody who follows it, and a number that makes every value another one.
    """

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.flaky = FlakyStore(MemoryStore(clock=self.clock))
        self.writes = 0
        self.stores = [self.flaky.inner]

    def value(self) -> bytes:
        self.writes += 1
        return b"%d" % self.writes

    async def begin(self, filling: int) -> None:
        """So much that there are several pages."""
        await self.flaky.inner.commit([Put(name, self.value()) for name in LASTING])
        for begin in range(0, filling, 100):
            part: list[Operation] = [Put(f"in/z{number:04}", b"") for number in range(begin, begin + 100)]
            await self.flaky.inner.commit(part)

    async def step(self, kind: str, what: object) -> None:
        store = self.flaky.inner
        match kind, what:
            case "put", list(keys):
                await store.commit([Put(key, self.value()) for key in keys])
            case "delete", list(keys):
                await store.commit([Delete(key) for key in keys])
            case "compact", _:
                revision = (await store.status()).revision
                if revision > store._data.compacted:
                    await store.compact(revision)
            case "mark", _:
                store.mark()
            case "break", StoreError() as trouble:
                self.flaky.break_watches(trouble)
            case "fail", StoreError() as trouble:
                self.flaky.fail(trouble)
            case "heal", _:
                self.flaky.heal()
            case "break list", (StoreError() as trouble, int(pages)):
                self.flaky.break_list(trouble, pages)
            case "other store", list(keys):
                await self._another(keys)
            case "somebody else asks", _:
                # And may be the first who finds out that the store is another one.
                with suppress(StoreError):
                    await self.flaky.get("in/a")
            case "time", float(seconds):
                await self.clock.run(seconds)
            case _:
                await self.clock.settle()

    async def _another(self, keys: list[str]) -> None:
        """Of other revisions, some by chance the same."""
        other = MemoryStore(clock=self.clock)
        self.stores.append(other)
        await other.commit([Put(key, self.value()) for key in [*LASTING, *keys]])
        self.flaky.inner = other
        self.flaky.break_watches(StoreUnavailableError("the server is another one"))

    async def end(self) -> None:
        for store in self.stores:
            await store.aclose()


@given(st.lists(steps, max_size=25), st.sampled_from([0, 0, 600]), st.integers(0, 5))
@settings(max_examples=examples(150), deadline=None)
def test_what_is_known_becomes_what_is_there_whatever_broke(
    history: list[tuple[str, object]], filling: int, seed: int
) -> None:
    async def run() -> None:
        world = World()
        await world.begin(filling)
        async with Follower(world.flaky, "in/", world.clock, seed) as follower:
            for kind, what in history:
                await world.step(kind, what)
            world.flaky.heal()
            await world.clock.run(10 * LONGEST_PAUSE)

            there = await world.flaky.inner.list("in/")
            assert follower.there == {entry.key: entry for entry in there.entries}
            assert follower.listed == 1
            assert follower.connected
            assert not set(follower.deleted) & set(LASTING)
            assert follower.updates[-1].revision <= there.revision
        await world.end()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())

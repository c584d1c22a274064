"""A member whose records are published while all kinds of things happen, and the slow double of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import attrs

from doubles.clock import ManualClock
from doubles.recording_store import RecordingStore
from doubles.records import address, as_keys, identity, node, service
from fleetmesh.errors import StoreError
from fleetmesh.records import Record
from fleetmesh.state.codecs import ClusterConfig
from fleetmesh.state.keys import KINDS, key_of, name_of, synced_key
from fleetmesh.state.leases import LeasePool
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.memory_data import HeldLease, MemoryData
from fleetmesh.state.publisher import Publisher
from fleetmesh.state.store import Delete, Operation

CONFIG = ClusterConfig(cluster_id=1, service_exports_enabled=True)

ALWAYS: tuple[Record, ...] = (
    node("n0"),
    identity(0),
    service("always"),
    *(address(number) for number in range(7)),
)
"""What every publisher of the member wants all the time."""

MARKS = {synced_key("east", kind, cached=False): f"cilium/state/{kind}/" for kind in KINDS}


class JudgedData(MemoryData):
    """
    A store whose changes are judged as they happen.

    Attributes:
        unnoticed: Whether a lease took keys with it, and its holder had no time to see that yet.
        wrong: What should not have happened.
    """

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.unnoticed = False
        self.wrong: list[str] = []
        self._always = frozenset(as_keys(ALWAYS))
        self._ending = False

    def end(self, lease: HeldLease) -> None:
        self._ending = self.unnoticed = True
        super().end(lease)
        self._ending = False

    def _carry_out(self, operations: Sequence[Operation]) -> None:
        super()._carry_out(operations)
        for each in operations:
            if isinstance(each, Delete):
                if each.key in self._always and not self._ending:
                    self.wrong.append(f"{each.key} was deleted at {self.revision}")
            elif each.key in MARKS and not self.unnoticed:
                missing = [
                    key
                    for key in sorted(self._always)
                    if key.startswith(MARKS[each.key]) and self.get(key) is None
                ]
                if missing:
                    self.wrong.append(f"{each.key} was written at {self.revision} before {missing}")


@attrs.define(eq=False)
class Writer:
    """One process that publishes the member."""

    store: RecordingStore
    leases: LeasePool
    publisher: Publisher

    @staticmethod
    async def begin(data: MemoryStore, clock: ManualClock) -> Writer:
        store = RecordingStore(data.another())
        leases = LeasePool(store, most_keys=5)
        publisher = Publisher(store, cluster="east", config=CONFIG, clock=clock, leases=leases)
        return Writer(store, leases, await publisher.__aenter__())

    async def end(self) -> None:
        """Stop; the keys stay."""
        await self.publisher.__aexit__(None, None, None)
        await self.leases.close()
        await self.store.aclose()


class Publishing:
    """
    What happens to a member. Every method is one thing that may happen.

    Attributes:
        wanted: The slow double: what is to be in the store.
    """

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.judged = JudgedData(self.clock)
        self.data = MemoryStore.__new__(MemoryStore)
        self.data._open(self.judged)
        self.wanted: dict[str, Record] = {key_of(each, cached=False): each for each in ALWAYS}
        self.rivals: list[Writer] = []

    async def begin(self) -> None:
        self.writer = await Writer.begin(self.data, self.clock)

    async def publish(self) -> None:
        await self.writer.publisher.publish(self.wanted.values())

    async def put(self, record: Record) -> None:
        self.wanted[key_of(record, cached=False)] = record
        self.writer.publisher.update(put=[record])

    async def withdraw(self, record: Record) -> None:
        self.wanted.pop(key_of(record, cached=False), None)
        self.writer.publisher.update(withdrawn=[name_of(record)])

    async def fail(self, error: StoreError) -> None:
        self.writer.store.fail(error)

    async def refuse(self, error: StoreError) -> None:
        self.writer.store.refuse = lambda _: error

    async def heal(self) -> None:
        self.writer.store.heal()
        self.writer.store.swallow = 0
        self.writer.store.refuse = lambda _: None

    async def swallow(self) -> None:
        """The next answer is lost."""
        self.writer.store.swallow = 1

    async def lose_lease(self, number: int) -> None:
        leases = sorted(self.judged.leases)
        if leases:
            self.judged.end(self.judged.leases[leases[number % len(leases)]])

    async def restart(self) -> None:
        """Another process goes on, which knows nothing of what is in the store."""
        await self.writer.end()
        await self.begin()

    async def rival(self) -> None:
        """Another process publishes the same member, somewhat otherwise."""
        rival = await Writer.begin(self.data, self.clock)
        self.rivals.append(rival)
        await rival.publisher.publish([*ALWAYS, address(200), identity(200)])

    async def end_rivals(self) -> None:
        for rival in self.rivals:
            await rival.end()
        self.rivals.clear()

    async def compact(self) -> None:
        if self.judged.compacted < self.judged.revision:
            self.judged.compact(self.judged.revision)

    async def wait(self, turns: int) -> None:
        """Let all others have some turns of the loop."""
        for _ in range(turns):
            await asyncio.sleep(0)

    async def settle(self) -> None:
        await self.clock.settle()
        self.judged.unnoticed = self.writer.store.trouble is not None

    async def pass_time(self, seconds: float) -> None:
        await self.clock.run(seconds)
        self.judged.unnoticed = self.writer.store.trouble is not None

    async def come_to_rest(self, seconds: float) -> None:
        """All is well for some time."""
        await self.end_rivals()
        await self.heal()
        await self.publish()
        flushed = asyncio.ensure_future(self.writer.publisher.flushed())
        await self.clock.run(seconds)
        assert flushed.done(), self.writer.publisher.status

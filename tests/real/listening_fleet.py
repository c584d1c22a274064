"""
One process that hears two clusters: the west, whose etcd a test writes as a peer would that is broken or
means ill, and the north, with which all is well whatever the west does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs

import fleetmesh as fm
from doubles.clock import ManualClock
from doubles.records import content
from doubles.running_fleet import IDS, Fleet, Process, pod, running, until, whole_fleet
from doubles.split_mesh import known
from doubles.wire import write, write_cluster, write_records
from fleetmesh.errors import WireError
from fleetmesh.findings import Finding
from fleetmesh.state.codecs import Exporter, decode
from fleetmesh.state.etcd import EtcdStore
from fleetmesh.state.keys import KINDS, prefix
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.remote_status import RemoteStatus
from fleetmesh.state.store import Delete, Put, Store
from real.etcd_server import Etcd
from real.fleet_faults import open_store, started

WEST = Exporter("west", 2)


@attrs.define(eq=False)
class Listening:
    """
    Attributes:
        etcd: The west's.
        store: A client of it that may do everything.
    """

    fleet: Fleet
    etcd: Etcd
    store: EtcdStore
    north: MemoryStore

    @property
    def east(self) -> Process:
        return self.fleet["east"]

    @property
    def west(self) -> RemoteStatus:
        return self.east.live.remotes["west"]

    def told(self, code: str) -> list[Finding]:
        """The findings of a code."""
        return [each for each in self.east.live.findings if each.code == code]

    async def put(self, values: Mapping[str, bytes]) -> None:
        """Large ones one by one, as etcd takes no large transactions."""
        large = {key: value for key, value in values.items() if len(value) > 10_000}
        await write(self.store, [Put(*each) for each in values.items() if each[0] not in large])
        for each in large.items():
            await self.store.commit([Put(*each)])

    async def delete(self, keys: Iterable[str]) -> None:
        await write(self.store, [Delete(key) for key in keys])

    async def refused(self) -> dict[str, str]:
        """Key -> why, of the west's values that can't be read, by another way than the subscriber's."""
        found = {}
        for key, value in (await content(self.store)).items():
            for kind in KINDS:
                begin = prefix(kind, "west", cached=False)
                if key.startswith(begin) and (kind != "endpointslices" or self.fleet.whole.mode == "strict"):
                    try:
                        decode(kind, key.removeprefix(begin), value, WEST)
                    except WireError as error:
                        found[key] = str(error)
        return found

    async def all_that_is_refused_is_told(self) -> None:
        """And nothing else is."""
        wanted = await self.refused()
        await until(lambda: self.west.rejected == len(wanted), lambda: (self.west, wanted))
        told = self.told("remote-value-rejected")
        assert len(told) == (len(wanted) if len(wanted) <= 100 else 101)
        assert all(each.message.isprintable() and len(each.message) < 700 for each in told)
        if len(wanted) <= 100:
            reasons = [each.message for each in told]
            for reason in wanted.values():
                assert any(reason in each for each in reasons), (reason, reasons)

    async def the_rest_goes_on(self, number: int = 0) -> None:
        """The north changes, and is heard; all that was valid of the west is in force."""
        whole = self.fleet.whole
        whole.members["north"].apply(fm.load_manifests(pod("north", 20 + number)))
        await write_records(self.north, whole.members["north"].records())
        await until(lambda: known(self.east.mesh, "north") == known(whole, "north"))
        await until(lambda: self.east.witness.generations > 0)  # told a moment after it can be asked
        assert self.east.live.remotes["north"].ready
        self.fleet.nothing_was_emptied()

    async def all_is_well(self) -> None:
        """Nothing is left of it."""
        await self.fleet.agrees()
        await self.fleet.has_nothing_to_tell()
        await self.fleet.equals_rebuilt()
        self.fleet.nothing_was_emptied()


@asynccontextmanager
async def listening(
    folder: Path,
    *arguments: str,
    mode: str = "cilium",
    through: Callable[[Etcd, ManualClock], Store] | None = None,
) -> AsyncIterator[Listening]:
    """
    When all is well still.

    Args:
        through: How the process hears the west, if not as one who may do everything.
    """
    whole = whole_fleet(mode=mode)
    async with AsyncExitStack() as stack:
        (etcd,) = stack.enter_context(started(folder, *arguments)).values()
        store = EtcdStore([etcd.url])
        stack.push_async_callback(store.aclose)
        await write_cluster(store, "west", IDS["west"], whole.members["west"].records())
        north = MemoryStore()
        stack.push_async_callback(north.aclose)
        await write_cluster(north, "north", IDS["north"], whole.members["north"].records())

        def stores(_: str, clock: ManualClock) -> Mapping[str, Store]:
            west = open_store(etcd.url, clock=clock) if through is None else through(etcd, clock)
            return {"east": MemoryStore(clock=clock), "west": west, "north": north.another()}

        fleet = await stack.enter_async_context(running(whole, stores, names=["east"]))
        yield Listening(fleet, etcd, store, north)

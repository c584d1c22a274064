"""
Whatever several processes of one mesh change, and whatever befalls their stores meanwhile: when it is quiet,
each of them sees what one process that runs all members sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeAlias

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.clock import ManualClock
from doubles.effort import examples
from doubles.flaky_store import FlakyStore
from doubles.mesh_histories import IDS, NAMES, TOPOLOGIES, new_mesh, setting, steps, take
from doubles.running_fleet import going, left_behind
from doubles.split_mesh import known, seen
from fleetmesh.errors import CompactedError, NoSpaceError, StoreDeniedError, StoreUnavailableError
from fleetmesh.mesh import Mesh, Topology
from fleetmesh.state.live import Live, run
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.store import Store

Step: TypeAlias = tuple[str, str, Any]

ERRORS = {
    "unavailable": StoreUnavailableError("no server answers"),
    "denied": StoreDeniedError("permission denied"),
    "full": NoSpaceError("database space exceeded"),
}
FAULTS = st.one_of(
    st.tuples(st.just("break"), st.sampled_from(NAMES), st.sampled_from(sorted(ERRORS))),
    st.tuples(st.just("heal"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("compact"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("lose leases"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("restart"), st.sampled_from(NAMES), st.none()),
)
PAUSES = st.sampled_from([0.0, 0.0, 0.002, 0.01, 0.03])
"""Seconds; the clock of the stores goes faster."""
# A mesh that hears does not know who was drained, or failed in the view of another process; and one that
# starts does not know what came from which source.
CHANGES = steps(strict=True).filter(lambda step: step[0] in ("apply", "delete"))


def own_mesh(topology: Topology, own: str, whole: Mesh) -> Mesh:
    mesh = Mesh("m", topology=topology, mode="strict", allocations=whole.allocations)
    for name, number in IDS.items():
        mesh.join(
            name, cluster_id=number, settings=setting(name) if name == own else None, outside=name != own
        )
    return mesh


@attrs.define(eq=False)
class Processes:
    """
    One for each cluster, on one store or on a store each.

    Attributes:
        data: The stores; what is behind the faults.
    """

    whole: Mesh
    data: Mapping[str, MemoryStore]
    clock: ManualClock
    lives: dict[str, Live] = attrs.field(factory=dict)
    faulty: dict[str, list[FlakyStore]] = attrs.field(factory=dict)
    stacks: dict[str, AsyncExitStack] = attrs.field(factory=dict)

    async def start(self, name: str) -> None:
        """With nothing but what its member declares."""
        mesh = own_mesh(self.whole.topology, name, self.whole)
        mesh.members[name].apply(self.whole.members[name].resources.values())
        stack = self.stacks[name] = AsyncExitStack()
        through = {key: FlakyStore(store.another()) for key, store in self.data.items()}
        self.faulty[name] = list(through.values())
        for store in through.values():
            stack.push_async_callback(store.aclose)
        given: Store | Mapping[str, Store] = through.get("") or dict(through)
        self.lives[name] = await stack.enter_async_context(run(mesh, store=given, clock=self.clock))

    async def take(self, step: Step) -> None:
        what, name, given = step
        match what:
            case "break":
                for store in self.faulty[name]:
                    store.fail(ERRORS[given])
            case "heal":
                for store in self.faulty[name]:
                    store.heal()
            case "compact":
                for data in self.data.values():
                    with suppress(CompactedError):
                        await data.compact((await data.status()).revision)
            case "lose leases":
                for data in self.data.values():
                    for entry in (await data.list("cilium/cluster-config/" + name)).entries:
                        await data.revoke(entry.lease)
            case "restart":
                await self.stacks[name].aclose()
                await self.start(name)
            case _:
                take(self.whole, step)
                take(self.lives[name].mesh, step)

    def different(self) -> str:
        for name, live in self.lives.items():
            if seen(live.mesh, name) != seen(self.whole, name):
                return f"{name} sees {seen(live.mesh, name)}, not {seen(self.whole, name)}"
            for other in IDS.keys() - {name}:
                if known(live.mesh, other) != known(self.whole, other):
                    return f"{name} of {other}: {known(live.mesh, other) ^ known(self.whole, other)}"
        return ""


@settings(max_examples=examples(40), deadline=None)
@given(
    st.sampled_from(TOPOLOGIES),
    st.booleans(),
    st.lists(CHANGES, min_size=2, max_size=6),
    st.lists(st.tuples(st.one_of(CHANGES, FAULTS), PAUSES), max_size=12),
)
def test_when_it_is_quiet_each_process_sees_what_one_would_see(
    topology: Topology, shared: bool, before: list[Step], taken: list[tuple[Step, float]]
) -> None:
    async def check() -> None:
        clock = ManualClock()
        data = {name: MemoryStore(clock=clock) for name in ([""] if shared else NAMES)}
        processes = Processes(new_mesh(topology, "strict"), data, clock)
        async with going(clock, 200):
            for step in before:
                take(processes.whole, step)
            for name in NAMES:
                await processes.start(name)
            await quiet(processes.different)
            for step, pause in taken:
                await processes.take(step)
                await asyncio.sleep(pause)
            for name in NAMES:
                await processes.take(("heal", name, None))
            await quiet(processes.different)
            for stack in processes.stacks.values():
                await stack.aclose()
        for store in data.values():
            await store.aclose()
        assert left_behind() == []

    asyncio.run(check())


async def quiet(different: Callable[[], str]) -> None:
    for _ in range(2_000):
        if not different():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(different())

"""
Meshes in several processes that hear each other through stores: each sees what one process would see.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

import fleetmesh as fm
from doubles.split_mesh import decided, only, seen
from fleetmesh.state.live import Live, run
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.store import Store

pytestmark = pytest.mark.asyncio

EXAMPLES = Path(__file__).parents[2] / "examples"


@asynccontextmanager
async def in_processes(whole: fm.Mesh, store: Store | Mapping[str, Store]) -> AsyncIterator[dict[str, Live]]:
    async with AsyncExitStack() as stack:
        lives = {
            name: await stack.enter_async_context(run(only(whole, name), store=store))
            for name in whole.members
        }
        for live in lives.values():
            await live.synced()
        yield lives


@pytest.mark.parametrize("example", ["shop", "stateful", "shared-services", "shop-guarded"])
@pytest.mark.parametrize("shared", [True, False], ids=["one store", "a store each"])
async def test_processes_together_see_what_one_process_sees(example: str, shared: bool) -> None:
    whole = fm.Mesh.from_directory(EXAMPLES / example)
    one = MemoryStore()
    store: Store | Mapping[str, Store] = one if shared else {name: MemoryStore() for name in whole.members}
    async with in_processes(whole, store) as lives:
        for name, live in lives.items():
            # What MCS-API makes of imports is published, and heard, in its turn.
            async with asyncio.timeout(20):
                while seen(live.mesh, name) != seen(whole, name):  # noqa: ASYNC110  # in several transactions
                    await asyncio.sleep(0.01)

            assert decided(live.mesh, whole, name) == decided(whole, whole, name)
            assert all(each.phase == "ready" for each in live.remotes.values())
            assert live.findings == ()

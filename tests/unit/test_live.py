"""
Meshes in several processes that hear each other through stores: each sees what one process would see.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import fleetmesh as fm
from fleetmesh.state.live import Live, run
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.store import Store

pytestmark = pytest.mark.asyncio

EXAMPLES = Path(__file__).parents[2] / "examples"


def only(whole: fm.Mesh, own: str) -> fm.Mesh:
    """A mesh of the same members, of which this process runs one."""
    mesh = fm.Mesh(whole.name, topology=whole.topology, mode=whole.mode, allocations=whole.allocations)
    for name, member in whole.members.items():
        joined = mesh.join(
            name,
            cluster_id=member.cluster_id,
            settings=member.settings if name == own else None,
            pod_cidrs=member.declared.pod_cidrs,
            service_cidrs=member.declared.service_cidrs,
            node_cidrs=member.declared.node_cidrs,
            outside=name != own,
        )
        if name == own:
            joined.apply(member.resources.values())
    return mesh


def seen(mesh: fm.Mesh, viewer: str) -> dict[str, Any]:
    return {"/".join(key): mesh.service(*key).frontends(seen_from=viewer) for key in mesh.services(viewer)}


def decided(mesh: fm.Mesh, whole: fm.Mesh, own: str) -> dict[tuple[str, str], Any]:
    """What the members's own side says of connections from and to its pods."""
    ends = [
        f"{name}/{pod.namespace}/{pod.name}" for name in whole.members for pod in whole.members[name].pods
    ]
    found = {}
    for mine in (end for end in ends if end.startswith(f"{own}/")):
        for other in ends:
            found[mine, other] = mesh.decide(mine, other, port=8080).egress
            found[other, mine] = mesh.decide(other, mine, port=8080).ingress
    return {pair: None if side is None else (side.verdict, side.rules) for pair, side in found.items()}


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
                while seen(live.mesh, name) != seen(whole, name):
                    await asyncio.sleep(0.01)

            assert decided(live.mesh, whole, name) == decided(whole, whole, name)
            assert all(each.phase == "ready" for each in live.remotes.values())
            assert live.findings == ()

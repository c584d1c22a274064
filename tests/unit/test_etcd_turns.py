"""
Lists of one etcd take turns, and none waits for ever.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from fleetmesh.state.clock import SystemClock
from fleetmesh.state.etcd import client as etcd
from fleetmesh.state.etcd.endpoints import Security, read_endpoints

pytestmark = pytest.mark.asyncio


def a_client() -> etcd.Client:
    """Of an etcd that nobody asks anything."""
    return etcd.Client(
        read_endpoints(["http://127.0.0.1:1"]),
        Security(tls=False, ca=None, cert=None, key=None, server_name=""),
        None,
        SystemClock(),
        timeout=1,
        keepalive=1,
        keepalive_timeout=1,
        page_size=1,
        progress_every=1,
    )


async def test_who_comes_later_waits_until_one_has_ended() -> None:
    client = a_client()
    async with AsyncExitStack() as others:
        for _ in range(etcd._LISTS_AT_ONCE - 1):
            await others.enter_async_context(client._turn())
        last = client._turn()
        await last.__aenter__()
        late = asyncio.create_task(client._turn().__aenter__())
        await asyncio.sleep(0)
        assert not late.done()

        await last.__aexit__(None, None, None)

        await late


async def test_a_list_that_nobody_goes_on_with_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "_LONGEST_TURN", 0.0)
    client = a_client()
    async with AsyncExitStack() as stuck:
        for _ in range(3 * etcd._LISTS_AT_ONCE):
            await stuck.enter_async_context(client._turn())

    # Their places were given back once, though they have ended twice.
    for _ in range(etcd._LISTS_AT_ONCE):
        await client._turns.acquire()
    assert client._turns.locked()

"""
What waits to be taken into a mesh is bounded, whoever brings it.
"""

from __future__ import annotations

import asyncio

import pytest

import fleetmesh as fm
from doubles.clock import ManualClock
from fleetmesh.state.codecs import Exporter
from fleetmesh.state.intake import MOST_RECORDS, MOST_WAITING, Intake, Piece
from fleetmesh.state.store import Entry

pytestmark = pytest.mark.asyncio


async def test_many_who_wait_for_room_do_not_all_get_it() -> None:
    mesh = fm.Mesh("m")
    member = mesh.join("west", cluster_id=2, outside=True)
    entries = tuple(Entry(f"cilium/state/ip/v1/default/10.2.0.{n}", b"{", 1) for n in range(250))
    piece = Piece(member, "ip", Exporter("west", 2), False, entries)
    most = 0
    async with Intake(mesh, ManualClock()) as intake:

        async def bring() -> None:
            nonlocal most
            done = await intake.give(piece)
            most = max(most, intake._count)
            await done

        async with asyncio.timeout(50), asyncio.TaskGroup() as tasks:
            for _ in range(200):
                tasks.create_task(bring())

    assert MOST_RECORDS < most <= MOST_WAITING + piece.size

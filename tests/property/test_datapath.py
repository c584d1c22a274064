"""
The staged data path decides as one that takes a packet at a time and looks everything up in dictionaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
from hypothesis import given, note, settings
from hypothesis import strategies as st

from doubles import datapath as double
from doubles.datapath import Packet
from doubles.datapath_mesh import (
    Meanings,
    columns,
    counted,
    everywhere,
    expected,
    rows_of,
    view_of,
)
from doubles.effort import examples
from doubles.packet_histories import Kitchen, Rounds, first_mesh, rounds, take
from doubles.two_clusters import EAST, IDS

small = st.sampled_from([2, 3, 4, 5, 6, 7, 8])


def check(packets: Sequence[Packet], found: Sequence[Any], wanted: Sequence[Any]) -> None:
    for at, (packet, one, other) in enumerate(zip(packets, found, wanted, strict=True)):
        if one != other:
            note(f"{at}: {packet}\nfound    {one}\nexpected {other}")
        assert one == other


@settings(max_examples=examples(100), deadline=None)
@given(rounds, st.booleans(), st.none() | st.tuples(small, small, small))
def test_a_data_path_decides_as_its_double(
    taken: Rounds, v6: bool, bounds: tuple[int, int, int] | None
) -> None:
    mesh = first_mesh()
    tcp, other, affinities = bounds or (1000, 1000, 1000)
    path = mesh.datapath(EAST, tcp_connections=tcp, other_connections=other, affinities=affinities)
    slow = double.Datapath(view_of(mesh, EAST), tcp=tcp, other=other, affinities=affinities)
    meanings, kitchen = Meanings(path), Kitchen(v6=v6)
    for steps, recipe in taken:
        for change in steps:
            take(mesh, change, kitchen.newest)
        slow.view = view_of(mesh, EAST)
        served = list(kitchen.serve(recipe, slow.process))
        packets = [packet for packet, _ in served]

        decided = meanings.read(path.process(columns(packets)))

        check(packets, decided, [expected(walk) for _, walk in served])
        assert attrs.astuple(path.connections) == slow.connections
        assert rows_of(path.counters) == counted(slow)


@settings(max_examples=examples(40), deadline=None)
@given(rounds, st.booleans(), st.tuples(small, small, small), st.integers(1, 5))
def test_splitting_a_call_changes_nothing(
    taken: Rounds,
    v6: bool,
    bounds: tuple[int, int, int],
    size: int,
) -> None:
    mesh = first_mesh()
    tcp, other, affinities = bounds
    once, apart = (
        mesh.datapath(EAST, tcp_connections=tcp, other_connections=other, affinities=affinities)
        for _ in range(2)
    )
    whole, parts = Meanings(once), Meanings(apart)
    kitchen = Kitchen(v6=v6)
    source = double.Datapath(view_of(mesh, EAST))  # where the answers come from
    for steps, recipe in taken:
        for change in steps:
            take(mesh, change, kitchen.newest)
        source.view = view_of(mesh, EAST)
        packets = [packet for packet, _ in kitchen.serve(recipe, source.process)]

        together = whole.read(once.process(columns(packets)))
        split = [
            row
            for at in range(0, len(packets), size)
            for row in parts.read(apart.process(columns(packets[at : at + size])))
        ]

        check(packets, split, together)
        assert apart.connections == once.connections
        assert apart.counters == once.counters
        assert whole.backends == parts.backends


@settings(max_examples=examples(40), deadline=None)
@given(rounds, st.booleans(), st.integers(2, 4))
def test_shards_decide_as_one_where_nothing_is_evicted(taken: Rounds, v6: bool, shards: int) -> None:
    mesh = first_mesh()
    one, many = mesh.datapath(EAST), mesh.datapath(EAST, shards=shards)
    meanings, also = Meanings(one), Meanings(many)
    kitchen = Kitchen(v6=v6)
    source = double.Datapath(view_of(mesh, EAST))
    for steps, recipe in taken:
        for change in steps:
            take(mesh, change, kitchen.newest)
        source.view = view_of(mesh, EAST)
        packets = [packet for packet, _ in kitchen.serve(recipe, source.process)]

        check(
            packets, also.read(many.process(columns(packets))), meanings.read(one.process(columns(packets)))
        )
        assert many.connections == one.connections
        assert many.counters == one.counters


@settings(max_examples=examples(50), deadline=None)
@given(rounds, st.booleans())
def test_a_mesh_takes_packets_through_both_ends_as_its_double(taken: Rounds, v6: bool) -> None:
    mesh = first_mesh()
    slow = {name: double.Datapath(view_of(mesh, name)) for name in IDS}
    readers = [mesh.datapath(name) for name in IDS]  # numbers are the same wherever they are counted
    meanings, kitchen = Meanings(*readers), Kitchen(v6=v6)
    for steps, recipe in taken:
        for change in steps:
            take(mesh, change, kitchen.newest)
        for name, path in slow.items():
            if not mesh.members[name].failed:
                path.view = view_of(mesh, name)
        for reader in readers:
            reader.catch_up()
        going = {name: path for name, path in slow.items() if not mesh.members[name].failed}
        served = list(kitchen.serve(recipe, partial(double.through_both_ends, going, everywhere(mesh))))
        packets = [packet for packet, _ in served]

        decided = meanings.read(mesh.process(columns(packets)))

        check(packets, decided, [expected(walk) for _, walk in served])

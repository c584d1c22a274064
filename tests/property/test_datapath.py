"""
The staged data path decides as one that takes a packet at a time and looks everything up in dictionaries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

import attrs
from hypothesis import given, note, settings
from hypothesis import strategies as st

import fleetmesh as fm
from doubles import datapath as double
from doubles.datapath import ACK, FIN, RST, SECOND, SYN, Packet, Walk
from doubles.datapath_mesh import Meanings, columns, counted, everywhere, expected, rows_of, view_of
from doubles.effort import examples
from doubles.two_clusters import EAST, IDS, NUMBERS, PORTS, WEST, new_mesh, pod, service, slices, vip

Decide = Callable[[Packet], Walk]

FLAGS = (SYN, SYN, ACK, ACK, ACK, SYN | ACK, FIN | ACK, FIN | ACK, RST, SYN | FIN, 0)
# Times come to lie right on the end of every time-out, and on either side of it.
STEPS = (0, 0, 0, 0, 0, 0, 1, SECOND, 5 * SECOND - 1, 5 * SECOND, 10 * SECOND - 1, 10 * SECOND, 50 * SECOND)
LEAPS = (60 * SECOND - 1, 60 * SECOND, 21600 * SECOND - 1, 21600 * SECOND)
CLIENT_PORTS = (1000, 1001, 8080)
AFFINITY = 5
ICMP = {False: 1, True: 58}


@attrs.frozen
class Recipe:
    """
    How the next packet is made of what there was.

    Attributes:
        kind: `ask` a service, `direct` to a backend, `answer` or `again`: of one that was, `any` ends.
        client: Who, of a few, asks; the first ones are backends too.
        which: Which service and port; or which packet, counted from the last.
    """

    kind: str
    client: int
    port: int
    which: int
    protocol: int
    flags: int
    step: int


@attrs.frozen
class Change:
    """What happens between two calls."""

    kind: str
    cluster: str
    name: str
    states: tuple[str, str, str]


recipes = st.builds(
    Recipe,
    kind=st.sampled_from(["ask"] * 5 + ["answer"] * 4 + ["again"] * 4 + ["direct", "any"]),
    client=st.integers(0, 4),
    port=st.sampled_from(CLIENT_PORTS),
    which=st.integers(0, 35),
    protocol=st.sampled_from([0, 0, 0, 0, 0, 1, 1, 2, 3, 4]),
    flags=st.sampled_from(FLAGS),
    step=st.sampled_from(STEPS * 3 + LEAPS),
)
changes = st.builds(
    Change,
    kind=st.sampled_from(["slices"] * 6 + ["delete", "service", "affinity", "fail", "restore"]),
    cluster=st.sampled_from([EAST, WEST]),
    name=st.sampled_from(sorted(NUMBERS)),
    states=st.tuples(*[st.sampled_from(["ready", "ready", "terminating", "gone"])] * 3),
)
rounds = st.lists(
    st.tuples(st.lists(changes, max_size=3), st.lists(recipes, min_size=1, max_size=25)),
    min_size=1,
    max_size=6,
)
small = st.sampled_from([2, 3, 4, 5, 6, 7, 8])


def first_mesh() -> fm.Mesh:
    """Of both clusters; `web` and `alt` have the same backends, and clients are among them."""
    mesh = new_mesh()
    for cluster in IDS:
        member = mesh.members[cluster]
        for name in NUMBERS:
            member.apply([service(cluster, name, affinity=AFFINITY if name == "sticky" else 0)])
            member.apply(slices(cluster, name, {1: "ready", 2: "ready"} if name != "alt" else {1: "ready"}))
    return mesh


def take(mesh: fm.Mesh, change: Change) -> None:
    member = mesh.members[change.cluster]
    if change.kind == "slices":
        member.apply(slices(change.cluster, change.name, dict(enumerate(change.states, 1))))
    elif change.kind == "delete":
        found = service(change.cluster, change.name)
        if any(each.kind == "Service" and each.name == found.name for each in member.resources.values()):
            member.delete([found])
    elif change.kind in ("service", "affinity"):
        affinity = AFFINITY if change.kind == "affinity" else 0
        member.apply([service(change.cluster, change.name, affinity=affinity)])
    elif change.kind == "fail" and change.cluster == WEST and not member.failed:
        member.fail()
    elif change.kind == "restore" and member.failed:
        member.restore()


class Kitchen:
    """Makes packets of recipes; answers go to what the double did with earlier packets."""

    def __init__(self, *, v6: bool) -> None:
        self._v6 = v6
        self._time = 1000 * SECOND
        self._past: list[tuple[Packet, Walk]] = []
        outside = ip_address("2001:db8:1::9" if v6 else "203.0.113.9")
        self._clients = [
            *(ip_address(pod(EAST, number, v6=v6)) for number in (1, 2, 9)),
            ip_address(pod(WEST, 9, v6=v6)),
            outside,
        ]
        self._addresses = [
            *(ip_address(vip(EAST, name, v6=v6)) for name in sorted(NUMBERS)),
            *(ip_address(vip(EAST, name, v6=v6, external=True)) for name in ("web", "scoped")),
            ip_address(vip(WEST, "web", v6=v6)),
        ]

    def make(self, recipe: Recipe) -> Packet:
        self._time += recipe.step
        before = self._past[-1 - recipe.which % min(4, len(self._past))] if self._past else None
        if recipe.kind == "answer" and before is not None:
            asked, walk = before
            ends = (walk.destination, walk.destination_port, asked.source, asked.source_port)
            return Packet(*ends, walk.protocol, recipe.flags, self._time)
        if recipe.kind == "again" and before is not None:
            return attrs.evolve(before[0], flags=recipe.flags, time=self._time)
        client = self._clients[recipe.client]
        protocol, port, target = self._port(recipe.protocol)
        if recipe.kind == "direct":
            cluster, number = (EAST, WEST)[recipe.which % 2], 1 + recipe.which % 3
            there = (ip_address(pod(cluster, number, v6=self._v6)), target)
        elif recipe.kind == "any":
            there = (self._clients[recipe.which % len(self._clients)], port)
        else:
            there = (self._addresses[recipe.which % len(self._addresses)], port)
        return Packet(client, recipe.port, *there, protocol, recipe.flags, self._time)

    def _port(self, which: int) -> tuple[int, int, int]:
        """Protocol, port of services, port of backends."""
        if which < len(PORTS):
            _, name, port, target = PORTS[which]
            return {"TCP": 6, "UDP": 17, "SCTP": 132}[name], port, target
        return (ICMP[self._v6], 0, 0) if which == len(PORTS) else (47, 0, 0)

    def serve(self, recipes: Sequence[Recipe], decide: Decide) -> Iterator[tuple[Packet, Walk]]:
        for recipe in recipes:
            packet = self.make(recipe)
            walk = decide(packet)
            self._past.append((packet, walk))
            yield packet, walk


def check(packets: Sequence[Packet], found: Sequence[Any], wanted: Sequence[Any]) -> None:
    for at, (packet, one, other) in enumerate(zip(packets, found, wanted, strict=True)):
        if one != other:
            note(f"{at}: {packet}\nfound    {one}\nexpected {other}")
        assert one == other


@settings(max_examples=examples(60), deadline=None)
@given(rounds, st.booleans(), st.none() | st.tuples(small, small, small))
def test_a_data_path_decides_as_its_double(
    taken: Sequence[tuple[Sequence[Change], Sequence[Recipe]]], v6: bool, bounds: tuple[int, int, int] | None
) -> None:
    mesh = first_mesh()
    tcp, other, affinities = bounds or (1000, 1000, 1000)
    path = mesh.datapath(EAST, tcp_connections=tcp, other_connections=other, affinities=affinities)
    slow = double.Datapath(view_of(mesh, EAST), tcp=tcp, other=other, affinities=affinities)
    meanings, kitchen = Meanings(path), Kitchen(v6=v6)
    for steps, recipe in taken:
        for change in steps:
            take(mesh, change)
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
    taken: Sequence[tuple[Sequence[Change], Sequence[Recipe]]],
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
            take(mesh, change)
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
def test_shards_decide_as_one_where_nothing_is_evicted(
    taken: Sequence[tuple[Sequence[Change], Sequence[Recipe]]], v6: bool, shards: int
) -> None:
    mesh = first_mesh()
    one, many = mesh.datapath(EAST), mesh.datapath(EAST, shards=shards)
    meanings, also = Meanings(one), Meanings(many)
    kitchen = Kitchen(v6=v6)
    source = double.Datapath(view_of(mesh, EAST))
    for steps, recipe in taken:
        for change in steps:
            take(mesh, change)
        source.view = view_of(mesh, EAST)
        packets = [packet for packet, _ in kitchen.serve(recipe, source.process)]

        check(
            packets, also.read(many.process(columns(packets))), meanings.read(one.process(columns(packets)))
        )
        assert many.connections == one.connections
        assert many.counters == one.counters


@settings(max_examples=examples(50), deadline=None)
@given(rounds, st.booleans())
def test_a_mesh_takes_packets_through_both_ends_as_its_double(
    taken: Sequence[tuple[Sequence[Change], Sequence[Recipe]]], v6: bool
) -> None:
    mesh = first_mesh()
    slow = {name: double.Datapath(view_of(mesh, name)) for name in IDS}
    readers = [mesh.datapath(name) for name in IDS]  # numbers are the same wherever they are counted
    meanings, kitchen = Meanings(*readers), Kitchen(v6=v6)
    for steps, recipe in taken:
        for change in steps:
            take(mesh, change)
        for name, path in slow.items():
            if not mesh.members[name].failed:
                path.view = view_of(mesh, name)
        for reader in readers:
            reader.catch_up()
        going = {name: path for name, path in slow.items() if not mesh.members[name].failed}
        served = list(
            kitchen.serve(
                recipe, lambda packet, on=going: double.through_both_ends(on, everywhere(mesh), packet)
            )
        )
        packets = [packet for packet, _ in served]

        decided = meanings.read(mesh.process(columns(packets)))

        check(packets, decided, [expected(walk) for _, walk in served])

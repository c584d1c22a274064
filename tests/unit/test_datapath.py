"""
What becomes of packets, rule by rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from typing import Any

import attrs
import numpy as np
import pytest

import fleetmesh as fm
from doubles.datapath import ACK, FIN, RST, SECOND, SYN, Packet
from doubles.datapath_mesh import Decided, Meanings, columns
from doubles.two_clusters import EAST, WEST, new_mesh, pod, service, slices, vip

TCP, UDP, SCTP, ICMP = 6, 17, 132, 1
NEW, ESTABLISHED, REPLY = 0, 1, 2
ALLOW, DENY = 1, 2
CLIENT = IPv4Address(pod(EAST, 9))
WEB, ALT, STICKY = (IPv4Address(vip(EAST, name)) for name in ("web", "alt", "sticky"))
OPENING = Packet(CLIENT, 1000, WEB, 80, TCP, SYN, 0)
GOING_ON = attrs.evolve(OPENING, flags=ACK)


def backend(number: int, cluster: str = EAST) -> IPv4Address:
    return IPv4Address(pod(cluster, number))


class Fleet:
    """A mesh, and the data path of east on it."""

    def __init__(self, *, tcp_connections: int = 1000, shards: int = 1) -> None:
        self.mesh = new_mesh()
        self.set("web", {1: "ready"})
        self.path = self.mesh.datapath(EAST, tcp_connections=tcp_connections, shards=shards)
        self._meanings = Meanings(self.path)

    def set(self, name: str, states: dict[int, str], cluster: str = EAST, *, affinity: int = 0) -> None:
        self.mesh.members[cluster].apply([service(cluster, name, affinity=affinity)])
        self.mesh.members[cluster].apply(slices(cluster, name, states))

    def send(self, *packets: Packet) -> list[Decided]:
        return self._meanings.read(self.path.process(columns(packets)))

    def one(self, packet: Packet) -> Decided:
        return self.send(packet)[0]


@pytest.fixture(params=[1, 3], ids=["one shard", "three shards"])
def fleet(request: pytest.FixtureRequest) -> Fleet:
    return Fleet(shards=request.param)


def answer(decided: Decided, flags: int = ACK, time: int = 0) -> Packet:
    return Packet(
        decided.destination, decided.destination_port, decided.source, decided.source_port, TCP, flags, time
    )


def at(seconds: float, packet: Packet = OPENING, **changes: Any) -> Packet:
    return attrs.evolve(packet, time=round(seconds * SECOND), **changes)


# Translation


def test_a_packet_to_a_service_goes_to_a_backend_and_the_answer_comes_from_the_service(fleet: Fleet) -> None:
    there = fleet.one(OPENING)
    assert (there.verdict, there.state) == (ALLOW, NEW)
    assert (there.destination, there.destination_port) == (backend(1), 8080)
    assert there.backend == (backend(1), 8080, TCP)
    assert there.service == (WEB, 80, TCP, "external")

    back = fleet.one(answer(there, SYN | ACK))
    assert (back.source, back.source_port, back.destination, back.destination_port) == (WEB, 80, CLIENT, 1000)
    assert (back.state, back.service, back.backend) == (REPLY, there.service, None)
    assert fleet.one(GOING_ON).state == ESTABLISHED


@pytest.mark.parametrize(("protocol", "port", "target"), [(UDP, 53, 5353), (SCTP, 90, 9090)])
def test_other_protocols_are_balanced_and_answered_too(
    fleet: Fleet, protocol: int, port: int, target: int
) -> None:
    there = fleet.one(attrs.evolve(OPENING, protocol=protocol, destination_port=port))
    assert (there.destination, there.destination_port) == (backend(1), target)

    back = fleet.one(attrs.evolve(answer(there), protocol=protocol))
    assert (back.source, back.source_port, back.state) == (WEB, port, REPLY)


def test_a_backend_that_asks_its_own_service_gets_its_answer(fleet: Fleet) -> None:
    there = fleet.one(attrs.evolve(OPENING, source=backend(1)))
    assert there.destination == backend(1)

    back = fleet.one(answer(there, SYN | ACK))
    assert (back.source, back.source_port, back.state) == (WEB, 80, REPLY)


def test_ping_passes_a_service_by(fleet: Fleet) -> None:
    found = fleet.one(attrs.evolve(OPENING, protocol=ICMP, destination_port=0))
    assert (found.verdict, found.destination, found.service) == (ALLOW, WEB, None)


def test_one_client_port_to_one_backend_through_two_services_the_newest_packet_s_gets_the_answers(
    fleet: Fleet,
) -> None:
    fleet.set("alt", {1: "ready"})
    other = attrs.evolve(OPENING, destination=ALT)

    first = fleet.one(OPENING)
    assert fleet.one(answer(first)).source == WEB
    second = fleet.one(other)
    assert second.backend == first.backend
    assert fleet.one(answer(first)).source == ALT
    fleet.one(GOING_ON)
    assert fleet.one(answer(first)).source == WEB
    fleet.one(attrs.evolve(other, flags=ACK))
    assert fleet.one(answer(first)).source == ALT


def test_a_direct_connection_after_one_through_a_service_is_answered_by_the_backend_itself(
    fleet: Fleet,
) -> None:
    there = fleet.one(OPENING)
    fleet.one(attrs.evolve(OPENING, destination=backend(1), destination_port=8080))

    assert fleet.one(answer(there)).source == backend(1)


def test_what_answers_for_one_service_and_goes_to_another_belongs_to_that_other(fleet: Fleet) -> None:
    fleet.set("alt", {2: "ready"})
    there = fleet.one(Packet(backend(2), 8080, WEB, 80, TCP, SYN, 0))
    assert there.backend == (backend(1), 8080, TCP)

    back = fleet.one(Packet(backend(1), 8080, ALT, 80, TCP, ACK, 0))

    assert (back.source, back.source_port, back.destination, back.destination_port) == (
        WEB,
        80,
        backend(2),
        8080,
    )
    assert (back.service, back.backend) == ((ALT, 80, TCP, "external"), (backend(2), 8080, TCP))


# Backends that come and go


def test_an_established_connection_keeps_its_backend_while_tables_change(fleet: Fleet) -> None:
    first = fleet.one(OPENING)
    fleet.set("web", dict.fromkeys(range(1, 4), "ready"))
    fleet.set("web", dict.fromkeys(range(1, 6), "ready"), WEST)

    assert all(fleet.one(GOING_ON).backend == first.backend for _ in range(3))
    opened = {
        row.backend for row in fleet.send(*(attrs.evolve(OPENING, source_port=n) for n in range(2000, 2100)))
    }
    assert len(opened) == 8


def test_a_connection_is_balanced_afresh_once_its_backend_is_gone(fleet: Fleet) -> None:
    fleet.one(OPENING)
    fleet.set("web", {2: "ready"})

    assert fleet.one(GOING_ON).destination == backend(2)
    fleet.set("web", {1: "ready", 2: "ready"})
    assert fleet.one(GOING_ON).destination == backend(2)


def test_a_terminating_backend_keeps_its_connections_but_a_syn_moves(fleet: Fleet) -> None:
    fleet.one(OPENING)
    fleet.set("web", {1: "terminating", 2: "ready"})

    assert fleet.one(GOING_ON).destination == backend(1)
    assert fleet.one(OPENING).destination == backend(2)
    assert fleet.one(GOING_ON).destination == backend(2)


def test_a_backend_that_one_service_lets_go_but_another_uses_stays(fleet: Fleet) -> None:
    fleet.set("alt", {1: "ready"})
    fleet.one(OPENING)
    fleet.set("web", {2: "ready"})

    assert fleet.one(GOING_ON).destination == backend(1)


def test_a_number_of_a_backend_is_not_given_again_while_a_connection_has_it() -> None:
    fleet = Fleet(tcp_connections=10_000)
    path = fleet.path
    taken: dict[int, tuple[Any, int]] = {}
    held = int(path.process(columns([OPENING])).backend[0])
    for wave in range(3):
        # More than a data path remembers for nothing, so that it forgets.
        own = dict.fromkeys(range(256 + 2000 * wave, 256 + 2000 * (wave + 1)), "ready")
        fleet.mesh.members[EAST].apply(
            [attrs.evolve(each, endpoints=many(each, own)) for each in slices(EAST, "web", {1: "ready"})]
        )
        asked = columns([attrs.evolve(OPENING, source_port=n) for n in range(2000, 2200)])
        for number in np.unique(path.process(asked).backend).tolist():
            seen = path.backend(number)
            assert seen is not None
            assert taken.setdefault(number, (seen.address, seen.port)) == (seen.address, seen.port)
        seen = path.backend(held)
        assert seen is not None
        assert seen.address == str(backend(1))


def many(each: Any, numbers: Iterable[int]) -> Any:
    first = each.endpoints[0]
    base = int(IPv4Address(pod(EAST, 0)))
    if each.address_type == "IPv6":
        return each.endpoints
    return tuple(attrs.evolve(first, addresses=(str(IPv4Address(base + number)),)) for number in numbers)


def test_no_backend_and_no_service_are_different_outcomes(fleet: Fleet) -> None:
    fleet.set("web", {})

    nobody = fleet.one(OPENING)
    assert (nobody.verdict, nobody.reason) == (DENY, 158)
    assert (nobody.service, nobody.backend, nobody.destination) == ((WEB, 80, TCP, "external"), None, WEB)
    nothing = fleet.one(attrs.evolve(OPENING, destination_port=81))
    assert (nothing.verdict, nothing.reason, nothing.service, nothing.destination) == (ALLOW, 0, None, WEB)


def test_a_connection_whose_last_backend_is_gone_is_denied(fleet: Fleet) -> None:
    fleet.one(OPENING)
    fleet.set("web", {})

    assert fleet.one(GOING_ON).reason == 158


def test_a_protocol_that_is_not_tracked_is_denied(fleet: Fleet) -> None:
    found = fleet.one(attrs.evolve(OPENING, protocol=47))
    assert (found.verdict, found.reason, found.service) == (DENY, 137, None)


# Affinity


def test_affinity_holds_a_client_to_its_backend_until_its_time_is_over(fleet: Fleet) -> None:
    fleet.set("sticky", {1: "ready"}, affinity=5)
    ask = attrs.evolve(OPENING, destination=STICKY)
    fleet.one(ask)
    fleet.set("sticky", dict.fromkeys(range(2, 9), "ready") | {1: "ready"}, affinity=5)
    fresh = Fleet()
    fresh.set("sticky", dict.fromkeys(range(2, 9), "ready") | {1: "ready"}, affinity=5)
    chosen = fresh.one(ask).destination
    assert chosen != backend(1)  # whom the table gives to this client

    assert fleet.one(at(4.9, ask, source_port=1001)).destination == backend(1)
    assert fleet.one(at(9.8, ask, source_port=1002)).destination == backend(1)  # each packet renews it
    assert fleet.one(at(14.8, ask, source_port=1003)).destination == chosen  # not including the end


def test_affinity_does_not_hold_to_a_backend_that_takes_no_new_connections(fleet: Fleet) -> None:
    ask = attrs.evolve(OPENING, destination=STICKY)
    fleet.set("sticky", {1: "ready"}, affinity=5)
    fleet.one(ask)
    fleet.set("sticky", {1: "terminating", 2: "ready"}, affinity=5)

    assert fleet.one(attrs.evolve(ask, source_port=1001)).destination == backend(2)
    assert fleet.one(attrs.evolve(ask, flags=ACK)).destination == backend(1)


def test_affinity_is_each_client_s_own_whatever_its_port(fleet: Fleet) -> None:
    fleet.set("sticky", dict.fromkeys(range(1, 9), "ready"), affinity=5)
    asked = [
        attrs.evolve(OPENING, destination=STICKY, source=backend(100 + client), source_port=port)
        for client in range(20)
        for port in (1000, 2000, 3000)
    ]

    found = fleet.send(*asked)

    by_client = [{row.backend for row in found[at : at + 3]} for at in range(0, len(found), 3)]
    assert all(len(each) == 1 for each in by_client)
    assert len(set().union(*by_client)) > 3


# Time


def established(fleet: Fleet) -> None:
    there = fleet.one(OPENING)
    fleet.one(answer(there, SYN | ACK))
    fleet.one(GOING_ON)


def closed(fleet: Fleet) -> None:
    established(fleet)
    fleet.one(attrs.evolve(OPENING, flags=FIN | ACK))
    there = Packet(backend(1), 8080, CLIENT, 1000, TCP, FIN | ACK, 0)
    fleet.one(there)


def reset(fleet: Fleet) -> None:
    fleet.one(OPENING)
    fleet.one(attrs.evolve(OPENING, flags=RST))


def datagram(fleet: Fleet) -> None:
    fleet.one(attrs.evolve(OPENING, protocol=UDP, destination_port=53))


@pytest.mark.parametrize(
    ("history", "packet", "seconds"),
    [
        pytest.param(lambda fleet: fleet.one(OPENING), GOING_ON, 60, id="opening"),
        pytest.param(established, GOING_ON, 21600, id="established"),
        pytest.param(closed, GOING_ON, 10, id="closed"),
        pytest.param(reset, GOING_ON, 10, id="reset before it was answered"),
        pytest.param(datagram, attrs.evolve(OPENING, protocol=UDP, destination_port=53), 60, id="UDP"),
    ],
)
@pytest.mark.parametrize("over", [False, True])
def test_a_connection_is_forgotten_exactly_when_its_time_is_over(
    history: Callable[[Fleet], object], packet: Packet, seconds: int, over: bool
) -> None:
    fleet = Fleet()
    history(fleet)

    found = fleet.one(attrs.evolve(packet, time=seconds * SECOND - (not over)))

    assert found.state == (NEW if over else ESTABLISHED)


@pytest.mark.parametrize("end", [closed, reset])
def test_what_still_comes_on_a_closed_connection_does_not_lengthen_it(
    fleet: Fleet, end: Callable[[Fleet], object]
) -> None:
    fleet.send(OPENING, GOING_ON, GOING_ON)
    end(fleet)
    assert fleet.one(at(9, GOING_ON)).state == ESTABLISHED

    assert fleet.one(at(10, GOING_ON)).state == NEW


def test_a_syn_opens_a_closed_connection_anew(fleet: Fleet) -> None:
    closed(fleet)
    assert fleet.one(GOING_ON).state == ESTABLISHED
    assert fleet.one(OPENING).state == NEW
    assert fleet.one(at(59, GOING_ON)).state == ESTABLISHED


def test_what_a_closed_connection_has_seen_does_not_count_for_the_next(fleet: Fleet) -> None:
    closed(fleet)
    fleet.one(OPENING)
    fleet.one(attrs.evolve(OPENING, flags=RST))  # before it was answered: that is the end of it

    assert fleet.one(at(9.9, GOING_ON)).state == ESTABLISHED
    assert fleet.one(at(10, GOING_ON)).state == NEW


def test_a_connection_closed_on_one_side_goes_on(fleet: Fleet) -> None:
    established(fleet)
    fleet.one(answer(fleet.one(GOING_ON), FIN | ACK))

    assert fleet.one(at(21599)).state == NEW  # but a SYN would open it anew
    assert fleet.one(at(21599, GOING_ON)).state == ESTABLISHED


def test_a_retransmitted_syn_opens_nothing(fleet: Fleet) -> None:
    fleet.one(OPENING)
    assert fleet.one(OPENING).state == ESTABLISHED
    (counter,) = fleet.path.counters
    assert (counter.packets, counter.connections) == (2, 1)


def test_time_may_stand_still_but_not_go_back(fleet: Fleet) -> None:
    fleet.send(at(2), at(2))
    before = fleet.path.connections, fleet.path.counters

    with pytest.raises(ValueError, match=r"^column time: packet 0 is at 1000000000 ns, before 2000000000 ns"):
        fleet.send(at(1))
    with pytest.raises(ValueError, match=r"^column time: packet 2 is at 2500000000 ns, before 3000000000 ns"):
        fleet.send(at(2.5, source_port=1), at(3, source_port=2), at(2.5, source_port=3))

    assert (fleet.path.connections, fleet.path.counters) == before
    assert fleet.one(at(2, GOING_ON)).state == ESTABLISHED


# Bounds


def test_a_full_table_forgets_the_oldest_that_was_not_used_since() -> None:
    # The client is elsewhere, and so is the backend: one entry to a connection at the service, one going out.
    fleet = Fleet(tcp_connections=4)
    fleet.set("web", {}, EAST)
    fleet.set("web", {1: "ready"}, WEST)
    ask = attrs.evolve(OPENING, source=IPv4Address("203.0.113.9"))

    first, second, third = (attrs.evolve(ask, source_port=port) for port in (1, 2, 3))
    fleet.send(first, second)
    assert attrs.astuple(fleet.path.connections) == (4, 0, 0)
    assert fleet.one(attrs.evolve(first, flags=ACK)).state == ESTABLISHED
    fleet.one(third)
    assert attrs.astuple(fleet.path.connections) == (4, 0, 2)
    assert fleet.one(attrs.evolve(first, flags=ACK)).state == ESTABLISHED
    assert fleet.one(attrs.evolve(second, flags=ACK)).state == NEW


def test_eviction_is_the_same_in_every_data_path() -> None:
    packets = [attrs.evolve(OPENING, source_port=n % 37 + 1, flags=ACK) for n in range(500)]
    runs = [Fleet(tcp_connections=20) for _ in range(3)]  # each with its own secret

    found = [fleet.send(*packets) for fleet in runs]

    assert found[0] == found[1] == found[2]
    assert len({fleet.path.connections for fleet in runs}) == 1
    assert runs[0].path.connections.evicted > 0


@pytest.mark.parametrize("name", ["tcp_connections", "other_connections", "affinities", "shards"])
def test_a_bound_that_is_none_is_refused(name: str) -> None:
    make: Any = new_mesh().datapath
    with pytest.raises(ValueError, match=f"^{name} is 0; expected 1"):
        make(EAST, **{name: 0})
    with pytest.raises(TypeError, match=f"^{name} is 1.5; expected a whole number"):
        make(EAST, **{name: 1.5})


# Counters


def test_what_was_sent_is_counted_by_service_and_cluster(fleet: Fleet) -> None:
    fleet.set("web", {1: "ready"}, WEST)
    asked = [attrs.evolve(OPENING, source_port=n) for n in range(1000, 1100)]
    found = fleet.send(*asked, *(attrs.evolve(each, flags=ACK) for each in asked))
    fleet.set("web", {}, EAST)
    fleet.set("web", {}, WEST)
    fleet.send(OPENING)

    sent = {
        cluster: sum(row.destination == backend(1, cluster) for row in found[:100])
        for cluster in (EAST, WEST)
    }
    assert [attrs.astuple(each) for each in fleet.path.counters] == [
        ("shop", "web", None, 1, 0),
        ("shop", "web", EAST, 2 * sent[EAST], sent[EAST]),
        ("shop", "web", WEST, 2 * sent[WEST], sent[WEST]),
    ]


# Both ends


def test_a_mesh_takes_a_packet_out_of_one_cluster_and_into_the_other() -> None:
    mesh = new_mesh()
    mesh.members[EAST].apply([service(EAST, "web")])
    mesh.members[WEST].apply([service(WEST, "web")])
    mesh.members[WEST].apply(slices(WEST, "web", {1: "ready"}))
    meanings = Meanings(mesh.datapath(EAST))

    (there,) = meanings.read(mesh.process(columns([OPENING])))
    assert (there.destination, there.state) == (backend(1, WEST), NEW)
    (back,) = meanings.read(mesh.process(columns([answer(there, SYN | ACK)])))
    assert (back.source, back.source_port, back.state) == (WEB, 80, REPLY)


@pytest.mark.parametrize("change", ["id", "settings"])
def test_a_member_that_comes_back_as_another_has_a_new_data_path(change: str) -> None:
    mesh = new_mesh()
    mesh.members[EAST].apply([service(EAST, "web")])
    mesh.members[EAST].apply(slices(EAST, "web", {1: "ready"}))
    assert mesh.process(columns([OPENING])).verdict[0] == ALLOW
    path = mesh.datapath(EAST)

    member = mesh.leave(EAST)
    if change == "id":
        mesh.join(member, cluster_id=3)
    else:
        mesh.join(member, settings=fm.ClusterSettings(maglev_table_size=509))

    assert mesh.process(columns([OPENING])).destination[0] == int(backend(1))
    assert path.process(columns([OPENING])).destination[0] == int(backend(1))


# Bad input

V4: dict[str, Any] = {"source": np.zeros(2, np.uint32), "destination": np.zeros(2, np.uint32)}
V6: dict[str, Any] = {"source": np.zeros((2, 16), np.uint8), "destination": np.zeros((2, 16), np.uint8)}
TYPES = {
    "source_port": np.uint16,
    "destination_port": np.uint16,
    "protocol": np.uint8,
    "tcp_flags": np.uint8,
    "time": np.uint64,
}
REST: dict[str, Any] = {name: np.zeros(2, dtype) for name, dtype in TYPES.items()}


@pytest.mark.parametrize("make", [(fm.Packets.v4, V4), (fm.Packets.v6, V6)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("name", ["destination", *TYPES])
def test_a_column_of_another_length_is_refused(make: tuple[Any, Any], name: str) -> None:
    packets, addresses = make
    given = {**addresses, **REST}
    given[name] = np.concatenate([given[name], given[name]])
    with pytest.raises(ValueError, match=f"^column {name} has 4 values; column source has 2$"):
        packets(**given)


@pytest.mark.parametrize("make", [(fm.Packets.v4, V4), (fm.Packets.v6, V6)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("name", ["source", "destination", *TYPES])
@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.bool_, object])
def test_a_column_of_another_type_is_refused(make: tuple[Any, Any], name: str, dtype: Any) -> None:
    packets, addresses = make
    given = {**addresses, **REST}
    given[name] = given[name].astype(dtype)
    with pytest.raises(TypeError, match=f"^column {name} is of {np.dtype(dtype)}; expected "):
        packets(**given)
    with pytest.raises(TypeError, match=f"^column {name} is list; expected "):
        packets(**{**given, name: [0, 0]})


def test_addresses_of_the_other_family_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^column source has the shape \(2, 16\); expected uint32 .*IPv4"):
        fm.Packets.v4(**V6, **REST)
    with pytest.raises(ValueError, match=r"^column source has the shape \(2,\); expected uint8 .*IPv6"):
        fm.Packets.v6(**V4, **REST)
    with pytest.raises(ValueError, match=r"^column destination has the shape \(2, 16\); .*IPv4"):
        fm.Packets.v4(V4["source"], V6["destination"], **REST)


def test_four_billion_packets_are_too_many_for_one_call() -> None:
    many4 = np.broadcast_to(np.uint32(0), 2**32)
    with pytest.raises(ValueError, match=r"^column source: 4294967296 packets; expected fewer than 2\^32"):
        fm.Packets.v4(many4, many4, 1, 1)
    many6 = np.broadcast_to(np.uint8(0), (2**32, 16))
    with pytest.raises(ValueError, match=r"^column source: 4294967296 packets; expected fewer than 2\^32"):
        fm.Packets.v6(many6, many6, 1, 1)


@pytest.mark.parametrize(("name", "value"), [("source_port", 65536), ("protocol", -1), ("time", 2**64)])
def test_one_number_for_all_packets_must_fit(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^column {name} is {value}; expected 0 to "):
        fm.Packets.v4(**{**V4, **REST, name: value})


def test_what_is_no_packets_is_refused(fleet: Fleet) -> None:
    with pytest.raises(TypeError, match=r"^packets are list; expected Packets, from "):
        fleet.path.process([])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^packets are list; expected Packets, from "):
        fleet.mesh.process([])  # type: ignore[arg-type]


def test_no_packets_are_no_trouble(fleet: Fleet) -> None:
    none = np.zeros(0, np.uint32)
    assert len(fleet.path.process(fm.Packets.v4(none, none, 1, 1))) == 0
    assert len(fleet.mesh.process(fm.Packets.v4(none, none, 1, 1))) == 0


def test_columns_need_not_be_contiguous(fleet: Fleet) -> None:
    wide = np.zeros((3, 2), np.uint32)
    wide[:, 0] = int(CLIENT)
    wide[:, 1] = int(WEB)
    found = fleet.path.process(fm.Packets.v4(wide[:, 0], wide[:, 1], np.arange(6, dtype=np.uint16)[::2], 80))
    assert found.destination.tolist() == [int(backend(1))] * 3

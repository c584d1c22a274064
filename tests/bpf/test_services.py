"""
Packets to services, and their answers, through the programs in the kernel.
"""

from __future__ import annotations

import errno
import json
from base64 import b64decode
from pathlib import Path

import pytest
from attrs import evolve, frozen

from bpf.kernel import WHOLE_SUM
from bpf.node import (
    AFFINITY,
    CHECKSUM,
    DROP,
    INTERNAL,
    NO_BACKEND,
    OUT,
    PASS,
    SERVICE,
    TERMINATING,
    TWO_SCOPES,
    WIDE,
    Node,
    family,
)
from bpf.packets import ACK, SCTP, SYN, TCP, UDP, Packet, destination_of

pytestmark = pytest.mark.kernel

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "packet_hash.json").read_text())
SIZE = 251


@frozen
class Plan:
    """Addresses of one family."""

    client: str
    vip: str
    other_vip: str
    backends: str

    def backend(self, number: int) -> str:
        return f"{self.backends}{number}"

    def packet(self, *, port: int = 40000, protocol: int = TCP, flags: int = SYN) -> Packet:
        """
        From the client to the service.
        """
        return Packet(self.client, self.vip, port, 80, protocol, flags)


V4 = Plan("10.1.0.7", "10.96.0.1", "10.96.0.2", "10.2.0.")
V6 = Plan("fd00:10:1::7", "fd00:96::1", "fd00:96::2", "fd00:10:2::")
FAMILIES = pytest.mark.parametrize("plan", [V4, V6], ids=["IPv4", "IPv6"])
PROTOCOLS = pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])


def serve(
    node: Node, plan: Plan, backends: int = 1, *, protocol: int = TCP, flags: int = 0, **options: int
) -> None:
    """
    The service with backends 1 to `backends` at port 8080, in turn in its table.
    """
    for number in range(1, backends + 1):
        node.put_backend(number, plan.backend(number), 8080, protocol=protocol)
    table = [slot % backends for slot in range(SIZE)]
    ids = range(1, backends + 1)
    node.put_service(plan.vip, 80, node.put_table(ids, table), protocol=protocol, flags=flags, **options)


def send(node: Node, packet: Packet) -> str:
    """
    The address that a packet from the pod goes to.
    """
    outcome = node.from_pod(packet.frame())
    assert outcome.code == PASS
    return destination_of(outcome.frame)[0]


@FAMILIES
@PROTOCOLS
def test_a_packet_to_a_service_goes_to_its_backend_and_all_else_stays(
    node: Node, plan: Plan, protocol: int
) -> None:
    """
    Compared with the packet built for the backend from the start, checksums included.
    """
    serve(node, plan, protocol=protocol)
    packet = plan.packet(protocol=protocol)

    outcome = node.from_pod(packet.frame())

    assert outcome.code == PASS
    assert outcome.frame == packet.to(plan.backend(1), 8080).frame()


@FAMILIES
@PROTOCOLS
def test_the_answer_gets_the_address_of_the_service_back(node: Node, plan: Plan, protocol: int) -> None:
    serve(node, plan, protocol=protocol)
    packet = plan.packet(protocol=protocol)
    send(node, packet)

    outcome = node.to_pod(packet.to(plan.backend(1), 8080).answer(flags=SYN | ACK).frame())

    assert outcome.code == PASS
    assert outcome.frame == packet.answer(flags=SYN | ACK).frame()


@pytest.mark.parametrize("length", [0, 1, 2, 1400])
@FAMILIES
@PROTOCOLS
def test_checksums_are_right_for_any_payload(node: Node, plan: Plan, protocol: int, length: int) -> None:
    serve(node, plan, protocol=protocol)
    packet = evolve(plan.packet(protocol=protocol), payload=bytes(i * 37 & 255 for i in range(length)))

    assert node.from_pod(packet.frame()).frame == packet.to(plan.backend(1), 8080).frame()


@FAMILIES
@PROTOCOLS
def test_a_sum_that_a_card_took_stays_right(node: Node, plan: Plan, protocol: int) -> None:
    """
    It is over the whole packet, where in IPv6 no checksum of the header makes up for a change of the address.
    """
    serve(node, plan, protocol=protocol)
    packet = plan.packet(protocol=protocol)
    translated = packet.to(plan.backend(1), 8080)
    programs = node.loaded.programs
    try:
        sent = programs["from_pod"].run(packet.frame(), WHOLE_SUM)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        pytest.skip("this kernel can't try a packet with a sum from a card")

    assert sent.frame == translated.frame()
    assert programs["to_pod"].run(translated.answer().frame(), WHOLE_SUM).frame == packet.answer().frame()


@FAMILIES
def test_a_udp_packet_without_a_checksum_gets_none(node: Node, plan: Plan) -> None:
    """
    Zero says that there is none.
    """
    serve(node, plan, protocol=UDP)
    packet = evolve(plan.packet(protocol=UDP), checked=False)

    assert node.from_pod(packet.frame()).frame == packet.to(plan.backend(1), 8080).frame()


@FAMILIES
def test_a_udp_checksum_that_comes_to_zero_is_written_as_all_ones(node: Node, plan: Plan) -> None:
    serve(node, plan, protocol=UDP)
    zeros = evolve(plan.packet(protocol=UDP), payload=bytes(2))
    checksum = zeros.to(plan.backend(1), 8080).frame()[-4:-2]
    packet = evolve(zeros, payload=checksum)
    expected = packet.to(plan.backend(1), 8080).frame()

    assert expected[-4:-2] == b"\xff\xff"
    assert node.from_pod(packet.frame()).frame == expected


@FAMILIES
def test_a_packet_to_no_service_is_untouched(node: Node, plan: Plan) -> None:
    serve(node, plan)
    for packet in (
        plan.packet().to(plan.vip, 81),
        plan.packet().to(plan.backend(1), 80),
        plan.packet(protocol=UDP),
    ):
        outcome = node.from_pod(packet.frame())

        assert (outcome.code, outcome.frame) == (PASS, packet.frame())


@FAMILIES
def test_a_service_without_a_backend_drops(node: Node, plan: Plan) -> None:
    node.put_service(plan.vip, 80, node.put_table([], []))

    assert node.from_pod(plan.packet().frame()).code == DROP
    assert node.drops() == {NO_BACKEND: 1}
    assert not node.knows(plan.packet(), SERVICE)


@FAMILIES
def test_an_established_connection_keeps_its_backend_when_the_table_moves(node: Node, plan: Plan) -> None:
    serve(node, plan)
    before = send(node, plan.packet())
    node.put_backend(2, plan.backend(2), 8080)
    node.put_service(plan.vip, 80, node.put_table([2], [0] * SIZE))

    assert send(node, plan.packet(flags=ACK)) == before == plan.backend(1)
    assert send(node, plan.packet(port=40001)) == plan.backend(2)


@FAMILIES
def test_a_connection_whose_backend_is_gone_is_balanced_afresh(node: Node, plan: Plan) -> None:
    serve(node, plan)
    send(node, plan.packet())
    node.put_backend(2, plan.backend(2), 8080)
    node.put_service(plan.vip, 80, node.put_table([2], [0] * SIZE))
    node.remove_backend(1, family(plan.vip))

    assert send(node, plan.packet(flags=ACK)) == plan.backend(2)


@FAMILIES
def test_a_backend_that_is_leaving_keeps_its_connections_but_for_a_syn(node: Node, plan: Plan) -> None:
    serve(node, plan)
    send(node, plan.packet())
    node.put_backend(1, plan.backend(1), 8080, state=TERMINATING)
    node.put_backend(2, plan.backend(2), 8080)
    node.put_service(plan.vip, 80, node.put_table([2], [0] * SIZE))

    assert send(node, plan.packet(flags=ACK)) == plan.backend(1)
    assert send(node, plan.packet(flags=SYN)) == plan.backend(2)


@FAMILIES
def test_a_connection_whose_time_is_over_is_new(node: Node, plan: Plan) -> None:
    serve(node, plan)
    send(node, plan.packet())
    node.expire(plan.packet(), SERVICE)
    node.put_backend(2, plan.backend(2), 8080)
    node.put_service(plan.vip, 80, node.put_table([2], [0] * SIZE))

    assert send(node, plan.packet(flags=ACK)) == plan.backend(2)


@FAMILIES
def test_an_answer_after_the_time_is_over_is_not_translated(node: Node, plan: Plan) -> None:
    serve(node, plan)
    packet = plan.packet()
    send(node, packet)
    translated = packet.to(plan.backend(1), 8080)
    node.expire(translated, OUT)

    assert node.to_pod(translated.answer().frame()).frame == translated.answer().frame()


@FAMILIES
def test_one_port_that_reaches_one_backend_by_two_services_is_answered_by_the_newest(
    node: Node, plan: Plan
) -> None:
    serve(node, plan)
    node.put_service(plan.other_vip, 80, node.put_table([1], [0] * SIZE), number=2)
    first, second = plan.packet(), plan.packet().to(plan.other_vip, 80)
    answer = first.to(plan.backend(1), 8080).answer()

    send(node, first)
    send(node, second)
    assert node.to_pod(answer.frame()).frame == second.answer().frame()
    send(node, evolve(first, flags=ACK))
    assert node.to_pod(answer.frame()).frame == first.answer().frame()


@FAMILIES
def test_a_client_with_affinity_keeps_its_backend(node: Node, plan: Plan) -> None:
    serve(node, plan, 3, flags=AFFINITY, affinity_seconds=10800)
    chosen = send(node, plan.packet())
    others = [number for number in (1, 2, 3) if plan.backend(number) != chosen]
    mine = ({1, 2, 3} - set(others)).pop()

    halves = [slot % 2 for slot in range(SIZE)]
    moved = node.put_table([*others, mine], halves)
    node.put_service(plan.vip, 80, moved, flags=AFFINITY, affinity_seconds=10800)
    assert {send(node, plan.packet(port=port)) for port in range(41000, 41020)} == {chosen}

    without = node.put_table(others, halves)
    node.put_service(plan.vip, 80, without, flags=AFFINITY, affinity_seconds=10800)
    assert send(node, plan.packet(port=42000)) != chosen


@FAMILIES
def test_an_affinity_ends_after_its_time(node: Node, plan: Plan) -> None:
    serve(node, plan, flags=AFFINITY, affinity_seconds=1)
    send(node, plan.packet())
    node.put_backend(2, plan.backend(2), 8080)
    table = node.put_table([2, 1], [0] * SIZE)
    node.put_service(plan.vip, 80, table, flags=AFFINITY, affinity_seconds=1)
    node.age_affinities(family(plan.vip))

    assert send(node, plan.packet(port=41000)) == plan.backend(2)


@FAMILIES
@pytest.mark.parametrize("exact", [True, False], ids=["address", "prefix"])
def test_a_source_of_this_cluster_looks_in_the_internal_scope(node: Node, plan: Plan, exact: bool) -> None:
    """
    The longest prefix says whose an address is, unless the address itself is known.
    """
    serve(node, plan, flags=TWO_SCOPES)
    node.put_backend(2, plan.backend(2), 8080)
    node.put_service(
        plan.vip, 80, node.put_table([2], [0] * SIZE), scope=INTERNAL, number=2, flags=TWO_SCOPES
    )
    everything, near, whole = ("::/0", "/64", "/128") if plan is V6 else ("0.0.0.0/0", "/24", "/32")
    network = plan.client.rsplit(":" if plan is V6 else ".", 1)[0] + (":" if plan is V6 else ".0") + near

    assert send(node, plan.packet(port=1)) == plan.backend(1)
    node.locate(everything, cluster=2)
    assert send(node, plan.packet(port=2)) == plan.backend(1)
    node.locate(plan.client + whole if exact else network, cluster=1)
    assert send(node, plan.packet(port=3)) == plan.backend(2)
    node.locate(plan.client + whole, cluster=3)
    assert send(node, plan.packet(port=4)) == plan.backend(1)


@FAMILIES
def test_sctp_is_translated_where_the_port_stays_and_dropped_where_not(node: Node, plan: Plan) -> None:
    """
    Its checksum covers the ports, and addresses not.
    """
    node.put_backend(1, plan.backend(1), 80, protocol=SCTP)
    node.put_service(plan.vip, 80, node.put_table([1], [0] * SIZE), protocol=SCTP)
    packet = plan.packet(protocol=SCTP)

    assert node.from_pod(packet.frame()).frame == packet.to(plan.backend(1), 80).frame()
    node.put_backend(1, plan.backend(1), 81, protocol=SCTP)
    assert node.from_pod(packet.frame()).code == DROP
    assert node.drops() == {CHECKSUM: 1}


@FAMILIES
def test_a_wide_table_has_ranks_of_four_bytes(node: Node, plan: Plan) -> None:
    """
    Here at an even place after another table of odd size, and across pages.
    """
    node.put_service(plan.other_vip, 81, node.put_table([9], [0] * 2047), number=9)
    node.put_backend(2, plan.backend(2), 8080)
    node.put_service(plan.vip, 80, node.put_table([1, 2], [1] * 4099, wide=True), flags=WIDE)

    assert {send(node, plan.packet(port=port)) for port in range(40000, 40050)} == {plan.backend(2)}


def test_a_table_that_points_nowhere_drops(node: Node) -> None:
    """
    A rank past the backends, where another service's ids follow; an id without a backend.
    """
    node.put_service(V4.vip, 80, node.put_table([1], [5] * SIZE))
    node.put_table([9] * 10, [])
    node.put_backend(9, V4.backend(9), 8080)
    assert node.from_pod(V4.packet(port=1).frame()).code == DROP
    node.put_service(V4.vip, 80, node.put_table([77], [0] * SIZE))
    assert node.from_pod(V4.packet(port=2).frame()).code == DROP

    assert node.drops() == {NO_BACKEND: 2}


@pytest.mark.parametrize("wide", [False, True], ids=["ranks of two bytes", "of four"])
def test_the_backend_is_the_one_that_cilium_would_choose(node: Node, wide: bool) -> None:
    """
    Each slot has a rank and an id of its own, and of the backends only that of the golden slot is there.
    """
    size = 16381
    table = node.put_table(range(1, size + 1), range(size), wide=wide)
    for number, case in enumerate(GOLDEN["cases"], start=1):
        seed = b64decode(case["seed"])
        node.configure(seed4=int.from_bytes(seed[4:8], "big"), seed6=int.from_bytes(seed[8:12], "big"))
        plan = V6 if ":" in case["source"] else V4
        protocol, port, identifier = case["protocol"], case["destination_port"], case["slot_16381"] + 1
        flags = (AFFINITY if case["affinity"] else 0) | (WIDE if wide else 0)
        node.put_service(plan.vip, port, table, protocol=protocol, number=number, flags=flags)
        node.put_backend(identifier, plan.backend(9), port, protocol=protocol)
        packet = Packet(case["source"], plan.vip, case["source_port"], port, protocol, SYN)

        outcome = node.from_pod(packet.frame())

        assert (outcome.code, destination_of(outcome.frame)[0]) == (PASS, plan.backend(9)), case
        node.remove_backend(identifier, family(plan.vip))

"""
Frames that are odd, cut short, or no packet to a service at all, through the programs in the kernel.
"""

from __future__ import annotations

import pytest
from attrs import evolve

from bpf.kernel import Program
from bpf.node import ABI, DROP, FRAGMENT, IN, INVALID, OUT, PASS, UNKNOWN_PROTOCOL, Node
from bpf.packets import ICMP, ICMPV6, MACS, SCTP, TCP, UDP, Packet

pytestmark = pytest.mark.kernel

A4, B4 = "10.1.0.7", "10.2.0.9"
A6, B6 = "fd00:10:1::7", "fd00:10:2::9"
TO_B4 = Packet(A4, B4, 40000, 80)
TO_B6 = Packet(A6, B6, 40000, 80)
BOTH = pytest.mark.parametrize("packet", [TO_B4, TO_B6], ids=["IPv4", "IPv6"])
GRE = 47
ECHO, ECHO_REPLY, ECHO6, ECHO6_REPLY, UNREACHABLE, SOLICITATION = 8, 0, 128, 129, 3, 135


@pytest.fixture(params=["from_pod", "to_pod"])
def program(request: pytest.FixtureRequest, node: Node) -> Program:
    return node.loaded.programs[request.param]


@BOTH
@pytest.mark.parametrize("protocol", [TCP, UDP, SCTP], ids=["TCP", "UDP", "SCTP"])
def test_a_whole_packet_passes_as_it_is(program: Program, packet: Packet, protocol: int) -> None:
    frame = evolve(packet, protocol=protocol).frame()

    outcome = program.run(frame)

    assert (outcome.code, outcome.frame) == (PASS, frame)


@pytest.mark.parametrize("kind", [0x0806, 0x8100, 0x88CC], ids=["ARP", "VLAN", "LLDP"])
def test_what_is_no_ip_passes(program: Program, kind: int) -> None:
    frame = MACS + kind.to_bytes(2, "big") + bytes(46)

    outcome = program.run(frame)

    assert (outcome.code, outcome.frame) == (PASS, frame)


def test_neighbour_discovery_passes_and_is_no_connection(node: Node, program: Program) -> None:
    solicitation = Packet(A6, B6, SOLICITATION, 0, ICMPV6)
    node.locate(f"{A6}/128", cluster=1)
    node.locate(f"{B6}/128", cluster=1)

    assert program.run(solicitation.frame()).code == PASS
    assert list(node.loaded.maps["other6"].keys()) == []


def test_ip_options_are_dropped(node: Node, program: Program) -> None:
    assert program.run(TO_B4.frame(options=bytes([1, 1, 1, 0]))).code == DROP
    assert node.drops() == {INVALID: 1}


@BOTH
@pytest.mark.parametrize("first", [0x00, 0x46, 0x55, 0x75])
def test_a_header_of_another_version_or_size_is_dropped(
    node: Node, program: Program, packet: Packet, first: int
) -> None:
    frame = packet.frame()

    assert program.run(frame[:14] + bytes([first]) + frame[15:]).code == DROP
    assert node.drops() == {INVALID: 1}


@pytest.mark.parametrize("field", [1, 0x2001, 0x1000, 0x1FFF], ids=["last", "middle", "far", "farthest"])
def test_a_later_fragment_is_dropped(node: Node, program: Program, field: int) -> None:
    assert program.run(TO_B4.frame(fragment=field)).code == DROP
    assert node.drops() == {FRAGMENT: 1}


@pytest.mark.parametrize("field", [0x2000, 0x4000], ids=["first fragment", "must not be fragmented"])
def test_what_has_its_ports_is_no_later_fragment(program: Program, field: int) -> None:
    assert program.run(TO_B4.frame(fragment=field)).code == PASS


@BOTH
@pytest.mark.parametrize("protocol", [0, 43, 44, GRE, 60, 255])
def test_an_unknown_protocol_is_dropped(node: Node, program: Program, packet: Packet, protocol: int) -> None:
    """
    Those of IPv6's extension headers among them.
    """
    assert program.run(evolve(packet, protocol=protocol, payload=bytes(64)).frame()).code == DROP
    assert node.drops() == {UNKNOWN_PROTOCOL: 1}


@BOTH
@pytest.mark.parametrize("protocol", [TCP, UDP, SCTP], ids=["TCP", "UDP", "SCTP"])
def test_a_frame_that_ends_within_its_headers_is_dropped(
    node: Node, program: Program, packet: Packet, protocol: int
) -> None:
    """
    Wherever it ends; ports that are not there are never read.
    """
    frame = evolve(packet, protocol=protocol, payload=b"").frame()
    # The kernel refuses to try less than IP's header. Of SCTP's, only the eight bytes are read that all have.
    sizes = range(54 if packet.v6 else 34, len(frame) + 1)
    complete = len(frame) - (4 if protocol == SCTP else 0)

    passed = [size for size in sizes if program.run(frame[:size]).code == PASS]

    assert passed == list(range(complete, len(frame) + 1))
    assert set(node.drops()) == {INVALID}


@BOTH
def test_a_packet_that_says_it_is_shorter_than_its_headers_is_dropped(
    node: Node, program: Program, packet: Packet
) -> None:
    """
    What follows is padding, and no ports.
    """
    frame = bytearray(packet.frame())
    at, short = (18, 19) if packet.v6 else (16, 39)
    frame[at : at + 2] = short.to_bytes(2, "big")
    assert program.run(bytes(frame)).code == DROP
    frame[at : at + 2] = bytes(2)
    assert program.run(bytes(frame)).code == DROP
    assert node.drops() == {INVALID: 2}


@pytest.mark.parametrize(
    ("packet", "reply"),
    [(Packet(A4, B4, ECHO, 77, ICMP), ECHO_REPLY), (Packet(A6, B6, ECHO6, 77, ICMPV6), ECHO6_REPLY)],
    ids=["IPv4", "IPv6"],
)
def test_an_echo_and_its_answer_are_one_connection(node: Node, packet: Packet, reply: int) -> None:
    """
    The number stands for the port of the side that asked, the type of the message for the other's.
    """
    node.locate(packet.source, cluster=1)
    answer = evolve(packet, source=packet.destination, destination=packet.source, source_port=reply)
    tracked = evolve(packet, source_port=77, destination_port=packet.source_port)

    assert node.from_pod(packet.frame()).frame == packet.frame()
    assert node.knows(tracked, OUT)
    assert node.to_pod(answer.frame()).frame == answer.frame()
    assert not node.knows(tracked.answer(), IN)


def test_other_icmp_passes(program: Program) -> None:
    frame = Packet(A4, B4, UNREACHABLE, 0, ICMP, payload=bytes(28)).frame()

    outcome = program.run(frame)

    assert (outcome.code, outcome.frame) == (PASS, frame)


@BOTH
def test_nothing_passes_before_the_tables_abi_is_known(node: Node, program: Program, packet: Packet) -> None:
    node.configure(abi=ABI + 1)

    assert program.run(packet.frame()).code == DROP
    assert node.drops() == {INVALID: 1}
    assert program.run(MACS + b"\x08\x06" + bytes(46)).code == PASS


@BOTH
def test_each_end_in_this_cluster_tracks_the_connection(node: Node, packet: Packet) -> None:
    for address in (packet.source, packet.destination):
        node.locate(address, cluster=1)

    node.from_pod(packet.frame())
    assert node.knows(packet, OUT)
    assert not node.knows(packet, IN)
    node.to_pod(packet.frame())
    assert node.knows(packet, IN)


@BOTH
def test_an_end_in_another_cluster_tracks_nothing(node: Node, packet: Packet) -> None:
    for address in (packet.source, packet.destination):
        node.locate(address, cluster=2)

    node.from_pod(packet.frame())
    node.to_pod(packet.frame())

    assert not node.knows(packet, OUT)
    assert not node.knows(packet, IN)

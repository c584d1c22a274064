"""
What the programs in the kernel let pass by the entries of their policies.
"""

from __future__ import annotations

import pytest
from attrs import evolve

from bpf.node import (
    ALLOWED,
    AUTH_REQUIRED,
    DENIED,
    DROP,
    IN,
    LEVEL,
    OUT,
    PASS,
    POLICY,
    POLICY_DENY,
    REDIRECTED,
    Node,
)
from bpf.packets import ACK, ICMP, SYN, TCP, UDP, Packet

pytestmark = pytest.mark.kernel

CLIENT, SERVER = 1 << 16 | 256, 1 << 16 | 257
CLUSTER_AGGREGATE = 11
ECHO, PORT = 8, 24  # a message's type, and the length of a prefix that is one port
TO_SERVER = {
    "4": Packet("10.1.0.7", "10.1.0.8", 40000, 8080, TCP, SYN),
    "6": Packet("fd00:10:1::7", "fd00:10:1::8", 40000, 8080, TCP, SYN),
}
BOTH = pytest.mark.parametrize("packet", TO_SERVER.values(), ids=["IPv4", "IPv6"])


def isolate(node: Node, *lengths: int, direction: int = IN) -> None:
    """Both pods are known, and the server is judged one way, by entries of these prefix lengths."""
    for packet in TO_SERVER.values():
        node.locate(packet.source, cluster=1, identity=CLIENT)
        node.locate(packet.destination, cluster=1, identity=SERVER)
    bits = sum(1 << length for length in lengths)
    both = (bits, 0) if direction == OUT else (0, bits)
    node.put_endpoint(SERVER, 1, both, 1 << direction)


@BOTH
def test_what_no_entry_allows_is_dropped_and_not_remembered(node: Node, packet: Packet) -> None:
    isolate(node)

    assert node.to_pod(packet.frame()).code == DROP
    assert node.drops() == {POLICY: 1}
    assert not node.knows(packet, IN)


@BOTH
def test_what_an_entry_allows_passes_and_so_does_its_answer(node: Node, packet: Packet) -> None:
    isolate(node, PORT)
    node.put_policy(1, IN, CLIENT, protocol=TCP, port=8080, length=PORT)
    node.put_endpoint(SERVER, 1, (0, 1 << PORT), 1 << IN | 1 << OUT)

    assert node.to_pod(packet.frame()).code == PASS
    assert node.knows(packet, IN)
    assert node.from_pod(packet.answer().frame()).code == PASS
    assert node.from_pod(evolve(packet.answer(), destination_port=40001).frame()).code == DROP


@BOTH
def test_the_longest_prefix_of_the_port_decides(node: Node, packet: Packet) -> None:
    isolate(node, 0, 8, 12, PORT)
    node.put_policy(1, IN, CLIENT, precedence=DENIED - 256)
    node.put_policy(1, IN, CLIENT, protocol=UDP, length=8)
    node.put_policy(1, IN, CLIENT, protocol=TCP, port=0x1000, length=12)
    node.put_policy(1, IN, CLIENT, protocol=TCP, port=0x1234, length=PORT, precedence=DENIED)

    def code(port: int, protocol: int = TCP) -> int:
        return node.to_pod(evolve(packet, destination_port=port, protocol=protocol).frame()).code

    assert [code(port) for port in (0x1000, 0x1FFF, 0x2000, 0x0FFF, 0x1234)] == [PASS, PASS, DROP, DROP, DROP]
    assert code(0x2000, UDP) == PASS
    assert node.drops() == {POLICY_DENY: 3}


@BOTH
def test_the_higher_precedence_of_an_identity_and_its_aggregate_decides(node: Node, packet: Packet) -> None:
    isolate(node, 0, PORT)
    node.put_policy(1, IN, CLIENT, protocol=TCP, port=8080, length=PORT)
    node.put_policy(1, IN, CLUSTER_AGGREGATE, precedence=DENIED - 256)
    assert node.to_pod(packet.frame()).code == PASS

    node.put_policy(1, IN, CLUSTER_AGGREGATE, precedence=DENIED)
    assert node.to_pod(packet.frame()).code == DROP


@BOTH
def test_a_redirect_is_marked_with_the_port_of_its_proxy(node: Node, packet: Packet) -> None:
    isolate(node, PORT)
    node.put_policy(
        1, IN, CLIENT, protocol=TCP, port=8080, length=PORT, precedence=REDIRECTED, proxy_port=10001
    )

    for flags in (SYN, ACK):
        outcome = node.to_pod(evolve(packet, flags=flags).frame())
        assert (outcome.code, outcome.mark) == (PASS, 0x200 | 0x1127 << 16)


@BOTH
def test_who_has_not_proved_who_it_is_is_dropped(node: Node, packet: Packet) -> None:
    isolate(node, PORT)
    node.put_policy(1, IN, CLIENT, protocol=TCP, port=8080, length=PORT, authentication=1, explicit=True)

    assert node.to_pod(packet.frame()).code == DROP
    assert node.drops() == {AUTH_REQUIRED: 1}


def test_an_aggregate_s_authentication_counts_where_the_entry_of_the_identity_says_nothing(
    node: Node,
) -> None:
    packet = TO_SERVER["4"]
    isolate(node, 0, PORT)
    node.put_policy(1, IN, CLIENT, protocol=TCP, port=8080, length=PORT, precedence=LEVEL | 1)
    node.put_policy(1, IN, CLUSTER_AGGREGATE, precedence=LEVEL | 1, authentication=1)

    assert node.to_pod(packet.frame()).code == DROP
    assert node.drops() == {AUTH_REQUIRED: 1}


def test_ping_is_judged_by_the_type_of_its_message(node: Node) -> None:
    ping = Packet("10.1.0.7", "10.1.0.8", ECHO, 77, ICMP)
    isolate(node, PORT)
    node.put_policy(1, IN, CLIENT, protocol=ICMP, port=ECHO, length=PORT)
    assert node.to_pod(ping.frame()).code == PASS

    node.forget_policies()
    isolate(node, PORT)
    node.put_policy(1, IN, CLIENT, protocol=ICMP, port=ECHO + 1, length=PORT)
    assert node.to_pod(evolve(ping, destination_port=78).frame()).code == DROP


@BOTH
def test_what_leaves_is_judged_by_the_policies_of_its_source(node: Node, packet: Packet) -> None:
    back = evolve(packet.answer(), flags=SYN)
    isolate(node, PORT, direction=OUT)
    assert node.from_pod(back.frame()).code == DROP

    node.put_policy(1, OUT, CLIENT, protocol=TCP, port=40000, length=PORT, precedence=ALLOWED)
    assert node.from_pod(back.frame()).code == PASS

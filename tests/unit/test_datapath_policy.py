"""
What becomes of packets by the policies of both ends, case by case.
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import Any

import attrs
import pytest

import fleetmesh as fm
from doubles.datapath import ACK, SYN, Packet
from doubles.datapath_mesh import Decided, Meanings, columns
from doubles.two_clusters import EAST, WEST, manifest, new_mesh, pod, pod_manifest

UNKNOWN, ALLOW, DENY, REDIRECT = 0, 1, 2, 3
NEW, ESTABLISHED, REPLY = 0, 1, 2
POLICY, POLICY_DENY = 133, 181
TCP, ICMP = 6, 1
ANYWHERE = {"matchExpressions": [{"key": "io.cilium.k8s.policy.cluster", "operator": "Exists"}]}
TCP_80 = [{"ports": [{"port": "80", "protocol": "TCP"}]}]


def at(cluster: str, number: int) -> IPv4Address:
    return IPv4Address(pod(cluster, number))


OPENING = Packet(at(EAST, 1), 1000, at(EAST, 2), 80, TCP, SYN, 0)
ACROSS = attrs.evolve(OPENING, destination=at(WEST, 2))


def policy(name: str, app: str, **spec: Any) -> str:
    return manifest(
        "CiliumNetworkPolicy", name, spec={"endpointSelector": {"matchLabels": {"app": app}}} | spec
    )


class Fleet:
    """Pods 1 to 3 in both clusters, each an app of its own, and the data path of east."""

    def __init__(self, shards: int) -> None:
        self.mesh = new_mesh()
        for cluster in (EAST, WEST):
            for number in (1, 2, 3):
                self.mesh.members[cluster].apply(pod_manifest(cluster, number, app=f"p{number}"))
        self.path = self.mesh.datapath(EAST, shards=shards)
        self._meanings = Meanings(self.path)

    def apply(self, text: str, cluster: str = EAST) -> None:
        self.mesh.members[cluster].apply(text)

    def send(self, packet: Packet) -> Decided:
        return self._meanings.read(self.path.process(columns([packet])))[0]

    def through(self, packet: Packet) -> Decided:
        """Out of one cluster and into the other."""
        return self._meanings.read(self.mesh.process(columns([packet])))[0]


@pytest.fixture(params=[1, 3], ids=["one shard", "three shards"])
def fleet(request: pytest.FixtureRequest) -> Fleet:
    return Fleet(request.param)


def answer(packet: Packet, flags: int = ACK) -> Packet:
    ends = (packet.destination, packet.destination_port, packet.source, packet.source_port)
    return Packet(*ends, packet.protocol, flags, packet.time)


def test_without_a_policy_both_sides_allow(fleet: Fleet) -> None:
    found = fleet.send(OPENING)

    assert (found.verdict, found.egress, found.ingress) == (ALLOW, ALLOW, ALLOW)
    assert (found.source_identity >> 16, found.destination_identity >> 16) == (1, 1)
    assert found.source_identity != found.destination_identity


def test_a_side_in_another_cluster_is_not_judged(fleet: Fleet) -> None:
    fleet.apply(policy("closed", "p2", ingress=[{}]), WEST)

    found = fleet.send(ACROSS)

    assert (found.verdict, found.egress, found.ingress) == (ALLOW, ALLOW, UNKNOWN)
    through = fleet.through(ACROSS)
    assert (through.verdict, through.egress, through.ingress) == (DENY, ALLOW, DENY)


def test_an_address_that_is_nobody_s_is_not_judged_and_is_the_world(fleet: Fleet) -> None:
    found = fleet.send(attrs.evolve(OPENING, source=IPv4Address("203.0.113.9")))

    assert (found.egress, found.ingress) == (UNKNOWN, ALLOW)
    assert found.source_identity == 9  # world-ipv4
    assert fleet.send(attrs.evolve(OPENING, source=at(EAST, 77))).egress == UNKNOWN


def test_what_no_rule_allows_is_denied_and_not_remembered(fleet: Fleet) -> None:
    fleet.apply(policy("closed", "p2", ingress=[{"fromEndpoints": [{"matchLabels": {"app": "p3"}}]}]))

    denied = fleet.send(OPENING)

    assert (denied.verdict, denied.egress, denied.ingress, denied.reason) == (DENY, ALLOW, DENY, POLICY)
    fleet.apply(policy("closed", "p2", ingress=[{"fromEndpoints": [{"matchLabels": {"app": "p1"}}]}]))
    assert fleet.send(OPENING).ingress == ALLOW


def test_what_is_denied_as_it_leaves_does_not_arrive(fleet: Fleet) -> None:
    fleet.apply(policy("closed", "p1", egressDeny=[{"toEndpoints": [{"matchLabels": {"app": "p2"}}]}]))

    denied = fleet.send(OPENING)

    assert (denied.egress, denied.ingress, denied.reason) == (DENY, UNKNOWN, POLICY_DENY)
    assert denied.state == NEW
    assert fleet.path.connections.tcp == 0


def test_an_answer_passes_whatever_its_sender_may_open(fleet: Fleet) -> None:
    fleet.apply(policy("silent", "p2", egress=[{"toEntities": ["host"]}]))
    fleet.send(OPENING)

    back = fleet.send(answer(OPENING, SYN | ACK))

    assert (back.verdict, back.state, back.egress, back.ingress) == (ALLOW, REPLY, UNKNOWN, UNKNOWN)
    opened = fleet.send(attrs.evolve(answer(OPENING, SYN), destination_port=1001))
    assert (opened.verdict, opened.egress) == (DENY, DENY)


def test_an_established_connection_is_judged_by_the_newest_policies(fleet: Fleet) -> None:
    going_on = attrs.evolve(OPENING, flags=ACK)
    fleet.send(OPENING)
    assert [fleet.send(going_on).verdict for _ in range(3)] == [ALLOW] * 3

    fleet.apply(policy("closed", "p2", ingress=[{"fromEndpoints": [{"matchLabels": {"app": "p3"}}]}]))
    assert (fleet.send(going_on).verdict, fleet.send(going_on).reason) == (DENY, POLICY)

    fleet.mesh.members[EAST].delete(fm.load_manifests(policy("closed", "p2", ingress=[{}])))
    assert (fleet.send(going_on).verdict, fleet.send(going_on).state) == (ALLOW, ESTABLISHED)


def test_a_proxy_takes_over_each_packet_of_a_connection(fleet: Fleet) -> None:
    http = {"toPorts": [TCP_80[0] | {"rules": {"http": [{"path": "/"}]}}]}
    fleet.apply(policy("http", "p2", ingress=[http]))
    going_on = attrs.evolve(OPENING, flags=ACK)
    first = fleet.send(OPENING)
    assert (first.verdict, first.egress, first.ingress) == (REDIRECT, ALLOW, REDIRECT)
    assert first.proxy_port == 10001

    for _ in range(3):  # the later ones by what is known of the flow
        found = fleet.send(going_on)
        assert (found.verdict, found.ingress, found.proxy_port) == (REDIRECT, REDIRECT, 10001)
    assert fleet.send(answer(OPENING)).proxy_port == 0


def test_of_two_proxies_the_first_on_the_way_is_named_and_none_where_the_other_end_denies(
    fleet: Fleet,
) -> None:
    http = [TCP_80[0] | {"rules": {"http": [{"path": "/"}]}}]
    fleet.apply(policy("out", "p1", egress=[{"toEndpoints": [ANYWHERE], "toPorts": http}]))
    fleet.apply(policy("in", "p2", ingress=[{"toPorts": http}]), WEST)
    found = fleet.through(ACROSS)
    assert (found.verdict, found.egress, found.ingress) == (REDIRECT, REDIRECT, REDIRECT)
    assert found.proxy_port == 10000

    fleet.apply(policy("in", "p2", ingress=[{"fromEntities": ["host"]}]), WEST)
    denied = fleet.through(ACROSS)
    assert (denied.verdict, denied.egress, denied.ingress, denied.proxy_port) == (DENY, REDIRECT, DENY, 0)


def test_a_redirect_on_one_side_holds_where_the_other_side_allows(fleet: Fleet) -> None:
    http = [TCP_80[0] | {"rules": {"http": [{"path": "/"}]}}]
    fleet.apply(policy("out", "p1", egress=[{"toEndpoints": [ANYWHERE], "toPorts": http}]))

    found = fleet.through(ACROSS)

    assert (found.verdict, found.egress, found.ingress) == (REDIRECT, REDIRECT, ALLOW)


def test_who_is_not_heard_is_the_world(fleet: Fleet) -> None:
    fleet.apply(policy("outside", "p1", egress=[{"toEntities": ["world"]}]))
    assert fleet.send(ACROSS).egress == DENY

    fleet.mesh.members[WEST].fail()

    found = fleet.send(ACROSS)
    assert (found.egress, found.destination_identity) == (ALLOW, 9)


def test_labels_that_change_change_what_passes(fleet: Fleet) -> None:
    fleet.apply(policy("closed", "p2", ingress=[{"fromEndpoints": [{"matchLabels": {"app": "friend"}}]}]))
    assert fleet.send(OPENING).ingress == DENY

    fleet.apply(pod_manifest(EAST, 1, app="friend"))

    assert fleet.send(OPENING).ingress == ALLOW


def test_names_that_are_learnt_open_their_addresses(fleet: Fleet) -> None:
    fleet.apply(policy("names", "p1", egress=[{"toFQDNs": [{"matchName": "api.example"}]}]))
    out = attrs.evolve(OPENING, destination=IPv4Address("203.0.113.9"))
    assert fleet.send(out).egress == DENY

    fleet.mesh.dns["api.example"] = ["203.0.113.9"]

    found = fleet.send(out)
    assert (found.egress, found.destination_identity) == (ALLOW, 1 << 24)
    assert fleet.send(attrs.evolve(out, destination=IPv4Address("203.0.113.10"))).egress == DENY


def test_networks_are_told_by_their_longest_prefix(fleet: Fleet) -> None:
    outside = {"fromCIDRSet": [{"cidr": "203.0.0.0/8", "except": ["203.0.113.0/24"]}]}
    fleet.apply(policy("networks", "p2", ingress=[outside]))

    verdicts = [
        fleet.send(attrs.evolve(OPENING, source=ip_address(source))).ingress
        for source in ("203.0.112.1", "203.0.113.1", "204.0.0.1")
    ]

    assert verdicts == [ALLOW, DENY, DENY]


def test_ping_comes_to_the_type_of_its_message(fleet: Fleet) -> None:
    fleet.apply(policy("ping", "p2", ingress=[{"icmps": [{"fields": [{"type": 8}]}]}]))
    ping = Packet(at(EAST, 1), 77, at(EAST, 2), 8, ICMP, 0, 0)

    assert fleet.send(ping).ingress == ALLOW
    assert fleet.send(answer(ping)).state == REPLY
    assert fleet.send(attrs.evolve(ping, source_port=78, destination_port=13)).ingress == DENY


def test_a_pod_that_talks_to_itself_is_not_judged(fleet: Fleet) -> None:
    fleet.apply(policy("closed", "p1", ingress=[{}], egress=[{}]))

    found = fleet.send(attrs.evolve(OPENING, destination=OPENING.source))

    assert (found.verdict, found.egress, found.ingress) == (ALLOW, UNKNOWN, UNKNOWN)


def test_rules_in_conflict_refuse_a_pod_everything(fleet: Fleet) -> None:
    for name, parser in (("one", {"http": [{}]}), ("other", {"dns": [{"matchPattern": "*"}]})):
        ports: list[dict[str, Any]] = [{"ports": [{"port": "80", "protocol": "TCP"}], "rules": parser}]
        fleet.apply(policy(name, "p4", egress=[{"toPorts": ports}]))
    fleet.apply(pod_manifest(EAST, 4, app="p4"))

    found = fleet.send(attrs.evolve(OPENING, source=at(EAST, 4)))

    assert (found.verdict, found.egress, found.reason) == (DENY, DENY, POLICY)


def test_tables_say_whom_an_address_is_and_what_lets_it_pass(fleet: Fleet) -> None:
    http = [TCP_80[0] | {"rules": {"http": [{"path": "/"}]}}]
    fleet.apply(policy("http", "p2", ingress=[{"fromEndpoints": [ANYWHERE], "toPorts": http}]))
    tables = fleet.mesh.tables(EAST).policy
    fleet.mesh.members[EAST].delete(fm.load_manifests(policy("http", "p2", ingress=[{}])))

    client, server = tables.identity_of(pod(WEST, 1)), tables.identity_of(pod(EAST, 2))

    assert client is not None
    assert server is not None
    assert (client[1], server[1]) == (WEST, EAST)
    assert tables.identity_of("203.0.113.9") == (9, None)
    assert tables.enforced(server[0]) == ("ingress",)
    [entry] = [each for each in tables.entries(server[0]) if each.identity == client[0]]
    assert (entry.direction, entry.protocol, entry.first_port, entry.last_port) == ("ingress", TCP, 80, 80)
    assert (entry.verdict, entry.proxy_port) == ("redirect", 10001)
    assert {1, server[0]} < {*tables.identities}
    assert client[0] not in tables.identities
    with pytest.raises(ValueError, match="nowhere"):
        tables.identity_of("nowhere")

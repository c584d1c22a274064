"""
What the records of a member that another process runs come to.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest

import fleetmesh as fm
from fleetmesh.mesh.mesh import Mode
from fleetmesh.records import (
    EndpointsRecord,
    IdentityRecord,
    IpRecord,
    NodeRecord,
    Record,
    ServiceRecord,
)
from fleetmesh.resources import Endpoint, EndpointPort, Namespace

WEST: dict[str, Any] = {"cluster": "west", "cluster_id": 2}
CART, PAY = 2 << 16 | 300, 2 << 16 | 301
PODS_OF_WEST = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: from-cart, namespace: shop}
spec:
  endpointSelector: {}
  ingress:
  - fromEndpoints:
    - matchLabels: {app: cart, io.cilium.k8s.policy.cluster: west}
"""
OWN_POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
status: {podIP: 10.1.0.1, phase: Running}
"""


def identity(number: int, app: str) -> IdentityRecord:
    labels = f"k8s:app={app};k8s:io.cilium.k8s.policy.cluster=west;k8s:io.kubernetes.pod.namespace=shop;"
    return IdentityRecord(**WEST, number=number, labels=labels)


def ip(address: str, number: int = CART, pod: str = "cart") -> IpRecord:
    return IpRecord(**WEST, address=address, host="", identity=number, namespace="shop", pod=pod)


def service(**changed: Any) -> ServiceRecord:
    return attrs.evolve(
        ServiceRecord(
            **WEST,
            namespace="shop",
            name="cart",
            frontends={"10.102.0.1": {"http": ("TCP", 80)}},
            backends={"10.2.0.1": {"http": ("TCP", 8080)}},
        ),
        **changed,
    )


@pytest.fixture
def mesh() -> fm.Mesh:
    mesh = fm.Mesh("shop")
    east = mesh.join("east", cluster_id=1)
    east.apply(PODS_OF_WEST)
    east.apply(OWN_POD)
    mesh.join("west", cluster_id=2, outside=True)
    return mesh


def hear(mesh: fm.Mesh, *records: Record, withdrawn: tuple[tuple[str, str], ...] = ()) -> None:
    mesh.members["west"].hear(records, withdrawn)


def ingress(mesh: fm.Mesh, source: str) -> tuple[str, int]:
    decision = mesh.decide(source, "east/shop/web", port=80)
    assert decision.ingress is not None
    return decision.ingress.verdict, decision.source.identity


def test_a_pod_is_whom_its_identity_says(mesh: fm.Mesh) -> None:
    hear(mesh, identity(CART, "cart"), identity(PAY, "pay"), ip("10.2.0.1"), ip("10.2.0.2", PAY, "pay"))

    assert ingress(mesh, "west/shop/cart") == ("allow", CART)
    assert ingress(mesh, "west/shop/pay") == ("deny", PAY)
    assert ingress(mesh, "ip:10.2.0.1") == ("allow", CART)


def test_a_pod_whose_identity_nobody_has_told_is_selected_by_nobody(mesh: fm.Mesh) -> None:
    hear(mesh, ip("10.2.0.1"))
    before = ingress(mesh, "west/shop/cart")
    hear(mesh, identity(CART, "cart"))
    told = ingress(mesh, "west/shop/cart")
    hear(mesh, withdrawn=(("identity", str(CART)),))

    assert before == ingress(mesh, "west/shop/cart") == ("deny", CART)
    assert told == ("allow", CART)


def test_a_rule_about_everybody_lets_in_whoever_nobody_has_told_of(mesh: fm.Mesh) -> None:
    everybody = PODS_OF_WEST.replace(
        "fromEndpoints:\n    - matchLabels: {app: cart, io", "fromEntities: [all] #"
    )
    mesh.members["east"].apply(everybody)
    hear(mesh, ip("10.2.0.1"))

    assert ingress(mesh, "west/shop/cart") == ("allow", CART)


def test_labels_that_change_make_their_pods_somebody_else(mesh: fm.Mesh) -> None:
    hear(mesh, identity(CART, "cart"), ip("10.2.0.1"))
    before = ingress(mesh, "west/shop/cart")
    hear(mesh, identity(CART, "other"))

    assert before == ("allow", CART)
    assert ingress(mesh, "west/shop/cart") == ("deny", CART)


def test_two_numbers_of_the_same_labels_are_known_by_the_lower(mesh: fm.Mesh) -> None:
    hear(mesh, identity(CART, "cart"), identity(PAY, "cart"), ip("10.2.0.1"), ip("10.2.0.2", PAY, "other"))
    both = ingress(mesh, "west/shop/other")
    hear(mesh, withdrawn=(("ip", "10.2.0.1"),))

    assert both == ("allow", CART)
    assert ingress(mesh, "west/shop/other") == ("allow", PAY)


def test_a_reserved_identity_is_that_of_every_cluster(mesh: fm.Mesh) -> None:
    mesh.members["east"].apply(
        PODS_OF_WEST.replace("from-cart", "from-ingress").replace(
            "fromEndpoints:\n    - matchLabels: {app: cart, io", "fromEntities: [ingress] #"
        )
    )
    hear(mesh, ip("10.2.0.8", 8, ""))

    assert ingress(mesh, "ip:10.2.0.8") == ("allow", 8)
    hear(mesh, withdrawn=(("ip", "10.2.0.8"),))
    assert ingress(mesh, "entity:ingress") == ("allow", 8)


def test_a_pod_of_two_addresses_is_one_pod(mesh: fm.Mesh) -> None:
    hear(mesh, identity(CART, "cart"), ip("fd00::1"), ip("10.2.0.1"))
    (pod,) = mesh.members["west"].pods
    hear(mesh, withdrawn=(("ip", "10.2.0.1"),))
    (left,) = mesh.members["west"].pods
    hear(mesh, withdrawn=(("ip", "fd00::1"),))

    assert pod.addresses == ("10.2.0.1", "fd00::1")
    assert left.addresses == ("fd00::1",)
    assert mesh.members["west"].pods == ()


def test_an_address_may_move_to_another_pod(mesh: fm.Mesh) -> None:
    hear(mesh, identity(CART, "cart"), identity(PAY, "pay"), ip("10.2.0.1"))
    hear(mesh, ip("10.2.0.1", PAY, "pay"))

    assert [pod.name for pod in mesh.members["west"].pods] == ["pay"]
    assert ingress(mesh, "ip:10.2.0.1") == ("deny", PAY)


def test_a_network_is_nobodys_address_and_stays_a_record(mesh: fm.Mesh) -> None:
    hear(mesh, identity(CART, "cart"), ip("10.2.128.0/17"))

    assert mesh.members["west"].pods == ()
    assert mesh.members["west"].records("ip") == (ip("10.2.128.0/17"),)


def test_its_own_side_is_not_judged(mesh: fm.Mesh) -> None:
    hear(mesh, identity(CART, "cart"), ip("10.2.0.1"))
    decision = mesh.decide("east/shop/web", "west/shop/cart", port=80)

    assert decision.egress is not None
    assert decision.ingress is None
    assert decision.verdict == "allow"


def test_its_backends_serve_others_and_go_with_their_record(mesh: fm.Mesh) -> None:
    mesh.members["east"].apply("""
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, annotations: {service.cilium.io/global: "true"}}
spec: {clusterIP: 10.101.0.1, ports: [{name: http, port: 80}]}
""")
    cart = mesh.service("shop", "cart")
    hear(mesh, service())
    there = [each.address for each in cart.backends("east")]
    hear(mesh, service(shared=False))
    not_shared = cart.backends("east")
    hear(mesh, service())
    hear(mesh, withdrawn=(("service", "shop/cart"),))

    assert there == ["10.2.0.1"]
    assert not_shared == cart.backends("east") == ()


def test_pods_are_those_of_the_addresses_at_any_time(mesh: fm.Mesh) -> None:
    def pods() -> list[tuple[str, tuple[str, ...]]]:
        return [(pod.name, pod.addresses) for pod in mesh.members["west"].pods]

    hear(mesh, ip("10.2.0.2"), ip("fd00::1"))
    assert pods() == [("cart", ("10.2.0.2", "fd00::1"))]
    hear(mesh, ip("10.2.0.9"), ip("10.2.0.1"), ip("10.2.0.3", PAY, "pay"))
    assert pods() == [("cart", ("10.2.0.1", "10.2.0.2", "10.2.0.9", "fd00::1")), ("pay", ("10.2.0.3",))]
    hear(mesh, ip("10.2.0.1", PAY, "pay"), withdrawn=(("ip", "10.2.0.9"), ("ip", "fd00::1")))
    assert pods() == [("cart", ("10.2.0.2",)), ("pay", ("10.2.0.1", "10.2.0.3"))]
    hear(mesh, withdrawn=(("ip", "10.2.0.1"), ("ip", "10.2.0.3")))
    assert pods() == [("cart", ("10.2.0.2",))]


HTTP, ADMIN = {"http": ("TCP", 8080)}, {"http": ("TCP", 8081), "odd": ("GRE", 1)}
NEAR = "10.2.0.2"
SERVICES = [
    service(backends={"10.2.0.1": HTTP, NEAR: ADMIN, "10.2.0.3": {"http": ("SCTP", 9)}, "odd": HTTP}),
    service(backends={NEAR: ADMIN}, zones={NEAR: ("a", ("b",))}, hostnames={NEAR: "cart-0"}),
    service(backends={NEAR: ADMIN}, zones={NEAR: ("c", ())}, hostnames={NEAR: "cart-1"}),
    service(backends={"10.2.0.1": ADMIN, NEAR: HTTP, "10.2.0.9": dict(ADMIN)}),
    service(backends={}),
    service(backends={"10.2.0.4": {}, "10.2.0.5": HTTP}),
]


@pytest.mark.parametrize("first", SERVICES)
@pytest.mark.parametrize("then", SERVICES)
def test_of_what_a_service_had_nothing_is_left(first: ServiceRecord, then: ServiceRecord) -> None:
    seen = []
    for said in ([first, then], [then]):
        mesh = fm.Mesh("shop")
        west = mesh.join("west", cluster_id=2, outside=True)
        for each in said:
            west.hear([each])
        cart = mesh.service("shop", "cart")
        seen.append((cart.frontends("west"), cart.backends("west"), west.records("service")))

    assert seen[0] == seen[1]


def test_backends_are_reached_at_the_ports_of_the_protocols_that_services_have(mesh: fm.Mesh) -> None:
    hear(mesh, SERVICES[0])

    backends = mesh.service("shop", "cart").backends("west")

    assert {(each.address, each.port, each.protocol) for each in backends} == {
        ("10.2.0.1", 8080, "TCP"),
        ("10.2.0.2", 8081, "TCP"),
    }


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"backends": {"10.2.0.1": {"http": ("TCP", 65536)}}}, ValueError, "not within 0..65535"),
        ({"backends": {"10.2.0.1": {"http": ("TCP", -1)}}}, ValueError, "not within 0..65535"),
        ({"backends": {"10.2.0.1": {"http": ("TCP", 1 << 70)}}}, OverflowError, "too large"),
        ({"backends": {"10.2.0.1": {"http": ("TCP", "80")}}}, TypeError, "integer"),
        ({"backends": {"10.2.0.1": {"http": ("TCP", 80, 0)}}}, ValueError, "pair"),
        ({"zones": {"10.2.0.1": ("a",)}}, ValueError, "expected 2"),
        ({"hostnames": {"10.2.0.1": "\ud800"}}, ValueError, "surrogate"),
        ({"hostnames": {"10.2.0.1": "a\0b"}}, ValueError, "NUL"),
        ({"zones": {"10.2.0.1": ("a", ("b\0",))}}, ValueError, "NUL"),
        ({"backends": {"10.2.0.1": {"ht\0tp": ("TCP", 80)}}}, ValueError, "NUL"),
    ],
)
def test_what_a_service_cannot_have_is_refused_and_nothing_has_changed(
    mesh: fm.Mesh, wrong: dict[str, Any], error: type[Exception], words: str
) -> None:
    hear(mesh, service())
    before = mesh.service("shop", "cart").backends("west")

    with pytest.raises(error, match=words):
        hear(mesh, service(**wrong))

    assert mesh.service("shop", "cart").backends("west") == before
    assert mesh.members["west"].records("service") == (service(),)


def test_slices_say_more_than_services_in_mode_strict_only() -> None:
    draining = Endpoint(addresses=("10.2.0.1",), ready=False, serving=True, terminating=True)
    piece = EndpointsRecord(
        **WEST,
        namespace="shop",
        name="cart-1",
        labels={"kubernetes.io/service-name": "cart"},
        endpoints=(draining,),
        ports=(EndpointPort(port=8080, name="http"),),
    )
    states: dict[str, list[str]] = {}
    modes: tuple[Mode, ...] = ("cilium", "strict")
    for mode in modes:
        mesh = fm.Mesh("shop", mode=mode)
        mesh.join("west", cluster_id=2, outside=True).hear([service(), piece])
        states[mode] = [each.state for each in mesh.service("shop", "cart").backends("west")]
        mesh.members["west"].hear(withdrawn=[("endpoints", "shop/cart-1")])
        states[f"{mode}, without"] = [each.state for each in mesh.service("shop", "cart").backends("west")]

    assert states == {
        "cilium": ["active"],
        "cilium, without": ["active"],
        "strict": ["terminating"],
        "strict, without": ["active"],
    }


def test_a_node_gives_its_cluster_its_zone_and_addresses(mesh: fm.Mesh) -> None:
    node = NodeRecord(
        **WEST, name="n1", ip_addresses=(("InternalIP", "192.168.2.1"),), ipv4_alloc_cidr="10.2.0.0/24"
    )
    hear(mesh, node)

    assert mesh.members["west"].records("node") == (node,)
    assert ingress(mesh, "ip:192.168.2.1")[1] == 6
    hear(mesh, withdrawn=(("node", "n1"),))
    assert mesh.members["west"].records("node") == ()


def test_objects_are_given_to_who_runs_it_and_records_are_heard(mesh: fm.Mesh) -> None:
    namespace, west = Namespace(name="shop"), mesh.members["west"]
    with pytest.raises(fm.MeshError, match="run by another process"):
        west.apply(namespace)
    with pytest.raises(fm.MeshError, match="run by another process"):
        west.delete(namespace)
    with pytest.raises(fm.MeshError, match="run by another process"):
        west.replace(namespace, source="files")
    with pytest.raises(fm.MeshError, match="belongs to this process"):
        mesh.members["east"].hear([])


def test_a_record_of_somebody_else_is_refused_whole(mesh: fm.Mesh) -> None:
    before = mesh.generation
    with pytest.raises(ValueError, match="'north'"):
        hear(mesh, identity(CART, "cart"), attrs.evolve(ip("10.2.0.1"), cluster="north"))
    with pytest.raises(ValueError, match="record kind 'pods'"):
        hear(mesh, withdrawn=(("pods", "x"),))

    assert mesh.generation == before
    assert mesh.members["west"].records() == ()


def test_a_key_that_was_never_taken_in_withdraws_nothing(mesh: fm.Mesh) -> None:
    hear(mesh, identity(CART, "cart"), ip("10.2.0.1"))
    hear(
        mesh,
        withdrawn=(("identity", f"0{CART}"), ("identity", "x"), ("ip", "10.2.0.9"), ("service", "a/b/c")),
    )

    assert ingress(mesh, "west/shop/cart") == ("allow", CART)


def test_who_leaves_comes_back_with_what_was_heard(mesh: fm.Mesh) -> None:
    hear(mesh, identity(CART, "cart"), ip("10.2.0.1"), service())
    west = mesh.leave("west")
    with pytest.raises(fm.NotFoundError):
        mesh.decide("west/shop/cart", "east/shop/web", port=80)
    mesh.join(west)

    assert ingress(mesh, "west/shop/cart") == ("allow", CART)
    assert [each.address for each in mesh.service("shop", "cart").backends("west")] == ["10.2.0.1"]


def test_packets_are_judged_by_what_was_heard(mesh: fm.Mesh) -> None:
    hear(mesh, identity(CART, "cart"), identity(PAY, "pay"), ip("10.2.0.1"), ip("10.2.0.2", PAY, "pay"))
    sources = np.array([0x0A020001, 0x0A020002], np.uint32)
    packets = fm.Packets.v4(sources, np.full(2, 0x0A010001, np.uint32), 1000, 80, 6, 2, 0)
    before = mesh.process(packets)
    hear(mesh, ip("10.2.0.1", PAY, "cart"))
    after = mesh.process(packets)

    assert before.ingress.tolist() == [1, 2]
    assert before.source_identity.tolist() == [CART, PAY]
    assert after.source_identity.tolist() == [PAY, PAY]


def test_what_changed_is_in_the_delta(mesh: fm.Mesh) -> None:
    delta = mesh.members["west"].hear([identity(CART, "cart"), ip("10.2.0.1"), service()])

    assert [(each.cluster, each.prefix) for each in delta.addresses] == [("west", "10.2.0.1/32")]
    assert [(each.namespace, each.name) for each in delta.services] == [("shop", "cart")]
    assert not mesh.members["west"].hear([identity(CART, "cart"), ip("10.2.0.1"), service()])


def test_its_ranges_are_those_that_it_tells_of_and_others_keep_clear_of_them(mesh: fm.Mesh) -> None:
    before = mesh.members["west"].ranges
    hear(mesh, NodeRecord(**WEST, name="n1", ipv4_alloc_cidr="10.41.0.0/16"))
    north = mesh.join("north", cluster_id=41)
    south = mesh.join("south", cluster_id=3, outside=True, pod_cidrs=["10.3.0.0/16"])

    assert before.pod_cidrs == before.node_cidrs == before.service_cidrs == ()
    assert mesh.members["west"].ranges.pod_cidrs == ("10.41.0.0/16",)
    assert south.ranges.pod_cidrs == ("10.3.0.0/16",)
    assert north.ranges.pod_cidrs
    assert "10.41.0.0/16" not in north.ranges.pod_cidrs
    assert [each for each in mesh.findings if each.code == "range-overlap"] == []


def test_how_many_records_of_a_kind_are_heard_is_how_many_names_they_have(mesh: fm.Mesh) -> None:
    hear(mesh, identity(CART, "cart"), identity(PAY, "pay"), ip("10.2.0.1"), service())
    west = mesh.members["west"]
    kinds = ("node", "service", "endpoints", "identity", "ip", "export")

    assert {kind: west.heard_count(kind) for kind in kinds} == {
        kind: len(west.heard_names(kind)) for kind in kinds
    }
    assert west.heard_count("identity") == 2
    assert mesh.members["east"].heard_count("ip") == 0

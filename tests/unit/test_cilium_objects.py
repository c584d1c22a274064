"""What Cilium's own objects say of a member's nodes, identities and pods is in force, and is published."""

from __future__ import annotations

from typing import Any

import pytest

from fleetmesh import ClusterSettings, Member, Mesh, Topology
from fleetmesh.records import IdentityRecord, IpRecord, NodeRecord
from fleetmesh.resources import (
    CiliumEndpoint,
    CiliumEndpointSlice,
    CiliumIdentity,
    CiliumNode,
    Namespace,
    Node,
    Pod,
    PodEndpoint,
    PodTemplate,
)

OWN = 1 << 16


def spread(app: str, namespace: str = "shop", cluster: str = "east") -> dict[str, str]:
    """The labels that Cilium gives a pod of that app."""
    return {
        "k8s:app": app,
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": namespace,
        "k8s:io.cilium.k8s.policy.cluster": cluster,
        "k8s:io.cilium.k8s.policy.serviceaccount": "default",
        "k8s:io.kubernetes.pod.namespace": namespace,
    }


def identity(number: int, app: str = "cart", namespace: str = "shop") -> CiliumIdentity:
    return CiliumIdentity(name=str(OWN | number), number=OWN | number, security_labels=spread(app, namespace))


def about(pod: str, number: int, *addresses: str, **more: Any) -> PodEndpoint:
    return PodEndpoint(pod=pod, identity=OWN | number, addresses=addresses, host_address="172.18.1.1", **more)


def endpoint(pod: str, number: int, *addresses: str, namespace: str = "shop", **more: Any) -> CiliumEndpoint:
    return CiliumEndpoint(namespace=namespace, name=pod, endpoint=about(pod, number, *addresses, **more))


def pod(name: str, address: str, app: str = "cart") -> Pod:
    labels = {"app": app}
    return Pod(
        namespace="shop",
        name=name,
        labels=labels,
        template=PodTemplate(labels=labels),
        addresses=(address,),
    )


@pytest.fixture
def mesh() -> Mesh:
    made = Mesh("m")
    for number, name in enumerate(("east", "west"), 1):
        made.join(name, cluster_id=number, pod_cidrs=[f"10.{number}.0.0/16"])
    return made


@pytest.fixture
def east(mesh: Mesh) -> Member:
    return mesh.members["east"]


def ips(member: Member) -> dict[str, IpRecord]:
    return {each.address: each for each in member.records("ip") if isinstance(each, IpRecord)}


def identities(member: Member) -> dict[int, str]:
    return {
        each.number: each.labels for each in member.records("identity") if isinstance(each, IdentityRecord)
    }


def subject(mesh: Mesh, end: str) -> tuple[int, set[str]]:
    """Whom the policies of its cluster take a pod for."""
    source = mesh.decide(end, "ip:203.0.113.1", port=80).source
    return source.identity, {str(each) for each in source.labels}


# Nodes


def test_of_a_cilium_node_others_hear_all(east: Member) -> None:
    east.apply(
        CiliumNode(
            name="n",
            labels={"a": "b"},
            annotations={"network.cilium.io/wg-pub-key": "key="},
            addresses=(("InternalIP", "172.18.1.1"), ("CiliumInternalIP", "10.1.1.200"), ("Hostname", "n")),
            pod_cidrs=("10.1.1.0/24", "fd00:10::/64", "10.1.9.0/24"),
            health_addresses=("10.1.1.201", "FD00:0::201"),
            ingress_addresses=("", "nonsense"),
            encryption_key=3,
            boot_id="boot",
        )
    )

    assert east.records("node") == (
        NodeRecord(
            name="n",
            cluster="east",
            cluster_id=1,
            ip_addresses=(("InternalIP", "172.18.1.1"), ("CiliumInternalIP", "10.1.1.200")),
            ipv4_alloc_cidr="10.1.1.0/24",
            ipv4_secondary_alloc_cidrs=("10.1.9.0/24",),
            ipv6_alloc_cidr="fd00:10::/64",
            ipv4_health_ip="10.1.1.201",
            ipv6_health_ip="fd00::201",
            labels={"a": "b"},
            annotations={"network.cilium.io/wg-pub-key": "key="},
            wireguard_pub_key="key=",
            encryption_key=3,
            boot_id="boot",
        ),
    )


def test_where_there_are_cilium_nodes_others_hear_of_no_nodes(east: Member) -> None:
    east.apply([Node(name="a"), Node(name="b"), CiliumNode(name="b", boot_id="boot")])
    assert [(each.name, each.boot_id) for each in east.records("node") if isinstance(each, NodeRecord)] == [
        ("b", "boot")
    ]

    east.delete([CiliumNode(name="b")])
    assert [each.name for each in east.records("node") if isinstance(each, NodeRecord)] == ["a", "b"]


def test_a_node_that_only_cilium_knows_is_a_node(mesh: Mesh, east: Member) -> None:
    node = CiliumNode(name="n", addresses=(("InternalIP", "172.18.1.1"),))

    east.apply(node)
    assert mesh.decide("ip:172.18.1.1", "host:west", port=1).source.identity == 6

    east.delete([node])
    assert mesh.decide("ip:172.18.1.1", "host:west", port=1).source.identity != 6


def test_a_node_counts_more_than_its_cilium_node_in_its_own_cluster(mesh: Mesh, east: Member) -> None:
    east.apply(CiliumNode(name="n", addresses=(("InternalIP", "172.18.1.1"),)))
    east.apply(Node(name="n", addresses=(("InternalIP", "172.18.1.2"),)))
    assert mesh.decide("ip:172.18.1.1", "host:west", port=1).source.identity != 6
    assert mesh.decide("ip:172.18.1.2", "host:west", port=1).source.identity == 6

    east.delete([Node(name="n")])
    assert mesh.decide("ip:172.18.1.1", "host:west", port=1).source.identity == 6


# What is published of pods


def test_an_endpoint_and_its_identity_are_published_as_they_are(east: Member) -> None:
    ports = (("http", 8080, "TCP"), ("dns", 53, "UDP"))
    more: Any = {"encryption_key": 3, "named_ports": ports, "service_account": "web"}
    east.apply([identity(1001), endpoint("cart-0", 1001, "10.1.1.1", "FD00::1", "nonsense", **more)])

    expected = IpRecord(
        cluster="east",
        cluster_id=1,
        address="10.1.1.1",
        host="172.18.1.1",
        identity=OWN | 1001,
        namespace="shop",
        pod="cart-0",
        service_account="web",
        encryption_key=3,
        named_ports=ports,
    )
    assert ips(east)["10.1.1.1"] == expected
    assert list(ips(east)) == ["10.1.1.1", "fd00::1"]
    assert identities(east) == {
        OWN | 1001: "k8s:app=cart;"
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop;"
        "k8s:io.cilium.k8s.policy.cluster=east;"
        "k8s:io.cilium.k8s.policy.serviceaccount=default;"
        "k8s:io.kubernetes.pod.namespace=shop;"
    }


def test_an_endpoint_that_is_not_ready_is_published_as_far_as_it_is(east: Member) -> None:
    east.apply(
        [
            CiliumEndpoint(
                namespace="shop", name="a", endpoint=PodEndpoint(pod="a", addresses=("10.1.1.1",))
            ),
            CiliumEndpoint(namespace="shop", name="b", endpoint=PodEndpoint(pod="b", identity=OWN | 1001)),
        ]
    )

    assert [(each.pod, each.identity, each.host) for each in ips(east).values()] == [("a", 0, "")]
    assert identities(east) == {}


def test_what_is_in_a_namespace_that_is_not_global_is_not_published(mesh: Mesh, east: Member) -> None:
    objects = [
        identity(1001),
        identity(1002, namespace="own"),
        endpoint("a", 1001, "10.1.1.1"),
        endpoint("b", 1002, "10.1.1.2", namespace="own"),
        CiliumEndpointSlice(name="s", pod_namespace="own", endpoints=(about("c", 1002, "10.1.1.3"),)),
    ]
    east.apply([*objects, Namespace(name="own", annotations={"clustermesh.cilium.io/global": "false"})])
    assert (list(ips(east)), list(identities(east))) == (["10.1.1.1"], [OWN | 1001])

    east.apply(Namespace(name="own"))
    assert len(ips(east)) == 3
    assert list(identities(east)) == [OWN | 1001, OWN | 1002]

    aks = mesh.join("north", cluster_id=3, settings=ClusterSettings(default_global_namespace=False))
    aks.apply(objects)
    assert (ips(aks), identities(aks)) == ({}, {})


def test_identities_without_labels_or_namespace_are_not_published(east: Member) -> None:
    bare = CiliumIdentity(name=str(OWN | 1), number=OWN | 1)
    nowhere = CiliumIdentity(name=str(OWN | 2), number=OWN | 2, security_labels={"k8s:app": "cart"})

    east.apply([bare, nowhere])

    assert identities(east) == {}


def test_slices_say_what_endpoints_would_and_count_more(east: Member) -> None:
    said = about("cart-0", 1001, "10.1.1.1", encryption_key=5)
    piece = CiliumEndpointSlice(name="b", pod_namespace="shop", endpoints=(said,))
    first = CiliumEndpointSlice(
        name="a", pod_namespace="shop", endpoints=(about("cart-0", 1001, "10.1.1.1", encryption_key=7),)
    )
    east.apply([endpoint("cart-0", 1001, "10.1.1.1", encryption_key=3), piece])
    assert ips(east)["10.1.1.1"].encryption_key == 5

    east.apply(first)
    assert ips(east)["10.1.1.1"].encryption_key == 7

    east.delete([piece, first])
    assert ips(east)["10.1.1.1"].encryption_key == 3

    east.apply(CiliumEndpointSlice(name="c", endpoints=(said,)))  # of no namespace
    assert ips(east)["10.1.1.1"].encryption_key == 3


def test_what_a_slice_no_longer_says_is_gone(east: Member) -> None:
    piece = CiliumEndpointSlice(
        name="s", pod_namespace="shop", endpoints=(about("a", 1, "10.1.1.1"), about("b", 1, "10.1.1.2"))
    )
    east.apply(piece)
    east.apply(CiliumEndpointSlice(name="s", pod_namespace="shop", endpoints=(about("b", 1, "10.1.1.2"),)))

    assert list(ips(east)) == ["10.1.1.2"]
    assert [each.name for each in east.pods] == ["b"]


def test_an_address_of_two_pods_is_published_once(east: Member) -> None:
    east.apply([endpoint("b", 1002, "10.1.1.1"), endpoint("a", 1001, "10.1.1.1")])
    assert ips(east)["10.1.1.1"].pod == "a"
    assert len(east.records("ip")) == 1

    east.delete([endpoint("a", 1001)])
    assert ips(east)["10.1.1.1"].pod == "b"


def test_a_drained_member_publishes_no_pods(east: Member) -> None:
    east.apply([identity(1001), endpoint("a", 1001, "10.1.1.1"), CiliumNode(name="n")])

    east.drain()
    assert [type(each) for each in east.records()] == [NodeRecord]

    east.restore()
    assert len(east.records()) == 3


# Who a pod is in the mesh


def test_a_pod_that_only_cilium_knows_is_whom_its_identity_says(mesh: Mesh, east: Member) -> None:
    east.apply([identity(1001), endpoint("cart-0", 1001, "10.1.1.1")])

    (only,) = east.pods
    assert (only.name, only.addresses, only.host_address) == ("cart-0", ("10.1.1.1",), "172.18.1.1")
    number, labels = subject(mesh, "east/shop/cart-0")
    assert number == OWN | 1001
    assert "k8s:app=cart" in labels
    assert mesh.decide("ip:10.1.1.1", "host:west", port=1).source.identity == OWN | 1001


def test_policies_select_it_by_the_labels_of_its_identity(mesh: Mesh, east: Member) -> None:
    east.apply([identity(1001), identity(1002, "db"), identity(1003, "other")])
    for number, name in enumerate(("cart-0", "db-0", "other-0"), 1001):
        east.apply(endpoint(name, number, f"10.1.1.{number - 1000}"))
    east.apply(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: db, namespace: shop}\n"
        "spec: {endpointSelector: {matchLabels: {app: db}}, "
        "ingress: [{fromEndpoints: [{matchLabels: {app: cart}}]}]}\n"
    )

    assert mesh.decide("east/shop/cart-0", "east/shop/db-0", port=1).verdict == "allow"
    assert mesh.decide("east/shop/other-0", "east/shop/db-0", port=1).verdict == "deny"

    east.apply(identity(1003, "cart"))
    assert mesh.decide("east/shop/other-0", "east/shop/db-0", port=1).verdict == "allow"


def test_of_a_pod_that_both_tell_of_cilium_says_who_it_is(mesh: Mesh, east: Member) -> None:
    east.apply([identity(1001, "db"), pod("cart-0", "10.1.1.1"), endpoint("cart-0", 1001, "10.1.1.2")])

    (only,) = east.pods
    assert (only.labels, only.addresses) == ({"app": "cart"}, ("10.1.1.2",))
    assert subject(mesh, "east/shop/cart-0")[0] == OWN | 1001
    assert list(ips(east)) == ["10.1.1.2"]

    east.delete([endpoint("cart-0", 1001)])
    assert list(ips(east)) == ["10.1.1.1"]
    assert "k8s:app=cart" in subject(mesh, "east/shop/cart-0")[1]


def test_an_identity_that_nobody_tells_the_labels_of_is_its_number(mesh: Mesh, east: Member) -> None:
    east.apply(endpoint("cart-0", 1001, "10.1.1.1"))
    assert subject(mesh, "east/shop/cart-0") == (OWN | 1001, {f"unheard:{OWN | 1001}"})

    east.apply(identity(1001))
    assert "k8s:app=cart" in subject(mesh, "east/shop/cart-0")[1]

    east.delete([identity(1001)])
    assert subject(mesh, "east/shop/cart-0") == (OWN | 1001, {f"unheard:{OWN | 1001}"})


def test_a_pod_may_be_of_a_reserved_identity(mesh: Mesh, east: Member) -> None:
    init = CiliumEndpoint(
        namespace="shop", name="a", endpoint=PodEndpoint(pod="a", identity=5, addresses=("10.1.1.1",))
    )

    east.apply(init)

    assert subject(mesh, "east/shop/a") == (5, {"reserved:init"})
    assert ips(east)["10.1.1.1"].identity == 5


def test_a_pod_with_the_labels_of_an_identity_has_its_number(mesh: Mesh, east: Member) -> None:
    east.apply(pod("cart-0", "10.1.1.1"))
    before = subject(mesh, "east/shop/cart-0")[0]

    east.apply(identity(1001))
    assert subject(mesh, "east/shop/cart-0")[0] == OWN | 1001 != before
    assert ips(east)["10.1.1.1"].identity == OWN | 1001
    assert list(identities(east)) == [OWN | 1001]

    east.delete([identity(1001)])
    assert subject(mesh, "east/shop/cart-0")[0] == before


def test_a_number_that_was_given_out_gives_way_to_a_declared_one(mesh: Mesh, east: Member) -> None:
    east.apply(pod("cart-0", "10.1.1.1"))
    (number,) = identities(east)

    east.apply([identity(number - OWN, "db"), endpoint("db-0", number - OWN, "10.1.1.2")])

    assert ips(east)["10.1.1.2"].identity == number
    other = ips(east)["10.1.1.1"].identity
    assert other != number
    assert subject(mesh, "east/shop/cart-0")[0] == other
    assert len(identities(east)) == 2


def test_an_identity_of_another_cluster_is_told(mesh: Mesh, east: Member) -> None:
    foreign = CiliumIdentity(name=str(9 << 16 | 300), number=9 << 16 | 300, security_labels=spread("cart"))

    east.apply(foreign)
    assert [(each.code, each.subject) for each in east.findings] == [
        ("identity-of-other-cluster", f"CiliumIdentity /{9 << 16 | 300}")
    ]

    east.delete([foreign])
    assert not east.findings


def test_who_leaves_and_comes_back_says_the_same(mesh: Mesh, east: Member) -> None:
    east.apply(
        [
            identity(1001),
            endpoint("cart-0", 1001, "10.1.1.1"),
            pod("cart-1", "10.1.1.2"),
            CiliumNode(name="n"),
        ]
    )
    before = east.records()

    mesh.join(mesh.leave("east"))

    assert east.records() == before
    assert subject(mesh, "east/shop/cart-0")[0] == OWN | 1001


def test_a_fork_changes_alone(mesh: Mesh, east: Member) -> None:
    east.apply([identity(1001), endpoint("cart-0", 1001, "10.1.1.1")])
    fork = mesh.fork()

    fork.members["east"].apply(endpoint("cart-0", 1001, "10.1.1.9"))

    assert list(ips(east)) == ["10.1.1.1"]
    assert list(ips(fork.members["east"])) == ["10.1.1.9"]


def test_an_address_that_cilium_knows_is_given_to_nobody_else() -> None:
    mesh = Mesh("m", topology=Topology.full())
    east = mesh.join("east", cluster_id=1, pod_cidrs=["10.1.0.0/30"])
    bare = Pod(namespace="shop", name="x")
    east.apply(bare)
    (given,) = east.pods[0].addresses

    east.apply(endpoint("cart-0", 1001, given))

    assert {each.name: each.addresses for each in east.pods}["cart-0"] == (given,)
    assert {each.name: each.addresses for each in east.pods}["x"] != (given,)

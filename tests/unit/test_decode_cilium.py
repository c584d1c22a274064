"""Cilium's own objects become resources as a running cluster has them, or say which field is wrong."""

from __future__ import annotations

import json
from typing import Any

from fleetmesh.resources import (
    CiliumEndpoint,
    CiliumEndpointSlice,
    CiliumIdentity,
    CiliumNode,
    PodEndpoint,
    Resource,
    read_manifests,
)


def manifest(kind: str, name: str = "a", version: str = "cilium.io/v2", **fields: Any) -> str:
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}) + "\n"


def one(text: str) -> Resource:
    read = read_manifests(text)
    assert read.problems == ()
    assert read.findings == ()
    (resource,) = read.resources
    return resource


def faults(text: str) -> list[tuple[str, str]]:
    read = read_manifests(text)
    assert read.resources == ()
    return [(each.field, each.message) for each in read.problems]


def test_a_node_has_all_that_others_hear_of_it() -> None:
    spec = {
        "addresses": [
            {"type": "InternalIP", "ip": "172.18.1.1"},
            {"type": "CiliumInternalIP", "ip": "10.1.1.200"},
        ],
        "bootid": "570d3fd1",
        "encryption": {"key": 3},
        "health": {"ipv4": "10.1.1.201", "ipv6": "fd00::201"},
        "ingress": {"ipv6": "fd00::202"},
        "instance-id": "i-1",
        "ipam": {
            "podCIDRs": ["10.1.1.0/24"],
            "pools": {
                "allocated": [{"pool": "blue", "cidrs": ["10.9.0.0/24", "10.9.1.0/24"]}],
                "requested": [],
            },
        },
    }

    assert one(manifest("CiliumNode", spec=spec)) == CiliumNode(
        name="a",
        addresses=(("InternalIP", "172.18.1.1"), ("CiliumInternalIP", "10.1.1.200")),
        pod_cidrs=("10.1.1.0/24", "10.9.0.0/24", "10.9.1.0/24"),
        health_addresses=("10.1.1.201", "fd00::201"),
        ingress_addresses=("", "fd00::202"),
        encryption_key=3,
        boot_id="570d3fd1",
    )


def test_a_node_may_say_nothing() -> None:
    assert one(manifest("CiliumNode", spec={"encryption": {}, "ipam": {"pools": {}}})) == CiliumNode(name="a")


def test_of_an_encryption_key_others_hear_eight_bits() -> None:
    node = one(manifest("CiliumNode", spec={"encryption": {"key": 0x1FF}}))

    assert isinstance(node, CiliumNode)
    assert node.encryption_key == 0xFF


def test_a_nodes_pod_ranges_are_networks() -> None:
    ipam = {"podCIDRs": ["10.0.0.0"], "pools": {"allocated": [{"pool": "b", "cidrs": ["x/8", "10.0.0.0/8"]}]}}

    assert faults(manifest("CiliumNode", spec={"ipam": ipam})) == [
        ("spec.ipam.podCIDRs[0]", "expected a network such as 10.0.0.0/24, got '10.0.0.0'"),
        ("spec.ipam.pools.allocated[0].cidrs[0]", "expected a network such as 10.0.0.0/24, got 'x/8'"),
    ]
    assert [field for field, _ in faults(manifest("CiliumNode"))] == ["spec"]


def test_an_identity_is_its_number_and_its_labels() -> None:
    labels: Any = {"security-labels": {"k8s:app": "cart", "k8s:empty": "", "reserved:host": None}}

    assert one(manifest("CiliumIdentity", "66537", **labels)) == CiliumIdentity(
        name="66537", number=66537, security_labels={"k8s:app": "cart", "k8s:empty": "", "reserved:host": ""}
    )


def test_an_identitys_name_is_a_number() -> None:
    labels: Any = {"security-labels": {"k8s:app": "cart"}}
    for name in ("cart", "0", "01", "4294967296", "99999999999999999999"):
        (fault,) = faults(manifest("CiliumIdentity", name, **labels))
        assert fault == ("metadata.name", f"expected the number of an identity, 1..4294967295, got {name!r}")
    assert faults(manifest("CiliumIdentity", "1")) == [
        ("[security-labels]", "is missing: expected a mapping")
    ]


STATUS = {
    "networking": {
        "addressing": [{"ipv4": "10.1.1.1", "ipv6": "fd00::1"}, {"ipv6": "fd00::2"}],
        "node": "172.18.1.1",
    },
    "encryption": {"key": 3},
    "named-ports": [
        {"name": "http", "port": 8080, "protocol": "TCP"},
        {"name": "dns", "port": 5353, "protocol": "UDP"},
    ],
    "service-account": "web",
}
ENDPOINT = PodEndpoint(
    pod="a",
    identity=66537,
    addresses=("10.1.1.1", "fd00::1", "fd00::2"),
    host_address="172.18.1.1",
    encryption_key=3,
    named_ports=(("http", 8080, "TCP"), ("dns", 5353, "UDP")),
    service_account="web",
)


def test_an_endpoint_is_what_its_status_says() -> None:
    status = {**STATUS, "id": 100, "state": "ready", "identity": {"id": 66537, "labels": ["k8s:app=cart"]}}

    assert one(manifest("CiliumEndpoint", status=status)) == CiliumEndpoint(
        name="a", namespace="default", endpoint=ENDPOINT
    )
    assert one(manifest("CiliumEndpoint")) == CiliumEndpoint(
        name="a", namespace="default", endpoint=PodEndpoint(pod="a")
    )


def test_a_slice_says_of_several_pods_what_endpoints_say_of_one() -> None:
    endpoints = [{"name": "a", "id": 66537, "pod-uid": "u", **STATUS}, {"name": "b"}]

    text = manifest("CiliumEndpointSlice", "s", "cilium.io/v2alpha1", namespace="shop", endpoints=endpoints)

    assert one(text) == CiliumEndpointSlice(
        name="s", pod_namespace="shop", endpoints=(ENDPOINT, PodEndpoint(pod="b"))
    )


def test_ports_and_identities_are_numbers_that_fit() -> None:
    ports = {"named-ports": [{"name": "http", "port": 65536}]}
    assert faults(manifest("CiliumEndpoint", status=ports)) == [
        ("status[named-ports][0].port", "expected a whole number within 0..65535, got the number 65536")
    ]

    (fault,) = faults(manifest("CiliumEndpoint", status={"identity": {"id": 2**32}}))
    assert fault[0] == "status.identity.id"

    (fault,) = faults(manifest("CiliumEndpoint", status={"encryption": {"key": "one"}}))
    assert fault[0] == "status.encryption.key"


def test_a_misspelt_field_is_told_and_one_of_a_newer_cilium_is_not() -> None:
    spec = {"encription": {"key": 1}, "something-new": True}

    (told,) = read_manifests(manifest("CiliumNode", spec=spec)).findings

    assert told.code == "unknown-field"
    assert "did you mean 'encryption'?" in told.message

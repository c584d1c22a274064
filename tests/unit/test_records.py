"""
What a member publishes: equal to what Cilium's exporters write, and no more than the wire carries.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from doubles import core as double
from doubles.fleet import FleetRun
from doubles.public import as_cilium_writes
from fleetmesh.mesh.publish import labels_text
from fleetmesh.policy.labels import pod_labels
from fleetmesh.records import (
    IpRecord,
    endpoints_record,
    export_record,
    ip_records,
    is_address,
    node_record,
    service_record,
)
from fleetmesh.resources import load_manifests
from fleetmesh.resources.model import (
    ContainerPort,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Node,
    Pod,
    PodTemplate,
    Service,
    ServiceExport,
    ServicePort,
)
from fleetmesh.state.codecs import encode

CORPUS = Path(__file__).parents[1] / "golden" / "merge.json"
CASES: list[dict[str, Any]] = json.loads(CORPUS.read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_service_record_is_the_value_that_cilium_writes(case: dict[str, Any]) -> None:
    core = double.Core()
    FleetRun(case, core, double.ServiceSpec)
    snapshot = core.snapshot()
    written: dict[str, dict[str, Any]] = {}
    for cluster, given in case["clusters"].items():
        if given.get("joins_later"):
            continue
        values = written[cluster] = {}
        for service in load_manifests(given["manifests"]):
            if isinstance(service, Service):
                exported = snapshot.record(given["id"], service.namespace, service.name)
                if exported is not None:
                    record = service_record(cluster, given["id"], service, exported)
                    values[f"{service.namespace}/{service.name}"] = as_cilium_writes(record)

    assert written in [case["exports"], *(other["exports"] for other in case.get("alternatives", []))]


def test_a_frontend_without_an_address_is_in_the_record_and_not_in_what_is_written() -> None:
    """Cilium writes it, and its own readers then refuse the whole value."""
    service = Service(namespace="shop", name="bank", type="ExternalName", ports=(ServicePort(port=80),))
    record = service_record("east", 1, service, [])

    assert record.frontends == {"": {"": ("TCP", 80)}}
    assert json.loads(encode(record))["frontends"] == {}


def test_a_service_that_is_headless_by_label_alone_has_no_frontend() -> None:
    service = Service(
        namespace="shop", name="db", cluster_ip="10.0.0.1", labels={"service.kubernetes.io/headless": ""}
    )

    assert service_record("east", 1, service, []).frontends == {}


def test_a_node_record_has_addresses_and_ranges_by_family_and_drops_what_is_neither() -> None:
    node = Node(
        name="n1",
        addresses=(("InternalIP", "192.0.2.1"), ("Hostname", "n1"), ("InternalIP", "fd00::1")),
        pod_cidrs=("10.1.0.0/24", "fd00:1::/64", "10.1.1.7/24", "nonsense"),
        labels={"zone": "a"},
        annotations={"network.cilium.io/wg-pub-key": "key"},
    )

    record = node_record("east", 1, node)

    assert record.ip_addresses == (("InternalIP", "192.0.2.1"), ("InternalIP", "fd00::1"))
    assert (record.ipv4_alloc_cidr, record.ipv6_alloc_cidr) == ("10.1.0.0/24", "fd00:1::/64")
    assert (record.ipv4_secondary_alloc_cidrs, record.ipv6_secondary_alloc_cidrs) == (("10.1.1.0/24",), ())
    assert (record.wireguard_pub_key, record.labels, record.cluster_id) == ("key", {"zone": "a"}, 1)


def test_a_node_without_pod_ranges_publishes_none() -> None:
    record = node_record("east", 1, Node(name="n1"))

    assert (record.ipv4_alloc_cidr, record.ipv6_alloc_cidr, record.wireguard_pub_key) == ("", "", "")


def test_an_endpoints_record_keeps_conditions_node_and_hints_but_not_what_stands_behind() -> None:
    endpoint = Endpoint(
        addresses=("10.1.0.1",), ready=False, serving=True, node_name="n1", zone="a", for_zones=("a", "b")
    )
    piece = EndpointSlice(
        namespace="shop",
        name="db-1",
        annotations={"service.cilium.io/weight": "0"},
        endpoints=(attrs.evolve(endpoint, target=("Pod", "db-0")),),
        ports=(EndpointPort(port=5432, name="sql", app_protocol="pg"),),
    )

    record = endpoints_record("east", 1, piece)

    assert record.endpoints == (endpoint,)
    assert record.ports == (EndpointPort(port=5432, name="sql"),)
    assert record.annotations == {"service.cilium.io/weight": "0"}


POD = Pod(
    namespace="shop",
    name="cart-1",
    labels={"app": "cart"},
    template=PodTemplate(
        service_account="cart",
        ports=(ContainerPort(container_port=80, name="http"), ContainerPort(container_port=81)),
    ),
    addresses=("10.1.0.1", "fd00::1"),
)


def test_the_labels_of_an_identity_are_written_by_key_and_name_cluster_namespace_and_account() -> None:
    """And the named ports, which are labels of a source of their own since 1.20."""
    template = attrs.evolve(POD.template, labels={"app": "cart", "none": ""})
    labels = pod_labels(template, "shop", {"team": "a"}, "east")

    assert labels_text(labels) == (
        "k8s:app=cart;"
        "generated:io.cilium.k8s.named-ports=http.TCP.80;"
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop;"
        "k8s:io.cilium.k8s.namespace.labels.team=a;"
        "k8s:io.cilium.k8s.policy.cluster=east;"
        "k8s:io.cilium.k8s.policy.serviceaccount=cart;"
        "k8s:io.kubernetes.pod.namespace=shop;"
        "k8s:none=;"
    )


def test_an_ip_record_for_each_address_of_a_pod() -> None:
    assert ip_records("east", 1, 65537, POD, host="192.0.2.1") == tuple(
        IpRecord(
            cluster="east",
            cluster_id=1,
            address=address,
            host="192.0.2.1",
            identity=65537,
            namespace="shop",
            pod="cart-1",
            service_account="cart",
            named_ports=(("http", 80, "TCP"),),
        )
        for address in ("10.1.0.1", "fd00::1")
    )


@pytest.mark.parametrize(
    "pod",
    [
        attrs.evolve(POD, template=PodTemplate(host_network=True)),
        attrs.evolve(POD, phase="Succeeded"),
        attrs.evolve(POD, phase="Failed"),
        attrs.evolve(POD, addresses=()),
        attrs.evolve(POD, addresses=("fe80::1%eth0", "x")),
    ],
    ids=["on the host's network", "completed", "failed", "without address", "with addresses that are none"],
)
def test_a_pod_that_has_no_ip_record(pod: Pod) -> None:
    assert ip_records("east", 1, 65537, pod) == ()


def test_the_pods_own_word_about_its_host_wins() -> None:
    (record, _) = ip_records("east", 1, 65537, attrs.evolve(POD, host_address="192.0.2.9"), host="192.0.2.1")

    assert record.host == "192.0.2.9"


def test_an_export_record_takes_ports_from_the_service_and_marks_from_the_export() -> None:
    service = Service(
        namespace="shop",
        name="cart",
        cluster_ip="10.0.0.1",
        cluster_ips=("10.0.0.1", "fd00::5"),
        ports=(ServicePort(port=80, name="http", target_port="web", node_port=30000, app_protocol="h2c"),),
        session_affinity_seconds=60,
        labels={"own": "label"},
    )
    export = ServiceExport(
        namespace="shop", name="cart", exported_labels={"a": "b"}, creation_timestamp="2024-01-01T00:00:00Z"
    )

    record = export_record("east", service, export)

    assert record.ports == (ServicePort(port=80, name="http", app_protocol="h2c"),)
    assert (record.labels, record.created, record.type) == (
        {"a": "b"},
        "2024-01-01T00:00:00Z",
        "ClusterSetIP",
    )
    assert (record.ip_families, record.session_affinity_seconds) == (("IPv4", "IPv6"), 60)


def test_an_export_record_of_a_headless_service_says_so_and_knows_no_families() -> None:
    service = Service(namespace="shop", name="db", cluster_ip="None")

    record = export_record("east", service, ServiceExport(namespace="shop", name="db"))

    assert (record.type, record.ip_families) == ("Headless", ())


@pytest.mark.parametrize(
    ("text", "valid"),
    [("10.0.0.1", True), ("fd00::1", True), ("fe80::1%eth0", False), ("None", False), ("", False)],
)
def test_what_is_an_address(text: str, valid: bool) -> None:
    assert is_address(text) == valid

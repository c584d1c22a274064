"""Each kind becomes its resource, with the API server's defaults, or says which field is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleetmesh.resources import (
    CiliumConfig,
    ClusterMeshSecret,
    ContainerPort,
    Endpoint,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    Namespace,
    Node,
    Pod,
    PodTemplate,
    PolicyObject,
    Resource,
    Service,
    ServiceExport,
    ServiceImport,
    ServicePort,
    UnknownKind,
    Workload,
    read_manifests,
)


def manifest(kind: str, api_version: str = "v1", **fields: Any) -> str:
    fields = {"metadata": {"name": "a"}, **fields}
    return json.dumps({"apiVersion": api_version, "kind": kind, **fields}) + "\n"


def one(text: str) -> Resource:
    read = read_manifests(text)
    assert read.problems == ()
    (resource,) = read.resources
    return resource


def faults(text: str) -> list[tuple[str, str]]:
    read = read_manifests(text)
    assert read.resources == ()
    return [(each.field, each.message) for each in read.problems]


TEMPLATE = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {"containers": [{"ports": [{"containerPort": 80}]}]},
}
EXPECTED_TEMPLATE = PodTemplate(labels={"app": "x"}, ports=(ContainerPort(container_port=80),))


def test_a_namespace_keeps_its_labels_and_annotations() -> None:
    metadata = {"name": "a", "labels": {"x": "y"}, "annotations": {"Example.com/k": "v"}}
    expected = Namespace(name="a", labels={"x": "y"}, annotations={"Example.com/k": "v"})

    assert expected == one(manifest("Namespace", metadata=metadata))


def test_a_cluster_scoped_object_has_no_namespace_even_if_it_names_one() -> None:
    assert one(manifest("Namespace", metadata={"name": "a", "namespace": "b"})).namespace == ""


def test_a_namespaced_object_without_namespace_is_in_default() -> None:
    assert one(manifest("Service")).namespace == "default"
    assert one(manifest("Service", metadata={"name": "a", "namespace": "b"})).namespace == "b"


def test_a_node_has_addresses_and_pod_ranges() -> None:
    status = {"addresses": [{"type": "InternalIP", "address": "192.168.0.4"}]}
    addresses = (("InternalIP", "192.168.0.4"),)

    both = one(manifest("Node", spec={"podCIDR": "10.0.0.0/24"}, status=status))
    dual = one(manifest("Node", spec={"podCIDR": "x", "podCIDRs": ["10.0.0.0/24", "fd00::/64"]}))

    assert both == Node(name="a", addresses=addresses, pod_cidrs=("10.0.0.0/24",))
    assert dual == Node(name="a", pod_cidrs=("10.0.0.0/24", "fd00::/64"))


def test_a_pod_without_status_runs_and_its_readiness_is_unknown() -> None:
    assert one(manifest("Pod")) == Pod(name="a", namespace="default")


def test_a_pod_with_status() -> None:
    metadata = {
        "name": "a",
        "labels": {"app": "x"},
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "creationTimestamp": "2025-01-01T00:00:00Z",
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "u"}],
    }
    spec = {
        "serviceAccount": "old",
        "nodeName": "n1",
        "hostNetwork": True,
        "hostname": "h",
        "subdomain": "s",
        "nodeSelector": {"disk": "ssd"},
        "containers": [
            {"ports": [{"containerPort": 53, "protocol": "UDP", "name": "dns"}]},
            {"name": "none"},
        ],
        "initContainers": [
            {"ports": [{"containerPort": 1}]},
            {"restartPolicy": "Always", "ports": [{"containerPort": 2}]},
        ],
    }
    status = {
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        "hostIP": "192.168.0.4",
        "phase": "Pending",
        "conditions": [{"type": "Ready", "status": "Unknown"}],
    }
    template = PodTemplate(
        labels={"app": "x"},
        service_account="old",
        node_name="n1",
        node_selector={"disk": "ssd"},
        ports=(
            ContainerPort(container_port=53, name="dns", protocol="UDP"),
            ContainerPort(container_port=2, sidecar=True),
        ),
        host_network=True,
        hostname="h",
        subdomain="s",
    )

    expected = Pod(
        name="a",
        namespace="default",
        labels={"app": "x"},
        creation_timestamp="2025-01-01T00:00:00Z",
        template=template,
        addresses=("10.0.0.1", "fd00::1"),
        host_address="192.168.0.4",
        phase="Pending",
        ready=False,
        terminating=True,
        owners=(("ReplicaSet", "rs"),),
    )
    assert expected == one(manifest("Pod", metadata=metadata, spec=spec, status=status))


@pytest.mark.parametrize(
    ("kind", "spec", "replicas"),
    [
        ("Deployment", {}, 1),
        ("Deployment", {"replicas": 0}, 0),
        ("Deployment", {"replicas": None}, 1),
        ("ReplicaSet", {"replicas": 5}, 5),
        ("StatefulSet", {"replicas": 2}, 2),
        ("DaemonSet", {}, None),
        ("Job", {}, 1),
        ("Job", {"parallelism": 4}, 4),
        ("Job", {"parallelism": 4, "completions": 3}, 3),
        ("Job", {"parallelism": 4, "suspend": True}, 0),
    ],
)
def test_how_many_pods_a_workload_wants(kind: str, spec: dict[str, Any], replicas: int | None) -> None:
    api_version = "batch/v1" if kind == "Job" else "apps/v1"
    expected = Workload(
        kind=kind,
        api_version=api_version,
        name="a",
        namespace="default",
        replicas=replicas,
        selector_labels={"app": "x"},
        template=EXPECTED_TEMPLATE,
    )

    assert expected == one(manifest(kind, api_version, spec={"template": TEMPLATE, **spec}))


def test_a_finished_job_wants_no_pods() -> None:
    status = {"conditions": [{"type": "Complete", "status": "True"}]}

    job = one(manifest("Job", "batch/v1", spec={"template": TEMPLATE}, status=status))

    assert isinstance(job, Workload)
    assert job.replicas == 0


def test_a_stateful_set_names_its_service() -> None:
    found = one(manifest("StatefulSet", "apps/v1", spec={"template": TEMPLATE, "serviceName": "db"}))

    assert isinstance(found, Workload)
    assert found.service_name == "db"


@pytest.mark.parametrize("version", ["apps/v1", "apps/v1beta2", "apps/v1beta1", "extensions/v1beta1"])
def test_older_versions_of_a_deployment_with_the_same_schema_load(version: str) -> None:
    assert one(manifest("Deployment", version, spec={"template": TEMPLATE})).api_version == version


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ({"matchLabels": {"app": "x"}}, True),
        ({"matchLabels": {"app": "y"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_the_selector_of_a_workload_must_match_its_template(selector: dict[str, Any], fits: bool) -> None:
    text = manifest("Deployment", "apps/v1", spec={"template": TEMPLATE, "selector": selector})

    fields = [each.field for each in read_manifests(text).problems]
    assert fields == ([] if fits else ["spec.template.metadata.labels"])


def test_a_service_with_nothing_given_has_the_defaults() -> None:
    assert one(manifest("Service", spec=None)) == Service(name="a", namespace="default")


def test_a_service_with_everything_given() -> None:
    spec = {
        "type": "LoadBalancer",
        "clusterIPs": ["10.100.0.1", "fd00::1"],
        "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [
            {"port": 80, "name": "http", "targetPort": "web", "nodePort": 30080, "appProtocol": "h2c"},
            {"port": 53, "name": "dns", "protocol": "UDP", "targetPort": 5353},
        ],
        "selector": {"app": "x"},
        "externalIPs": ["192.0.2.1"],
        "internalTrafficPolicy": "Local",
        "externalTrafficPolicy": "Local",
        "trafficDistribution": "PreferClose",
        "sessionAffinity": "ClientIP",
        "publishNotReadyAddresses": True,
    }
    ingress = [{"ip": "192.0.2.2"}, {"ip": "192.0.2.3", "ipMode": "Proxy"}, {"hostname": "lb.example.com"}]
    expected = Service(
        name="a",
        namespace="default",
        type="LoadBalancer",
        cluster_ip="10.100.0.1",
        cluster_ips=("10.100.0.1", "fd00::1"),
        ip_families=("IPv4", "IPv6"),
        ip_family_policy="PreferDualStack",
        ports=(
            ServicePort(port=80, name="http", target_port="web", node_port=30080, app_protocol="h2c"),
            ServicePort(port=53, name="dns", protocol="UDP", target_port=5353),
        ),
        selector={"app": "x"},
        external_ips=("192.0.2.1",),
        ingress=(("192.0.2.2", "VIP"), ("192.0.2.3", "Proxy")),
        internal_traffic_policy="Local",
        external_traffic_policy="Local",
        traffic_distribution="PreferClose",
        session_affinity_seconds=10800,
        publish_not_ready_addresses=True,
    )

    found = one(manifest("Service", spec=spec, status={"loadBalancer": {"ingress": ingress}}))

    assert expected == found


def test_an_empty_selector_is_none_at_all() -> None:
    assert one(manifest("Service", spec={"selector": {}})) == Service(name="a", namespace="default")


def test_session_affinity_keeps_its_seconds() -> None:
    config = {"clientIP": {"timeoutSeconds": 7}}
    spec = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}

    service = one(manifest("Service", spec=spec))

    assert isinstance(service, Service)
    assert service.session_affinity_seconds == 7


def test_an_endpoint_slice_tells_unset_conditions_from_false() -> None:
    endpoints = [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": False, "serving": None}},
        {
            "addresses": ["10.0.0.2"],
            "hostname": "h",
            "nodeName": "n",
            "zone": "z",
            "hints": {"forZones": [{"name": "z"}]},
            "targetRef": {"kind": "Pod", "name": "p"},
        },
    ]
    ports = [{"name": "http", "port": 80}, {"port": None, "protocol": "SCTP"}]
    expected = EndpointSlice(
        name="a",
        namespace="default",
        address_type="IPv6",
        endpoints=(
            Endpoint(addresses=("10.0.0.1",), ready=False),
            Endpoint(
                addresses=("10.0.0.2",),
                hostname="h",
                node_name="n",
                zone="z",
                for_zones=("z",),
                target=("Pod", "p"),
            ),
        ),
        ports=(EndpointPort(port=80, name="http"), EndpointPort(port=None, protocol="SCTP")),
    )

    text = manifest(
        "EndpointSlice", "discovery.k8s.io/v1", addressType="IPv6", endpoints=endpoints, ports=ports
    )

    assert expected == one(text)


def test_endpoints_keep_their_subsets() -> None:
    subset = {
        "addresses": [{"ip": "10.0.0.1", "hostname": "h", "nodeName": "n"}],
        "notReadyAddresses": [{"ip": "10.0.0.2"}],
        "ports": [{"port": 80}],
    }
    expected = EndpointSubset(
        addresses=(("10.0.0.1", "h", "n"),),
        not_ready_addresses=(("10.0.0.2", "", ""),),
        ports=(EndpointPort(port=80),),
    )

    assert one(manifest("Endpoints", subsets=[subset])) == Endpoints(
        name="a", namespace="default", subsets=(expected,)
    )


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_exports_and_imports_of_both_versions(version: str) -> None:
    api = f"multicluster.x-k8s.io/{version}"
    spec = {"type": "Headless", "ips": ["10.0.0.1"], "ports": [{"port": 80, "name": "http"}]}

    exported = one(manifest("ServiceExport", api, spec={"exportedLabels": {"a": "b"}}))
    imported = one(manifest("ServiceImport", api, spec=spec))

    assert exported == ServiceExport(
        name="a", namespace="default", api_version=api, exported_labels={"a": "b"}
    )
    assert imported == ServiceImport(
        name="a",
        namespace="default",
        api_version=api,
        type="Headless",
        ips=("10.0.0.1",),
        ports=(ServicePort(port=80, name="http"),),
    )


def test_only_the_config_map_of_cilium_is_read() -> None:
    metadata = {"name": "cilium-config", "namespace": "kube-system"}
    data = {"cluster-id": "3", "cluster-name": "east", "other": "x"}
    expected = CiliumConfig(
        name="cilium-config", namespace="kube-system", cluster_id="3", cluster_name="east"
    )

    assert expected == one(manifest("ConfigMap", metadata=metadata, data=data))
    assert one(manifest("ConfigMap", data=data)) == UnknownKind(kind="ConfigMap", name="a")


def test_of_a_secret_only_the_name_is_read() -> None:
    metadata = {
        "name": "cilium-clustermesh",
        "namespace": "kube-system",
        "labels": {"l": "hush"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hush"},
    }

    secret = one(manifest("Secret", metadata=metadata, data={"k": "hush"}))
    other = one(manifest("Secret", metadata={**metadata, "name": "b"}, data=["hush"]))

    assert secret == ClusterMeshSecret(name="cilium-clustermesh", namespace="kube-system")
    assert other == UnknownKind(kind="Secret", name="b", namespace="kube-system")
    assert "hush" not in repr((secret, other))


@pytest.mark.parametrize(
    ("kind", "api_version", "namespace"),
    [
        ("NetworkPolicy", "networking.k8s.io/v1", "default"),
        ("CiliumNetworkPolicy", "cilium.io/v2", "default"),
        ("CiliumClusterwideNetworkPolicy", "cilium.io/v2", ""),
        ("CiliumCIDRGroup", "cilium.io/v2", ""),
        ("CiliumCIDRGroup", "cilium.io/v2alpha1", ""),
        ("ClusterNetworkPolicy", "policy.networking.k8s.io/v1alpha2", ""),
        ("AdminNetworkPolicy", "policy.networking.k8s.io/v1alpha1", ""),
        ("BaselineAdminNetworkPolicy", "policy.networking.k8s.io/v1alpha1", ""),
    ],
)
def test_a_policy_is_kept_as_it_was_written(kind: str, api_version: str, namespace: str) -> None:
    spec: dict[str, Any] = {"podSelector": None, "ingress": [{"from": []}]}

    policy = one(manifest(kind, api_version, spec=spec))

    assert isinstance(policy, PolicyObject)
    assert (kind, namespace, "a") == policy.key
    assert policy.document["spec"] == spec


def test_a_kind_of_another_project_with_a_known_name_is_not_that_kind() -> None:
    found = one(manifest("Service", "serving.knative.dev/v1"))

    assert found == UnknownKind(
        kind="Service.serving.knative.dev", api_version="serving.knative.dev/v1", name="a"
    )


@pytest.mark.parametrize(
    ("kind", "api_version", "expected"),
    [
        ("Service", "v2", "expected v1 for kind Service, got 'v2'"),
        ("Service", "apps/v1", "expected v1 for kind Service, got 'apps/v1'"),
        ("EndpointSlice", "discovery.k8s.io/v1beta1", "expected discovery.k8s.io/v1 for kind EndpointSlice"),
        ("Deployment", "apps/v7", "expected apps/v1 or apps/v1beta2"),
        ("CiliumNetworkPolicy", "cilium.io/v3", "expected cilium.io/v2"),
    ],
)
def test_an_unknown_version_of_a_known_kind_is_a_problem(kind: str, api_version: str, expected: str) -> None:
    ((field, message),) = faults(manifest(kind, api_version))

    assert field == "apiVersion"
    assert message.startswith(expected)


def test_an_object_with_a_generated_name_gets_the_same_one_each_time() -> None:
    text = manifest("Pod", metadata={"generateName": "web-"})

    assert one(text).name.startswith("web-")
    assert one(text) == one(text)


WORKLOAD = {"template": TEMPLATE}
SLICE = ("EndpointSlice", "discovery.k8s.io/v1")


@pytest.mark.parametrize(
    ("kind", "fields", "field", "message"),
    [
        ("Service", {"metadata": None}, "metadata.name", "is missing"),
        ("Service", {"metadata": []}, "metadata", "expected a mapping, got a list"),
        ("Service", {"metadata": {"name": 3}}, "metadata.name", "the number 3; quote it"),
        ("Service", {"metadata": {"name": "A"}}, "metadata.name", "lower-case"),
        ("Service", {"metadata": {"name": "a.b"}}, "metadata.name", "1..63"),
        ("Service", {"metadata": {"name": "a", "namespace": "x/y"}}, "metadata.namespace", "1..63"),
        ("Service", {"metadata": {"name": "a", "labels": ["x"]}}, "metadata.labels", "expected a mapping"),
        (
            "Service",
            {"metadata": {"name": "a", "labels": {"x": True}}},
            "metadata.labels.x",
            "boolean true; quote",
        ),
        ("Service", {"metadata": {"name": "a", "labels": {"a b": ""}}}, "metadata.labels[a b]", "label key"),
        ("Service", {"metadata": {"name": "a", "labels": {"x": "a b"}}}, "metadata.labels.x", "label value"),
        (
            "Service",
            {"metadata": {"name": "a", "annotations": {"x.y/z": 1}}},
            "metadata.annotations[x.y/z]",
            "the number 1; quote it",
        ),
        (
            "Service",
            {"metadata": {"name": "a", "annotations": {"a b": "1"}}},
            "metadata.annotations[a b]",
            "key",
        ),
        ("Service", {"spec": []}, "spec", "expected a mapping, got a list"),
        ("Service", {"spec": {"ports": {}}}, "spec.ports", "expected a list, got a mapping"),
        ("Service", {"spec": {"ports": [None]}}, "spec.ports[0]", "expected a mapping, got null"),
        ("Service", {"spec": {"ports": [{"port": "eighty"}]}}, "spec.ports[0].port", 'the string "eighty"'),
        (
            "Service",
            {"spec": {"ports": [{"port": 65536}]}},
            "spec.ports[0].port",
            "within 1..65535, got the number",
        ),
        ("Service", {"spec": {"ports": [{"port": 10**30}]}}, "spec.ports[0].port", "within 1..65535"),
        ("Service", {"spec": {"ports": [{"port": True}]}}, "spec.ports[0].port", "the boolean true"),
        ("Service", {"spec": {"ports": [{}]}}, "spec.ports[0].port", "is missing: expected a whole number"),
        (
            "Service",
            {"spec": {"ports": [{"port": 1, "targetPort": "80"}]}},
            "spec.ports[0].targetPort",
            "leave the quotes away",
        ),
        (
            "Service",
            {"spec": {"ports": [{"port": 1, "targetPort": 70000}]}},
            "spec.ports[0].targetPort",
            "within 0..65535 or a string",
        ),
        (
            "Service",
            {"spec": {"ports": [{"port": 1, "protocol": "tcp"}]}},
            "spec.ports[0].protocol",
            "TCP, UDP, SCTP",
        ),
        ("Service", {"spec": {"ports": [{"port": 1, "name": "A"}]}}, "spec.ports[0].name", "lower-case"),
        ("Service", {"spec": {"type": "Foo"}}, "spec.type", 'ExternalName, got the string "Foo"'),
        ("Service", {"spec": {"ipFamilies": ["IPv5"]}}, "spec.ipFamilies[0]", "one of IPv4, IPv6"),
        (
            "Service",
            {"spec": {"internalTrafficPolicy": "local"}},
            "spec.internalTrafficPolicy",
            "Cluster, Local",
        ),
        ("Service", {"spec": {"trafficDistribution": "Near"}}, "spec.trafficDistribution", "PreferClose"),
        ("Service", {"spec": {"sessionAffinity": "Cookie"}}, "spec.sessionAffinity", "one of None, ClientIP"),
        ("Service", {"spec": {"selector": {"a": 1}}}, "spec.selector.a", "quote it"),
        (
            "Service",
            {"spec": {"clusterIP": "1.1.1.1", "clusterIPs": ["2.2.2.2"]}},
            "spec.clusterIPs[0]",
            "1.1.1.1",
        ),
        ("Pod", {"status": {"phase": "Gone"}}, "status.phase", "one of Pending"),
        (
            "Pod",
            {"status": {"conditions": [{"type": "Ready", "status": "yes"}]}},
            "status.conditions[0].status",
            "one of True, False, Unknown",
        ),
        (
            "Pod",
            {"spec": {"containers": [{"ports": [{"containerPort": 1, "name": "a--b"}]}]}},
            "spec.containers[0].ports[0].name",
            "single '-'",
        ),
        ("Endpoints", {"subsets": [{"addresses": [{}]}]}, "subsets[0].addresses[0].ip", "is missing"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(
    kind: str, fields: dict[str, Any], field: str, message: str
) -> None:
    ((found, said),) = faults(manifest(kind, **fields))

    assert found == field
    assert message in said


@pytest.mark.parametrize(
    ("kind", "api_version", "fields", "field"),
    [
        ("Deployment", "apps/v1", {}, "spec"),
        ("Deployment", "apps/v1", {"spec": {}}, "spec.template"),
        ("Deployment", "apps/v1", {"spec": {**WORKLOAD, "replicas": -1}}, "spec.replicas"),
        (
            "Deployment",
            "apps/v1",
            {"spec": {**WORKLOAD, "selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}},
            "spec.selector.matchExpressions[0]",
        ),
        (*SLICE, {}, "addressType"),
        (*SLICE, {"addressType": "IPv5"}, "addressType"),
        (*SLICE, {"addressType": "IPv4", "endpoints": [{"addresses": [1]}]}, "endpoints[0].addresses[0]"),
        (
            *SLICE,
            {"addressType": "IPv4", "endpoints": [{"addresses": [], "conditions": {"ready": "yes"}}]},
            "endpoints[0].conditions.ready",
        ),
        (*SLICE, {"addressType": "IPv4", "ports": [{"protocol": "ICMP"}]}, "ports[0].protocol"),
    ],
)
def test_a_wrong_field_of_a_kind_in_a_group(
    kind: str, api_version: str, fields: dict[str, Any], field: str
) -> None:
    assert [found for found, _ in faults(manifest(kind, api_version, **fields))] == [field]


def test_every_wrong_field_of_an_object_is_told_under_its_own_number() -> None:
    ports = [{}, {"port": 1, "protocol": "X"}, {"port": "a"}, {"port": 5}, {"port": 0, "nodePort": -1}]

    found = faults(manifest("Service", metadata={"name": 1}, spec={"type": 2, "ports": ports}))

    assert {field for field, _ in found} == {
        "metadata.name",
        "spec.type",
        "spec.ports[0].port",
        "spec.ports[1].protocol",
        "spec.ports[2].port",
        "spec.ports[4].port",
        "spec.ports[4].nodePort",
    }


def test_fields_that_no_rule_reads_are_ignored() -> None:
    assert one(manifest("Service", spec={"healthCheckNodePort": "x", "unheard-of": []}, more=3)) == Service(
        name="a", namespace="default"
    )

"""A misspelt field is told of by name and place; what only Kubernetes needs is passed over."""

from __future__ import annotations

from typing import get_args, get_origin, get_type_hints

import msgspec
import pytest

from fleetmesh.findings import Finding
from fleetmesh.mesh import Mesh
from fleetmesh.resources import Origin, read_manifests
from fleetmesh.resources.fields import ANY, Fields
from fleetmesh.resources.kinds import KINDS

HEAD = {
    "Service": "v1",
    "Namespace": "v1",
    "Endpoints": "v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "ServiceExport": "multicluster.x-k8s.io/v1beta1",
    "ServiceImport": "multicluster.x-k8s.io/v1beta1",
    "Deployment": "apps/v1",
    "Pod": "v1",
    "Node": "v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "Job": "batch/v1",
}


def told(kind: str, body: str) -> list[Finding]:
    text = f"apiVersion: {HEAD[kind]}\nkind: {kind}\nmetadata: {{name: a, namespace: shop}}\n{body}\n"
    return [each for each in read_manifests(text).findings if each.code == "unknown-field"]


def test_a_misspelt_port_is_told_of_with_its_place_and_what_was_meant() -> None:
    text = "kind: Namespace\napiVersion: v1\nmetadata: {name: shop}\n---\napiVersion: v1\nkind: Service\n"
    text += "metadata: {name: cart, namespace: shop}\nspec:\n  ports:\n  - port: 80\n    targetport: 8080\n"

    (found,) = read_manifests(text).findings

    assert (found.code, found.severity) == ("unknown-field", "warning")
    assert (found.subject, found.where) == ("Service shop/cart", Origin("<text>", 2, 11))
    assert found.message == (
        "spec.ports[0].targetport is no field that Kubernetes knows, and is ignored; "
        "did you mean 'targetPort'?"
    )


@pytest.mark.parametrize(
    ("kind", "body", "field", "meant"),
    [
        ("Service", "sepc: {}", "sepc", "spec"),
        ("Service", "spec: {selectors: {app: a}}", "spec.selectors", "selector"),
        (
            "Service",
            "spec: {internalTrafficPolice: Local}",
            "spec.internalTrafficPolice",
            "internalTrafficPolicy",
        ),
        ("Service", "spec: {replicas: 3}", "spec.replicas", ""),
        ("Namespace", "specs: {}", "specs", "spec"),
        ("EndpointSlice", "addressType: IPv4\nendpoint: []", "endpoint", "endpoints"),
        (
            "EndpointSlice",
            "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], condition: {ready: false}}]",
            "endpoints[0].condition",
            "conditions",
        ),
        (
            "EndpointSlice",
            "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], conditions: {redy: false}}]",
            "endpoints[0].conditions.redy",
            "ready",
        ),
        ("Endpoints", "subset: []", "subset", "subsets"),
        ("ServiceExport", "spec: {exportedLabel: {a: b}}", "spec.exportedLabel", "exportedLabels"),
        ("ServiceImport", "spec: {types: Headless}", "spec.types", "type"),
        ("Deployment", "spec: {replica: 3, template: {}}", "spec.replica", "replicas"),
        (
            "Deployment",
            "spec: {template: {metadata: {label: {a: b}}}}",
            "spec.template.metadata.label",
            "labels",
        ),
        (
            "Deployment",
            "spec: {template: {spec: {containers: [{ports: [{containerport: 80, containerPort: 80}]}]}}}",
            "spec.template.spec.containers[0].ports[0].containerport",
            "containerPort",
        ),
        (
            "Pod",
            "spec: {containers: [{port: [{containerPort: 80}]}]}",
            "spec.containers[0].port",
            "ports",
        ),
        ("Job", "spec: {paralelism: 2, template: {}}", "spec.paralelism", "parallelism"),
        ("Node", "spec: {podCidr: 10.0.0.0/24}", "spec.podCidr", "podCIDR"),
    ],
)
def test_each_schema_that_matters_is_known(kind: str, body: str, field: str, meant: str) -> None:
    (found,) = told(kind, body)

    assert found.message.startswith(f"{field} is no field")
    assert found.message.endswith(f"did you mean {meant!r}?" if meant else "is ignored")


def test_misspelt_metadata_is_told_of_for_every_kind() -> None:
    for kind, known in KINDS.items():
        text = f"apiVersion: {known.versions[0]}\nkind: {kind}\nmetadata: {{name: a, annotation: {{b: c}}}}\n"
        assert "unknown-field" in [each.code for each in read_manifests(text).findings], kind


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("Service", "spec: {loadBalancerClass: a, healthCheckNodePort: 1}\nstatus: {loadBalancer: {}}"),
        ("Service", "spec: {sessionAffinityConfig: {clientIP: {timeoutSeconds: 1}}, topologyKeys: null}"),
        ("Deployment", "spec: {strategy: {made: up}, template: {spec: {volumes: [{made: up}]}}}"),
        ("Pod", "spec: {newInKubernetes: 1, containers: [{newInKubernetes: 1}]}\nstatus: {made: up}"),
        ("NetworkPolicy", "spec: {made: up}"),
        ("Node", "status: {images: []}\nspec: {taints: []}"),
    ],
)
def test_what_no_rule_needs_is_passed_over(kind: str, body: str) -> None:
    assert told(kind, body) == []


def test_a_field_is_told_of_beside_what_keeps_the_object_from_being_read() -> None:
    read = read_manifests("kind: Service\napiVersion: v1\nmetadata: {name: a}\nspec: {ports: [{prot: 80}]}\n")

    assert [each.field for each in read.problems] == ["spec.ports[0].port"]
    assert "did you mean 'port'?" in read.findings[0].message


def test_items_of_a_list_and_json_have_their_places_too() -> None:
    text = '{"kind": "List", "apiVersion": "v1", "items": [\n{"kind": "Service", "apiVersion": "v1",\n'
    text += '"metadata": {"name": "a"},\n"spec": {"port": []}}]}\n'

    (found,) = read_manifests(text).findings

    assert found.message.startswith("items[0].spec.port is no field")
    assert found.where == Origin("<text>", 1, 4)


def test_another_projects_kind_of_the_same_name_is_not_looked_into() -> None:
    text = "kind: Service\napiVersion: serving.knative.dev/v1\nmetadata: {name: a}\nspec: {template: {}}\n"

    assert [each.code for each in read_manifests(text).findings] == ["unknown-kind"]


def test_at_most_twenty_fields_of_an_object_are_told_of() -> None:
    assert len(told("Service", "spec: {" + ", ".join(f"x{at}: 1" for at in range(50)) + "}")) == 20


def test_it_goes_when_the_object_is_mended() -> None:
    mesh = Mesh("m")
    east = mesh.join("east", cluster_id=1)
    text = "kind: Service\napiVersion: v1\nmetadata: {name: a}\nspec: {%s: [{port: 80}]}\n"

    east.apply(text % "port")
    assert "unknown-field" in {each.code for each in mesh.findings}

    east.apply(text % "ports")
    assert "unknown-field" not in {each.code for each in mesh.findings}


def test_every_field_that_is_read_is_a_known_one() -> None:
    """Else what fleetmesh itself reads would be called unknown."""

    def check(wire: type[msgspec.Struct], fields: Fields, place: str) -> None:
        hints = get_type_hints(wire)
        for name, encoded in zip(wire.__struct_fields__, wire.__struct_encode_fields__, strict=True):
            assert encoded in fields.known, f"{place}.{encoded}"
            inside = fields.known[encoded]
            for each in parts(hints[name]):
                if inside is not None:
                    check(each, inside, f"{place}.{encoded}")

    def parts(hint: object) -> list[type[msgspec.Struct]]:
        if isinstance(hint, type) and get_origin(hint) is None:
            return [hint] if issubclass(hint, msgspec.Struct) else []
        return [found for each in get_args(hint) for found in parts(each)]

    for kind in KINDS.values():
        assert (kind.fields is ANY) == (kind.build is None), kind.name
        check(kind.wire, kind.fields, kind.name)

"""Nothing that a manifest can hold raises: it is read, or told as a problem."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.effort import examples
from fleetmesh.labels import Selector
from fleetmesh.resources import EndpointSlice, Service, ServicePort, read_manifests

# Pieces that mean something to YAML, so that the texts get past the first character.
PIECES = st.sampled_from(
    [
        "---",
        "...",
        "\n",
        "\n---\n",
        "- ",
        ": ",
        "? ",
        "&a ",
        "*a",
        "<<: ",
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "|",
        ">",
        "#",
        "%YAML",
        "!!int ",
        "apiVersion: v1\n",
        "kind: Service\n",
        "kind: List\nitems:\n",
        "metadata: {name: a}\n",
        "spec:\n  ports:\n  - port: ",
        "80",
        "\x00",
        "\ufeff",
        "\x85",
        "\u2028",
        "�",
        "\t",
        "\r",
        "0x",
        "1e9",
        "~",
        "null",
        ".nan",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=30).map("".join).map(lambda text: text + "\n")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "spec", "ports", "port", "labels", "items", "kind", "x y"]), inner
        )
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(
    [
        "Namespace",
        "Node",
        "Pod",
        "Deployment",
        "Job",
        "Service",
        "EndpointSlice",
        "Endpoints",
        "ServiceExport",
        "ServiceImport",
        "NetworkPolicy",
        "ConfigMap",
        "Secret",
        "List",
        "ServiceList",
        "Foo",
    ]
)
VERSIONS = st.sampled_from(
    [
        "v1",
        "apps/v1",
        "batch/v1",
        "discovery.k8s.io/v1",
        "multicluster.x-k8s.io/v1beta1",
        "networking.k8s.io/v1",
    ]
)
FIELDS = ["metadata", "spec", "status", "endpoints", "ports", "addressType", "subsets", "data", "items"]
NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)


@given(TEXTS | st.text().map(lambda text: text + "\n"))
@settings(max_examples=examples(200), deadline=None)
def test_any_text_is_read_or_told(text: str) -> None:
    read = read_manifests(text)

    for problem in read.problems:
        assert problem.message
        assert problem.document >= 1
        assert 1 <= problem.line <= len(text) + 1


@given(st.binary(max_size=200))
@settings(
    max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_of_a_file_are_read_or_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(data)

    read = read_manifests(path)

    assert all(each.file == str(path) and each.message for each in read.problems)


@given(st.text(max_size=40).filter(lambda text: "\n" not in text and text.strip("./~ ") != ""))
def test_any_line_is_a_path_that_is_read_or_told(line: str) -> None:
    read = read_manifests("no such folder/" + line)

    assert [each.document for each in read.problems] == [0]


@given(KINDS, VERSIONS, st.dictionaries(st.sampled_from(FIELDS), VALUES))
@settings(max_examples=examples(200), deadline=None)
def test_any_structure_is_read_or_told_alike_in_yaml_and_json(
    kind: str, version: str, fields: dict[str, Any]
) -> None:
    value = {"apiVersion": version, "kind": kind, **fields}
    as_yaml = yaml.safe_dump(value, allow_unicode=True)
    # Infinity and NaN are no JSON, and Python's encoder writes what its decoder reads.
    as_json = json.dumps(value) + "\n"

    from_yaml, from_json = read_manifests(as_yaml), read_manifests(as_json)

    assert all(each.message for each in (*from_yaml.problems, *from_json.problems))
    assert [each.key for each in from_yaml.resources] == [each.key for each in from_json.resources]


SERVICE_PORTS = st.lists(
    st.builds(
        ServicePort,
        port=st.integers(1, 65535),
        name=NAMES,
        protocol=st.sampled_from(["TCP", "UDP", "SCTP"]),
        target_port=st.integers(0, 65535) | st.from_regex(r"[a-z]{1,9}", fullmatch=True),
        node_port=st.integers(0, 65535),
    ),
    max_size=3,
).map(tuple)


@given(
    st.builds(
        Service,
        name=NAMES,
        namespace=NAMES,
        labels=st.dictionaries(NAMES, NAMES),
        annotations=st.dictionaries(NAMES, st.text()),
        ports=SERVICE_PORTS,
        selector=st.none() | st.dictionaries(NAMES, NAMES, min_size=1),
        type=st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]),
        internal_traffic_policy=st.sampled_from(["Cluster", "Local"]),
        session_affinity_seconds=st.sampled_from([0, 1, 10800]),
        publish_not_ready_addresses=st.booleans(),
    )
)
@settings(deadline=None)
def test_a_valid_service_comes_back_from_yaml_and_json_as_it_was(service: Service) -> None:
    affinity = {"clientIP": {"timeoutSeconds": service.session_affinity_seconds}}
    value = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service.name,
            "namespace": service.namespace,
            "labels": dict(service.labels),
            "annotations": dict(service.annotations),
        },
        "spec": {
            "type": service.type,
            "ports": [
                {
                    "port": port.port,
                    "name": port.name,
                    "protocol": port.protocol,
                    "targetPort": port.target_port,
                    "nodePort": port.node_port,
                }
                for port in service.ports
            ],
            "selector": service.selector,
            "internalTrafficPolicy": service.internal_traffic_policy,
            "publishNotReadyAddresses": service.publish_not_ready_addresses,
            "sessionAffinity": "ClientIP" if service.session_affinity_seconds else "None",
            "sessionAffinityConfig": affinity if service.session_affinity_seconds else None,
        },
    }

    assert read_manifests(json.dumps(value) + "\n").resources == (service,)
    # PyYAML leaves y and n unquoted, which are booleans to Kubernetes: so every string is quoted.
    assert read_manifests(yaml.safe_dump(value, default_style='"')).resources == (service,)


@given(st.lists(st.none() | st.booleans(), min_size=3, max_size=3))
def test_each_condition_of_an_endpoint_keeps_its_three_states(states: list[bool | None]) -> None:
    conditions = dict(zip(("ready", "serving", "terminating"), states, strict=True))
    value = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "a"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": conditions}],
    }

    (found,) = read_manifests(json.dumps(value) + "\n").resources

    assert isinstance(found, EndpointSlice)
    (endpoint,) = found.endpoints
    assert [endpoint.ready, endpoint.serving, endpoint.terminating] == states


@given(st.text(alphabet="ab/.-_!=,() in<>1\t", max_size=20))
def test_any_selector_text_is_parsed_or_refused_and_its_string_reads_back(text: str) -> None:
    try:
        selector = Selector.parse(text)
    except ValueError:
        return
    assert Selector.parse(str(selector)) == selector
    assert selector.matches({}) in {True, False}

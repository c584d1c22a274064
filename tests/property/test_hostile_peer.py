"""
Whatever a peer writes that can be read at all is taken in or refused, one by one, and the rest stays whole.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fleetmesh as fm
from doubles.effort import examples
from fleetmesh.records import EndpointsRecord
from fleetmesh.resources.model import Endpoint, EndpointPort
from fleetmesh.state.codecs import Exporter, encode
from fleetmesh.state.intake import RECORD_KIND, Piece, Taken, _take
from fleetmesh.state.keys import KINDS, Kind, prefix
from fleetmesh.state.store import Entry

WEST = Exporter("west", 2)
CLUSTER = "k8s:io.cilium.k8s.policy.cluster=west;"
Value = tuple[Kind, str, bytes]
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, annotations: {service.cilium.io/global: "true"}}
spec: {clusterIP: 10.100.1.1, ports: [{name: http, port: 80}]}
"""

WORDS = st.sampled_from(
    ["", "cart", "shop", "a/b", "/", "x\0y", "..", "a\nb", "é", "\U0001f600", "\ud800", "=1"]
)
PROTOCOLS = st.sampled_from(["TCP", "UDP", "SCTP", "", "tcp", "ICMP", "ANY", "NONE", "TCP\0"])
NUMBERS = st.sampled_from([0, 1, 80, 8080, 65535])
ADDRESSES = st.sampled_from(
    [
        "10.2.0.1",
        "10.2.0.2",
        "10.1.0.9",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "::",
        "fd00::1",
        "fe80::1",
        "::ffff:10.2.0.1",
        "ff02::1",
    ]
)
PORTS = st.dictionaries(WORDS, st.fixed_dictionaries({"Protocol": PROTOCOLS, "Port": NUMBERS}), max_size=3)
TEXTS = st.dictionaries(WORDS, WORDS, max_size=3)
NETWORKS = st.sampled_from(
    [
        None,
        {"IP": "10.2.0.0", "Mask": "//8AAA=="},
        {"IP": "0.0.0.0", "Mask": "AAAAAA=="},
        {"IP": "10.1.2.3", "Mask": "/wAAAA=="},
        {"IP": "fd00::", "Mask": "//8AAAAAAAAAAAAAAAAAAA=="},
    ]
)


def written(value: Any) -> bytes:
    return json.dumps(value).encode()


def service(**more: Any) -> Value:
    value = {"cluster": "west", "clusterID": 2, "namespace": "shop", "name": "cart", "shared": True, **more}
    return "services", f"{value['namespace']}/{value['name']}", written(value)


@st.composite
def services(draw: st.DrawFn) -> Value:
    return service(
        namespace=draw(WORDS),
        name=draw(WORDS),
        frontends=draw(st.dictionaries(ADDRESSES, PORTS, max_size=3)),
        backends=draw(st.dictionaries(ADDRESSES, PORTS, max_size=3)),
        hostnames=draw(st.dictionaries(ADDRESSES | WORDS, WORDS, max_size=2)),
        zones=draw(
            st.dictionaries(
                ADDRESSES | WORDS,
                st.fixed_dictionaries(
                    {"zone": WORDS, "forZones": st.lists(st.just({"name": "a\0"}), max_size=2)}
                ),
                max_size=2,
            )
        ),
        labels=draw(TEXTS),
        selector=draw(TEXTS),
        shared=draw(st.booleans()),
    )


@st.composite
def ips(draw: st.DrawFn) -> Value:
    address = draw(ADDRESSES)
    value = {
        "IP": address,
        "HostIP": draw(ADDRESSES | st.just("")),
        "ID": draw(st.sampled_from([0, 1, 6, 7, 255, 131072, 131372])),
        "K8sNamespace": draw(WORDS),
        "K8sPodName": draw(WORDS),
        "K8sServiceAccount": draw(WORDS),
        "Metadata": draw(WORDS),
        "NamedPorts": draw(
            st.lists(
                st.fixed_dictionaries({"Name": WORDS, "Port": NUMBERS, "Protocol": PROTOCOLS}), max_size=3
            )
        ),
    }
    name = address.removeprefix("::ffff:")
    if ":" not in name and draw(st.booleans()):
        value["Mask"] = "/wAAAA=="
        name += "/8"
    return "ip", name, written(value)


@st.composite
def nodes(draw: st.DrawFn) -> Value:
    name = draw(WORDS)
    value = {
        "Name": name,
        "Cluster": "west",
        "ClusterID": 2,
        "IPAddresses": [{"Type": draw(WORDS | st.just("InternalIP")), "IP": draw(ADDRESSES)}],
        "IPv4AllocCIDR": draw(NETWORKS),
        "IPv4SecondaryAllocCIDRs": draw(st.lists(NETWORKS, max_size=2)),
        "Labels": draw(TEXTS) | {"topology.kubernetes.io/zone": draw(WORDS)},
        "Annotations": draw(TEXTS),
    }
    return "nodes", name, written(value)


@st.composite
def identities(draw: st.DrawFn) -> Value:
    label = st.builds(
        "{}{}={};".format, st.sampled_from(["k8s:", "", "$", "reserved:", "cidr:", ":"]), WORDS, WORDS
    )
    labels = CLUSTER + "".join(draw(st.lists(label, max_size=3)))
    return (
        "identities",
        str(draw(st.sampled_from([131072, 131372, 196607]))),
        labels.encode("utf-8", "surrogatepass"),
    )


@st.composite
def exports(draw: st.DrawFn) -> Value:
    value = {
        "cluster": "west",
        "namespace": draw(WORDS),
        "name": draw(WORDS),
        "exportCreationTimestamp": draw(st.sampled_from(["2020-01-01T00:00:00Z", "0001-01-02T00:00:00Z"])),
        "ports": draw(
            st.lists(
                st.fixed_dictionaries(
                    {"name": WORDS, "port": NUMBERS | st.sampled_from([-1, 99999, -(1 << 31)])}
                ),
                max_size=3,
            )
        ),
        "type": draw(st.sampled_from(["ClusterSetIP", "Headless"])),
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {
            "clientIP": {"timeoutSeconds": draw(st.sampled_from([-5, 1, (1 << 31) - 1]))}
        },
        "annotations": draw(TEXTS),
        "labels": draw(TEXTS),
    }
    return "serviceexports", f"{value['namespace']}/{value['name']}", written(value)


@st.composite
def slices(draw: st.DrawFn) -> Value:
    family = draw(st.sampled_from(["IPv4", "IPv6"]))
    words = WORDS.filter(lambda each: "\ud800" not in each)
    record = EndpointsRecord(
        cluster="west",
        cluster_id=2,
        namespace=draw(words),
        name=draw(words),
        labels={"kubernetes.io/service-name": draw(words)},
        annotations={
            "service.cilium.io/weight": draw(st.sampled_from(["", "0", "-1", "99999999999", "x\0"]))
        },
        address_type=family,
        endpoints=tuple(
            Endpoint(
                addresses=tuple(
                    draw(
                        st.lists(
                            ADDRESSES.filter(lambda each: (":" in each) == (family == "IPv6")), max_size=3
                        )
                    )
                ),
                hostname=draw(words),
                node_name=draw(words),
                zone=draw(words),
                for_zones=(draw(words),),
            )
            for _ in range(draw(st.integers(0, 2)))
        ),
        ports=tuple(
            EndpointPort(
                port=draw(st.sampled_from([None, 0, -1, 80, (1 << 31) - 1])),
                name=draw(words),
                protocol=draw(PROTOCOLS),
            )
            for _ in range(draw(st.integers(0, 2)))
        ),
    )
    return "endpointslices", f"{record.namespace}/{record.name}", encode(record)


def take(mesh: fm.Mesh, values: list[Value], deletes: list[Value] | None = None) -> list[Taken]:
    """One batch; of two values at one key the last."""
    west = mesh.members["west"]
    pieces = []
    for kind in KINDS:
        begin = prefix(kind, "west", cached=False)
        puts = {name: value for of, name, value in values if of == kind}
        gone = tuple(begin + name for of, name, _ in deletes or () if of == kind)
        entries = tuple(Entry(begin + name, value, 1) for name, value in puts.items())
        pieces.append(Piece(west, kind, WEST, cached=False, puts=entries, deletes=gone))
    return _take(mesh, pieces)


GOOD = service(backends={"10.2.0.77": {"http": {"Protocol": "TCP", "Port": 8080}}})
BAD: list[Value] = [
    service(backends={"10.2.0.77": {"http": {"Protocol": "ICMP", "Port": 8}}}),
    service(frontends={"10.2.0.77": {"http": {"Protocol": "", "Port": 8}}}),
    service(name="x\0y"),
    service(namespace="a/b", name="c"),
]


@settings(max_examples=examples(150), deadline=None)
@given(
    st.sampled_from(["cilium", "strict"]),
    st.lists(services() | ips() | nodes() | identities() | exports() | slices(), max_size=6),
)
@example("cilium", BAD)
@example("cilium", [service(name="a\nb", backends={"10.2.0.1": {}})])
def test_what_can_be_read_is_taken_in_or_refused_and_goes_as_it_came(mode: Any, values: list[Value]) -> None:
    mesh = fm.Mesh("m", mode=mode)
    mesh.join("east", cluster_id=1).apply(fm.load_manifests(SERVICE))
    west = mesh.join("west", cluster_id=2, outside=True)
    values = [each for each in values if each[:2] != GOOD[:2]]

    taken = take(mesh, [GOOD, *values])

    for kind, told in zip(KINDS, taken, strict=True):
        names = {name for of, name, _ in [GOOD, *values] if of == kind}
        assert names == {*told.accepted, *told.rejected}
        assert set(told.accepted).isdisjoint(told.rejected)
        if kind != "endpointslices":  # those of no service are passed over
            assert set(west.heard_names(RECORD_KIND[kind])) <= set(told.accepted)
    assert "shop/cart" in west.heard_names("service")
    frontends = mesh.service("shop", "cart").frontends("east")
    own = {each.address for each in frontends[0].backends}
    assert not own or "10.2.0.77" in own or west.heard_names("endpoints")
    mesh.service("shop", "cart").explain("east")
    assert all(each.message.isprintable() for each in mesh.findings)
    west.records()

    take(mesh, [], [GOOD, *values])

    assert all(not west.heard_names(RECORD_KIND[kind]) for kind in KINDS)
    assert not any(each.backends for each in mesh.service("shop", "cart").frontends("east"))


@pytest.mark.parametrize("bad", BAD, ids=["protocol", "protocol of a frontend", "NUL", "slash"])
def test_one_that_a_mesh_refuses_does_not_keep_out_the_others(bad: Value) -> None:
    mesh = fm.Mesh("m")
    mesh.join("east", cluster_id=1).apply(fm.load_manifests(SERVICE))
    mesh.join("west", cluster_id=2, outside=True)
    good = [service(name=f"s{number}") for number in range(5)]

    taken = take(mesh, [*good[:2], bad, *good[2:]])[KINDS.index("services")]

    refused = bad[1] in taken.rejected
    assert len(mesh.members["west"].heard_names("service")) == 6 - refused
    assert refused == (bad in BAD[2:])

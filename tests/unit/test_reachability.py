"""
The matrix of a mesh: its classes, spans, cells, counts and pairs, and what it says to bad questions.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

import fleetmesh as fm
from fleetmesh.mesh.matrix import Cell, PortSpan

CART, DB, FAR = "east/shop/cart", "east/shop/db", "west/shop/cart"


def pod(cluster: int, last: int, name: str, app: str, *, host: bool = False) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": app, "line": name}},
        "spec": {"containers": [{"name": "c", "image": "i"}], "hostNetwork": host},
        "status": {"podIP": f"10.{cluster}.0.{last}"},
    }


def policy(name: str, app: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"endpointSelector": {"matchLabels": {"app": app}}, **spec},
    }


def apply(member: fm.Member, *documents: dict[str, Any]) -> None:
    member.apply("".join(f"---\n{json.dumps(each)}\n" for each in documents))


@pytest.fixture
def mesh() -> fm.Mesh:
    """East has a cart with a replica, a database that only its own carts reach; west has a cart."""
    mesh = fm.Mesh("shop")
    for number, name in enumerate(("east", "west"), 1):
        mesh.join(name, cluster_id=number, pod_cidrs=[f"10.{number}.0.0/16"])
    from_carts = {
        "fromEndpoints": [{"matchLabels": {"app": "cart"}}],
        "toPorts": [{"ports": [{"port": "5432", "endPort": 5440, "protocol": "TCP"}]}],
    }
    apply(
        mesh.members["east"],
        pod(1, 10, "cart", "cart"),
        pod(1, 11, "cart-2", "cart"),
        pod(1, 12, "db", "db"),
        policy("db", "db", ingress=[from_carts]),
    )
    apply(mesh.members["west"], pod(2, 10, "cart", "cart"))
    return mesh


def test_pods_that_no_policy_tells_apart_are_one_class(mesh: fm.Mesh) -> None:
    matrix = mesh.reachability()

    assert [each.pods for each in matrix.classes] == [(CART, "east/shop/cart-2"), (DB,), (FAR,)]
    assert len(matrix) == 3
    carts = matrix.class_of("east/shop/cart-2")
    assert (carts.cluster, carts.namespaces) == ("east", ("shop",))
    assert carts.labels.has("k8s", "app")
    assert not carts.labels.has("k8s", "line")


def test_a_class_is_split_when_a_policy_tells_its_pods_apart(mesh: fm.Mesh) -> None:
    only_one = [{"fromEndpoints": [{"matchLabels": {"line": "cart-2"}}]}]
    apply(mesh.members["east"], policy("more", "db", ingress=only_one))

    matrix = mesh.reachability()

    assert [each.pods for each in matrix.classes] == [(CART,), ("east/shop/cart-2",), (DB,), (FAR,)]
    assert matrix.verdict("east/shop/cart-2", DB, port=80) == "allow"
    assert matrix.verdict(CART, DB, port=80) == "deny"


def test_spans_are_ranges_of_each_protocol(mesh: fm.Mesh) -> None:
    matrix = mesh.reachability()

    everything = tuple(PortSpan(name, 0, 65535, "allow") for name in ("TCP", "UDP", "SCTP", "ICMP", "ICMPv6"))
    assert matrix.spans(CART, FAR) == everything == matrix.spans(DB, DB)
    assert matrix.spans(CART, DB) == (
        PortSpan("TCP", 0, 5431, "deny"),
        PortSpan("TCP", 5432, 5440, "allow"),
        PortSpan("TCP", 5441, 65535, "deny"),
        *(PortSpan(name, 0, 65535, "deny") for name in ("UDP", "SCTP", "ICMP", "ICMPv6")),
    )


def test_a_matrix_may_be_of_one_protocol_or_one_port(mesh: fm.Mesh) -> None:
    tcp, one = mesh.reachability(protocol="TCP"), mesh.reachability(port=5432)

    assert (tcp.protocol, tcp.port, one.protocol, one.port) == ("TCP", None, "TCP", 5432)
    assert [(each.first, each.verdict) for each in tcp.spans(CART, DB)] == [
        (0, "deny"),
        (5432, "allow"),
        (5441, "deny"),
    ]
    assert one.spans(CART, DB) == (PortSpan("TCP", 5432, 5432, "allow"),)
    assert one.verdict(CART, DB) == "allow"
    assert tcp.verdict(CART, DB, port=80) == "deny"
    assert mesh.reachability(protocol="UDP").counts(port=53) == {"deny": 3, "redirect": 0, "allow": 9}


def test_cells_are_what_passes(mesh: fm.Mesh) -> None:
    matrix = mesh.reachability(port=80)
    carts, database, far = matrix.classes
    spans = (PortSpan("TCP", 80, 80, "allow"),)

    assert list(matrix.cells()) == [
        Cell((carts,), (carts, far), spans),
        Cell((database,), (carts, far), spans),
        Cell((far,), (carts,), spans),
    ]
    assert list(matrix.cells(source=FAR)) == [Cell((far,), (carts,), spans)]
    assert list(matrix.cells(to=DB)) == []
    assert list(matrix.cells(to=CART)) == [Cell((carts, database, far), (carts,), spans)]
    assert list(Cell((carts,), (carts, far), spans).pairs()) == [
        (CART, "east/shop/cart-2"),
        (CART, FAR),
        ("east/shop/cart-2", CART),
        ("east/shop/cart-2", FAR),
    ]


def test_pairs_and_their_number(mesh: fm.Mesh) -> None:
    matrix = mesh.reachability(port=5432)

    pairs = list(matrix.pairs())
    assert len(pairs) == 4 * 3
    assert [(one, other) for one, other, verdict in pairs if verdict == "deny"] == [(FAR, DB)]
    assert matrix.counts() == {"deny": 1, "redirect": 0, "allow": 11}


def test_a_proxy_is_a_redirect(mesh: fm.Mesh) -> None:
    ports = [{"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": [{"path": "/a"}]}}]
    apply(mesh.members["east"], policy("http", "db", ingress=[{"toPorts": ports}]))

    assert mesh.reachability().verdict(FAR, DB, port=80) == "redirect"
    assert mesh.reachability(port=80).counts()["redirect"] == 3


def test_a_pod_of_a_node_is_the_node(mesh: fm.Mesh) -> None:
    apply(mesh.members["east"], pod(1, 1, "agent", "agent", host=True))
    matrix = mesh.reachability(port=80)

    # Cilium lets a node reach its own pods, whatever isolates them.
    assert (
        matrix.verdict("east/shop/agent", DB)
        == "allow"
        == mesh.decide("east/shop/agent", DB, port=80).verdict
    )
    assert matrix.class_of("east/shop/agent").pods == ("east/shop/agent",)


def test_rules_in_conflict_refuse_what_is_new_and_leave_what_was_there(mesh: fm.Mesh) -> None:
    http = [{"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": [{}]}}]
    tls = [{"ports": [{"port": "80", "protocol": "TCP"}], "serverNames": ["a.example"]}]
    east = mesh.members["east"]
    apply(
        east,
        policy("one", "db", ingress=[{"toPorts": http}]),
        policy("two", "db", ingress=[{"toPorts": tls}]),
    )
    apply(east, pod(1, 20, "db-2", "db"))
    matrix = mesh.reachability(port=5432)

    assert matrix.verdict(CART, DB) == "allow" == mesh.decide(CART, DB, port=5432).verdict
    assert matrix.verdict(CART, "east/shop/db-2") == "deny"
    assert matrix.verdict("east/shop/db-2", CART) == "deny"
    assert matrix.class_of(DB) != matrix.class_of("east/shop/db-2")


def test_it_is_a_value_and_does_not_follow_the_mesh(mesh: fm.Mesh) -> None:
    before = mesh.reachability()
    mesh.members["east"].delete(fm.load_manifests(f"---\n{json.dumps(policy('db', 'db'))}\n"))
    apply(mesh.members["west"], pod(2, 11, "late", "cart"))

    assert before.verdict(FAR, DB, port=80) == "deny"
    assert mesh.reachability().verdict(FAR, DB, port=80) == "allow"
    with pytest.raises(fm.NotFoundError, match="late"):
        before.class_of("west/shop/late")


def test_of_no_pods() -> None:
    mesh = fm.Mesh("empty")

    assert mesh.reachability().classes == ()
    assert list(mesh.reachability().cells()) == []
    assert mesh.reachability().counts(port=80) == {"deny": 0, "redirect": 0, "allow": 0}
    assert mesh.who_can_reach("ip:192.0.2.1") == ()


@pytest.mark.parametrize(
    ("asked", "error", "why"),
    [
        ({"port": 70000}, ValueError, "expected 0 to 65535"),
        ({"protocol": "GRE"}, ValueError, "expected one of TCP, UDP"),
        ({"protocol": ""}, ValueError, "expected one of TCP, UDP"),
        ({"port": True}, ValueError, "expected 0 to 65535"),
    ],
)
def test_a_matrix_of_ports_that_there_are_not(
    mesh: fm.Mesh, asked: dict[str, Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        mesh.reachability(**asked)
    with pytest.raises(error, match=why):
        mesh.reachability().verdict(CART, DB, **asked)


def test_bad_questions_to_a_matrix(mesh: fm.Mesh) -> None:
    matrix, one = mesh.reachability(), mesh.reachability(port=5432)

    for ask in (matrix.class_of, lambda pod: matrix.spans(CART, pod), lambda pod: matrix.verdict(pod, CART)):
        with pytest.raises(fm.NotFoundError, match="did you mean east/shop/cart"):
            ask("east/shop/crt")
    with pytest.raises(fm.NotFoundError):
        next(matrix.cells(to="host:east"))
    with pytest.raises(ValueError, match="expected at most one of source and to"):
        matrix.cells(source=CART, to=DB)
    with pytest.raises(ValueError, match="port 80/TCP; the matrix is of 5432/TCP"):
        one.verdict(CART, DB, port=80)
    with pytest.raises(ValueError, match="port 53/UDP; the matrix is of TCP"):
        mesh.reachability(protocol="TCP").counts(protocol="UDP", port=53)

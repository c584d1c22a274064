"""
Mesh.decide: its ends, services, names, explanations, and what it says to bad questions.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

import fleetmesh as fm
from command_line import run

EAST, WEST = "east", "west"


def pod(cluster: int, name: str, address: str, *, host: bool = False, **ports: int) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": "i",
        "ports": [{"name": n, "containerPort": p} for n, p in ports.items()],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {"containers": [container], "hostNetwork": host},
        "status": {"podIP": f"10.{cluster}.{address}"},
    }


def policy(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"endpointSelector": {"matchLabels": {"app": "db"}}, **spec},
    }


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "db", "namespace": "shop", "annotations": {"service.cilium.io/global": "true"}},
    "spec": {"clusterIP": "10.101.0.1", "ports": [{"port": 5432}], "selector": {"app": "db"}},
}


def apply(member: fm.Member, *documents: dict[str, Any]) -> None:
    member.apply("".join(f"---\n{json.dumps(each)}\n" for each in documents))


@pytest.fixture
def mesh() -> fm.Mesh:
    mesh = fm.Mesh("shop")
    for number, name in enumerate((EAST, WEST), 1):
        member = mesh.join(name, cluster_id=number, pod_cidrs=[f"10.{number}.0.0/16"])
        apply(member, pod(number, "cart", "0.10"), pod(number, "db", "0.11", sql=5432), SERVICE)
    return mesh


def test_without_policy_everything_is_allowed(mesh: fm.Mesh) -> None:
    decision = mesh.decide("east/shop/cart", "west/shop/db", port=5432)

    assert decision.verdict == "allow"
    assert decision.egress is not None
    assert decision.ingress is not None
    assert not decision.egress.enforced
    assert decision.source.identity >> 16 == 1
    assert decision.destination.identity >> 16 == 2


def test_each_end_judges_by_its_own_cluster(mesh: fm.Mesh) -> None:
    apply(mesh.members[WEST], policy(ingress=[{"fromEndpoints": [{"matchLabels": {"app": "cart"}}]}]))

    assert mesh.decide("west/shop/cart", "west/shop/db", port=5432).verdict == "allow"
    across = mesh.decide("east/shop/cart", "west/shop/db", port=5432)
    assert (across.verdict, across.egress and across.egress.verdict) == ("deny", "allow")
    assert mesh.decide("east/shop/cart", "east/shop/db", port=5432).verdict == "allow"
    assert across.ingress is not None
    assert across.ingress.advice.endswith(
        "allows it but for one thing: its peers are those of cluster west; name "
        "io.cilium.k8s.policy.cluster: east in the selector"
    )


def test_an_answer_names_the_rules_behind_it(mesh: fm.Mesh) -> None:
    rules = [{"fromEndpoints": [{}]}, {"fromEndpoints": [{"matchLabels": {"app": "web"}}]}]
    apply(
        mesh.members[EAST],
        policy(ingress=rules, ingressDeny=[{"fromEndpoints": [{"matchLabels": {"app": "cart"}}]}]),
    )

    side = mesh.decide("east/shop/cart", "east/shop/db", port=5432).ingress

    assert side is not None
    assert [each.path for each in side.rules] == ["spec.ingressDeny[0]"]
    assert [(each.source.path, each.decides, each.because) for each in side.statements] == [
        ("spec.ingressDeny[0]", True, ""),
        ("spec.ingress[0]", False, "a rule of the same level that says deny comes first"),
    ]
    assert (
        side.advice == "take the flow out of spec.ingressDeny[0] of CiliumNetworkPolicy shop/db, or remove it"
    )


def test_a_service_is_decided_backend_by_backend(mesh: fm.Mesh) -> None:
    apply(mesh.members[WEST], policy(ingress=[{}]))

    decision = mesh.decide("east/shop/cart", "service:shop/db", port=5432)

    assert decision.verdict == "deny"
    assert {each.destination.name: each.verdict for each in decision.backends} == {
        "east/shop/db": "allow",
        "west/shop/db": "deny",
    }
    assert mesh.decide("east/shop/cart", "service:shop/db").verdict == "deny"  # its one port is meant
    nobody = mesh.decide("east/shop/cart", "service:shop/db", port=81)
    assert (nobody.verdict, nobody.backends) == ("deny", ())
    assert nobody.destination.because == "it has no backend for that port"


def test_a_pod_of_a_cluster_that_is_not_heard_is_world() -> None:
    mesh = fm.Mesh("shop", topology=fm.Topology.pairs([(EAST, "north")]))
    for number, name in enumerate((EAST, WEST, "north"), 1):
        member = mesh.join(name, cluster_id=number, pod_cidrs=[f"10.{number}.0.0/16"])
        apply(member, pod(number, "cart", "0.10"), pod(number, "db", "0.11"))
    apply(mesh.members[EAST], policy(ingress=[{"fromEntities": ["world"]}]))

    decision = mesh.decide("west/shop/cart", "east/shop/db", port=5432)

    assert decision.verdict == "allow"
    assert (
        decision.source.because == "world because east does not hear west, so that it has no ip record of it"
    )
    assert str(decision.source.labels) == "reserved:world-ipv4"


def test_names_are_learnt(mesh: fm.Mesh) -> None:
    apply(mesh.members[EAST], policy(egress=[{"toFQDNs": [{"matchName": "api.example.com"}]}]))
    ask = ("east/shop/db", "ip:192.0.2.5")

    assert mesh.decide(*ask, port=443).verdict == "deny"
    mesh.dns["api.example.com"] = ["192.0.2.5"]
    assert mesh.decide(*ask, port=443).verdict == "allow"
    assert mesh.fork().decide(*ask, port=443).verdict == "allow"
    del mesh.dns["api.example.com"]
    assert mesh.decide(*ask, port=443).verdict == "deny"
    with pytest.raises(ValueError, match="expected a list of addresses"):
        mesh.dns["x"] = "192.0.2.5"
    with pytest.raises(ValueError, match="'moon'"):
        mesh.dns["x"] = ["moon"]


def test_a_pod_on_its_node_s_network_is_the_node(mesh: fm.Mesh) -> None:
    apply(mesh.members[EAST], pod(1, "agent", "0.12", host=True))
    apply(mesh.members[WEST], policy(ingress=[{"fromEntities": ["remote-node"]}]))

    assert mesh.decide("east/shop/agent", "west/shop/db", port=1).verdict == "allow"
    assert mesh.decide("east/shop/agent", "east/shop/db", port=1).source.identity == 1


def test_a_refused_policy_is_a_finding_and_has_no_effect(mesh: fm.Mesh) -> None:
    apply(mesh.members[EAST], policy(ingress=[{"fromEntities": ["moon"]}]))

    assert mesh.decide("east/shop/cart", "east/shop/db", port=1).verdict == "allow"
    (found,) = [each for each in mesh.members[EAST].findings if each.code == "policy-rejected"]
    assert found.subject == "CiliumNetworkPolicy shop/db"
    assert found.message.startswith("spec.ingress[0].fromEntities[0]: is 'moon'; expected one of ")
    assert found in mesh.findings


@pytest.mark.parametrize(
    ("ends", "error", "message"),
    [
        (
            ("east/shop/cat", "east/shop/db"),
            LookupError,
            "no pod 'east/shop/cat'; did you mean east/",
        ),
        (("host:eats", "east/shop/db"), LookupError, "no member 'eats'; did you mean east"),
        (("entity:wrld", "east/shop/db"), LookupError, "no entity 'wrld'; did you mean world"),
        (
            ("east/shop/cart", "service:shop/dbs"),
            LookupError,
            "'shop/dbs'; did you mean shop/db",
        ),
        (("cart", "east/shop/db"), ValueError, "end 'cart'; expected cluster/namespace/pod"),
        (("ip:10.1", "east/shop/db"), ValueError, "'10.1'"),
        (("ip:192.0.2.1", "service:shop/db"), ValueError, "is in no cluster of the mesh"),
    ],
)
def test_an_end_that_there_is_not_is_refused(
    mesh: fm.Mesh, ends: tuple[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        mesh.decide(*ends, port=1)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"protocol": "GRE"}, "protocol 'GRE'; expected one of TCP"),
        ({"port": 65536}, "port 65536; expected 0 to 65535"),
        ({"port": True}, "port True; expected 0 to 65535"),
        ({"http": {"verb": "GET"}}, "http has 'verb'; expected headers, host, method, path"),
    ],
)
def test_a_flow_that_can_t_be_is_refused(mesh: fm.Mesh, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mesh.decide("east/shop/cart", "east/shop/db", **asked)


def test_an_explanation_is_for_people_and_for_programs(mesh: fm.Mesh) -> None:
    apply(mesh.members[WEST], policy(ingress=[{}]))

    explanation = mesh.decide("east/shop/cart", "west/shop/db", port=5432).explain()

    text = str(explanation)
    assert text.startswith("east/shop/cart to west/shop/db: deny\n  source: identity ")
    assert "to turn it: give CiliumNetworkPolicy shop/db a rule that allows it" in text
    data = json.loads(json.dumps(explanation.to_json()))
    assert data["ingress"]["advice"].startswith("give CiliumNetworkPolicy shop/db a rule")
    assert data["source"]["labels"][0] == "k8s:app=cart"


def test_the_command_line_decides(tmp_path: Any) -> None:
    documents = [pod(1, "cart", "0.10"), pod(1, "db", "0.11"), policy(ingress=[{}])]
    (tmp_path / "all.yaml").write_text("\n---\n".join(json.dumps(each) for each in documents))
    cluster = next(iter(fm.Mesh.from_directory(tmp_path).members))
    ends = (f"{cluster}/shop/cart", f"{cluster}/shop/db")

    denied = run("decide", str(tmp_path), *ends, "--port", "5432", "--explain")
    assert denied.exit_code == 1
    assert "no rule allows it" in denied.stdout
    assert "to turn it" in denied.stdout
    allowed = run("decide", str(tmp_path), *reversed(ends), "--port", "5432", "-o", "json")
    assert (allowed.exit_code, json.loads(allowed.stdout)["verdict"]) == (0, "allow")
    wrong = run("decide", str(tmp_path), "cart", ends[1])
    assert (wrong.exit_code, wrong.stderr.count("\n")) == (2, 1)


def tiers(*, strict: bool) -> fm.Mesh:
    mesh = fm.Mesh("shop", mode="strict" if strict else "cilium")
    member = mesh.join(EAST, cluster_id=1, pod_cidrs=["10.1.0.0/16"])
    apply(member, pod(1, "cart", "0.10"), pod(1, "db", "0.11"), policy(ingress=[{}]))
    return mesh


def cluster_policy(tier: str, action: str, peer: dict[str, Any]) -> dict[str, Any]:
    rule = {"action": action, "from": [{"namespaces": peer}]}
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "base"},
        "spec": {"tier": tier, "priority": 1, "subject": {"namespaces": {}}, "ingress": [rule]},
    }


@pytest.mark.parametrize(("strict", "verdict"), [(False, "allow"), (True, "deny")])
def test_baseline_reopens_what_is_isolated_in_mode_cilium_only(*, strict: bool, verdict: str) -> None:
    mesh = tiers(strict=strict)
    apply(mesh.members[EAST], cluster_policy("Baseline", "Accept", {}))

    decision = mesh.decide("east/shop/cart", "east/shop/db", port=80)

    assert decision.verdict == verdict
    assert decision.ingress is not None
    assert [each.tier for each in decision.ingress.statements] == ([] if strict else ["baseline"])
    codes = {each.code for each in mesh.findings}
    assert ("policy-baseline-reopens" in codes) == (not strict)


@pytest.mark.parametrize(("strict", "verdict"), [(False, "deny"), (True, "allow")])
def test_what_must_not_be_is_everybody_in_mode_cilium_only(*, strict: bool, verdict: str) -> None:
    """A deny of namespaces that are not trusted hits the trusted one too."""
    mesh = tiers(strict=strict)
    member = mesh.members[EAST]
    apply(member, policy(ingress=[{"fromEndpoints": [{}]}]))
    not_shop = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["shop"]}
    untrusted = {"matchExpressions": [not_shop]}
    apply(member, cluster_policy("Admin", "Deny", untrusted))

    assert mesh.decide("east/shop/cart", "east/shop/db", port=80).verdict == verdict
    codes = {each.code for each in mesh.findings}
    assert ("policy-negative-selector" in codes) == (not strict)


def test_rules_that_can_t_both_be_carried_out_are_a_finding_and_nothing_else_suffers(mesh: fm.Mesh) -> None:
    ports = [{"port": "53", "protocol": "TCP"}]
    peers = {"toEndpoints": [{"matchLabels": {"app": "cart"}}]}
    asked: list[dict[str, Any]] = [{"http": [{}]}, {"dns": [{"matchName": "a"}]}]
    rules = [{**peers, "toPorts": [{"ports": ports, "rules": each}]} for each in asked]
    apply(mesh.members[EAST], policy(egress=rules))

    decision = mesh.decide("east/shop/db", "east/shop/cart", port=53)

    assert decision.verdict == "deny"
    assert decision.egress is not None
    assert [each.path for each in decision.egress.rules] == ["spec.egress[0]", "spec.egress[1]"]
    other = mesh.decide("east/shop/cart", "west/shop/db", port=53)
    assert other.verdict == "allow"
    (found,) = [each for each in mesh.findings if each.code == "policy-conflict"]
    assert found.message.startswith("for shop/db rules can't both be carried out, spec.egress[0] of ")
    assert found.message.endswith("they ask for different L7 parsers")

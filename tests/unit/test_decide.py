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


@pytest.mark.parametrize("entity", ["remote-node", "kube-apiserver"])
def test_what_has_the_api_server_is_a_node_too(mesh: fm.Mesh, entity: str) -> None:
    apply(mesh.members[EAST], policy(ingress=[{"fromEntities": [entity]}]))

    assert mesh.decide("entity:kube-apiserver", "east/shop/db", port=80).verdict == "allow"
    other = mesh.decide("entity:remote-node", "east/shop/db", port=80).verdict
    assert other == ("allow" if entity == "remote-node" else "deny")


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


def conflicting() -> dict[str, Any]:
    """Two rules for db's port 53 that ask for different parsers."""
    ports = [{"port": "53", "protocol": "TCP"}]
    peers = {"toEndpoints": [{"matchLabels": {"app": "cart"}}]}
    asked: list[dict[str, Any]] = [{"http": [{}]}, {"dns": [{"matchName": "a"}]}]
    return policy(egress=[{**peers, "toPorts": [{"ports": ports, "rules": each}]} for each in asked])


def test_rules_that_can_t_both_be_carried_out_refuse_everything_to_who_is_new(mesh: fm.Mesh) -> None:
    apply(mesh.members[EAST], conflicting())
    new = pod(1, "new", "0.12")
    new["metadata"]["labels"] = {"app": "db", "version": "2"}
    apply(mesh.members[EAST], new)

    decision = mesh.decide("east/shop/new", "east/shop/cart", port=53)

    assert decision.verdict == "deny"
    assert decision.egress is not None
    assert [each.path for each in decision.egress.rules] == ["spec.egress[0]", "spec.egress[1]"]
    other = mesh.decide("east/shop/cart", "west/shop/db", port=53)
    assert other.verdict == "allow"
    kept, refused = (each.message for each in mesh.findings if each.code == "policy-conflict")
    assert kept.startswith("for shop/db rules can't both be carried out, spec.egress[0] of ")
    assert "they ask for different L7 parsers; what was in force before stays" in kept
    assert refused.startswith("for shop/new rules ")
    assert "they ask for different L7 parsers; nothing was before" in refused


def test_what_was_in_force_stays_where_new_rules_can_t_be_carried_out(mesh: fm.Mesh) -> None:
    east = mesh.members[EAST]
    apply(east, policy(egress=[{"toEndpoints": [{"matchLabels": {"app": "cart"}}]}]))
    apply(east, conflicting())

    kept = mesh.decide("east/shop/db", "east/shop/cart", port=80)
    refused = mesh.decide("east/shop/db", "west/shop/cart", port=80)

    assert (kept.verdict, refused.verdict) == ("allow", "deny")
    assert kept.egress is not None
    assert kept.egress.advice.startswith("what was in force before stays, since rules can't both")
    (found,) = [each for each in mesh.findings if each.code == "policy-conflict"]
    assert found.message.endswith("what was in force before stays")
    assert mesh.fork().decide("east/shop/db", "east/shop/cart", port=80).verdict == "allow"

    apply(east, policy(egress=[{"toEndpoints": [{"matchLabels": {"app": "other"}}]}]))
    assert mesh.decide("east/shop/db", "east/shop/cart", port=80).verdict == "deny"


def network_policy(*, hole: str = "10.1.0.64/26") -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "net", "namespace": "shop"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "db"}},
            "ingress": [{"from": [{"ipBlock": {"cidr": "10.1.0.0/24", "except": [hole]}}]}],
        },
    }


@pytest.mark.parametrize(
    ("strict", "modes", "hole", "verdict"),
    [
        (False, (), "10.1.0.64/26", "deny"),
        (True, (), "10.1.0.64/26", "allow"),
        (True, (), "10.1.0.8/29", "deny"),
        (True, ("nodes",), "10.1.0.64/26", "deny"),
        (False, ("pods",), "10.1.0.64/26", "allow"),
    ],
)
def test_networks_are_pods_by_the_specification_and_the_setting(
    *, strict: bool, modes: tuple[str, ...], hole: str, verdict: str
) -> None:
    mesh = fm.Mesh("shop", mode="strict" if strict else "cilium")
    settings = fm.ClusterSettings(policy_cidr_match_mode=modes)
    for number, name in enumerate((EAST, WEST), 1):
        member = mesh.join(name, cluster_id=number, pod_cidrs=[f"10.{number}.0.0/16"], settings=settings)
        apply(member, pod(number, "cart", "0.10"), pod(number, "db", "0.11"))
        apply(member, network_policy(hole=hole))

    assert mesh.decide("east/shop/cart", "east/shop/db", port=80).verdict == verdict
    assert mesh.decide("west/shop/cart", "east/shop/db", port=80).verdict == "deny"
    seen = mesh.decide("east/shop/cart", "east/shop/db", port=80).source
    assert seen.identity >> 16 == 1
    codes = {each.code for each in mesh.findings}
    assert ("policy-address-of-pod" in codes) == (not strict and not modes)


@pytest.mark.parametrize(("enable_ipv6", "verdict"), [(True, "deny"), (False, "allow")])
def test_a_whole_family_is_told_by_its_world_only(*, enable_ipv6: bool, verdict: str) -> None:
    mesh = fm.Mesh("shop")
    settings = fm.ClusterSettings(enable_ipv6=enable_ipv6)
    east = mesh.join(EAST, cluster_id=1, pod_cidrs=["10.1.0.0/16"], settings=settings)
    deny = {"ingress": [{"fromEntities": ["all"]}], "ingressDeny": [{"fromCIDR": ["::/0"]}]}
    apply(east, pod(1, "db", "0.11"), policy(**deny))

    assert mesh.decide("ip:2001:db9::1", "east/shop/db", port=80).verdict == verdict
    assert mesh.decide("ip:192.0.2.1", "east/shop/db", port=80).verdict == "allow"


def test_a_whole_family_is_pods_too_in_mode_strict() -> None:
    mesh = fm.Mesh("shop", mode="strict")
    east = mesh.join(EAST, cluster_id=1, pod_cidrs=["10.1.0.0/16"])
    everywhere = network_policy()
    everywhere["spec"]["ingress"] = [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]
    apply(east, pod(1, "cart", "0.10"), pod(1, "db", "0.11"), everywhere)

    assert mesh.decide("east/shop/cart", "east/shop/db", port=80).verdict == "allow"


def test_networks_of_a_cilium_policy_are_no_pods_in_mode_strict_either() -> None:
    mesh = fm.Mesh("shop", mode="strict")
    east = mesh.join(EAST, cluster_id=1, pod_cidrs=["10.1.0.0/16"])
    apply(east, pod(1, "cart", "0.10"), pod(1, "db", "0.11"), policy(ingress=[{"fromCIDR": ["10.1.0.0/24"]}]))

    assert mesh.decide("east/shop/cart", "east/shop/db", port=80).verdict == "deny"


def test_services_without_selector_are_their_backends_addresses(mesh: fm.Mesh) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "legacy", "namespace": "shop"},
        "spec": {"clusterIP": "10.101.0.2", "ports": [{"port": 80}]},
    }
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "legacy", "namespace": "shop"},
        "subsets": [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 80}]}],
    }
    to_services = {"toServices": [{"k8sService": {"serviceName": "legacy", "namespace": "shop"}}]}
    apply(mesh.members[EAST], service, endpoints, policy(egress=[to_services]))

    assert mesh.decide("east/shop/db", "ip:192.0.2.7", port=80).verdict == "allow"
    assert mesh.decide("east/shop/db", "ip:192.0.2.8", port=80).verdict == "deny"


def test_a_rule_about_services_that_there_are_none_of_is_told(mesh: fm.Mesh) -> None:
    to_services = {
        "toServices": [{"k8sService": {"serviceName": "nowhere", "namespace": "shop"}}],
        "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}],
    }
    apply(mesh.members[EAST], policy(egress=[to_services]))

    assert mesh.decide("east/shop/db", "ip:192.0.2.7", port=80).verdict == "allow"
    (found,) = [each for each in mesh.findings if each.code == "policy-unmatched-service"]
    assert found.message == (
        "spec.egress[0].toServices matches no Service, so that the rule is about everybody on its ports"
    )


@pytest.mark.parametrize(("members", "bits"), [(255, 16), (511, 15)])
def test_numbers_of_identities_are_history(members: int, bits: int) -> None:
    mesh = fm.Mesh("shop", max_connected_clusters=members)
    east = mesh.join(EAST, cluster_id=3, pod_cidrs=["10.1.0.0/16"])
    apply(east, pod(1, "cart", "0.10"), pod(1, "db", "0.11"))
    before = mesh.decide("east/shop/cart", "east/shop/db", port=80)

    apply(east, *(pod(1, f"other-{n}", f"1.{n}") for n in range(200)))
    after = mesh.decide("east/shop/cart", "east/shop/db", port=80)

    assert before.source.identity == after.source.identity
    assert before.source.identity >> bits == 3
    assert before.source.identity & ((1 << bits) - 1) >= 256
    saved = fm.Allocations.from_json(mesh.allocations.to_json())
    other = fm.Mesh("shop", max_connected_clusters=members, allocations=saved)
    apply(
        other.join(EAST, cluster_id=3, pod_cidrs=["10.1.0.0/16"]),
        pod(1, "db", "0.11"),
        pod(1, "cart", "0.10"),
    )
    assert other.decide("east/shop/cart", "east/shop/db", port=80).source.identity == before.source.identity


def test_a_number_goes_with_the_last_pod_that_has_its_labels(mesh: fm.Mesh) -> None:
    east = mesh.members[EAST]
    twin = {
        **pod(1, "cart", "0.12"),
        "metadata": {"name": "twin", "namespace": "shop", "labels": {"app": "cart"}},
    }
    before = mesh.allocations.to_json()
    apply(east, twin)
    east.delete(fm.load_manifests(f"---\n{json.dumps(twin)}\n"))

    assert mesh.allocations.to_json() == before
    assert b"app=cart" in before
    east.delete(fm.load_manifests(f"---\n{json.dumps(pod(1, 'cart', '0.10'))}\n"))
    kept = json.loads(mesh.allocations.to_json())["members"]["east"]["identity"]["number"]
    assert not any("app=cart" in labels for labels in kept)


def test_labels_of_a_namespace_are_its_pods_identities(mesh: fm.Mesh) -> None:
    before = mesh.decide("east/shop/cart", "east/shop/db", port=80).source
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"team": "a"}},
    }
    apply(mesh.members[EAST], namespace)

    after = mesh.decide("east/shop/cart", "east/shop/db", port=80).source
    assert before.identity != after.identity
    assert "io.cilium.k8s.namespace.labels.team=a" in str(after.labels)


@pytest.mark.parametrize(
    ("held", "why"),
    [
        ({"identity": {"number": {"a": "12"}}}, "no identity's number"),
        ({"identity": {"IPv4": {}}}, "no family"),
    ],
)
def test_numbers_that_can_t_be_are_refused(held: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fm.Allocations.from_json(json.dumps({"version": 1, "members": {"east": held}}))


def test_who_can_reach_an_end_by_kinds_of_pods(mesh: fm.Mesh) -> None:
    twin = pod(1, "cart", "0.12")
    twin["metadata"]["name"] = "cart-2"
    apply(mesh.members[EAST], twin)
    apply(mesh.members[WEST], policy(ingress=[{"fromEndpoints": [{"matchLabels": {"app": "cart"}}]}]))

    reach = mesh.reachability(to="west/shop/db", port=5432)

    assert mesh.who_can_reach("west/shop/db", port=5432) == ("west/shop/cart",) == reach.allowed
    assert reach.denied == ("east/shop/cart", "east/shop/cart-2", "east/shop/db")
    assert [(each.cluster, each.pods, each.verdict) for each in reach.groups] == [
        ("east", ("east/shop/cart", "east/shop/cart-2"), "deny"),
        ("east", ("east/shop/db",), "deny"),
        ("west", ("west/shop/cart",), "allow"),
    ]
    assert reach.groups[0].identity == mesh.decide("east/shop/cart", "west/shop/db", port=80).source.identity
    assert mesh.reachability(source="east/shop/cart", port=5432).denied == ("west/shop/db",)


def test_pods_of_a_cluster_that_is_not_heard_are_the_world_to_it(mesh: fm.Mesh) -> None:
    apply(mesh.members[WEST], policy(ingress=[{"fromEntities": ["world"]}]))
    mesh.members[EAST].fail()

    reach = mesh.reachability(to="west/shop/db", port=80)

    assert reach.allowed == ("east/shop/cart", "east/shop/db")
    assert {str(each.labels) for each in reach.groups if each.cluster == EAST} == {"reserved:world-ipv4"}


@pytest.mark.parametrize(
    ("ends", "error", "why"),
    [
        ({"to": "host:east", "source": "host:west"}, ValueError, "expected at most one of to and source"),
        ({"to": "east/shop/crt"}, LookupError, "did you mean east/shop/cart"),
        ({"to": "host:east", "port": 70000}, ValueError, "expected 0 to 65535"),
        ({"to": "service:shop/db"}, ValueError, "expected cluster/namespace/pod"),
    ],
)
def test_reachability_of_what_is_not_there(
    mesh: fm.Mesh, ends: dict[str, Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        mesh.reachability(**ends)

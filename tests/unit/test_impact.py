"""
Flows gained and lost between two states of a mesh, with a witness and the rule responsible.
"""

from __future__ import annotations

from typing import Any

import pytest

import fleetmesh as fm
from fleetmesh.mesh.impact import FlowChange, Ports, ends_in_words, ports_in_words

CLUSTERS = ("east", "west")
ONLY_CART = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: db}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: cart}}]
    toPorts: [{ports: [{port: "5432", protocol: TCP}]}]
"""


def pod(cluster: str, app: str, last: int, **labels: str) -> str:
    number = CLUSTERS.index(cluster) + 1 if cluster in CLUSTERS else 9
    more = "".join(f", {key}: {value}" for key, value in labels.items())
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {app}, namespace: shop, labels: {{app: {app}{more}}}}}
spec: {{containers: [{{name: main, image: it}}]}}
status: {{podIP: 10.{number}.0.{last}}}
"""


def policy(name: str, app: str, **rules: str) -> str:
    """One rule for each list; of all pods without an app."""
    selector = f"{{matchLabels: {{app: {app}}}}}" if app else "{}"
    lists = "".join(f", {key}: [{{{rule}}}]" for key, rule in rules.items())
    return f"""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: {name}, namespace: shop}}
spec: {{endpointSelector: {selector}{lists}}}
"""


def made(topology: fm.Topology | None = None, **settings: Any) -> fm.Mesh:
    mesh = fm.Mesh("shop", topology=topology)
    for number, name in enumerate(CLUSTERS, 1):
        ranges = [f"10.{number}.0.0/16"]
        member = mesh.join(name, cluster_id=number, pod_cidrs=ranges, settings=fm.ClusterSettings(**settings))
        member.apply("---".join(pod(name, app, last) for last, app in enumerate(("cart", "db", "web"), 10)))
    return mesh


@pytest.fixture
def mesh() -> fm.Mesh:
    return made()


def proven(change: FlowChange, before: fm.Mesh, after: fm.Mesh) -> FlowChange:
    """The change, if both states say of its witness what it says."""
    assert change.witness in set(change.each_pair())
    for mesh, said in ((before, change.before), (after, change.after)):
        decision = mesh.decide(*change.witness, protocol=change.protocol, port=change.port)
        assert decision.verdict == said
    return change


def between_pods(changes: tuple[FlowChange, ...]) -> set[tuple[str, str]]:
    return {
        pair
        for change in changes
        for pair in change.each_pair()
        if all(each.count("/") == 2 for each in pair)
    }


def test_a_new_policy_isolates_whom_it_selects(mesh: fm.Mesh) -> None:
    after = mesh.fork()
    after.members["west"].apply(ONLY_CART)

    flows = mesh.compare(after).flows
    everybody, cart = (proven(each, mesh, after) for each in flows.lost)

    assert (flows.gained, flows.changed) == ((), ())
    assert between_pods(flows.lost) == {
        (source, "west/shop/db")
        for source in ("east/shop/cart", "east/shop/db", "east/shop/web", "west/shop/cart", "west/shop/web")
    }
    assert {each.kind for each in everybody.sources} == {"pods", "node", "world"}
    assert ports_in_words(everybody.ports) == "all ports"
    assert [str(each) for each in cart.sources] == ["shop/cart in west"]
    assert ports_in_words(cart.ports) == "all ports but TCP 5432"
    assert cart.because.rule is not None
    assert (cart.because.rule.subject, cart.because.rule.path) == (
        "CiliumNetworkPolicy shop/db",
        "spec.ingress[0]",
    )
    assert (cart.because.direction, cart.because.state) == ("ingress", "after")
    assert cart.because.text == (
        "spec.ingress[0] of CiliumNetworkPolicy shop/db, which is new, isolates west/shop/db, "
        "and no rule allows it"
    )


def test_a_policy_that_goes_gains_what_it_refused(mesh: fm.Mesh) -> None:
    mesh.members["west"].apply(ONLY_CART)
    after = mesh.fork()
    after.members["west"].delete(ONLY_CART)

    flows = mesh.compare(after).flows

    assert flows.lost == ()
    assert flows.gained == tuple(proven(each, mesh, after) for each in flows.gained)
    assert {each.because.text for each in flows.gained} == {
        "spec.ingress[0] of CiliumNetworkPolicy shop/db, which is gone, isolated west/shop/db"
    }
    assert {each.because.state for each in flows.gained} == {"before"}


def test_what_different_rules_refuse_is_told_apart(mesh: fm.Mesh) -> None:
    after = mesh.fork()
    deny = policy("no-web", "db", ingressDeny="fromEndpoints: [{matchLabels: {app: web}}]")
    after.members["west"].apply(f"{ONLY_CART}---{deny}")

    reasons = {
        source: change.because.rule.path
        for change in mesh.compare(after).flows.lost
        for source, _ in change.each_pair()
        if change.because.rule is not None
    }

    assert reasons["west/shop/web"] == "spec.ingressDeny[0]"
    assert reasons["east/shop/web"] == reasons["west/shop/cart"] == "spec.ingress[0]"


def test_a_policy_of_the_source_is_told_as_egress(mesh: fm.Mesh) -> None:
    after = mesh.fork()
    after.members["east"].apply(policy("out", "cart", egress="toEntities: [cluster]"))

    flows = mesh.compare(after).flows

    assert between_pods(flows.lost) == {
        ("east/shop/cart", f"west/shop/{app}") for app in ("cart", "db", "web")
    }
    assert {each.because.direction for each in flows.lost} == {"egress"}
    assert {end.name for each in flows.lost for end in each.destinations if end.kind == "world"} == {
        "world-ipv4",
        "world-ipv6",
    }


def test_a_label_of_a_pod_turns_verdicts_of_rules_that_stay(mesh: fm.Mesh) -> None:
    mesh.members["west"].apply(ONLY_CART)
    after = mesh.fork()
    after.members["west"].apply(pod("west", "web", 12).replace("app: web}", "app: cart}"))

    flows = mesh.compare(after).flows
    (gained,) = flows.gained

    assert flows.lost == ()
    assert between_pods(flows.gained) == {("west/shop/web", "west/shop/db")}
    assert proven(gained, mesh, after).ports == (Ports("TCP", 5432, 5432),)
    assert gained.because.text == (
        "spec.ingress[0] of CiliumNetworkPolicy shop/db allows it: "
        "west/shop/web has app=cart instead of app=web"
    )


def test_a_label_of_a_namespace_too(mesh: fm.Mesh) -> None:
    selector = "{matchLabels: {io.cilium.k8s.namespace.labels.trusted: 'yes'}}"
    mesh.members["west"].apply(policy("in", "db", ingress=f"fromEndpoints: [{selector}]"))
    after = mesh.fork()
    after.members["west"].apply(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {trusted: 'yes'}}\n"
    )

    flows = mesh.compare(after).flows

    assert between_pods(flows.gained) == {(f"west/shop/{app}", "west/shop/db") for app in ("cart", "web")}
    assert all("namespace.labels.trusted=yes" in each.because.text for each in flows.gained)


def test_without_default_local_cluster_peers_of_all_clusters_are_meant() -> None:
    before, after = made(), made(policy_default_local_cluster=False)
    for each in (before, after):
        each.members["west"].apply(ONLY_CART)

    (gained,) = before.compare(after).flows

    assert between_pods((proven(gained, before, after),)) == {("east/shop/cart", "west/shop/db")}
    assert gained.because.text == (
        "spec.ingress[0] of CiliumNetworkPolicy shop/db, which is read with "
        "policy_default_local_cluster false, "
        "and was with true, allows it"
    )


def test_enforcement_is_a_reason_without_a_rule() -> None:
    before, after = made(), made(policy_enforcement="always")

    lost = before.compare(after).flows.lost

    assert {each.because.rule for each in lost} == {None}
    assert {each.because.text for each in lost} == {
        f"policy_enforcement of {name} is always, and was default" for name in CLUSTERS
    }


def test_a_cluster_that_leaves_takes_its_flows_along(mesh: fm.Mesh) -> None:
    mesh.members["west"].apply(ONLY_CART)
    after = mesh.fork()
    after.leave("east")

    flows = mesh.compare(after).flows
    back = after.compare(mesh).flows

    assert flows.gained == back.lost == ()
    assert len(flows.lost) < 6
    assert not any(each.turned for each in flows.lost)
    assert between_pods(flows.lost) == between_pods(back.gained)
    assert ("east/shop/cart", "west/shop/web") in between_pods(flows.lost)
    assert ("east/shop/cart", "west/shop/db") not in between_pods(flows.lost)
    assert {each.because.text for each in flows.lost} == {"cluster east is gone"}
    assert {each.because.text for each in back.gained} == {"cluster east is new"}


def test_a_cluster_that_is_not_heard_is_world(mesh: fm.Mesh) -> None:
    peer = "{matchLabels: {io.cilium.k8s.policy.cluster: east}}"
    mesh.members["west"].apply(policy("in", "db", ingress=f"fromEndpoints: [{peer}]"))
    after = mesh.fork()
    after.members["east"].fail()

    flows = mesh.compare(after).flows

    assert between_pods(flows.lost) == {(f"east/shop/{app}", "west/shop/db") for app in ("cart", "db", "web")}
    assert all("world because west does not hear east" in each.because.text for each in flows.lost)
    assert flows.gained == ()


def test_a_topology_likewise() -> None:
    before, after = made(), made(fm.Topology.pairs([]))
    entity = policy("in", "db", ingress="fromEntities: [world]")
    for each in (before, after):
        each.members["west"].apply(entity)

    flows = before.compare(after).flows

    assert between_pods(flows.gained) == {
        (f"east/shop/{app}", "west/shop/db") for app in ("cart", "db", "web")
    }


def test_names_that_resolve_open_addresses(mesh: fm.Mesh) -> None:
    mesh.members["west"].apply(policy("out", "", egress="toFQDNs: [{matchName: api.example.com}]"))
    after = mesh.fork()
    after.dns["api.example.com"] = ["192.0.2.5"]

    (gained,) = mesh.compare(after).flows

    assert [str(each) for each in gained.destinations] == ["192.0.2.5/32"]
    assert proven(gained, mesh, after).witness == ("west/shop/cart", "ip:192.0.2.5")
    assert gained.pairs == 3


def test_who_is_newly_open_to_the_world_comes_first(mesh: fm.Mesh) -> None:
    mesh.members["west"].apply(policy("in", "", ingress="fromEntities: [cluster]"))
    after = mesh.fork()
    after.members["west"].apply(policy("web", "web", ingress="fromEntities: [world]"))
    after.members["west"].apply(
        policy("db", "db", ingress="fromEndpoints: [{matchLabels: {io.cilium.k8s.policy.cluster: east}}]")
    )

    first, second = mesh.compare(after).flows.gained

    assert ends_in_words(first.sources) == "the world"
    assert first.because.rule is not None
    assert first.because.rule.subject == "CiliumNetworkPolicy shop/web"
    assert {each.kind for each in second.sources} == {"pods"}


def test_what_happens_alike_in_several_clusters_is_one_change(mesh: fm.Mesh) -> None:
    after = mesh.fork()
    for member in after.members.values():
        member.apply(policy("in", "db", ingress="fromEntities: [all]", ingressDeny="fromEntities: [world]"))

    (lost,) = mesh.compare(after).flows

    assert (ends_in_words(lost.sources), ends_in_words(lost.destinations)) == (
        "the world",
        "shop/db in east, west",
    )
    assert lost.pairs == len(list(lost.each_pair())) == 4


def test_networks_that_policies_name_are_ends(mesh: fm.Mesh) -> None:
    after = mesh.fork()
    after.members["west"].apply(
        policy("out", "db", egress="toCIDRSet: [{cidr: 203.0.113.0/24, except: [203.0.113.0/28]}]")
    )

    lost = mesh.compare(after).flows.lost

    names = {end.name for each in lost for end in each.destinations if end.kind == "network"}
    assert names == {"203.0.113.0/28"}
    assert {
        end for each in lost for ends in each.destinations for end in ends.members if ends.kind == "network"
    } == {"ip:203.0.113.1"}


def test_a_proxy_is_neither_gain_nor_loss(mesh: fm.Mesh) -> None:
    mesh.members["west"].apply(ONLY_CART)
    after = mesh.fork()
    after.members["west"].apply(
        ONLY_CART.replace("protocol: TCP}]}]", "protocol: TCP}], rules: {http: [{method: GET}]}}]")
    )

    flows = mesh.compare(after).flows
    (changed,) = flows.changed

    assert (flows.gained, flows.lost) == ((), ())
    assert (changed.before, changed.after) == ("allow", "redirect")
    assert proven(changed, mesh, after).because.text.endswith("which is changed, allows it")


def test_nobody_is_asked_where_nothing_about_policy_is_another(mesh: fm.Mesh) -> None:
    mesh.members["west"].apply(ONLY_CART)
    after = mesh.fork()
    after.members["west"].apply("""
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 5432}]}
""")

    comparison = mesh.compare(after)

    assert comparison.rows
    assert not comparison.flows
    assert mesh._policies._deciding is None
    assert after._policies._deciding is None


def test_a_comparison_with_flows_alone_is_true_and_says_them(mesh: fm.Mesh) -> None:
    after = mesh.fork()
    after.members["west"].apply(ONLY_CART)

    comparison = mesh.compare(after)

    assert comparison
    assert len(comparison) == 0
    assert str(comparison).startswith("lost: shop/")
    assert not mesh.compare(mesh.fork())
    assert not mesh.compare(mesh)


def test_ports_are_named_by_what_is_shorter() -> None:
    everything = tuple(
        Ports(*each)
        for each in (
            ("TCP", 1, 65535),
            ("UDP", 1, 65535),
            ("SCTP", 1, 65535),
            ("ICMP", 0, 255),
            ("ICMPv6", 0, 255),
        )
    )

    assert ports_in_words(everything) == "all ports"
    assert ports_in_words(everything[1:]) == "all ports but TCP"
    assert ports_in_words(everything[:2]) == "TCP, UDP"
    assert (
        ports_in_words((Ports("TCP", 80, 80), Ports("TCP", 443, 444), Ports("UDP", 53, 53)))
        == "TCP 80,443-444, UDP 53"
    )

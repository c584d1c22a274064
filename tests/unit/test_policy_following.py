"""
What decides is kept: a change costs what it changed, and a question whom it is about.
"""

from __future__ import annotations

import pytest

import fleetmesh as fm
from doubles.policy_histories import (
    cilium_policy,
    endpoints,
    group,
    namespace,
    node,
    pod,
    service,
    text_of,
)
from fleetmesh.mesh import policies
from fleetmesh.mesh.deciding import Deciding
from fleetmesh.policy import Reading, Rule, read_policy
from fleetmesh.resources.model import PolicyObject

WEBS = {"fromEndpoints": [{"matchLabels": {"app": "web"}}]}
TO_CACHE = {"toServices": [{"k8sService": {"serviceName": "cache", "namespace": "shop"}}]}


@pytest.fixture
def mesh() -> fm.Mesh:
    made = fm.Mesh("shop")
    for number, name in enumerate(("east", "west"), 1):
        member = made.join(name, cluster_id=number, pod_cidrs=[f"10.{number}.0.0/16"])
        member.apply("".join(text_of(pod(name, app, 0)) for app in ("web", "db", "cache")))
    made.join("north", cluster_id=3)
    east = made.members["east"]
    east.apply(text_of(cilium_policy("a", "db", "ingress", WEBS, deny=False)))
    east.apply(text_of(cilium_policy("c", "cache", "ingress", WEBS, deny=False)))
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the policies that are read."""
    names: list[str] = []

    def reading(policy: PolicyObject, reading: Reading) -> tuple[Rule, ...]:
        names.append(policy.name)
        return read_policy(policy, reading)

    monkeypatch.setattr(policies, "read_policy", reading)
    return names


def deciding(mesh: fm.Mesh) -> Deciding:
    with mesh._policies.at(mesh.viewpoint, mesh.dns) as found:
        return found


def ask(mesh: fm.Mesh, to: str, port: int = 80) -> str:
    return mesh.decide("west/shop/web", f"east/shop/{to}", port=port).verdict


def test_an_endpoint_of_which_a_changed_policy_says_nothing_keeps_its_rule_sets(mesh: fm.Mesh) -> None:
    ask(mesh, "db"), ask(mesh, "cache")
    judge = deciding(mesh).judge("east")
    subjects = {app: deciding(mesh)._known_pod(f"east/shop/{app}").identity for app in ("db", "cache")}
    before = {app: judge.policy(each, on_host=False) for app, each in subjects.items()}

    denied = cilium_policy("c", "cache", "ingress", WEBS, deny=True)
    mesh.members["east"].apply(text_of(denied))

    assert ask(mesh, "cache") == "deny"
    assert deciding(mesh).judge("east") is judge
    after = {app: judge.policy(each, on_host=False) for app, each in subjects.items()}
    assert after["db"].shares(before["db"])
    assert not after["cache"].shares(before["cache"])


def test_only_a_policy_that_changed_is_read(mesh: fm.Mesh, read: list[str]) -> None:
    ask(mesh, "db")
    assert sorted(read) == ["a", "c"]
    read.clear()
    mesh.members["east"].apply(text_of(cilium_policy("b", "db", "ingress", WEBS, deny=False)))
    mesh.members["east"].apply(text_of(pod("east", "web", 1)) + text_of(namespace("a")))
    ask(mesh, "db")
    assert read == ["b"]
    mesh.members["east"].delete(text_of(cilium_policy("b", "db", "ingress", WEBS, deny=False)))
    ask(mesh, "db")
    assert read == ["b"]


def test_a_policy_that_moved_in_its_file_is_named_where_it_is(mesh: fm.Mesh) -> None:
    policy = text_of(cilium_policy("a", "db", "ingress", WEBS, deny=False))
    for lines in (0, 3):
        assert bool(mesh.members["east"].apply("\n" * lines + policy)) is False
        side = mesh.decide("east/shop/web", "east/shop/db", port=80).ingress
        assert side is not None
        assert [each.source.origin and each.source.origin.line for each in side.statements] == [lines + 2]


def test_a_policy_about_services_is_read_when_services_change(mesh: fm.Mesh, read: list[str]) -> None:
    west = mesh.members["west"]
    west.apply(text_of(cilium_policy("s", "web", "egress", TO_CACHE, deny=False)))
    flow = ("west/shop/web", "ip:192.0.2.1")
    assert mesh.decide(*flow, port=80).verdict == "deny"
    read.clear()
    west.apply(text_of(pod("west", "db", 1)))
    assert mesh.decide(*flow, port=80).verdict == "deny"
    assert read == []
    west.apply(text_of(service("cache")) + text_of(endpoints("192.0.2.1")))
    assert mesh.decide(*flow, port=80).verdict == "allow"
    assert read == ["s"]


def test_a_fork_reads_nothing_again_and_meets_whom_it_is_asked_about(mesh: fm.Mesh, read: list[str]) -> None:
    ask(mesh, "db")
    read.clear()
    fork = mesh.fork()
    assert ask(fork, "db") == ask(mesh, "db")
    assert read == []
    assert deciding(fork)._met == {"east", "west"}


def test_the_tables_of_a_data_path_change_with_rules_that_are_about_services(mesh: fm.Mesh) -> None:
    west = mesh.members["west"]
    west.apply(text_of(cilium_policy("s", "web", "egress", TO_CACHE, deny=False)))
    before = deciding(mesh).tables("west")
    mesh.members["east"].apply(text_of(service("cache")) + text_of(endpoints("192.0.2.1")))
    assert deciding(mesh).tables("west") is before
    west.apply(text_of(service("cache")) + text_of(endpoints("192.0.2.1")))
    after = deciding(mesh).tables("west")
    assert before.find("192.0.2.1") != after.find("192.0.2.1")
    assert before.entries() != after.entries()


def test_the_tables_of_a_data_path_know_members_that_no_question_was_about(mesh: fm.Mesh) -> None:
    ask(mesh, "db")
    mesh.members["north"].apply(text_of(pod("west", "db", 1)) + text_of(node("west", 1, "a")))
    mesh.members["west"].delete(text_of(pod("west", "db", 0)))
    for address in ("10.2.0.11", "172.16.2.1"):
        found = deciding(mesh).tables("east").find(address)
        assert found is not None
        assert found[1] == 3


def test_of_pods_of_one_address_the_first_is_the_same_whoever_was_met_first(mesh: fm.Mesh) -> None:
    shared = pod("east", "web", 1)
    for name in ("east", "west"):
        mesh.members[name].apply(text_of(shared))
    first = mesh.fork()
    assert first.decide("west/shop/web", "west/shop/db", port=80).verdict == "allow"
    address = shared["status"]["podIP"]
    for asked in (first, mesh):
        found = asked.decide(f"ip:{address}", "east/shop/db", port=80).source
        assert found.identity >> 16 == 1
        assert deciding(asked).tables("east").find(address) == (found.identity, 1)


def test_a_member_that_comes_back_under_another_id_is_told_by_that(mesh: fm.Mesh) -> None:
    assert mesh.decide("west/shop/web", "east/shop/db", port=80).source.identity >> 16 == 2
    mesh.join(mesh.leave("west"), cluster_id=7)
    assert mesh.decide("west/shop/web", "east/shop/db", port=80).source.identity >> 16 == 7


def test_a_delta_names_the_policies_that_changed(mesh: fm.Mesh) -> None:
    west = mesh.members["west"]
    policy = cilium_policy("s", "web", "egress", TO_CACHE, deny=False)
    delta = west.apply(text_of(policy) + text_of(group("192.0.2.0/25", "a")) + text_of(node("west", 1, "a")))
    assert [(each.cluster, each.subject) for each in delta.policies] == [
        ("west", "CiliumCIDRGroup /partners"),
        ("west", "CiliumNetworkPolicy shop/s"),
        ("west", "Node /node-1"),
    ]
    assert west.apply(text_of(policy)).policies == ()
    delta = west.apply(text_of(service("cache")))
    assert [each.subject for each in delta.policies] == ["CiliumNetworkPolicy shop/s"]
    assert mesh.members["east"].apply(text_of(service("cache"))).policies == ()


def test_a_delta_names_the_addresses_of_pods_that_are_somebody_else(mesh: fm.Mesh) -> None:
    east = mesh.members["east"]

    def named(delta: fm.Delta) -> list[tuple[str, str]]:
        return [(each.cluster, each.prefix) for each in delta.addresses]

    assert named(east.apply(text_of(pod("east", "web", 1)))) == [("east", "10.1.0.10/32")]
    assert named(east.apply(text_of(pod("east", "web", 1)))) == []
    moved = pod("east", "web", 1)
    moved["status"]["podIP"] = "10.1.0.99"
    assert named(east.apply(text_of(moved))) == [("east", "10.1.0.10/32"), ("east", "10.1.0.99/32")]
    assert ("east", "172.16.1.1/32") in named(east.apply(text_of(node("east", 1, "a"))))
    assert named(east.apply(text_of(namespace("a")))) == [
        ("east", "10.1.0.11/32"),
        ("east", "10.1.0.12/32"),
        ("east", "10.1.0.99/32"),
    ]
    assert east.apply(text_of(service("web"))).addresses == ()


def test_a_delta_names_the_ranges_of_a_member_that_is_cut_off_and_what_it_has_outside(mesh: fm.Mesh) -> None:
    east = mesh.members["east"]
    outside = pod("east", "web", 1)
    outside["status"]["podIP"] = "10.77.0.1"
    east.apply(text_of(outside))
    ranges = (*east.ranges.pod_cidrs, *east.ranges.node_cidrs)
    for delta in (east.fail(), east.restore()):
        assert {each.cluster for each in delta.addresses} == {"east"}
        assert sorted(each.prefix for each in delta.addresses) == sorted([*ranges, "10.77.0.1/32"])
        assert bool(delta)

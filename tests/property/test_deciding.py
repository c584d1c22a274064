"""
What decides in a mesh follows its changes: the same verdicts as one that is made anew of the same state.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fleetmesh as fm
from doubles.effort import examples
from doubles.policy_histories import CONFLICTING, ends, pod, step, text_of
from fleetmesh.mesh.change import Change
from fleetmesh.mesh.deciding import Deciding, decide, flow_of
from fleetmesh.mesh.policies import options_of, read_policies
from fleetmesh.mesh.viewpoint import Viewpoint
from fleetmesh.policy import Rule
from fleetmesh.policy.decision import Decision
from fleetmesh.policy.judge import PolicyJudge
from fleetmesh.policy.labels import LabelSet, ports_of
from fleetmesh.policy.registry import Identity, IdentityRegistry

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def decisions(mesh: fm.Mesh, fresh: bool) -> dict[tuple[str, str, int], Decision]:
    anew = Deciding(mesh.viewpoint(), mesh.dns.parsed()) if fresh else None
    all_ends = ends(mesh)
    found = {}
    for source in all_ends:
        for destination in all_ends:
            for port in (80, 81):
                if anew is None:
                    decision = mesh.decide(source, destination, port=port)
                else:
                    decision = decide(mesh, anew, source, destination, flow_of("TCP", port))
                found[source, destination, port] = decision
    return found


def plain(found: dict[tuple[str, str, int], Decision]) -> dict[Any, Any]:
    """Reasons and all, but for the numbers of addresses, which are given as they are met."""
    return {
        key: (each.verdict, each.egress, each.ingress, each.source.labels, each.destination.labels)
        for key, each in found.items()
    }


def verdicts(mesh: fm.Mesh) -> dict[tuple[str, str], str]:
    all_ends = ends(mesh)
    return {
        (source, destination): mesh.decide(source, destination, port=80).verdict
        for source in all_ends
        for destination in all_ends
    }


def check_reachability(mesh: fm.Mesh) -> None:
    all_ends = ends(mesh)
    pods = [each for each in all_ends if each.count("/") == 2]
    matrix = mesh.reachability()
    for port in (80, 81):
        for one, other, verdict in matrix.pairs(port=port):
            assert verdict == mesh.decide(one, other, port=port).verdict
    for end in all_ends:
        for port in (80, 81):
            others = [pod for pod in pods if pod != end]
            to = mesh.reachability(to=end, port=port)
            assert dict(to.pairs()) == {pod: mesh.decide(pod, end, port=port).verdict for pod in others}
            source = mesh.reachability(source=end, port=port)
            assert dict(source.pairs()) == {pod: mesh.decide(end, pod, port=port).verdict for pod in others}


@settings(deadline=None, max_examples=examples(25), suppress_health_check=SLOW)
@given(data=st.data())
def test_what_decides_follows_the_changes_of_its_mesh(data: st.DataObject) -> None:
    mesh = fm.Mesh("shop", mode=data.draw(st.sampled_from(["cilium", "strict"])))
    for _ in range(data.draw(st.integers(3, 12), "steps")):
        step(mesh, data)
        if data.draw(st.booleans(), "ask"):
            assert plain(decisions(mesh, fresh=False)) == plain(decisions(mesh, fresh=True))
            mesh.reachability()  # and what is worked out for it has to follow, too
    anew = plain(decisions(mesh, fresh=True))
    assert plain(decisions(mesh, fresh=False)) == anew
    assert plain(decisions(mesh.fork(), fresh=False)) == anew
    check_reachability(mesh)


class Recorded(fm.Mesh):
    """
    A mesh that keeps all of its deltas, those of joining and leaving too, and works out the slow way what
    stays in force where rules are in conflict.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.deltas: list[fm.Delta] = []
        self.held: dict[tuple[str, LabelSet], tuple[Rule, ...]] = {}

    def _change(self, carry_out: Callable[[Change], None]) -> fm.Delta:
        before = self.viewpoint()
        delta = super()._change(carry_out)
        self.deltas.append(delta)
        self._hold(before)
        return delta

    def _hold(self, before: Viewpoint) -> None:
        old, new = broken(before), broken(self.viewpoint())
        self.held = {key: rules for key, rules in self.held.items() if key in new}
        for name, labels in new - old - self.held.keys():
            member = before.members.get(name)
            if member is not None and labels in member._store.identities:
                self.held[name, labels] = read_policies(before, member).rules


def broken(view: Viewpoint) -> set[tuple[str, LabelSet]]:
    """The identities whose rules are in conflict; all of them are asked."""
    found = set()
    for member in view.members.values():
        judge = PolicyJudge(IdentityRegistry(), options_of(view, member))
        judge.set_rules("", read_policies(view, member).rules)
        for labels in member._store.identities:
            if judge.conflict(Identity(0, labels, ports_of(labels))) is not None:
                found.add((member.name, labels))
    return found


@settings(deadline=None, max_examples=examples(25), suppress_health_check=SLOW)
@given(steps=st.lists(CONFLICTING, min_size=8, max_size=16), data=st.data())
def test_what_stays_in_force_is_what_all_identities_asked_anew_would_keep(
    steps: list[dict[str, Any]], data: st.DataObject
) -> None:
    mesh = Recorded("shop")
    east = mesh.join("east", cluster_id=1, pod_cidrs=["10.1.0.0/16"])
    east.apply(text_of(pod("east", "web", 0)) + text_of(pod("east", "db", 0)))
    for document in steps:
        applied = data.draw(st.sampled_from([True, True, True, False]), "applied")
        (east.apply if applied else east.delete)(text_of(document))
        found = {
            (name, labels): rules
            for name, member in mesh.viewpoint().members.items()
            for labels, rules in member._store.held.items()
        }
        assert found == mesh.held


def named(end: str, states: tuple[Viewpoint, Viewpoint], deltas: list[fm.Delta]) -> bool:
    """Whether deltas name an end, by its cluster or by an address that it has in either state."""
    kind, colon, name = end.partition(":")
    cluster = "" if kind == "ip" else name if colon else end.partition("/")[0]
    addresses = [name] if kind == "ip" else []
    for state in states if not colon else ():
        _, space, pod = end.split("/")
        addresses += state.members[cluster]._store.pods[space][pod].addresses
    prefixes = [each for delta in deltas for each in delta.addresses]
    return (
        any(each.cluster == cluster for delta in deltas for each in delta.policies)
        or any(ip_address(address) in ip_network(each.prefix) for each in prefixes for address in addresses)
        or (kind == "host" and any(each.cluster == cluster for each in prefixes))
    )


@settings(deadline=None, max_examples=examples(25), suppress_health_check=SLOW)
@given(data=st.data())
def test_a_delta_names_an_end_of_each_flow_that_is_decided_otherwise(data: st.DataObject) -> None:
    mesh = Recorded("shop")
    view, old = mesh.viewpoint(), verdicts(mesh)
    for _ in range(data.draw(st.integers(3, 12), "steps")):
        mesh.deltas.clear()
        is_transaction = step(mesh, data) != "learn"
        new = verdicts(mesh)
        for flow in old.keys() & new.keys() if is_transaction else ():
            if old[flow] != new[flow]:
                assert any(named(end, (view, mesh.viewpoint()), mesh.deltas) for end in flow), flow
        view, old = mesh.viewpoint(), new

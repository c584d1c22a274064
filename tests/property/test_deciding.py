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
from doubles.policy_histories import ends, step
from fleetmesh.mesh.change import Change
from fleetmesh.mesh.deciding import Deciding, decide, flow_of
from fleetmesh.mesh.viewpoint import Viewpoint
from fleetmesh.policy.decision import Decision

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
    anew = plain(decisions(mesh, fresh=True))
    assert plain(decisions(mesh, fresh=False)) == anew
    assert plain(decisions(mesh.fork(), fresh=False)) == anew
    check_reachability(mesh)


class Recorded(fm.Mesh):
    """A mesh that keeps all of its deltas, those of joining and leaving too."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.deltas: list[fm.Delta] = []

    def _change(self, carry_out: Callable[[Change], None]) -> fm.Delta:
        delta = super()._change(carry_out)
        self.deltas.append(delta)
        return delta


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

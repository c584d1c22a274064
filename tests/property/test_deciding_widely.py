"""
Whatever way led to a fleet and its policies, and whatever was asked on the way, the same is decided as in
one that is declared so from the beginning.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

import fleetmesh as fm
from doubles.drawing import tried
from doubles.effort import examples
from doubles.fleet_histories import History, histories
from doubles.policy import world_of
from doubles.policy_run import PolicyRun, decisions, decisions_anew

CLUSTERS = ("cluster1", "cluster2", "cluster3")
MESHES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {},
        {"mode": "strict"},
        {"max_connected_clusters": 511},
        {"topology": fm.Topology.hub("cluster2")},
        {"topology": fm.Topology.pairs([("cluster1", "cluster3")]), "mode": "strict"},
    ]
)
WIDE = st.tuples(histories(clusters=CLUSTERS, oddities=True, most=12), MESHES)
KNOWN = histories(most=8)
ASSERTED = ("verdict", "enforced", "matched", "l7", "auth", "l7_allow")


def run(history: History, **how: Any) -> PolicyRun:
    """With questions on the way, all of which are answered as if nothing had been asked before."""
    ran = PolicyRun(history, **how)
    for step in history.steps:
        if step.what == "ask":
            flows = ran.flows(step.given, 10)
            check(flows, decisions(ran.mesh, flows), decisions_anew(ran.mesh, flows))
        else:
            ran.take(step)
    return ran


def check(flows: list[dict[str, Any]], found: list[Any], wanted: list[Any]) -> None:
    for flow, one, other in zip(flows, found, wanted, strict=True):
        assert one == other, f"{flow}\n found {one}\nwanted {other}"


def test_what_decides_follows_every_kind_of_change() -> None:
    def check_history(drawn: tuple[History, dict[str, Any]]) -> bool:
        history, how = drawn
        ran = run(history, **how)
        flows = ran.flows(1000, 60)
        found = decisions(ran.mesh, flows)

        check(flows, found, decisions_anew(ran.mesh, flows))
        check(flows, decisions(ran.mesh.fork(), flows), found)
        for mesh, asked, decided in ran.behind:
            check(asked, decisions(mesh, asked), decided)
        check_reachability(ran.mesh, flows[:2])
        if ran.holds_on():
            return False
        rebuilt = ran.rebuilt()
        check(flows, found, decisions(rebuilt, flows))
        assert policy_findings(ran.mesh) == policy_findings(rebuilt)
        return True

    told = tried(WIDE, examples(24), check_history)
    assert sum(told) > len(told) / 2


def check_reachability(mesh: fm.Mesh, flows: list[dict[str, Any]]) -> None:
    for flow in flows:
        how = {"protocol": flow["proto"], "port": flow["port"]}
        for pod, verdict in mesh.reachability(to=flow["to"], **how).pairs():
            assert mesh.decide(pod, flow["to"], **how).verdict == verdict, f"{pod} to {flow}"
        for pod, verdict in mesh.reachability(source=flow["from"], **how).pairs():
            assert mesh.decide(flow["from"], pod, **how).verdict == verdict, f"{flow} to {pod}"


def policy_findings(mesh: fm.Mesh) -> set[tuple[str, str, str]]:
    return {
        (each.code, each.subject, each.message) for each in mesh.findings if each.code.startswith("policy-")
    }


def test_a_mesh_that_was_changed_decides_as_the_double() -> None:
    def check_history(history: History) -> bool:
        ran = run(history)
        if ran.holds_on():
            return False
        flows = ran.flows(1000, 60)
        double = world_of(ran.case(flows))
        for flow, (_, *sides, _) in zip(flows, decisions(ran.mesh, flows), strict=True):
            l7 = {name: flow[name] for name in ("http", "dns_query") if name in flow}
            wanted = double.decide(flow["from"], flow["to"], flow["proto"], flow["port"], **l7)
            for direction, side in zip(("egress", "ingress"), sides, strict=True):
                assert said(side) == said(wanted[direction]), f"{direction} of {flow}"
        return True

    told = tried(KNOWN, examples(24), check_history)
    assert sum(told) > len(told) / 2


def said(side: Any) -> dict[str, Any] | None:
    return None if side is None else {name: getattr(side, name) for name in ASSERTED}

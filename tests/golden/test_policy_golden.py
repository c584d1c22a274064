"""
Every verdict of golden/policy.json, which Cilium's own packages computed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

import fleetmesh as fm
from doubles.ends_of_packets import VERDICTS, packet, processed
from doubles.policy import Packet, Side, verdict_of, world_of
from doubles.policy_core import CoreWorld
from fleetmesh.policy.rule import PROTOCOL_NUMBERS

GOLDEN = json.loads((Path(__file__).parent / "policy.json").read_text())
CASES = {case["id"]: case for case in GOLDEN["cases"]}
ASSERTED = ("verdict", "enforced", "matched", "l7", "auth", "l7_allow", "spec_verdict")


def said(side: Side | None) -> dict[str, Any] | None:
    return None if side is None else attrs.asdict(side)


def wanted(side: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if side is None else {name: side.get(name) for name in ASSERTED}


@pytest.mark.parametrize("name", CASES)
def test_the_double_decides_as_cilium(name: str) -> None:
    case = CASES[name]
    fleet = world_of(case)

    refused = {cluster: sorted(agent.refused) for cluster, agent in fleet.agents.items() if agent.refused}
    assert refused == {cluster: sorted(each) for cluster, each in (case.get("rejected") or {}).items()}
    for query in case["queries"]:
        l7 = {name: query[name] for name in ("http", "dns_query") if name in query}
        sides = fleet.decide(query["from"], query["to"], query["proto"], query["port"], **l7)
        expected = query["expect"]
        found = {direction: said(side) for direction, side in sides.items()}
        assert found == {each: wanted(expected.get(each)) for each in found}, query
        assert verdict_of(sides) == expected["verdict"], query


@pytest.mark.parametrize("name", CASES)
def test_the_core_decides_as_cilium(name: str) -> None:
    case = CASES[name]
    core = CoreWorld(world_of(case))

    for query in case["queries"]:
        packet = Packet(PROTOCOL_NUMBERS[query["proto"].upper()], query["port"])
        sides = core.decide(query["from"], query["to"], packet)
        found = {direction: said(side) for direction, side in sides.items()}
        # What proxies decide, and how the specification differs, is not of the core.
        left = {"l7_allow": None, "spec_verdict": None}
        expected = {each: wanted(query["expect"].get(each)) for each in found}
        assert found == {each: side and side | left for each, side in expected.items()}, query


def mesh_of(case: dict[str, Any]) -> fm.Mesh:
    mesh = fm.Mesh("golden")
    for cluster, declared in case["clusters"].items():
        settings = fm.ClusterSettings(**declared.get("config") or {})
        mesh.join(cluster, cluster_id=declared["id"], settings=settings).apply(declared["manifests"])
    for hostname, addresses in (case.get("dns") or {}).items():
        mesh.dns[hostname] = addresses
    return mesh


@pytest.mark.parametrize("name", CASES)
def test_a_mesh_decides_as_cilium(name: str) -> None:
    case = CASES[name]
    mesh = mesh_of(case)
    refused = {
        cluster: sorted(each.subject for each in member.findings if each.code == "policy-rejected")
        for cluster, member in mesh.members.items()
    }
    wanted_refused = {cluster: sorted(each) for cluster, each in (case.get("rejected") or {}).items()}
    assert {cluster: each for cluster, each in refused.items() if each} == wanted_refused
    for query in case["queries"]:
        l7 = {name: query[name] for name in ("http", "dns_query") if name in query}
        decision = mesh.decide(query["from"], query["to"], protocol=query["proto"], port=query["port"], **l7)
        expected = query["expect"]
        for direction in ("egress", "ingress"):
            side, other = getattr(decision, direction), expected.get(direction)
            assert (side is None) == (other is None), query
            if side is not None:
                found = {name: getattr(side, name) for name in ASSERTED if name != "spec_verdict"}
                assert found == {name: other.get(name) for name in found}, query
        assert decision.verdict == expected["verdict"], query


@pytest.mark.parametrize("name", CASES)
def test_packets_fare_as_cilium_decides(name: str) -> None:
    case = CASES[name]
    mesh = mesh_of(case)
    for number, query in enumerate(case["queries"]):
        flow = (query["from"], query["to"], query["proto"], query["port"])
        found = processed(mesh, *flow, source_port=50000 + number)
        if found is None:
            continue
        expected = query["expect"]
        sides = [expected.get(each) for each in ("egress", "ingress")]
        wanted = [0 if side is None else VERDICTS[side["verdict"]] for side in sides]
        if "deny" in (sides[0] or {}).values():
            wanted[1] = 0  # it does not get there
        assert found == (VERDICTS[expected["verdict"]], *wanted), query


def test_nearly_all_flows_can_be_sent_as_packets() -> None:
    left = [
        (query["from"], query["to"])
        for case in CASES.values()
        for mesh in [mesh_of(case)]
        for query in case["queries"]
        if packet(mesh, query["from"], query["to"], query["proto"], query["port"], 1) is None
    ]
    assert len(left) < 120, left


def test_in_mode_strict_a_mesh_decides_as_the_specification_says() -> None:
    differing = 0
    for case in CASES.values():
        asked = [
            (query, direction)
            for query in case["queries"]
            for direction in ("egress", "ingress")
            if "spec_verdict" in (query["expect"].get(direction) or {})
        ]
        if not asked:
            continue
        mesh = fm.Mesh("golden", mode="strict")
        for cluster, declared in case["clusters"].items():
            mesh.join(cluster, cluster_id=declared["id"]).apply(declared["manifests"])
        for query, direction in asked:
            differing += 1
            decision = mesh.decide(query["from"], query["to"], protocol=query["proto"], port=query["port"])
            assert getattr(decision, direction).verdict == query["expect"][direction]["spec_verdict"]
    assert differing

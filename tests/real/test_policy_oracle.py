"""
Random fleets and policies: what fleetmesh decides is what Cilium's own packages decide.

hypothesis draws fleets and shrinks those where answers differ. Many are asked about at once, as the oracle
takes long to begin.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings
from hypothesis.errors import NoSuchExample

from doubles.policy import Packet, Side, World, world_of
from doubles.policy_core import CoreWorld
from doubles.policy_fleets import cases, population
from fleetmesh.policy.rule import PROTOCOL_NUMBERS
from real import oracle

COUNT = int(os.environ.get("FLEETMESH_POLICY_FLEETS", "600"))
SEED = int(os.environ.get("FLEETMESH_POLICY_SEED", "1"))
# Without `spec_verdict`, which is the oracle's own and counts rules on nodes as if they isolated pods.
ASSERTED = ("verdict", "enforced", "matched", "l7", "auth", "l7_allow")
LEFT_TO_PROXIES = {"l7_allow": None}
QUICKLY = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))

pytestmark = [pytest.mark.real("policy-oracle"), pytest.mark.timeout(1800)]


def drawn(count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    @settings(QUICKLY, max_examples=count, phases=[Phase.generate])
    @seed(SEED)
    @given(cases())
    def draw(case: dict[str, Any]) -> None:
        found.append({**case, "id": f"random-{len(found)}"})

    draw()
    return found


def said(side: Side | None) -> dict[str, Any] | None:
    return None if side is None else {name: getattr(side, name) for name in ASSERTED}


def refusals(world: World) -> dict[str, list[str]]:
    return {name: sorted(agent.refused) for name, agent in world.agents.items() if agent.refused}


def differences(case: dict[str, Any]) -> list[str]:
    """Of the double's answers and of the core's from Cilium's."""
    world = world_of(case)
    core = CoreWorld(world)
    wanted = {name: sorted(each) for name, each in (case.get("rejected") or {}).items()}
    found = [] if refusals(world) == wanted else [f"refused {refusals(world)}, Cilium {wanted}"]
    for query in case["queries"]:
        l7 = {name: query[name] for name in ("http", "dns_query") if name in query}
        slow = world.decide(query["from"], query["to"], query["proto"], query["port"], **l7)
        fast = core.decide(
            query["from"], query["to"], Packet(PROTOCOL_NUMBERS[query["proto"]], query["port"])
        )
        for direction in slow:
            expected = query["expect"].get(direction)
            cilium = expected and {name: expected.get(name) for name in ASSERTED}
            if said(slow[direction]) != cilium:
                found.append(f"{query['id']} {direction}: double {slow[direction]}\n  Cilium {cilium}")
            if said(fast[direction]) != (cilium and cilium | LEFT_TO_PROXIES):
                found.append(f"{query['id']} {direction}: core {fast[direction]}\n  Cilium {cilium}")
    return found


def readable(case: dict[str, Any]) -> str:
    lines = []
    for name, cluster in case["clusters"].items():
        lines.append(f"{name} {cluster['config']}")
        lines += [text for text in cluster["manifests"].split("\n---\n") if "Policy" in text]
    return "\n".join([*lines, *(json.dumps(query) for query in case["queries"])])


def test_random_fleets_are_judged_as_by_cilium() -> None:
    answered, failed = oracle.verdicts(drawn(COUNT))
    assert len(answered) > COUNT / 2

    differing = [case for case in answered if differences(case)]
    if differing:
        try:
            smallest = find(
                cases(),
                lambda case: any(map(differences, oracle.verdicts([case])[0])),
                settings=settings(QUICKLY, max_examples=2000),
            )
        except NoSuchExample:
            smallest = min(differing, key=lambda case: len(readable(case)))
        (again,) = oracle.verdicts([smallest])[0]
        pytest.fail("\n".join([readable(smallest), *differences(again)]))
    assert all("merge" in why for why in failed.values())


PEERS = {"toEndpoints": [{"matchLabels": {"app": "db"}}]}
TCP_53 = [{"port": "53", "protocol": "TCP"}]
FRAGMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("egress", {"toPorts": [{"ports": TCP_53}]}),
    "http": ("egress", {"toPorts": [{"ports": TCP_53, "rules": {"http": [{"path": "/"}]}}]}),
    "dns": (
        "egress",
        {"toPorts": [{"ports": [{"port": "53"}], "rules": {"dns": [{"matchPattern": "*"}]}}]},
    ),
    "tls": ("egress", {"toPorts": [{"ports": TCP_53, "serverNames": ["a.example"]}]}),
    "required": ("egress", {"toPorts": [{"ports": TCP_53}], "authentication": {"mode": "required"}}),
    "disabled": ("egress", {"toPorts": [{"ports": TCP_53}], "authentication": {"mode": "disabled"}}),
    "deny": ("egressDeny", {"toPorts": [{"ports": TCP_53}]}),
}
PAIRS = [(one, other) for one in FRAGMENTS for other in FRAGMENTS]


def pair(one: str, other: str) -> dict[str, Any]:
    policies = []
    for name, fragment in (("a", one), ("b", other)):
        direction, rule = FRAGMENTS[fragment]
        spec = {"endpointSelector": {"matchLabels": {"app": "web"}}, direction: [PEERS | rule]}
        metadata = {"name": name, "namespace": "prod"}
        policies.append(
            {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": metadata, "spec": spec}
        )
    manifests = "\n---\n".join(json.dumps(each) for each in (*population(1), *policies))
    query = {"id": "q", "from": "cluster1/prod/web", "to": "cluster1/prod/db", "proto": "TCP", "port": 53}
    return {
        "id": f"{one}+{other}",
        "clusters": {"cluster1": {"id": 1, "manifests": manifests}},
        "queries": [query],
    }


def test_rules_that_cilium_can_t_merge_are_in_conflict() -> None:
    asked = [pair(*each) for each in PAIRS]
    _, failed = oracle.verdicts(asked)
    assert failed

    found = {case["id"] for case in asked if CoreWorld(world_of(case)).agents["cluster1"].conflicts()}

    assert found == set(failed)

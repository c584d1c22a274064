"""
Random fleets that have come about by many changes, with questions in between: what a mesh decides at the end
is what Cilium's own packages decide of the fleet as it is then.
"""

from __future__ import annotations

import json
import os
from typing import Any

import attrs
import pytest

from doubles.drawing import fail_small, nth
from doubles.fleet_histories import History, histories
from doubles.policy_run import PolicyRun, decisions
from real import oracle

COUNT = int(os.environ.get("FLEETMESH_POLICY_HISTORIES", "100"))
FIRST = int(os.environ.get("FLEETMESH_POLICY_SEED", "1"))
ASSERTED = ("verdict", "enforced", "matched", "l7", "auth", "l7_allow")
HISTORIES = histories(most=12)

pytestmark = [pytest.mark.real("policy-oracle"), pytest.mark.timeout(1800)]


@attrs.frozen
class Outcome:
    """
    Attributes:
        case: The fleet at the end, with flows, to be asked about.
        found: What the mesh decided on each.
        refused: Its policies that have no effect, by cluster.
        taken: How many steps there were.
    """

    case: dict[str, Any]
    found: list[Any]
    refused: dict[str, list[str]]
    taken: int


def outcome(history: History) -> Outcome:
    ran = PolicyRun(history)
    for step in history.steps:
        if step.what == "ask":
            decisions(ran.mesh, ran.flows(step.given, 20))
        else:
            ran.take(step)
    flows = ran.flows(1000, 40)
    refused = {
        name: sorted(each.subject for each in member.findings if each.code == "policy-rejected")
        for name, member in ran.mesh.members.items()
    }
    return Outcome(
        ran.case(flows),
        decisions(ran.mesh, flows),
        {name: each for name, each in refused.items() if each},
        len(history.steps),
    )


def differences(here: Outcome, answered: dict[str, Any]) -> list[str]:
    wanted = {name: sorted(each) for name, each in (answered.get("rejected") or {}).items()}
    found = [] if here.refused == wanted else [f"refused {here.refused}, Cilium {wanted}"]
    for query, (verdict, *sides, _) in zip(answered["queries"], here.found, strict=True):
        expected = query["expect"]
        if verdict != expected["verdict"]:
            found.append(f"{query}: {verdict}")
        for direction, side in zip(("egress", "ingress"), sides, strict=True):
            cilium = expected.get(direction)
            one = side and {name: getattr(side, name) for name in ASSERTED}
            other = cilium and {name: cilium.get(name) for name in ASSERTED}
            if one != other:
                found.append(f"{query['id']} {direction}: {one}\n  Cilium {other}")
    return found


def check(history: History) -> None:
    here = outcome(history)
    answered, _ = oracle.verdicts([here.case])
    assert not any(differences(here, each) for each in answered), "\n".join(
        [json.dumps(here.case, indent=1), *(line for each in answered for line in differences(here, each))]
    )


def test_fleets_that_were_changed_are_judged_as_by_cilium() -> None:
    outcomes = {
        f"history-{number}": outcome(nth(HISTORIES, number)) for number in range(FIRST, FIRST + COUNT)
    }
    answered, failed = oracle.verdicts(
        [here.case | {"id": name} for name, here in outcomes.items() if here.case["queries"]]
    )
    assert len(answered) > COUNT / 2
    assert sum(outcomes[each["id"]].taken for each in answered) > 6 * len(answered)

    for each in answered:
        if differences(outcomes[each["id"]], each):
            fail_small(HISTORIES, int(each["id"].removeprefix("history-")), check)
    assert all("merge" in why for why in failed.values())

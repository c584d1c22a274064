"""
Random fleets: what fleetmesh answers is what Cilium's own control plane answers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from doubles import core as double
from doubles.fleet import FleetRun
from doubles.public import PublicRun
from fleetmesh import _core
from real import oracle
from real.fleets import fleet

FIRST = int(os.environ.get("FLEETMESH_FIRST_FLEET", "0"))
COUNT = int(os.environ.get("FLEETMESH_FLEETS", "300"))

pytestmark = [pytest.mark.real("merge-oracle"), pytest.mark.timeout(1800)]

RUNS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "public": PublicRun,
    "core": lambda case: FleetRun(case, _core.Core(), _core.ServiceSpec),
    "double": lambda case: FleetRun(case, double.Core(), double.ServiceSpec),
}


@pytest.fixture(scope="module")
def answered() -> list[dict[str, Any]]:
    cases = oracle.ask([fleet(seed) for seed in range(FIRST, FIRST + COUNT)])
    settled = [case for case in cases if case["expect"] is not None]
    assert len(settled) >= 0.95 * COUNT, "Cilium did not settle on too many fleets"
    return settled


def differences(case: dict[str, Any], run: Any) -> list[str]:
    """Where the answers differ: state, cluster, and both sides."""
    found: list[str] = []
    for number, state in enumerate([case, *(case.get("steps") or [])]):
        if number:
            run.step(state)
        got = run.answer()
        accepted = [state, *(state.get("alternatives") or [])]
        if any(got == {"exports": one["exports"], "expect": one["expect"]} for one in accepted):
            continue
        found += [
            f"{case['id']}, state {number}, {part} of {cluster}:\n  Cilium    {state[part].get(cluster)}"
            f"\n  fleetmesh {got[part].get(cluster)}"
            for part in ("exports", "expect")
            for cluster in state[part].keys() | got[part].keys()
            if state[part].get(cluster) != got[part].get(cluster)
        ]
    return found


def report(case: dict[str, Any], lines: list[str], folder: Path) -> str:
    """Writes a failing fleet so that it can be read, and asked again."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{case['id']}.txt"
    parts = [f"{case['id']}: {case['doc']} topology {case['topology']}"]
    for name, cluster in case["clusters"].items():
        settings = cluster.get("settings") or {}
        parts.append(f"=== {name}, id {cluster['id']}, settings {settings}\n{cluster['manifests']}")
    for number, step in enumerate(case.get("steps") or [], 1):
        parts.append(f"=== step {number}: joins {step.get('join')}, leaves {step.get('leave')}")
        for verb in ("delete", "apply"):
            parts += [f"--- {verb} in {name}\n{text}" for name, text in (step.get(verb) or {}).items()]
    target.write_text("\n".join([*parts, "=== differences", *lines]))
    (folder / f"{case['id']}.json").write_text(json.dumps({"cases": [case]}, indent=1))
    return f"{target}\n{lines[0]}"


@pytest.mark.parametrize("kind", list(RUNS))
def test_random_fleets_have_the_answers_of_cilium(
    kind: str, answered: list[dict[str, Any]], tmp_path: Path
) -> None:
    suspects = [case for case in answered if differences(case, RUNS[kind](case))]
    # Whatever is left after Cilium was asked again is no accident of its timing.
    cases = oracle.ask(suspects, repeat=3) if suspects else []
    failures = []
    for case in cases:
        lines = differences(case, RUNS[kind](case))
        if lines:
            failures.append(report(case, lines, tmp_path / "fleets"))
    assert not failures, f"{len(failures)} of {len(answered)} fleets differ:\n" + "\n".join(failures)


def test_the_fleets_are_worth_asking_about() -> None:
    """A generator that lost its edge would pass as well: all kinds, topologies and steps occur."""
    cases = [fleet(seed) for seed in range(FIRST, FIRST + COUNT)]
    assert {case["doc"] for case in cases} == {
        f"A random fleet ({kind})." for kind in ("steps", "shared", "static")
    }
    text = json.dumps(cases)
    for needed in (
        "hub",
        "pairs",
        "join",
        "leave",
        "delete",
        "PreferSameNode",
        "terminating",
        "fd00",
        "10.77.",
    ):
        assert needed in text, needed

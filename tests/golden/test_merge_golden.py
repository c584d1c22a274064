"""
Every fleet of merge.json gives the answers that Cilium's own control plane gave (steps included).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from doubles import core as double
from doubles.fleet import FleetRun
from doubles.hearing import HeardRun
from doubles.public import PublicRun
from fleetmesh import _core

CORPUS = json.loads((Path(__file__).parent / "merge.json").read_text())
CASES: list[dict[str, Any]] = CORPUS["cases"]


def accepted(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers of a case or step that Cilium gave: mostly one, more where Cilium itself is random."""
    found = [state, *state.get("alternatives", [])]
    return [{"exports": one["exports"], "expect": one["expect"]} for one in found]


def check(case: dict[str, Any], run: Any) -> None:
    """
    Compares after the manifests and after each step.

    Steps marked `history` are taken, but their answer is not that of the objects that exist then.
    """
    for number, state in enumerate([case, *case.get("steps", [])]):
        if number:
            run.step(state)
        if state.get("history"):
            continue
        wanted, got = accepted(state), run.answer()
        if got not in wanted:
            assert got == wanted[0], f"{case['id']}, step {number}: {state['doc']}"


def test_the_corpus_is_whole() -> None:
    """A corpus that lost cases would pass as well."""
    assert len(CASES) == 128
    assert len({case["id"] for case in CASES}) == 128
    assert sum(len(case.get("steps", [])) for case in CASES) == 65


every_case = pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])


@every_case
def test_the_public_api_agrees_with_cilium(case: dict[str, Any]) -> None:
    check(case, PublicRun(case))


@every_case
def test_meshes_that_hear_each_other_agree_with_cilium(case: dict[str, Any]) -> None:
    check(case, HeardRun(case))


@every_case
def test_the_core_agrees_with_cilium(case: dict[str, Any]) -> None:
    check(case, FleetRun(case, _core.Core(), _core.ServiceSpec))


@every_case
def test_the_double_agrees_with_cilium(case: dict[str, Any]) -> None:
    check(case, FleetRun(case, double.Core(), double.ServiceSpec))


@every_case
def test_in_strict_mode_the_core_and_the_double_agree(case: dict[str, Any]) -> None:
    """Cilium has no such mode; that two implementations agree is what can be had."""
    fast = FleetRun(case, _core.Core(strict=True), _core.ServiceSpec)
    slow = FleetRun(case, double.Core(strict=True), double.ServiceSpec)
    assert fast.answer() == slow.answer()
    for step in case.get("steps", []):
        fast.step(step)
        slow.step(step)
        assert fast.answer() == slow.answer()

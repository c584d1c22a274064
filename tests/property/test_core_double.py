"""
The core in C++ and its double in plain dicts give equal answers, whatever the history.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles import core as double
from doubles import rebuild
from doubles.calls import ASKED, SERVICES, Call, Driver, histories
from doubles.effort import examples
from fleetmesh import _core
from fleetmesh.mesh import ServiceDelta

MODES = pytest.mark.parametrize("strict", [False, True], ids=["cilium", "strict"])
thorough = settings(max_examples=examples(40), deadline=None)


def fast(strict: bool) -> Driver:
    return Driver(_core.Core(strict=strict), _core.ServiceSpec)


def slow(strict: bool) -> Driver:
    return Driver(double.Core(strict=strict), double.ServiceSpec)


def uses(snapshot: Any, members: set[int]) -> dict[Any, Any]:
    """What each viewer uses of each service, from its nodes together and from each."""
    return {
        (viewer, *service, node): snapshot.frontends(viewer, *service, node)
        for viewer in sorted(members)
        for service in SERVICES
        for node in ASKED
    }


def facts(snapshot: Any, members: set[int]) -> dict[Any, Any]:
    """What is declared and exported, in no order."""
    out: dict[Any, Any] = {}
    for member in sorted(members):
        out["services", member] = snapshot.services(member)
        out["hears", member] = snapshot.hears(member)
        for service in SERVICES:
            record = snapshot.record(member, *service)
            if record is not None:
                record = sorted((*entry[:3], tuple(entry[3]), sorted(entry[4])) for entry in record)
            out["record", member, service] = record
            out["backends", member, service] = sorted(snapshot.backends(member, *service))
    for service in SERVICES:
        out["holders", service] = snapshot.holders(*service)
        out["exporters", service] = snapshot.exporters(*service)
        out["duplicates", service] = sorted(snapshot.duplicates(*service))
    return out


def rules(snapshot: Any, members: set[int]) -> dict[Any, Any]:
    """Each candidate with the rule that decided, as a node sees it."""
    return {
        (viewer, *service, node): Counter(snapshot.candidates(viewer, *service, node))
        for viewer in sorted(members)
        for service in SERVICES
        for node in ASKED
        if node is not None
    }


def outcomes(snapshot: Any, members: set[int]) -> dict[Any, Any]:
    """Each candidate of a cluster as a whole: in use, selected or out (which rule differs by node)."""
    return {
        (viewer, *service): Counter(
            (frontend, backend, rule if rule in ("in-use", "selected") else "out")
            for frontend, backend, rule, _ in snapshot.candidates(viewer, *service)
        )
        for viewer in sorted(members)
        for service in SERVICES
    }


def compare(one: Driver, other: Driver) -> None:
    assert one.joined == other.joined
    left, right = one.core.snapshot(), other.core.snapshot()
    for view in (facts, uses, rules, outcomes):
        assert view(left, one.joined) == view(right, other.joined)


@MODES
@thorough
@given(history=histories())
def test_the_core_equals_the_double_after_every_transaction(strict: bool, history: list[list[Call]]) -> None:
    one, other = fast(strict), slow(strict)
    for transaction in history:
        one.commit(transaction)
        other.commit(transaction)
        compare(one, other)


@MODES
@thorough
@given(history=histories(), further=histories())
def test_a_fork_goes_its_own_way_and_leaves_the_original(
    strict: bool, history: list[list[Call]], further: list[list[Call]]
) -> None:
    one, other = fast(strict), slow(strict)
    for transaction in history:
        one.commit(transaction)
        other.commit(transaction)
    fork, double_fork = one.fork(), other.fork()
    for transaction in further:
        fork.commit(transaction)
        double_fork.commit(transaction)
    compare(fork, double_fork)
    compare(one, other)


@thorough
@given(history=histories())
def test_the_incremental_core_equals_one_rebuilt_from_facts_and_arrivals(history: list[list[Call]]) -> None:
    one, other = fast(strict=False), slow(strict=False)
    for transaction in history:
        one.commit(transaction)
        other.commit(transaction)
    rebuilt, double_rebuilt = fast(strict=False), slow(strict=False)
    calls = rebuild.in_order(other.core)
    rebuilt.commit(calls)
    double_rebuilt.commit(calls)
    compare(double_rebuilt, other)
    compare(rebuilt, other)
    compare(one, rebuilt)


@thorough
@given(history=histories(), seed=st.integers(0, 1000))
def test_in_strict_mode_the_order_of_changes_does_not_matter(history: list[list[Call]], seed: int) -> None:
    one, other = fast(strict=True), slow(strict=True)
    for transaction in history:
        one.commit(transaction)
        other.commit(transaction)
    rebuilt, double_rebuilt = fast(strict=True), slow(strict=True)
    calls = rebuild.shuffled(other.core, seed)
    rebuilt.commit(calls)
    double_rebuilt.commit(calls)
    compare(double_rebuilt, other)
    compare(rebuilt, one)


@MODES
@thorough
@given(history=histories())
def test_a_delta_names_every_viewer_and_service_whose_answer_changed(
    strict: bool, history: list[list[Call]]
) -> None:
    for driver in (fast(strict), slow(strict)):
        before: dict[Any, Any] = {}
        for transaction in history:
            delta = driver.commit(transaction)
            assert delta.new == driver.core.generation == delta.old + 1
            after = uses(driver.core.snapshot(), driver.joined)
            changed = {key[:3] for key, answer in after.items() if before.get(key, []) != answer}
            told = delta.services(ServiceDelta)
            named = {(int(viewer[1:]), each.namespace, each.name) for each in told for viewer in each.viewers}
            assert changed <= named
            before = after


@MODES
@thorough
@given(history=histories())
def test_a_snapshot_does_not_change_and_knows_what_did(strict: bool, history: list[list[Call]]) -> None:
    one, other = fast(strict), slow(strict)
    half = len(history) // 2
    for transaction in history[:half]:
        one.commit(transaction)
        other.commit(transaction)
    old, double_old, members = one.core.snapshot(), other.core.snapshot(), set(one.joined)
    kept = uses(old, members)
    for transaction in history[half:]:
        one.commit(transaction)
        other.commit(transaction)
    assert uses(old, members) == kept
    told = set(one.core.snapshot().changed_since(old))
    assert set(other.core.snapshot().changed_since(double_old)) <= told

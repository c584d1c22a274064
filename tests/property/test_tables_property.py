"""
Tables equal those of the double, whatever the history, and are shared wherever they may be.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from doubles import core as double
from doubles import tables as slow_tables
from doubles.calls import ASKED, SERVICES, Call, Driver, histories
from doubles.effort import examples
from fleetmesh import _core

MODES = pytest.mark.parametrize("strict", [False, True], ids=["cilium", "strict"])
thorough = settings(max_examples=examples(40), deadline=None)

SIZE = 251
SEED = "JLfvgnHc2kaSUFaI"
Key = tuple[int, str | None]


def content(selection: _core.Selection) -> tuple[Any, ...]:
    return (selection.backends(), selection.in_use)


def of(core: Any, key: Key) -> _core.Tables:
    return _core.tables(core.snapshot(), *key, SIZE, SEED)


def answers(tables: _core.Tables) -> dict[Any, Any]:
    """All that can be asked."""
    return {
        (*service, *place): (*content(selection), selection.ranks().tolist())
        for service in tables.services()
        for *place, selection in tables.frontends(*service)
    }


def expected(snapshot: Any, key: Key) -> dict[Any, Any]:
    return {
        (*service, *place): answer
        for service in SERVICES
        for place, answer in slow_tables.compiled(snapshot, key[0], service, key[1], SIZE, SEED).items()
    }


@MODES
@thorough
@given(history=histories())
def test_tables_that_advance_equal_those_from_scratch_and_the_double_s(
    strict: bool, history: list[list[Call]]
) -> None:
    fast = Driver(_core.Core(strict=strict), _core.ServiceSpec)
    slow = Driver(double.Core(strict=strict), double.ServiceSpec)
    kept: dict[Key, _core.Tables] = {}
    for transaction in history:
        fast.commit(transaction)
        slow.commit(transaction)
        for key in [(member, node) for member in sorted(fast.joined) for node in ASKED]:
            fresh = of(fast.core, key)
            last = kept.get(key)
            kept[key] = fresh if last is None else last.advance(fast.core.snapshot())
            found = answers(kept[key])
            assert found == answers(fresh) == expected(slow.core.snapshot(), key)
            if last is None:
                continue
            before = answers(last)
            assert set(kept[key].changed_since(last)) >= {
                each[:2] for each in {*before, *found} if before.get(each, ())[:2] != found.get(each, ())[:2]
            }


@MODES
@thorough
@given(history=histories())
def test_equal_selections_are_one(strict: bool, history: list[list[Call]]) -> None:
    driver = Driver(_core.Core(strict=strict), _core.ServiceSpec)
    kept: list[_core.Tables] = []
    for transaction in history:
        driver.commit(transaction)
        kept += [of(driver.core, (member, node)) for member in sorted(driver.joined) for node in ASKED]
    selections = [
        selection
        for tables in kept
        for service in tables.services()
        for *_, selection in tables.frontends(*service)
    ]
    known: dict[str, _core.Selection] = {}
    for selection in selections:
        assert known.setdefault(repr(content(selection)), selection) == selection


@MODES
@thorough
@given(history=histories(), further=histories())
def test_tables_advance_to_a_fork_and_back(
    strict: bool, history: list[list[Call]], further: list[list[Call]]
) -> None:
    driver = Driver(_core.Core(strict=strict), _core.ServiceSpec)
    for transaction in history:
        driver.commit(transaction)
    fork = driver.fork()
    for transaction in further:
        fork.commit(transaction)
    for member in sorted(driver.joined & fork.joined):
        here = of(driver.core, (member, None))
        kept = answers(here)
        there = here.advance(fork.core.snapshot())
        assert answers(there) == answers(of(fork.core, (member, None)))
        assert answers(there.advance(driver.core.snapshot())) == kept == answers(here)
        assert not here.changed_since(there.advance(driver.core.snapshot()))

"""
Python's collector stands still while much is taken in, and runs again afterwards, whatever happens.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from fleetmesh.state import collector
from fleetmesh.state.collector import MANY, MOST, RARELY, Bulk


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    gc.unfreeze()  # others in this process may have set something apart
    thresholds = gc.get_threshold()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_the_collector_stands_still_while_records_wait_and_then_runs_again() -> None:
    bulk = Bulk()

    bulk.note(1_000, behind=True, waiting=True)
    assert not gc.isenabled()
    bulk.note(1_000, behind=False, waiting=True)
    assert not gc.isenabled()
    bulk.note(1_000, behind=False, waiting=False)

    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_whoever_keeps_up_leaves_the_collector_alone() -> None:
    bulk = Bulk()

    for _ in range(MANY):
        bulk.note(100, behind=False, waiting=True)
    bulk.note(100, behind=False, waiting=False)

    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_many_records_are_set_apart_from_later_collections() -> None:
    bulk = Bulk()

    bulk.note(MANY, behind=True, waiting=True)
    bulk.note(1, behind=False, waiting=False)

    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_once_something_is_set_apart_all_is_looked_at_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "_looks_rarely", False)
    gc.set_threshold(700, 10, 10)

    for _ in range(2):
        bulk = Bulk()
        bulk.note(MANY, behind=True, waiting=True)
        bulk.note(1, behind=False, waiting=False)
        assert gc.get_threshold() == (700, 10, 10 * RARELY)


def test_two_meshes_are_waited_for() -> None:
    one, other = Bulk(), Bulk()
    one.note(1, behind=True, waiting=True)
    other.note(1, behind=True, waiting=True)

    one.note(1, behind=False, waiting=False)
    assert not gc.isenabled()
    other.end()

    assert gc.isenabled()


def test_who_never_catches_up_has_a_collector_all_the_same() -> None:
    bulk = Bulk()
    bulk.note(1, behind=True, waiting=True)

    bulk.note(MOST, behind=True, waiting=True)
    bulk.note(1, behind=True, waiting=True)

    assert gc.isenabled()


def test_a_collector_that_somebody_switched_off_stays_off() -> None:
    gc.disable()
    bulk = Bulk()

    bulk.note(MANY, behind=True, waiting=True)
    bulk.note(1, behind=False, waiting=False)
    bulk.end()

    assert not gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_ending_what_has_not_begun_does_nothing() -> None:
    Bulk().end()

    assert gc.isenabled()

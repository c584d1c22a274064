"""
Maglev tables from Python: candidates in, ids out.
"""

from __future__ import annotations

from typing import Any

import pytest

from fleetmesh.maglev import Candidate, disruption, lookup_table


def some(count: int) -> list[Candidate]:
    return [Candidate(number, f"10.0.{number // 256}.{number % 256}", 80) for number in range(count)]


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_lookup_table(benchmark: Any, count: int) -> None:
    candidates = some(count)

    assert benchmark(lookup_table, candidates).size == 16381


def test_disruption(benchmark: Any) -> None:
    before, after = lookup_table(some(100)), lookup_table(some(99))

    assert benchmark(disruption, before, after).excess > 0

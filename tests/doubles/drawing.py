"""
Examples that have little to do with each other.

In one run hypothesis varies what it has drawn, so that of few big examples most are nearly the same. Here
each is drawn in a run of its own, always the same one for a number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis import strategies as st

T = TypeVar("T")
R = TypeVar("R")


@cache
def nth(strategy: st.SearchStrategy[Any], number: int) -> Any:
    found: list[Any] = []
    _run(strategy, number, found.append, phases=[Phase.generate])
    (drawn,) = found
    return drawn


def tried(strategy: st.SearchStrategy[T], count: int, check: Callable[[T], R]) -> list[R]:
    """
    What a check says of each of the first examples. Of one that it fails on, hypothesis finds a smaller one.
    """
    said = []
    for number in range(count):
        try:
            said.append(check(nth(strategy, number)))
        except AssertionError:
            fail_small(strategy, number, check)
            raise
    return said


def fail_small(strategy: st.SearchStrategy[T], number: int, check: Callable[[T], Any]) -> None:
    """Fails as a check does that fails on an example, but on the smallest that hypothesis makes of it."""
    _run(strategy, number, check, phases=[Phase.generate, Phase.shrink])


def _run(
    strategy: st.SearchStrategy[T], number: int, check: Callable[[T], Any], *, phases: list[Phase]
) -> None:
    first = True

    @seed(number)
    @settings(
        max_examples=1,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.integers(0, 1 << 30), strategy)
    def run(_other: int, drawn: T) -> None:
        # The first is the simplest there is. The next differs from it in the first thing drawn, which is
        # therefore none of the example's.
        nonlocal first
        if first:
            first = False
            reject()
        check(drawn)

    run()

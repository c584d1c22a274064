"""
However a table is filled, it is the one that the obvious loop fills.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles import maglev as double
from doubles.effort import examples
from fleetmesh import _core
from fleetmesh.maglev import SIZES

FILLS = _core.maglev_fills()
SMALL = [size for size in SIZES if size <= 4093]


def some(size: int, count: int, source: random.Random) -> list[tuple[int, int]]:
    return [(source.randrange(size), source.randrange(1, size)) for _ in range(count)]


@st.composite
def fills(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], list[int]]:
    """A size, so many backends that any stage may be the first or the last, and weights of all kinds."""
    size = draw(st.sampled_from(SMALL))
    count = draw(st.one_of(st.integers(1, 12), st.integers(1, 140), st.integers(1, size + size // 4)))
    heaviest = draw(st.sampled_from([0, 1, 2, 3, 10, 100, 65535]))
    source = random.Random(draw(st.integers(0, 2**32)))
    weights = [source.randint(0, heaviest) for _ in range(count)]
    if draw(st.booleans()):
        weights[source.randrange(count)] = draw(st.integers(0, 65535))
    return size, some(size, count, source), weights


@settings(max_examples=examples(60), deadline=None)
@given(fills())
def test_every_fill_is_that_of_the_double(case: tuple[int, list[tuple[int, int]], list[int]]) -> None:
    size, walks, weights = case
    expected = double.fill(size, walks, weights)

    for how in FILLS:
        assert _core.maglev_fill(how, size, walks, weights) == expected, how


@settings(max_examples=examples(15), deadline=None)
@given(
    st.sampled_from([size for size in SIZES if size > 4093]),
    st.one_of(st.integers(1, 300), st.integers(1, 20_000)),
    st.sampled_from([1, 2, 10, 65535]),
    st.integers(0, 2**32),
)
def test_fast_fills_of_large_tables_are_the_plain_one(
    size: int, count: int, heaviest: int, seed: int
) -> None:
    source = random.Random(seed)
    walks = some(size, count, source)
    weights = [source.randint(0, heaviest) for _ in range(count)]
    plain = _core.maglev_fill("plain", size, walks, weights)

    for how in FILLS:
        assert _core.maglev_fill(how, size, walks, weights) == plain, how


@pytest.mark.parametrize("how", FILLS)
@pytest.mark.parametrize(
    "weights", [[1] * 70_000, [1 + n % 9 for n in range(70_000)]], ids=["equal", "weighted"]
)
def test_ranks_beyond_16_bits(how: str, weights: list[int]) -> None:
    walks = some(131071, len(weights), random.Random(1))

    assert _core.maglev_fill(how, 131071, walks, weights) == _core.maglev_fill(
        "plain", 131071, walks, weights
    )


@pytest.mark.parametrize(
    ("size", "walks", "weights"),
    [(250, [(0, 1)], [1]), (251, [], []), (251, [(0, 1)], []), (251, [(251, 1)], [1]), (251, [(0, 0)], [1])],
)
def test_what_can_t_be_filled(size: int, walks: list[tuple[int, int]], weights: list[int]) -> None:
    with pytest.raises(ValueError, match="a"):
        _core.maglev_fill("plain", size, walks, weights)


def test_a_fill_that_is_none() -> None:
    with pytest.raises(ValueError, match="no fill 'neon' on this machine"):
        _core.maglev_fill("neon", 251, [(0, 1)], [1])

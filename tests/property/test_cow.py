"""
Maps that are copied in O(1) are dictionaries, whatever was copied when.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.effort import examples
from fleetmesh.identity.cow import CowGroups, CowMap

# Few keys, so that they meet; a thousand at once, so that a map spreads over its shards.
keys = st.one_of(st.integers(-3, 8), st.sampled_from(["a", "b", "c"]), st.tuples(st.integers(0, 2)))
MANY = range(1000)
steps = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "pop", "copy", "many", "few"]), st.integers(0, 9), keys, st.integers()
    ),
    max_size=40,
)


@settings(max_examples=examples(150), deadline=None)
@given(steps)
def test_a_map_and_its_copies_are_dictionaries(taken: list[tuple[str, int, Any, int]]) -> None:
    pairs: list[tuple[CowMap[Any, int], dict[Any, int]]] = [(CowMap(), {})]
    for what, which, key, value in taken:
        mine, plain = pairs[which % len(pairs)]
        match what:
            case "set":
                mine[key] = plain[key] = value
            case "pop":
                assert mine.pop(key) == plain.pop(key, None)
            case "copy":
                pairs.append((mine.copy(), dict(plain)))
            case "many":
                for number in MANY:
                    mine[number, value % 3] = plain[number, value % 3] = value
            case "few":
                for name in list(plain)[3:]:
                    mine.keep(name, 0, present=False)
                    del plain[name]
    for mine, plain in pairs:
        assert list(mine.items()) == list(plain.items())
        assert (list(mine), list(mine.values()), len(mine)) == (list(plain), list(plain.values()), len(plain))
        assert all(mine[key] == mine.get(key) == value for key, value in plain.items())
        assert mine == plain
        assert "missing" not in mine
        assert mine.get("missing", 5) == 5


@settings(max_examples=examples(150), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "pop", "copy", "fill", "drop"]),
            st.integers(0, 9),
            st.integers(0, 2),
            st.integers(0, 4),
            st.integers(),
        ),
        max_size=40,
    )
)
def test_groups_and_their_copies_are_dictionaries_of_dictionaries(
    taken: list[tuple[str, int, int, int, int]],
) -> None:
    pairs: list[tuple[CowGroups[int, int, int], dict[int, dict[int, int]]]] = [(CowGroups(), {})]
    for what, which, key, name, value in taken:
        mine, plain = pairs[which % len(pairs)]
        match what:
            case "put":
                mine.put(key, name, value)
                plain.setdefault(key, {})[name] = value
            case "pop":
                assert mine.pop(key, name) == plain.get(key, {}).pop(name, None)
            case "copy":
                pairs.append((mine.copy(), {key: dict(group) for key, group in plain.items()}))
            case "fill":
                plain[key] = dict.fromkeys(range(name), value)
                mine.fill(key, plain[key])
            case "drop":
                mine.drop(key)
                plain.pop(key, None)
        if not plain.get(key, True):
            del plain[key]
    for mine, plain in pairs:
        assert [(key, list(group.items())) for key, group in mine.items()] == [
            (key, list(group.items())) for key, group in plain.items()
        ]
        assert all(mine.group(key) == group for key, group in plain.items())
        assert (list(mine), len(mine), mine.group(99)) == (list(plain), len(plain), {})


def test_a_write_after_a_copy_copies_one_shard() -> None:
    mine = CowMap((number, number) for number in MANY)

    other = mine.copy()
    other[7] = 0

    copied = [one for one, same in zip(mine._shards, other._shards, strict=True) if one is not same]
    assert copied == [mine._shards[7]]
    assert len(copied[0]) < len(MANY) / 100

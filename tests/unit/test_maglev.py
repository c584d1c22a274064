"""
`fm.maglev`: what is refused, what is shared, what moves. That tables are Cilium's is tested by tests/golden.
"""

from __future__ import annotations

import re
import threading
from typing import Any

import numpy as np
import pytest

import fleetmesh as fm
from fleetmesh.maglev import Candidate, disruption, lookup_table


def some(count: int, **fields: Any) -> list[Candidate]:
    return [
        Candidate(number, f"10.0.{number // 256}.{number % 256}", 80, **fields) for number in range(count)
    ]


@pytest.mark.parametrize(
    ("candidate", "text"),
    [
        (Candidate(1, "10.0.0.1", 80), "[10.0.0.1:80/TCP,State:active]"),
        (Candidate(1, "10.0.0.1", 0, "ANY", cluster_id=7), "[10.0.0.1@7:0/ANY,State:active]"),
        (
            Candidate(1, "FD00:0:0::1", 443, "UDP", internal=True, cluster_id=5),
            "[[fd00::1@5]:443/UDP/i,State:active]",
        ),
        (Candidate(1, "::ffff:1.2.3.4", 65535, "SCTP"), "[[::ffff:1.2.3.4]:65535/SCTP,State:active]"),
        (
            Candidate(1, "fe80::1%eth0", 80, "NONE", cluster_id=2**32 - 1),
            "[[fe80::1%eth0@4294967295]:80/NONE,State:active]",
        ),
    ],
)
def test_the_text_is_cilium_s(candidate: Candidate, text: str) -> None:
    assert candidate.text == text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": 0xFFFFFFFF}, "id is 4294967295; expected a whole number in 0..4294967294"),
        ({"id": -1}, "id is -1"),
        ({"id": True}, "id is True"),
        ({"port": 65536}, "port is 65536; expected a whole number in 0..65535"),
        ({"port": "80"}, "port is '80'"),
        ({"weight": 65536}, "weight is 65536; expected a whole number in 0..65535"),
        ({"weight": -1}, "weight is -1"),
        ({"weight": 1.5}, "weight is 1.5"),
        ({"cluster_id": 2**32}, "cluster_id is 4294967296"),
        ({"protocol": "ICMP"}, "protocol is 'ICMP'; expected one of TCP, UDP, SCTP, ANY, NONE"),
        ({"protocol": "tcp"}, "protocol is 'tcp'"),
        ({"internal": 1}, "internal is 1; expected true or false"),
        ({"address": 5}, "address is 5; expected a string"),
        ({"address": "10.0.0.256"}, "address '10.0.0.256', expected an IPv4 or IPv6 address"),
        ({"address": "10.0.0.1%eth0"}, "address '10.0.0.1%eth0'"),
        ({"address": "fe80::1%"}, "address 'fe80::1%'"),
        ({"address": ""}, "address ''"),
    ],
)
def test_a_candidate_that_cilium_could_not_have(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Candidate(**{"id": 1, "address": "10.0.0.1", "port": 80, **fields})


@pytest.mark.parametrize("size", [0, 1, 16382, 131072, -251, True, 251.0, "251"])
def test_a_size_that_cilium_does_not_take(size: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"size is {size!r}; expected one of 251, 509,")):
        lookup_table(some(2), size)


@pytest.mark.parametrize(
    ("seed", "found"),
    [
        ("", "decodes to 0 bytes"),
        ("AAAA", "decodes to 3 bytes"),
        ("AAAAAAAAAAAAAAAAAAAA", "decodes to 15 bytes"),
        ("AAAAAAAAAAAAAAA=", "decodes to 11 bytes"),
        ("AAAAAAAAAAAAAA==", "decodes to 10 bytes"),
        ("JLfvgnHc2kaSUFa", "is not base64 (its length"),
        ("JLfvgnHc2kaSUFa-", "is not base64"),
        ("JLfvgnHc2kaSUF=I", "is not base64"),
        ("AAA=AAAAAAAAAAAA", "is not base64"),
        ("=", "is not base64"),
        ("no seed", "is not base64"),
    ],
)
def test_a_seed_that_is_not_base64_of_12_bytes(seed: str, found: str) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f'seed "{seed}" {found}') + ".*expected the base64 of 12 bytes"
    ):
        lookup_table(some(2), 251, seed)


def test_a_seed_that_is_no_string() -> None:
    with pytest.raises(ValueError, match="seed is b'x'; expected a string"):
        lookup_table(some(2), 251, b"x")  # type: ignore[arg-type]


def test_a_seed_may_end_a_line_as_in_go() -> None:
    assert lookup_table(some(3), 251, "JLfvgnHc2kaSUFaI\n").tolist() == lookup_table(some(3), 251).tolist()


def test_no_candidate() -> None:
    with pytest.raises(ValueError, match="no candidate, expected at least one"):
        lookup_table([])


def test_two_candidates_of_one_text() -> None:
    """Cilium's sort is not stable: whose entries they would be is left to chance there."""
    twice = [*some(3), Candidate(9, "10.0.0.1", 80, weight=3)]

    with pytest.raises(
        ValueError, match=re.escape("candidates 1 and 3 are both [10.0.0.1:80/TCP,State:active]")
    ):
        lookup_table(twice)


def test_one_candidate_has_every_entry() -> None:
    assert set(lookup_table(some(1), 251).tolist()) == {0}


def test_the_order_of_candidates_does_not_matter() -> None:
    assert lookup_table(some(50)).tolist() == lookup_table(reversed(some(50))).tolist()


def test_more_candidates_than_entries() -> None:
    table = lookup_table(some(300), 251)

    assert len(set(table.tolist())) == 251


def test_more_candidates_than_16_bits_count() -> None:
    many = [
        Candidate(number, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 80)
        for number in range(70_000)
    ]

    table = lookup_table(many, 131071)

    assert np.unique(table, return_counts=True)[1].max() == 2
    assert len(set(table.tolist())) == 70_000


def test_equal_input_shares_one_table_that_nobody_can_write_to() -> None:
    first, second = lookup_table(some(5)), lookup_table(reversed(some(5)))
    other = lookup_table(some(5), seed="AAAAAAAAAAAAAAAA")

    assert np.shares_memory(first, second)
    assert not np.shares_memory(first, other)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


def test_other_ids_are_another_table_of_the_same_ranks() -> None:
    ids = [7, 3, 2**32 - 2]
    named = [Candidate(number, each.address, 80) for number, each in zip(ids, some(3), strict=True)]

    assert lookup_table(named).tolist() == [ids[number] for number in lookup_table(some(3)).tolist()]


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.sanitizer)], ids=["few", "many"])
def test_threads_that_ask_for_the_same_get_the_same(rounds: int) -> None:
    expected = {count: lookup_table(some(count), 1021).tolist() for count in range(1, 9)}
    wrong: list[int] = []

    def ask() -> None:
        for _ in range(rounds):
            wrong.extend(n for n, table in expected.items() if lookup_table(some(n), 1021).tolist() != table)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_moves_when_one_of_ten_goes() -> None:
    moved = disruption(lookup_table(some(10)), lookup_table(some(9)))

    assert moved.ideal == pytest.approx(0.1, abs=1e-4)
    assert 0 < moved.excess < 0.02
    assert moved.moved == moved.ideal + moved.excess


def test_what_moves_is_counted_by_id() -> None:
    assert disruption([1, 1, 2, 2], [2, 2, 1, 1]) == fm.maglev.Disruption(moved=1.0, ideal=0.0)
    assert disruption([1, 1, 2, 2], [1, 3, 2, 1]) == fm.maglev.Disruption(moved=0.5, ideal=0.25)
    assert disruption([5, 5], [5, 5]).moved == 0


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ([1, 2], [1, 2, 3], "tables of 2 and 3 entries, expected the same size"),
        ([], [], "before is empty"),
        ([[1]], [[1]], "before is an array of int64, shape (1, 1); expected a table of uint32"),
        ([1], [0.5], "after is an array of float64, shape (1,)"),
        ([-1], [1], "before is an array of int64"),
        ([1], [2**32], "after is an array of int64"),
    ],
)
def test_what_is_no_pair_of_tables(before: Any, after: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        disruption(before, after)

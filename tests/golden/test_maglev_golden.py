"""
Every case of maglev.json gives the table that Cilium's own package gave.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fleetmesh as fm
from doubles import maglev as double
from fleetmesh import _core

CORPUS: dict[str, Any] = json.loads((Path(__file__).parent / "maglev.json").read_text())
CASES: list[dict[str, Any]] = CORPUS["cases"]
NAMES = [f"{case['pool']}-{case['n']}-{case['m']}-{case['seed']}" for case in CASES]


def used(case: dict[str, Any]) -> list[fm.maglev.Candidate]:
    """The active ones of the case's rows, or the terminating ones where none is active."""
    rows = CORPUS["pools"][case["pool"]][: case["n"]]
    chosen = [row for row in rows if row[6] == "active"] or [row for row in rows if row[6] == "terminating"]
    result = []
    for address, port, protocol, scope, weight, number, _ in chosen:
        host, _, cluster = address.partition("@")
        result.append(
            fm.maglev.Candidate(number, host, port, protocol, weight, bool(scope), int(cluster or 0))
        )
    return result


def test_the_corpus_is_whole() -> None:
    assert len(CASES) == 306
    assert len(CORPUS["murmur3_x64_128"]) == 72


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_table_is_cilium_s(case: dict[str, Any]) -> None:
    candidates = used(case)
    assert len(candidates) == case["used"]

    table = fm.maglev.lookup_table(candidates, case["m"], case["seed"])

    assert table[:16].tolist() == case["first16"]
    assert hashlib.sha256(table.astype("<u4").tobytes()).hexdigest() == case["sha256"]


@pytest.mark.parametrize("case", [c for c in CASES if c["m"] <= 1021 and c["n"] <= 1000])
def test_the_double_agrees_with_cilium(case: dict[str, Any]) -> None:
    candidates = used(case)

    table = double.lookup_table(
        [each.text for each in candidates],
        [each.weight for each in candidates],
        [each.id for each in candidates],
        case["m"],
        base64.b64decode(case["seed"]),
    )

    assert hashlib.sha256(np.array(table, "<u4").tobytes()).hexdigest() == case["sha256"]


def test_the_hash_is_cilium_s() -> None:
    for vector in CORPUS["murmur3_x64_128"]:
        expected = tuple(int(half, 16) for half in vector["h"])

        assert _core.maglev_murmur3(vector["text"], vector["seed"]) == expected
        assert double.murmur3(vector["text"].encode(), vector["seed"]) == expected

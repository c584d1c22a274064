"""
Every case of packet_hash.json, made with Cilium's own bpf/lib/hash.h, has the hash that the double works out.
"""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from doubles.packet_hash import packet_hash

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "packet_hash.json").read_text())["cases"]


def test_the_corpus_is_whole() -> None:
    assert len(CASES) == 240


@pytest.mark.parametrize("case", CASES)
def test_a_hash_is_cilium_s(case: dict[str, Any]) -> None:
    found = packet_hash(
        ip_address(case["source"]),
        0 if case["affinity"] else case["source_port"],
        case["destination_port"],
        case["protocol"],
        maglev_seed=case["seed"],
    )

    assert found == case["hash"]
    assert found % 16381 == case["slot_16381"]

"""
The core's entries decide as the double, which looks at every rule for every packet.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import HealthCheck, given, note, settings

from doubles.effort import examples
from doubles.policy import Packet, world_of
from doubles.policy_core import CoreWorld
from doubles.policy_fleets import cases
from fleetmesh.policy.rule import PROTOCOL_NUMBERS


@settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(cases())
def test_the_core_decides_as_the_double(case: dict[str, Any]) -> None:
    slow = world_of(case)
    core = CoreWorld(slow)
    for query in case["queries"]:
        packet = Packet(PROTOCOL_NUMBERS[query["proto"]], query["port"])
        wanted = slow.decide(query["from"], query["to"], query["proto"], query["port"])
        found = core.decide(query["from"], query["to"], packet)
        for direction, side in wanted.items():
            expected = side and attrs.evolve(side, l7_allow=None, spec_verdict=None)
            if found[direction] != expected:
                for cluster in case["clusters"].values():
                    note(cluster["config"])
                    note(
                        "\n".join(text for text in cluster["manifests"].split("\n---\n") if "Policy" in text)
                    )
                note(f"{query}\n{direction}: core {found[direction]}, double {expected}")
            assert found[direction] == expected

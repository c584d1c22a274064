"""
Packets through both ends fare as `Mesh.decide` says of their flows, on random fleets.
"""

from __future__ import annotations

from typing import Any, Literal

import pytest

import fleetmesh as fm
from doubles.drawing import tried
from doubles.effort import examples
from doubles.ends_of_packets import VERDICTS, processed
from doubles.policy_fleets import cases


@pytest.mark.parametrize("mode", ["cilium", "strict"])
def test_packets_fare_as_is_decided(mode: Literal["cilium", "strict"]) -> None:
    def check(case: dict[str, Any]) -> int:
        mesh = fm.Mesh("shop", mode=mode)
        for name, declared in case["clusters"].items():
            settings = fm.ClusterSettings(**declared.get("config") or {})
            mesh.join(name, cluster_id=declared["id"], settings=settings).apply(declared["manifests"])
        for name, addresses in (case.get("dns") or {}).items():
            mesh.dns[name] = addresses
        return sum(is_as_decided(mesh, query, 40000 + at) for at, query in enumerate(case["queries"]))

    sent = tried(cases(), examples(20), check)
    assert sum(sent) > 8 * len(sent), "of each fleet's twenty flows most can be sent"


def is_as_decided(mesh: fm.Mesh, query: dict[str, Any], source_port: int) -> bool:
    """Whether the flow could be sent at all."""
    flow = (query["from"], query["to"], query["proto"], query["port"])
    found = processed(mesh, *flow, source_port)
    if found is None:
        return False
    decision = mesh.decide(query["from"], query["to"], protocol=query["proto"], port=query["port"])
    egress, ingress = (
        0 if side is None else VERDICTS[side.verdict] for side in (decision.egress, decision.ingress)
    )
    arrives = egress != VERDICTS["deny"]
    assert found == (VERDICTS[decision.verdict], egress, ingress if arrives else 0), query
    return True

"""
What members publish of their pods' identities holds together, and Cilium's readers would take all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import fleetmesh as fm
from fleetmesh.errors import RangeExhaustedError
from fleetmesh.identity.allocations import Allocations
from fleetmesh.mesh.mesh import Mesh
from fleetmesh.records import IdentityRecord, IpRecord
from fleetmesh.state import keys
from fleetmesh.state.codecs import Exporter, decode, encode

SHOP = Path(__file__).parents[2] / "examples" / "shop"


def pod(name: str, address: str, app: str) -> str:
    return f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: {app}}}}}
spec: {{nodeName: n1, containers: [{{name: c, image: i, ports: [{{name: http, containerPort: 80}}]}}]}}
status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}]}}
"""


NODE = """
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: Hostname, address: n1}, {type: InternalIP, address: 192.0.2.1}]}
"""
TWO = NODE + pod("a-0", "10.1.0.4", "a") + pod("a-1", "10.1.0.5", "a") + pod("b-0", "10.1.0.6", "b")


def published(member: Any) -> tuple[dict[int, str], dict[str, IpRecord]]:
    """Labels by number, and what is said of each address."""
    records = member.records()
    return (
        {each.number: each.labels for each in records if isinstance(each, IdentityRecord)},
        {each.address: each for each in records if isinstance(each, IpRecord)},
    )


@pytest.mark.parametrize("most", [255, 511])
def test_an_address_names_the_number_of_its_pods_labels(most: int) -> None:
    mesh = Mesh("shop", max_connected_clusters=most)
    east = mesh.join("east", cluster_id=7)
    east.apply(TWO)

    labels, addresses = published(east)

    assert len(labels) == 2
    assert addresses["10.1.0.4"].identity == addresses["10.1.0.5"].identity
    for address, app in (("10.1.0.4", "a"), ("10.1.0.6", "b")):
        number = addresses[address].identity
        assert number in Exporter("east", 7, most).identities
        assert f"k8s:app={app};" in labels[number]
        assert "generated:io.cilium.k8s.named-ports=http.TCP.80;" in labels[number]
        assert "k8s:io.cilium.k8s.policy.cluster=east;" in labels[number]
    assert {each.host for each in addresses.values()} == {"192.0.2.1"}


def test_a_pod_whose_labels_have_no_number_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Allocations.identities

    def exhausted(self: Allocations, cluster: str, wanted: Iterable[str], bits: int) -> dict[str, int]:
        texts = list(wanted)
        if any("k8s:app=b" in each for each in texts):
            raise RangeExhaustedError(cluster, "identity", [])
        return given(self, cluster, texts, bits)

    monkeypatch.setattr(Allocations, "identities", exhausted)
    east = Mesh("shop").join("east", cluster_id=1)
    east.apply(TWO)

    labels, addresses = published(east)

    assert "range-exhausted" in {each.code for each in east.findings}
    assert set(addresses) == {"10.1.0.4", "10.1.0.5"}
    assert set(labels) == {each.identity for each in addresses.values()}


def test_all_that_an_example_publishes_is_read_again() -> None:
    mesh = fm.Mesh.from_directory(SHOP)
    count = 0
    for member in mesh.members.values():
        exporter = Exporter(member.name, member.cluster_id)
        for record in member.records():
            kind, name = keys.name_of(record)
            assert decode(kind, name, encode(record), exporter) == record
            count += 1

    assert count > 20

"""
Three members publish of their objects what Cilium's clustermesh-apiserver wrote of the same objects.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from fleetmesh import Mesh
from fleetmesh.state import codecs, keys
from fleetmesh.state.codecs.zstd import decompress

GOLDEN = Path(__file__).parent
OBJECTS = GOLDEN / "kvstore-objects"
IDS = {"alpha": 1, "beta": 2, "gamma": 3}

# Of an ExternalName Service Cilium writes a frontend without an address, and its own readers refuse it whole.
EXTERNAL = "cilium/state/services/v1/{}/shop/extname"


def written(cluster: str) -> dict[str, bytes]:
    """Key -> value of what Cilium wrote of a cluster's own state; of slices, what was compressed."""
    found = {}
    for entry in json.loads((GOLDEN / "kvstore.json").read_text())["entries"]:
        if entry["store"] == cluster and entry["key"].startswith("cilium/state/"):
            found[entry["key"]] = (
                base64.b64decode(entry["message"]) if "message" in entry else entry["value"].encode()
            )
    return found


def published(mesh: Mesh, cluster: str) -> dict[str, bytes]:
    found = {}
    for record in mesh.members[cluster].records():
        # No operator ran where Cilium wrote, so that nobody made Services of the exports that were heard.
        if getattr(record, "name", "").startswith("derived-"):
            continue
        value = codecs.encode(record)
        kind = keys.kind_of(record)
        found[keys.key_of(record, cached=False)] = decompress(value) if kind == "endpointslices" else value
    return found


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    made = Mesh("golden")
    for cluster, number in IDS.items():
        made.join(cluster, cluster_id=number).apply(OBJECTS / f"{cluster}.yaml")
    return made


@pytest.mark.parametrize("cluster", IDS)
def test_the_same_keys_and_bytes_are_written(mesh: Mesh, cluster: str) -> None:
    expected = written(cluster)
    assert len(expected) > 35
    external = EXTERNAL.format(cluster)
    expected[external] = expected[external].replace(b'"frontends":{"":{}}', b'"frontends":{}')

    found = published(mesh, cluster)

    assert sorted(found) == sorted(expected)
    for key, value in expected.items():
        assert found[key] == value, key


def test_none_of_the_objects_is_unknown(mesh: Mesh) -> None:
    assert {each.code for each in mesh.findings} & {
        "unknown-kind",
        "unknown-field",
        "manifest-problem",
    } == set()

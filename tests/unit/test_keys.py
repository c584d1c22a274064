"""
The layout of a store's keys, with all that is irregular about it.
"""

from __future__ import annotations

import pytest

from fleetmesh.records import (
    EndpointsRecord,
    ExportRecord,
    IdentityRecord,
    IpRecord,
    NodeRecord,
    Record,
    ServiceRecord,
)
from fleetmesh.state import keys
from fleetmesh.state.keys import Kind

PREFIXES = {
    "nodes": ("cilium/state/nodes/v1/east/", "cilium/cache/nodes/v1/east/"),
    "services": ("cilium/state/services/v1/east/", "cilium/cache/services/v1/east/"),
    "endpointslices": ("cilium/state/endpointslices/v1/east/", "cilium/cache/endpointslices/v1/east/"),
    "serviceexports": ("cilium/state/serviceexports/v1/east/", "cilium/cache/serviceexports/v1/east/"),
    "ip": ("cilium/state/ip/v1/default/", "cilium/cache/ip/v1/east/"),
    "identities": ("cilium/state/identities/v1/id/", "cilium/cache/identities/v1/east/id/"),
}

RECORDS: list[tuple[Record, Kind, str]] = [
    (NodeRecord(name="n1", cluster="east", cluster_id=1), "nodes", "n1"),
    (
        ServiceRecord(cluster="east", cluster_id=1, namespace="shop", name="web", frontends={}, backends={}),
        "services",
        "shop/web",
    ),
    (EndpointsRecord(cluster="east", cluster_id=1, namespace="shop", name="a"), "endpointslices", "shop/a"),
    (ExportRecord(cluster="east", namespace="shop", name="web"), "serviceexports", "shop/web"),
    (
        IpRecord(cluster="east", cluster_id=1, address="fd00::/64", host="", identity=6),
        "ip",
        "fd00::/64",
    ),
    (IdentityRecord(cluster="east", cluster_id=1, number=65537, labels=""), "identities", "65537"),
]


@pytest.mark.parametrize("kind", keys.KINDS)
def test_a_kind_stands_below_its_prefix(kind: Kind) -> None:
    assert (keys.prefix(kind, "east", cached=False), keys.prefix(kind, "east", cached=True)) == PREFIXES[kind]


@pytest.mark.parametrize("kind", keys.KINDS)
def test_the_mark_of_a_kind_leaves_out_what_is_irregular(kind: Kind) -> None:
    assert keys.synced_key("east", kind, cached=False) == f"cilium/synced/east/cilium/state/{kind}/v1"
    assert keys.synced_key("east", kind, cached=True) == f"cilium/synced/east/cilium/cache/{kind}/v1"
    assert keys.synced_key("east", kind, cached=True).startswith(keys.synced_prefix("east"))


@pytest.mark.parametrize(("record", "kind", "name"), RECORDS, ids=[kind for _, kind, _ in RECORDS])
def test_a_record_has_a_key_in_either_form(record: Record, kind: Kind, name: str) -> None:
    state, cache = PREFIXES[kind]

    assert keys.kind_of(record) == kind
    assert keys.name_of(record) == (kind, name)
    assert keys.key_of(record, cached=False) == state + name
    assert keys.key_of(record, cached=True) == cache + name


def test_all_kinds_have_records() -> None:
    assert set(keys.KINDS) == set(PREFIXES) == {kind for _, kind, _ in RECORDS}


def test_a_configuration_stands_at_the_clusters_name() -> None:
    assert keys.config_key("east") == "cilium/cluster-config/east"
    assert keys.config_key("east").startswith(keys.CONFIG_PREFIX)
    assert keys.HEARTBEAT == "cilium/.heartbeat"


def test_the_prefix_of_one_cluster_is_none_of_a_longer_named_one() -> None:
    assert not keys.prefix("nodes", "c10", cached=False).startswith(keys.prefix("nodes", "c1", cached=False))
    assert not keys.synced_prefix("c10").startswith(keys.synced_prefix("c1"))

"""
What real Cilium wrote into etcd is read, written again to the same bytes, and found at the same keys.
"""

from __future__ import annotations

from collections import Counter

import attrs
import pytest

from doubles.kvstore_values import CLUSTERS, Golden, golden, placed
from fleetmesh.errors import WireError
from fleetmesh.records import EndpointsRecord, IdentityRecord
from fleetmesh.state import keys
from fleetmesh.state.codecs import (
    decode,
    decode_config,
    decode_time,
    encode,
    encode_config,
    encode_time,
    validate_config,
)
from fleetmesh.state.codecs.endpointslices import write_message

VALUES = golden()
REFUSED = {
    "cilium/state/services/v1/alpha/shop/extname": "frontends['']: '' is no IP address",
    "cilium/state/services/v1/beta/shop/extname": "frontends['']: '' is no IP address",
    "cilium/state/services/v1/gamma/shop/extname": "frontends['']: '' is no IP address",
    "cilium/cache/services/v1/beta/shop/extname": "frontends['']: '' is no IP address",
    "cilium/cache/services/v1/delta/shop/bad": "cluster: is 'wrong', expected 'delta'",
    "cilium/cache/identities/v1/delta/id/1001": ("1001 is none of cluster 4's, which has 262144 to 327679"),
}
"""What Cilium's own readers refuse too; delta's were written by hand to be refused."""

RECORDS = [value for value in VALUES if placed(value) is not None]
OTHERS = [value for value in VALUES if placed(value) is None]


def test_the_corpus_is_whole() -> None:
    assert len(VALUES) == 214
    assert Counter(where.kind for value in RECORDS if (where := placed(value)) is not None) == {
        "endpointslices": 60,
        "services": 62,
        "ip": 16,
        "nodes": 10,
        "serviceexports": 8,
        "identities": 12,
    }
    assert set(REFUSED) <= {value.key for value in VALUES}


@pytest.mark.parametrize("value", RECORDS, ids=[f"{value.store}:{value.key}" for value in RECORDS])
def test_a_value_is_read_and_written_to_the_same_bytes(value: Golden) -> None:
    where = placed(value)
    assert where is not None
    if value.key in REFUSED:
        with pytest.raises(WireError) as raised:
            decode(where.kind, where.name, value.value, where.exporter)
        assert str(raised.value) == REFUSED[value.key]
        return

    record = decode(where.kind, where.name, value.value, where.exporter)

    assert keys.key_of(record, cached=where.cached) == value.key
    assert keys.name_of(record) == (where.kind, where.name)
    assert keys.kind_of(record) == where.kind
    if isinstance(record, EndpointsRecord):
        assert write_message(record) == value.message
        assert decode(where.kind, where.name, encode(record), where.exporter) == record
    else:
        assert encode(record) == value.value


@pytest.mark.parametrize("value", OTHERS, ids=[f"{value.store}:{value.key}" for value in OTHERS])
def test_what_is_no_record_is_read_and_written_too(value: Golden) -> None:
    cluster = value.key.split("/")[2] if value.key.count("/") > 1 else ""
    if value.key == keys.config_key(cluster):
        config = decode_config(value.value)
        assert encode_config(config) == value.value
        assert config.cluster_id == CLUSTERS[cluster].cluster_id
        validate_config(config, max_connected_clusters=255)
    elif value.key == keys.HEARTBEAT:
        assert encode_time(decode_time(value.value)) == value.value
    elif value.key.startswith(keys.synced_prefix(cluster)):
        every = {
            keys.synced_key(cluster, kind, cached=cached) for kind in keys.KINDS for cached in (False, True)
        }
        assert value.key in every
        assert encode_time(decode_time(value.value)) == value.value
    else:
        assert value.key.startswith("cilium/kvstoremesh-lock/")


def test_a_mesh_of_511_has_other_numbers_for_identities() -> None:
    """Gamma says that it is one of 511, and its identities were written by hand as if it were not."""
    for value in RECORDS:
        where = placed(value)
        if where is None or where.kind != "identities" or where.exporter.cluster != "gamma":
            continue
        assert isinstance(decode("identities", where.name, value.value, where.exporter), IdentityRecord)
        wide = attrs.evolve(where.exporter, max_connected_clusters=511)
        with pytest.raises(WireError, match="none of cluster 3's, which has 98304 to 131071"):
            decode("identities", where.name, value.value, wide)

"""
What clusters say of themselves, and the times beside it.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from fleetmesh.errors import WireError
from fleetmesh.state.codecs import (
    ClusterConfig,
    decode_config,
    decode_time,
    encode_config,
    encode_time,
    validate_config,
)

CONFIG = ClusterConfig(
    cluster_id=3,
    synced_canaries=True,
    cached=True,
    max_connected_clusters=255,
    service_exports_enabled=False,
    endpoint_slices_export_mode="services-and-endpointslices",
)
WRITTEN = (
    b'{"id":3,"capabilities":{"syncedCanaries":true,"cached":true,"maxConnectedClusters":255,'
    b'"serviceExportsEnabled":false,"endpointSlicesExportMode":"services-and-endpointslices"}}'
)


def test_a_configuration_is_written_as_cilium_writes_it() -> None:
    assert encode_config(CONFIG) == WRITTEN
    assert decode_config(WRITTEN) == CONFIG


def test_what_is_not_said_is_left_out() -> None:
    assert encode_config(ClusterConfig(cluster_id=0)) == b'{"capabilities":{}}'
    assert encode_config(ClusterConfig(cluster_id=1, service_exports_enabled=True)) == (
        b'{"id":1,"capabilities":{"serviceExportsEnabled":true}}'
    )


@pytest.mark.parametrize("value", [b"{}", b'{"capabilities":null}', b'{"capabilities":{"cached":null}}'])
def test_nothing_said_is_nothing(value: bytes) -> None:
    assert decode_config(value) == ClusterConfig(cluster_id=0)


def test_no_exported_services_are_told_apart_from_not_knowing_of_them() -> None:
    assert decode_config(b'{"capabilities":{"serviceExportsEnabled":null}}').service_exports_enabled is None
    assert decode_config(b'{"capabilities":{"serviceExportsEnabled":false}}').service_exports_enabled is False


def test_capabilities_that_nobody_knows_are_kept_and_told() -> None:
    value = (
        b'{"id":3,"new":[1,{"x":null}],'
        b'"capabilities":{"Cached":true,"teleport":{"to":"\\u003cmars"},"level":9}}'
    )

    config = decode_config(value)

    assert config.cached
    assert config.unknown == {"teleport": {"to": "<mars"}, "level": 9}
    assert config.unknown_fields == {"new": [1, {"x": None}]}
    assert encode_config(config) == (
        b'{"id":3,"capabilities":{"cached":true,"teleport":{"to":"\\u003cmars"},"level":9},"new":[1,{"x":null}]}'
    )
    validate_config(config, max_connected_clusters=255)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b'{"id":"3"}',
        b'{"id":-1}',
        b'{"id":4294967296}',
        b'{"id":3.0}',
        b'{"capabilities":[]}',
        b'{"capabilities":{"cached":"true"}}',
        b'{"capabilities":{"endpointSlicesExportMode":true}}',
        b'{"capabilities":' + b"[" * 100_000,
    ],
)
def test_what_is_no_configuration_is_refused(value: bytes) -> None:
    with pytest.raises(WireError):
        decode_config(value)


@pytest.mark.parametrize(
    ("changes", "most", "reason"),
    [
        ({"cluster_id": 0}, 255, "id: is 0, expected 1 to 255"),
        ({"cluster_id": 256}, 255, "id: is 256, expected 1 to 255"),
        ({"cluster_id": 512}, 511, "id: is 512, expected 1 to 511"),
        ({}, 511, "capabilities.maxConnectedClusters: is 255, and 511 here"),
        ({"max_connected_clusters": 0}, 511, "capabilities.maxConnectedClusters: is 0, and 511 here"),
        (
            {"endpoint_slices_export_mode": "both"},
            255,
            "capabilities.endpointSlicesExportMode: is 'both', expected services-and-endpointslices or",
        ),
    ],
)
def test_a_cluster_that_cilium_would_not_connect_to_is_refused(
    changes: dict[str, Any], most: int, reason: str
) -> None:
    with pytest.raises(WireError) as raised:
        validate_config(attrs.evolve(CONFIG, **changes), max_connected_clusters=most)

    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({}, 255),
        ({"max_connected_clusters": 511, "cluster_id": 255}, 255),
        ({"max_connected_clusters": 511, "cluster_id": 511}, 511),
        ({"endpoint_slices_export_mode": "endpointslices-only"}, 255),
        ({"endpoint_slices_export_mode": ""}, 255),
    ],
)
def test_only_a_mesh_of_511_asks_for_another_of_511(changes: dict[str, Any], most: int) -> None:
    validate_config(attrs.evolve(CONFIG, **changes), max_connected_clusters=most)


def test_times_are_written_to_the_second() -> None:
    assert encode_time(0) == b"1970-01-01T00:00:00Z"
    assert encode_time(1_795_481_561.9) == b"2026-11-24T00:52:41Z"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1970-01-01T00:00:10Z", 10),
        (b"1970-01-01T02:00:10+02:00", 10),
        (b"1969-12-31T18:30:10-05:30", 10),
        (b"1970-01-01T00:00:10.25Z", 10.25),
        (b"1970-01-01T00:00:10,2500001Z", 10.25),
        (b"1970-01-01T0:00:10Z", 10),
        (b"2024-02-29T23:59:59Z", 1_709_251_199),
    ],
)
def test_times_are_read_as_go_reads_them(value: bytes, seconds: float) -> None:
    assert decode_time(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"now",
        b"1970-01-01",
        b"1970-01-01T00:00:10",
        b"1970-01-01 00:00:10Z",
        b"1970-01-01T00:00:10z",
        b"1970-01-01T24:00:00Z",
        b"1970-01-01T00:00:60Z",
        b"1970-13-01T00:00:00Z",
        b"2023-02-29T00:00:00Z",
        b"1970-01-01T00:00:10+25:00",
        b"1970-01-01T00:00:10.Z",
        b"1970-01-01T00:00:10Z\n",
        "\u0661970-01-01T00:00:10Z".encode(),
        b"\xff" * 1000,
    ],
)
def test_what_is_no_time_is_refused(value: bytes) -> None:
    with pytest.raises(WireError, match="is no time of RFC 3339"):
        decode_time(value)

"""
What a cluster says of itself before all else (Cilium pkg/clustermesh/types/types.go, `CiliumClusterConfig`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs
import msgspec

from fleetmesh.errors import WireError
from fleetmesh.state.codecs import gojson
from fleetmesh.state.codecs.fields import UInt32
from fleetmesh.state.codecs.words import shown

EXPORT_MODES = ("", "services-and-endpointslices", "endpointslices-only")
"""What a cluster exports of a service: "" is `services/v1` alone, all that there was before 1.20."""

_USUAL = 255
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class ClusterConfig:
    """
    Attributes:
        cluster_id: 0 where it says none.
        synced_canaries: It marks what it has written in whole.
        cached: What is there is a copy, in its own form (see `keys`).
        max_connected_clusters: 255 or 511; 0 where it says nothing, as before 1.15.
        service_exports_enabled: None where it knows nothing of exported services; False where it has none,
            and marks them nevertheless.
        endpoint_slices_export_mode: One of `EXPORT_MODES`, or something newer.
        unknown: Capabilities that this version does not know, by their names.
        unknown_fields: What else stands beside the capabilities.
    """

    cluster_id: int
    synced_canaries: bool = False
    cached: bool = False
    max_connected_clusters: int = 0
    service_exports_enabled: bool | None = None
    endpoint_slices_export_mode: str = ""
    unknown: Mapping[str, Any] = _NOTHING
    unknown_fields: Mapping[str, Any] = _NOTHING


class _Capabilities(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    synced_canaries: bool | None = None
    cached: bool | None = None
    max_connected_clusters: UInt32 | None = None
    service_exports_enabled: bool | None = None
    endpoint_slices_export_mode: str | None = None


class _Config(msgspec.Struct, forbid_unknown_fields=True):
    id: UInt32 | None = None
    capabilities: _Capabilities | None = None


_READER = gojson.Reader(_Config)


def encode_config(config: ClusterConfig) -> bytes:
    """The JSON of `cluster-config`; what is unknown stands behind what is known."""
    known: dict[str, Any] = {
        "syncedCanaries": config.synced_canaries or None,
        "cached": config.cached or None,
        "maxConnectedClusters": config.max_connected_clusters or None,
        "serviceExportsEnabled": config.service_exports_enabled,
        "endpointSlicesExportMode": config.endpoint_slices_export_mode or None,
    }
    capabilities = {name: held for name, held in known.items() if held is not None}
    value: dict[str, Any] = {"id": config.cluster_id} if config.cluster_id else {}
    return gojson.write(
        value | {"capabilities": capabilities | dict(config.unknown)} | dict(config.unknown_fields)
    )


def decode_config(value: bytes) -> ClusterConfig:
    """
    Raises:
        WireError: It is no configuration. Whether one may connect to such a cluster is another question:
            `validate_config`.
    """
    read = _READER.read(value)
    known = read.capabilities or _Capabilities()
    given = gojson.parse(value)
    held = [each for name, each in given if gojson.fold(name) == "capabilities"]
    return ClusterConfig(
        cluster_id=read.id or 0,
        synced_canaries=bool(known.synced_canaries),
        cached=bool(known.cached),
        max_connected_clusters=known.max_connected_clusters or 0,
        service_exports_enabled=known.service_exports_enabled,
        endpoint_slices_export_mode=known.endpoint_slices_export_mode or "",
        unknown=_others(held[-1] if held else None, _Capabilities),
        unknown_fields=_others(given, _Config),
    )


def validate_config(config: ClusterConfig, *, max_connected_clusters: int) -> None:
    """
    What Cilium asks of another cluster before it takes anything from it (pkg/clustermesh/types/option.go,
    `ValidateRemoteConfig`).

    Args:
        max_connected_clusters: Of this mesh. Only one of 511 asks that the other is one as well.

    Raises:
        WireError: Something is not as it has to be.
    """
    if not 0 < config.cluster_id <= max_connected_clusters:
        raise WireError("id", f"is {config.cluster_id}, expected 1 to {max_connected_clusters}")
    if max_connected_clusters not in (_USUAL, config.max_connected_clusters):
        raise WireError(
            "capabilities.maxConnectedClusters",
            f"is {config.max_connected_clusters}, and {max_connected_clusters} here",
        )
    if config.endpoint_slices_export_mode not in EXPORT_MODES:
        known = " or ".join(filter(None, EXPORT_MODES))
        raise WireError(
            "capabilities.endpointSlicesExportMode",
            f"is {shown(config.endpoint_slices_export_mode)}, expected {known}, or nothing",
        )


def _others(given: Any, struct: type[msgspec.Struct]) -> Mapping[str, Any]:
    known = {gojson.fold(field.encode_name) for field in msgspec.structs.fields(struct)}
    if not isinstance(given, gojson.Members):
        return _NOTHING
    return MappingProxyType(
        {gojson.text(name): _plain(value) for name, value in given if gojson.fold(name) not in known}
    )


def _plain(value: Any) -> Any:
    """A value that nobody knows; a number that is no integer of 64 bits is lost."""
    if isinstance(value, gojson.Members):
        return {gojson.text(name): _plain(each) for name, each in value}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return gojson.text(value) if isinstance(value, str) else value

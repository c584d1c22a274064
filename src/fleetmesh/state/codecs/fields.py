"""
What the values of several kinds have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, TypeAlias

import msgspec

from fleetmesh.errors import WireError
from fleetmesh.resources.model import EMPTY
from fleetmesh.state.codecs.exporter import Exporter
from fleetmesh.state.codecs.words import shown

UInt8: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=0xFF)]
UInt16: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
UInt32: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
Int32: TypeAlias = Annotated[int, msgspec.Meta(ge=-(1 << 31), le=(1 << 31) - 1)]


def check_cluster(got: str, exporter: Exporter, field: str = "cluster") -> None:
    """
    Raises:
        WireError: The value names another cluster than the one whose it should be, or none.
    """
    if got != exporter.cluster:
        raise WireError(field, f"is {shown(got)}, expected {exporter.cluster!r}" if got else "is unset")


def check_cluster_id(got: int, exporter: Exporter, field: str = "clusterID") -> None:
    """
    Raises:
        WireError: The value has another id than its cluster.
    """
    if got != exporter.cluster_id:
        raise WireError(field, f"is {got}, expected {exporter.cluster_id}")


def check_key(namespace: str, name: str, key: str) -> None:
    """
    Raises:
        WireError: The value is of another object than its key, or doesn't say of which. Stricter than Cilium:
            a namespace with a slash, of which the key does not tell where it ends.
    """
    if not namespace:
        raise WireError("namespace", "is unset")
    if "/" in namespace:
        raise WireError("namespace", f"is {shown(namespace)}, with a slash")
    if not name:
        raise WireError("name", "is unset")
    if f"{namespace}/{name}" != key:
        raise WireError("name", f"is {shown(f'{namespace}/{name}')}, expected {shown(key)} as in the key")


def texts(mapping: Mapping[str, str | None] | None) -> Mapping[str, str]:
    """A map of texts, read only; null is the empty text to Go."""
    if not mapping:
        return EMPTY
    return MappingProxyType({key: value or "" for key, value in mapping.items()})

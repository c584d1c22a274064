"""
Maglev look-up tables, equal to Cilium's byte for byte (pkg/maglev).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import attrs
import numpy as np
import numpy.typing as npt

from fleetmesh import _core

__all__ = [
    "DEFAULT_SEED",
    "DEFAULT_SIZE",
    "SIZES",
    "Candidate",
    "Disruption",
    "Protocol",
    "disruption",
    "lookup_table",
]

Protocol = Literal["TCP", "UDP", "SCTP", "ANY", "NONE"]
Table = npt.NDArray[np.uint32]

SIZES = tuple(_core.maglev_sizes())
"""The sizes that Cilium takes (`--bpf-lb-maglev-table-size`)."""
DEFAULT_SIZE = 16381
DEFAULT_SEED = "JLfvgnHc2kaSUFaI"
"""Cilium's own (`--bpf-lb-maglev-hash-seed`)."""

_PROTOCOLS = get_args(Protocol)
_MOST = {"id": 2**32 - 2, "port": 2**16 - 1, "weight": 2**16 - 1, "cluster_id": 2**32 - 1}


def _number(_candidate: object, field: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST[field.name]:
        raise ValueError(f"{field.name} is {value!r}; expected a whole number in 0..{_MOST[field.name]}")


def _protocol(_candidate: object, _field: object, value: object) -> None:
    if value not in _PROTOCOLS:
        raise ValueError(f"protocol is {value!r}; expected one of {', '.join(_PROTOCOLS)}")


def _internal(_candidate: object, _field: object, value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"internal is {value!r}; expected true or false")


@attrs.frozen
class Candidate:
    """
    A backend that a table may send connections to.

    Raises ValueError, naming the field and what was expected, if Cilium could not have such a backend.

    Attributes:
        id: What stands in the table for it: any number but 4294967295, which means "free" to Cilium.
        address: IPv4 or IPv6, with a zone where it has one; part of the text that is hashed, as are port,
            protocol, internal and cluster_id.
        weight: How often it has a turn, relative to the others. Weights with a mean below 2 do not count;
            where they count, weight 0 still gets one entry.
        internal: Of scope internal (traffic from inside the cluster).
        cluster_id: 0 where pod addresses are unique in the mesh.
    """

    id: int = attrs.field(validator=_number)
    address: str = attrs.field()
    port: int = attrs.field(validator=_number)
    protocol: Protocol = attrs.field(default="TCP", validator=_protocol)
    weight: int = attrs.field(default=100, validator=_number)
    internal: bool = attrs.field(default=False, validator=_internal)
    cluster_id: int = attrs.field(default=0, validator=_number)

    @address.validator
    def _address(self, _field: object, value: object) -> None:
        if not isinstance(value, str):
            raise ValueError(f"address is {value!r}; expected a string")

    def __attrs_post_init__(self) -> None:
        _core.maglev_text(self._row())

    @property
    def text(self) -> str:
        """
        What Cilium sorts and hashes it by.

        >>> Candidate(1, "fd00::1", 80, cluster_id=5).text
        '[[fd00::1@5]:80/TCP,State:active]'
        """
        return _core.maglev_text(self._row())

    def _row(self) -> tuple[int, str, int, str, int, bool, int]:
        return (
            self.id,
            self.address,
            self.port,
            self.protocol,
            self.weight,
            self.internal,
            self.cluster_id,
        )


def lookup_table(
    candidates: Iterable[Candidate], size: int = DEFAULT_SIZE, seed: str = DEFAULT_SEED
) -> Table:
    """
    Cilium's table: the id that each of `size` entries leads to.

    The order of candidates does not matter. The array can't be written to: calls for the same share it.

    Raises:
        ValueError: There is no candidate, two have the same text, the size is not in `SIZES`, or the seed is
            not the base64 of 12 bytes.
    """
    rows = [candidate._row() for candidate in candidates]
    _check_table(size, seed)
    return _core.maglev_table(rows, size, seed)


def _check_table(size: object, seed: object) -> None:
    if type(size) is not int or size not in SIZES:
        raise ValueError(f"size is {size!r}; expected one of {', '.join(map(str, SIZES))}")
    if not isinstance(seed, str):
        raise ValueError(f"seed is {seed!r}; expected a string, the base64 of 12 bytes")


@attrs.frozen
class Disruption:
    """
    What a change of candidates does to who has which entry, in parts of the table.

    Attributes:
        moved: Entries that lead to another backend than before.
        ideal: Entries that had to, given how many each backend has afterwards.
    """

    moved: float
    ideal: float

    @property
    def excess(self) -> float:
        """Entries that moved although they need not have."""
        return self.moved - self.ideal


def disruption(before: npt.ArrayLike, after: npt.ArrayLike) -> Disruption:
    """
    What moves between two tables of ids.

    Raises:
        ValueError: They are empty, not of one dimension, not of the same length, or not ids.
    """
    first, second = _ids("before", before), _ids("after", after)
    moved, ideal = _core.maglev_movement(first, second)
    return Disruption(moved / first.size, ideal / first.size)


def _ids(name: str, table: npt.ArrayLike) -> Table:
    array = np.asarray(table)
    if array.size == 0:
        raise ValueError(f"{name} is empty; expected a table of ids")
    if array.ndim != 1 or array.dtype.kind not in "ui" or array.min() < 0 or array.max() >= 2**32:
        raise ValueError(
            f"{name} is an array of {array.dtype}, shape {array.shape}; expected a table of uint32"
        )
    return np.ascontiguousarray(array, dtype=np.uint32)

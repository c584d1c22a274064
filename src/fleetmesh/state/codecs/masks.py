"""
Masks of networks, as Go's net.IPMask is written: bytes in base64, or null.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from functools import lru_cache
from typing import TypeAlias

from fleetmesh.errors import WireError
from fleetmesh.state.codecs.addresses import bits_of, length_of, mask_of
from fleetmesh.state.codecs.fields import UInt8
from fleetmesh.state.codecs.words import shown

Mask: TypeAlias = str | list[UInt8 | None]
"""Go takes a list of numbers for bytes as well."""

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


@lru_cache(maxsize=256)
def _written(length: int, bits: int) -> str:
    return b64encode(mask_of(length, bits)).decode()


def write_mask(length: int, address: str) -> str:
    """The mask of a prefix length, as long as an address of that family."""
    return _written(length, bits_of(address))


def length(mask: Mask, bits: int, field: str) -> int:
    """
    The prefix length of a mask of so many bits.

    Raises:
        WireError: It is no mask of a network, or one of the other family.
    """
    found = None
    if isinstance(mask, list):
        found = bytes(each or 0 for each in mask)
    elif _BASE64.fullmatch(text := mask.replace("\n", "").replace("\r", "")):
        found = b64decode(text)
    if found is None:
        raise WireError(field, f"{shown(str(mask))} is not base64")
    ones = length_of(found) if len(found) * 8 == bits else None
    if ones is None:
        raise WireError(field, f"{found[:16].hex() or 'nothing'} is no mask of {bits} bits")
    return ones

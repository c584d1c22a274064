"""
How much of a service's Maglev tables moves between two states.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from fleetmesh._core import Selection
    from fleetmesh._core import Tables as CoreTables

# Type, scope, IPv6, port and protocol: what is the same for a frontend that gets another address.
Kind: TypeAlias = tuple[int, bool, bool, int, int]
Selections: TypeAlias = "Mapping[Kind, Selection]"


@attrs.frozen
class Movement:
    """
    Attributes:
        moved: The part of a table that leads elsewhere, 0..1; `None` where tables can't be compared.
        excess: The part that moved though it need not have.
    """

    moved: float | None
    excess: float | None


STILL = Movement(0.0, 0.0)
_GONE = Movement(1.0, 0.0)
_INCOMPARABLE = Movement(None, None)


def selections_of(tables: CoreTables | None, namespace: str, name: str) -> Selections:
    """What each kind of frontend of a service selects."""
    rows = [] if tables is None else tables.frontends(namespace, name)
    return MappingProxyType(
        {
            (kind, internal, ":" in address, port, protocol): selection
            for kind, internal, address, port, protocol, _, selection in rows
        }
    )


def movement(before: Selections, after: Selections) -> Movement:
    """Of the frontend whose table moves the most; one that goes takes all of its table along."""
    found = [STILL]
    for kind, selection in before.items():
        if kind in after:
            parts = selection.movement(after[kind])
            if parts is None:
                return _INCOMPARABLE
            moved, ideal = parts
            found.append(Movement(moved, round(moved - ideal, 12)))
        elif selection.in_use:
            found.append(_GONE)
    return max(found, key=lambda each: (each.moved or 0.0, each.excess or 0.0))

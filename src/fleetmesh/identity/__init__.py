"""
What a cluster would hand out by itself: ranges and addresses, as a value that can be saved.
"""

from __future__ import annotations

from fleetmesh.identity.allocations import Allocations, Holder
from fleetmesh.identity.ranges import (
    Family,
    Network,
    RangeRequest,
    Ranges,
    What,
    apart,
    default_ranges,
    overlap,
    parse_networks,
)

__all__ = [
    "Allocations",
    "Family",
    "Holder",
    "Network",
    "RangeRequest",
    "Ranges",
    "What",
    "apart",
    "default_ranges",
    "overlap",
    "parse_networks",
]

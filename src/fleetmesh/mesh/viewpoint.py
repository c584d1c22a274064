"""
One state of a mesh, as readers have it: nothing in it ever changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from fleetmesh._core import Snapshot


@attrs.frozen
class Viewpoint:
    """
    Attributes:
        snapshot: The facts of the core.
        names: Cluster id -> name, in order of ids.
        failed: The ids of members that are cut off.
    """

    snapshot: Snapshot
    names: Mapping[int, str]
    failed: frozenset[int] = frozenset()

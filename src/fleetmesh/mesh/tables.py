"""
The tables of a mesh's viewers, each made of the ones before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from weakref import WeakValueDictionary

import attrs

from fleetmesh import _core
from fleetmesh.mesh.viewpoint import Viewpoint
from fleetmesh.tables import Tables


def core_tables(view: Viewpoint, number: int, node: str | None) -> _core.Tables | None:
    """What a viewer decides with; `None` where it has failed."""
    if number in view.failed:
        return None
    settings = view.member(number).settings
    return _core.tables(view.snapshot, number, node, settings.maglev_table_size, settings.maglev_hash_seed)


@attrs.frozen
class TableKeeper:
    """
    Remembers the newest tables of each viewer as long as somebody has them, so that newer ones cost what
    changed.
    """

    _newest: WeakValueDictionary[tuple[str, int, str], Tables] = attrs.field(factory=WeakValueDictionary)

    def get(
        self, view: Viewpoint, number: int, node: str | None, policy: Callable[[], _core.PolicyTables]
    ) -> Tables:
        """The viewer's tables at that state; those of policy are made when they are asked for."""
        viewer = view.names[number] if node is None else f"{view.names[number]}/{node}"
        settings = view.member(number).settings
        key = (viewer, settings.maglev_table_size, settings.maglev_hash_seed)
        last = self._newest.get(key)
        if last is not None and last._view is view:
            return last
        if last is None or last._core is None or last._core.cluster_id != number or number in view.failed:
            core = core_tables(view, number, node)
        else:
            core = last._core.advance(view.snapshot)
        tables = Tables(viewer, view.snapshot.generation, view, number, node, core, cache(policy))
        self._newest[key] = tables
        return tables

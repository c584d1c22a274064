"""
What a store has of a member, beside what the member would publish: read only, while another process writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import WireError
from fleetmesh.mesh.publish import records_of
from fleetmesh.state.codecs import decode_config, encode
from fleetmesh.state.keys import KINDS, Kind, config_key, key_of, kind_of, prefix

if TYPE_CHECKING:
    from fleetmesh.mesh.viewpoint import Viewpoint
    from fleetmesh.state.store import Store


@attrs.frozen(kw_only=True)
class KindPublished:
    """
    Of one kind of records, how many.

    Attributes:
        same: Are in the store as the member has them.
        different: Have another value there.
        missing: Are not there.
        surplus: Are there, and the member has none such.
    """

    same: int = 0
    different: int = 0
    missing: int = 0
    surplus: int = 0


@attrs.frozen(kw_only=True)
class Published:
    """
    Attributes:
        cluster_id: That the store gives the member; `None` where it says nothing of it that can be read.
        kinds: Those that the member or the store has any of.
    """

    cluster_id: int | None
    kinds: Mapping[Kind, KindPublished]

    @property
    def complete(self) -> bool:
        """Whether the store has just what the member would publish."""
        return self.cluster_id is not None and all(
            not (each.different or each.missing or each.surplus) for each in self.kinds.values()
        )


async def published(store: Store, view: Viewpoint, name: str, *, cached: bool) -> Published:
    """
    Compare a member with its store.

    Args:
        cached: Whether the store holds several clusters, in `cache` form.

    Raises:
        StoreError: It can't be read.
    """
    wanted: dict[Kind, dict[str, bytes]] = {kind: {} for kind in KINDS}
    for record in records_of(view, name, None):
        wanted[kind_of(record)][key_of(record, cached=cached)] = encode(record)
    kinds = {}
    for kind, values in wanted.items():
        listing = await store.list(prefix(kind, name, cached=cached))
        there = {entry.key: entry.value for entry in listing.entries}
        found = KindPublished(
            same=sum(there.get(key) == value for key, value in values.items()),
            different=sum(key in there and there[key] != value for key, value in values.items()),
            missing=len(values.keys() - there.keys()),
            surplus=len(there.keys() - values.keys()),
        )
        if found != KindPublished():
            kinds[kind] = found
    return Published(cluster_id=await _cluster_id(store, name), kinds=kinds)


async def _cluster_id(store: Store, name: str) -> int | None:
    entry = await store.get(config_key(name))
    try:
        return None if entry is None else decode_config(entry.value).cluster_id
    except WireError:
        return None

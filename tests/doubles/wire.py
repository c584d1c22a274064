"""
A cluster's state in a store, written the slow and obvious way.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleetmesh.records import Record
from fleetmesh.state.codecs import ClusterConfig, encode, encode_config, encode_time
from fleetmesh.state.keys import HEARTBEAT, KINDS, config_key, key_of, synced_key
from fleetmesh.state.store import Delete, Operation, Put, Store


async def write(store: Store, operations: Iterable[Operation]) -> None:
    """In transactions of 100."""
    waiting = list(operations)
    for begin in range(0, len(waiting), 100):
        await store.commit(waiting[begin : begin + 100])


def config_of(cluster_id: int, *, cached: bool = False, limit: int = 255) -> ClusterConfig:
    return ClusterConfig(
        cluster_id=cluster_id,
        synced_canaries=True,
        cached=cached,
        max_connected_clusters=limit,
        service_exports_enabled=True,
        endpoint_slices_export_mode="services-and-endpointslices",
    )


async def write_cluster(
    store: Store, name: str, cluster_id: int, records: Iterable[Record] = (), *, cached: bool = False
) -> None:
    """Everything: what it says of itself, its records, and that these are complete."""
    await write(store, [Put(config_key(name), encode_config(config_of(cluster_id, cached=cached)))])
    await write_records(store, records, cached=cached)
    marks = (synced_key(name, kind, cached=cached) for kind in KINDS)
    await write(store, [Put(mark, encode_time(0)) for mark in marks])


async def write_records(store: Store, records: Iterable[Record], *, cached: bool = False) -> None:
    await write(store, [Put(key_of(record, cached=cached), encode(record)) for record in records])


async def delete_records(store: Store, records: Iterable[Record], *, cached: bool = False) -> None:
    await write(store, [Delete(key_of(record, cached=cached)) for record in records])


async def beat(store: Store, time: float = 0) -> None:
    await write(store, [Put(HEARTBEAT, encode_time(time))])

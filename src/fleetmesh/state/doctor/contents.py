"""
Checks of what a store answers and holds, by etcd's client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing

from fleetmesh.errors import (
    StoreConflictError,
    StoreDeniedError,
    StoreError,
    WireError,
)
from fleetmesh.state.clock import Clock
from fleetmesh.state.codecs import ClusterConfig, decode_config, decode_time, validate_config
from fleetmesh.state.doctor.checks import Check, error, ok, skipped, warning
from fleetmesh.state.keys import (
    CONFIG_PREFIX,
    HEARTBEAT,
    KINDS,
    Kind,
    config_key,
    prefix,
    synced_key,
    synced_prefix,
)
from fleetmesh.state.remote import LONGEST_SILENCE
from fleetmesh.state.store import Put, Store, StoreStatus, Unchanged

_NEVER = 2**62
"""A revision that no store comes to."""

_USUAL_LIMIT = 255


async def check_server(url: str, store: Store) -> tuple[Check, StoreStatus | None]:
    """
    Ask one server, as it is asked when the mesh runs.

    Args:
        store: That has only this server.
    """
    name = "endpoint-etcd"
    try:
        status = await store.status()
    except StoreError as problem:
        return error(name, url, str(problem)), None
    seen = f"etcd {status.version}, cluster id {status.store_id}, revision {status.revision}"
    if not status.has_leader:
        return error(name, url, f"{seen}; it has no leader, so that nothing can be written"), status
    if status.alarms:
        return error(name, url, f"{seen}; alarm {', '.join(status.alarms)}"), status
    return ok(name, url, seen), status


def check_servers(subject: str, told: Mapping[str, StoreStatus | None]) -> Check:
    """
    Whether they are of one store.

    Args:
        told: Server -> what it said, if it did.
    """
    name = "store-servers"
    ids: dict[str, list[str]] = {}
    for url, status in told.items():
        if status is not None:
            ids.setdefault(status.store_id, []).append(url)
    if not ids:
        return skipped(name, subject, "no server answers")
    if len(ids) > 1:
        parts = (
            f"{', '.join(urls)} {'is' if len(urls) == 1 else 'are'} of {each}" for each, urls in ids.items()
        )
        return error(name, subject, f"they are of several etcds: {'; '.join(parts)}")
    silent = [url for url, status in told.items() if status is None]
    if silent:
        return warning(name, subject, f"cluster id {next(iter(ids))}; {', '.join(silent)} not heard")
    return ok(name, subject, f"cluster id {next(iter(ids))}")


async def clusters_in(store: Store) -> tuple[str, ...]:
    """
    The clusters that say in a store what they are.

    Raises:
        StoreError: It can't be read.
    """
    listing = await store.list(CONFIG_PREFIX)
    return tuple(entry.key.removeprefix(CONFIG_PREFIX) for entry in listing.entries)


async def check_heartbeat(subject: str, store: Store, clock: Clock) -> Check:
    """Whether whoever owns the store is alive."""
    name = "heartbeat"
    try:
        entry = await store.get(HEARTBEAT)
        if entry is None:
            return warning(name, subject, f"there is no {HEARTBEAT}; it is written a minute after a start")
        age = clock.time() - decode_time(entry.value)
    except StoreError as problem:
        return error(name, subject, str(problem))
    except WireError as problem:
        return error(name, subject, f"{HEARTBEAT}: {problem}")
    if age > LONGEST_SILENCE:
        return error(name, subject, f"it is {age:.0f} s old")
    if age < -LONGEST_SILENCE:
        return warning(name, subject, f"it is of {-age:.0f} s from now: clocks differ")
    return ok(name, subject, f"it is {max(age, 0):.0f} s old")


async def check_cluster(cluster: str, store: Store, *, publishes: bool) -> AsyncIterator[Check]:
    """
    What the store holds of one cluster, and what the user may do with it.

    Args:
        publishes: Whether this process writes it, so that nothing needs to be there yet.
    """
    subject = f"Cluster {cluster}"
    config: ClusterConfig | None = None
    try:
        config = await _config(cluster, store)
    except StoreError as problem:
        yield error("cluster-config", subject, str(problem))
    except WireError as problem:
        yield error("cluster-config", subject, f"{config_key(cluster)}: {problem}")
    else:
        yield _told(cluster, config, publishes=publishes)
    cached = config is not None and config.cached
    yield await _complete(cluster, config, store)
    yield await _readable(cluster, store, cached=cached)
    if publishes:
        yield await _writable(cluster, store, cached=cached)


async def _config(cluster: str, store: Store) -> ClusterConfig | None:
    entry = await store.get(config_key(cluster))
    if entry is None:
        return None
    config = decode_config(entry.value)
    validate_config(config, max_connected_clusters=config.max_connected_clusters or _USUAL_LIMIT)
    return config


def _told(cluster: str, config: ClusterConfig | None, *, publishes: bool) -> Check:
    name, subject = "cluster-config", f"Cluster {cluster}"
    if config is None:
        seen = f"there is no {config_key(cluster)}"
        return ok(name, subject, f"{seen} yet") if publishes else error(name, subject, seen)
    form = "a copy, in cache form" if config.cached else "in state form"
    limit = config.max_connected_clusters or _USUAL_LIMIT
    seen = f"cluster id {config.cluster_id}, {form}, up to {limit} clusters"
    if config.endpoint_slices_export_mode == "endpointslices-only":
        return error(name, subject, f"{seen}; it publishes EndpointSlices only, which agents don't read")
    return ok(name, subject, seen)


def _marked(config: ClusterConfig) -> list[Kind]:
    """Of which kinds a mark is waited for (pkg/clustermesh remote_cluster.go)."""
    kinds: list[Kind] = ["nodes", "identities", "ip"]
    if config.endpoint_slices_export_mode != "endpointslices-only":
        kinds.append("services")
    if config.service_exports_enabled is not None:
        kinds.append("serviceexports")
    return kinds


async def _complete(cluster: str, config: ClusterConfig | None, store: Store) -> Check:
    name, subject = "records-complete", f"Cluster {cluster}"
    if config is None:
        return skipped(name, subject, "what the cluster is isn't known")
    if not config.synced_canaries:
        return ok(name, subject, "the cluster marks nothing, and is listed as it is")
    try:
        marks = {entry.key for entry in (await store.list(synced_prefix(cluster))).entries}
    except StoreError as problem:
        return error(name, subject, str(problem))
    lacking = [
        kind for kind in _marked(config) if synced_key(cluster, kind, cached=config.cached) not in marks
    ]
    if lacking:
        return warning(name, subject, f"not marked yet: {', '.join(lacking)}")
    return ok(name, subject, "every kind is marked")


async def _readable(cluster: str, store: Store, *, cached: bool) -> Check:
    name, subject = "records-readable", f"Cluster {cluster}"
    denied: list[str] = []
    for kind in KINDS:
        begin = prefix(kind, cluster, cached=cached)
        try:
            async with aclosing(store.pages(begin)) as pages:  # type: ignore[type-var]
                await anext(pages)
        except StoreDeniedError:
            denied.append(begin)
        except StoreError as problem:
            return error(name, subject, str(problem))
    if denied:
        return error(name, subject, f"the user may not read {len(denied)} prefixes", details=denied)
    return ok(name, subject, f"all {len(KINDS)} prefixes may be read")


async def _writable(cluster: str, store: Store, *, cached: bool) -> Check:
    """Permissions are looked at conditions; nothing is written, as this one can't hold."""
    name, subject = "records-writable", f"Cluster {cluster}"
    keys: Sequence[str] = (
        HEARTBEAT,
        config_key(cluster),
        *(synced_key(cluster, kind, cached=cached) for kind in KINDS),
        *(f"{prefix(kind, cluster, cached=cached)}0" for kind in KINDS),
    )
    try:
        await store.commit([Put(key, b"") for key in keys], only_if=[Unchanged(config_key(cluster), _NEVER)])
    except StoreConflictError:
        return ok(name, subject, "all that is published may be written")
    except StoreError as problem:
        return error(name, subject, str(problem))
    raise AssertionError("a condition that can't hold held")

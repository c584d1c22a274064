"""
All checks of one store, from the names of its servers to what it holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import attrs

from fleetmesh.errors import StoreError
from fleetmesh.state.clock import Clock
from fleetmesh.state.connection_file import EtcdConnection
from fleetmesh.state.doctor.checks import Check, error, skipped
from fleetmesh.state.doctor.contents import (
    check_cluster,
    check_heartbeat,
    check_server,
    check_servers,
    clusters_in,
)
from fleetmesh.state.doctor.credentials import check_credentials
from fleetmesh.state.doctor.endpoint import check_endpoint
from fleetmesh.state.store import Store, StoreStatus

_OF_CONTENTS = ("heartbeat", "cluster-config", "records-complete", "records-readable")


@attrs.frozen(kw_only=True)
class Target:
    """
    A store to be looked at.

    Attributes:
        clusters: Whose records it should hold. None: those that it has.
        published: Those of them that this process would write.
    """

    connection: EtcdConnection
    clusters: tuple[str, ...] = ()
    published: frozenset[str] = frozenset()


async def examine(
    target: Target,
    clock: Clock,
    *,
    open_store: Callable[[EtcdConnection], Store] = EtcdConnection.store,
) -> tuple[Check, ...]:
    """
    Make all checks; servers are asked beside each other, for some five seconds each at most.

    Args:
        clock: By which certificates and heartbeats are in time.
        open_store: Makes a client of an etcd.

    Returns:
        Server by server, then what is about the store, then what is about each cluster.
    """
    now = datetime.fromtimestamp(clock.time(), UTC)
    connection = target.connection
    asked = [_server(url, connection, now, open_store) for url in connection.endpoints]
    servers = await asyncio.gather(*asked)
    told = {url: status for url, (_, status) in zip(connection.endpoints, servers, strict=True)}
    about_store = await asyncio.to_thread(lambda: list(check_credentials(connection, now)))
    subject = "Store"
    about_store.append(check_servers(subject, told))
    if any(told.values()):
        # A server that doesn't answer costs each question its time.
        answering = attrs.evolve(
            connection, endpoints=tuple(url for url, status in told.items() if status is not None)
        )
        about_store += await _contents(subject, attrs.evolve(target, connection=answering), clock, open_store)
    else:
        names = [*_OF_CONTENTS, *(["records-writable"] if target.published else [])]
        about_store += (skipped(name, subject, "no server answers") for name in names)
    return (*(check for found, _ in servers for check in found), *about_store)


async def _server(
    url: str, connection: EtcdConnection, now: datetime, open_store: Callable[[EtcdConnection], Store]
) -> tuple[Sequence[Check], StoreStatus | None]:
    checks = await asyncio.to_thread(lambda: list(check_endpoint(url, connection, now)))
    if any(check.outcome == "error" for check in checks):
        return [*checks, skipped("endpoint-etcd", url, "there is no way to it")], None
    store = open_store(attrs.evolve(connection, endpoints=(url,)))
    try:
        check, status = await check_server(url, store)
    finally:
        await store.aclose()
    return [*checks, check], status


async def _contents(
    subject: str, target: Target, clock: Clock, open_store: Callable[[EtcdConnection], Store]
) -> list[Check]:
    store = open_store(target.connection)
    try:
        checks = [await check_heartbeat(subject, store, clock)]
        clusters = target.clusters
        if not clusters:
            try:
                clusters = await clusters_in(store)
            except StoreError as problem:
                return [*checks, error("cluster-config", subject, str(problem))]
            if not clusters:
                checks.append(error("cluster-config", subject, "no cluster says what it is"))
        for cluster in clusters:
            publishes = cluster in target.published
            checks += [check async for check in check_cluster(cluster, store, publishes=publishes)]
    finally:
        await store.aclose()
    return checks

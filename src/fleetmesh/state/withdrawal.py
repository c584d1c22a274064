"""
Removing all keys of a cluster from a store: the configuration first, so that nobody begins to read what is
    about to go, then the marks, then the records (Cilium pkg/clustermesh/kvstoremesh remote_cluster.go,
    `Remove` and `drain`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from fleetmesh.errors import StoreConflictError, StoreError
from fleetmesh.state.clock import Clock
from fleetmesh.state.keys import HEARTBEAT, KINDS, config_key, prefix, synced_prefix
from fleetmesh.state.operations import MOST_OPERATIONS
from fleetmesh.state.store import Delete, Store, Unchanged

TRIES = 6
FIRST_PAUSE = 2.0
"""Seconds; doubles with each try."""


async def withdraw_keys(
    store: Store, clock: Clock, cluster: str, *, cached: bool, leases: Container[int] | None, grace: float
) -> Iterable[StoreError]:
    """
    Remove them, unless somebody else writes them by now.

    Args:
        leases: With which the cluster's configuration is one's own; `None` where it is in any case.
        grace: Seconds to wait between the configuration and the rest, for readers to leave.

    Returns:
        What went wrong before it succeeded.

    Raises:
        StoreConflictError: Somebody else writes the keys, which stay.
        StoreError: The last of six tries went wrong too.
    """
    withdrawal = _Withdrawal(store, cluster, cached=cached)
    failed: list[StoreError] = []
    while True:
        try:
            await withdrawal.remove_config(leases)
            if grace:
                await clock.sleep(grace)
                grace = 0.0
            await withdrawal.remove_rest()
        except StoreConflictError:
            raise
        except StoreError as error:
            failed.append(error)
            if len(failed) == TRIES:
                raise
            await clock.sleep(FIRST_PAUSE * 2 ** (len(failed) - 1))
        else:
            return failed


class _Withdrawal:
    def __init__(self, store: Store, cluster: str, *, cached: bool) -> None:
        self.store = store
        self.config = config_key(cluster)
        self.prefixes = [synced_prefix(cluster), *(prefix(kind, cluster, cached=cached) for kind in KINDS)]
        # Of a store that several clusters share the heartbeat is everybody's.
        self.last = [] if cached else [Delete(HEARTBEAT)]
        self.removed = False

    async def remove_config(self, leases: Container[int] | None) -> None:
        if self.removed:
            return
        entry = await self.store.get(self.config)
        if entry is not None:
            if leases is not None and entry.lease not in leases:
                raise StoreConflictError(f"{self.config} was written by somebody else")
            await self.store.commit([Delete(self.config)], only_if=[Unchanged(self.config, entry.revision)])
        self.removed = True

    async def remove_rest(self) -> None:
        for begin in self.prefixes:
            await self.remove(
                [Delete(entry.key) async for page in self.store.pages(begin) for entry in page.entries]
            )
        await self.remove(self.last)

    async def remove(self, gone: Sequence[Delete]) -> None:
        for first in range(0, len(gone), MOST_OPERATIONS):
            batch = gone[first : first + MOST_OPERATIONS]
            await self.store.commit(batch, only_if=[Unchanged(self.config, 0)])

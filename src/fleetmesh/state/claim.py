"""
Who writes a cluster's keys: whoever wrote its configuration last.

Cilium knows no owner of a cluster's keys: two writers of one cluster overwrite each other's keys for ever.
Here every transaction has the condition that the cluster's configuration still is as its writer left it, and
so a writer that is replaced writes nothing any more, and the keys are those of one of them. The newest wins,
as in a restart where the old process has not ended yet.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

import attrs

from fleetmesh.state.clock import Clock
from fleetmesh.state.keys import HEARTBEAT, config_key
from fleetmesh.state.store import Entry, Operation, Put, Store, Unchanged

PATIENCE = 180.0
"""Seconds without a sign of the other writer until the keys are taken over: three of its heartbeats."""

LONGEST_PATIENCE = 720.0
"""It doubles each time, but stays below the life of a lease, so that no key runs out meanwhile."""


@attrs.frozen
class _Sign:
    """What a living writer changes now and then."""

    config: int
    heartbeat: int
    at: float


class Claim:
    """
    One writer's side of it.

    Attributes:
        other: Whether somebody else writes the cluster's keys.

    Args:
        heartbeat: Whether the store is the cluster's own, so that its heartbeat is the other's sign of life.
        leases: Ids of all leases that this writer ever had; grows outside.
    """

    def __init__(
        self, store: Store, clock: Clock, cluster: str, *, heartbeat: bool, leases: Container[int]
    ) -> None:
        self.key = config_key(cluster)
        self.other = False
        self._store = store
        self._clock = clock
        self._heartbeat = heartbeat
        self._revision = -1
        self._leases = leases
        self._sign: _Sign | None = None
        self._patience = PATIENCE

    @property
    def condition(self) -> Unchanged:
        """What has to hold for a transaction of this writer."""
        return Unchanged(self.key, self._revision)

    async def take(self, value: bytes, lease: int, there: Entry | None, also: Sequence[Operation]) -> None:
        """
        Become the writer, whoever it was before.

        Args:
            there: The configuration that is there.
            also: What is carried out in the same transaction.

        Raises:
            StoreConflictError: Somebody else did meanwhile.
        """
        condition = Unchanged(self.key, 0 if there is None else there.revision)
        self.wrote(await self._store.commit([Put(self.key, value, lease), *also], only_if=[condition]))

    def wrote(self, revision: int) -> None:
        """The configuration was written in a transaction with the condition."""
        self._revision = revision
        self.other = False
        self._sign = None

    async def look(self) -> bool:
        """
        Find out after a conflict who has the keys.

        Returns:
            Whether it still is this writer: the answer to what it wrote was lost on the way. If not, the keys
            are somebody's (`other`) or nobody's.
        """
        entry = await self._store.get(self.key)
        if entry is not None and entry.lease in self._leases:
            self.wrote(entry.revision)
            return True
        self.other = entry is not None
        if entry is not None:
            self._sign = await self._signs(entry)
        return False

    async def is_over(self) -> bool:
        """
        Whether the other writer has let go of the keys, or has given no sign for so long that it is to be
        replaced. Ask now and then, at least once within `PATIENCE`.
        """
        entry = await self._store.get(self.key)
        if entry is None:
            return True
        sign = await self._signs(entry)
        before = self._sign
        if before is None or (before.config, before.heartbeat) != (sign.config, sign.heartbeat):
            self._sign = sign
            return False
        if sign.at - before.at < self._patience:
            return False
        self._patience = min(2 * self._patience, LONGEST_PATIENCE)
        return True

    async def _signs(self, config: Entry) -> _Sign:
        heartbeat = await self._store.get(HEARTBEAT) if self._heartbeat else None
        revision = 0 if heartbeat is None else heartbeat.revision
        return _Sign(config.revision, revision, self._clock.monotonic())

"""
What a mesh's state is kept in: an ordered map of keys to values with revisions, watches and leases.

The interface is what etcd v3 can do and Cilium needs of it, and no more. `MemoryStore` and `EtcdStore` have
it, and pass the same tests of its contract.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, TypeAlias

import attrs


@attrs.frozen
class Entry:
    """
    A key with its value.

    Attributes:
        key: Bytes that are no UTF-8 stand as lone surrogates (PEP 383).
        revision: Of the store when the key was last written.
        lease: The id of the lease that it goes with, 0 for none.
    """

    key: str
    value: bytes
    revision: int
    lease: int = 0


@attrs.frozen
class Listing:
    """
    Entries, sorted by key, as they all were at one revision of the store.
    """

    revision: int
    entries: tuple[Entry, ...]


@attrs.frozen
class Put:
    """Write a key. `lease` is the id of a granted lease; 0: the key stays until it is deleted."""

    key: str
    value: bytes
    lease: int = 0


@attrs.frozen
class Delete:
    """Remove a key; none there is no error."""

    key: str


@attrs.frozen
class Unchanged:
    """A condition: the key was last written at that revision; 0: there is no such key."""

    key: str
    revision: int


Operation: TypeAlias = Put | Delete


@attrs.frozen
class Events:
    """
    What happened, in order; a deletion is a `Delete`.

    Attributes:
        revision: Everything up to it has been told. Without changes it is a progress mark.
    """

    revision: int
    changes: tuple[Entry | Delete, ...] = ()


@attrs.frozen
class StoreStatus:
    """
    Attributes:
        store_id: Of etcd's cluster, in hexadecimal, as etcdctl shows it; another one is another store.
        version: Of the server.
        revision: The newest.
        endpoint: Which server answered.
        has_leader: Whether it has one, without which nothing can be written.
        alarms: Such as `NOSPACE`.
    """

    store_id: str
    version: str
    revision: int
    endpoint: str
    has_leader: bool = True
    alarms: tuple[str, ...] = ()


class Lease(Protocol):
    """
    A promise to be there: kept alive until it is revoked, or lost, when its keys go with it.
    """

    @property
    def id(self) -> int:
        """Its number in the store, never 0."""

    @property
    def ttl(self) -> float:
        """Seconds that the store waits for a sign of life; the store may have granted more than was asked."""

    async def lost(self) -> None:
        """Return when it has run out or was taken away by somebody else; not after `revoke`."""

    async def revoke(self) -> None:
        """End it: its keys are deleted. Ending it twice is no error."""


class Store(Protocol):
    """
    Every method raises `StoreUnavailableError` where no server answers in time, `StoreDeniedError` where the
    credentials don't allow what was asked, and `StoreClosedError` after `aclose`. Methods may run beside each
    other; a cancelled one leaves no task behind.
    """

    async def get(self, key: str) -> Entry | None:
        """What is at a key now."""

    def pages(self, prefix: str, *, exact: bool = False) -> AsyncIterator[Listing]:
        """
        All that begins with a prefix, some at a time, each page at the revision of the first; at least one.

        Args:
            exact: It is not a prefix but one key, for whose reader nothing else has to be allowed.

        Raises:
            CompactedError: That revision was compacted meanwhile; list anew.
        """

    async def list(self, prefix: str) -> Listing:
        """All pages in one."""

    def watch(self, prefix: str, after: int, *, exact: bool = False) -> AsyncIterator[Events]:
        """
        What happens to keys that begin with a prefix, from the revision behind `after` on, nothing left out
        and nothing told twice. All changes of one revision come in one `Events`, and those of several may.
        Progress marks come now and then, so that one who resumes need not go back far. Does not end by
        itself: raises when it breaks.

        Args:
            exact: It is not a prefix but one key, as in `pages`.

        Raises:
            CompactedError: What happened since `after` isn't known any more; list anew.
            StoreUnavailableError: The connection broke; go on after the last revision that was told.
        """

    async def commit(self, operations: Sequence[Operation], *, only_if: Sequence[Unchanged] = ()) -> int:
        """
        Carry out all operations in one transaction, which is one revision; no key twice, at most 100.

        Args:
            only_if: Conditions that all have to hold.

        Returns:
            The revision.

        Raises:
            ConflictError: A condition does not hold; nothing was done.
            LeaseLostError: A lease isn't there any more; nothing was done.
            NoSpaceError: The store has no room; it can be read. What filled it may have been done.
        """

    async def grant(self, ttl: float) -> Lease:
        """A new lease, kept alive in the background until it is revoked or the store is closed."""

    async def status(self) -> StoreStatus:
        """Of the server that answers."""

    async def aclose(self) -> None:
        """Let go of connections; leases run out by themselves. Ends watches."""

"""A store that remembers what was written to it, and goes wrong as a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from doubles.flaky_store import FlakyStore
from fleetmesh.errors import StoreError, StoreUnavailableError
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.store import Operation, Unchanged


class RecordingStore(FlakyStore):
    """
    Attributes:
        swallow: How many of the next transactions are carried out and not answered.
        refuse: Says of the operations of a transaction what is wrong with them, `None` where nothing is.
        commits: The operations of every transaction that was carried out.
    """

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.swallow = 0
        self.refuse: Callable[[Sequence[Operation]], StoreError | None] = lambda _: None
        self.commits: list[tuple[Operation, ...]] = []

    async def commit(self, operations: Sequence[Operation], *, only_if: Sequence[Unchanged] = ()) -> int:
        if (refusal := self.refuse(operations)) is not None:
            raise refusal
        revision = await super().commit(operations, only_if=only_if)
        self.commits.append(tuple(operations))
        if self.swallow:
            self.swallow -= 1
            raise StoreUnavailableError("the answer was lost")
        return revision

"""
The stores that a command has open, by the clusters that are heard or published through them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

import attrs

from fleetmesh.cli import stores

if TYPE_CHECKING:
    from fleetmesh.findings import Finding
    from fleetmesh.state.connection_file import EtcdConnection
    from fleetmesh.state.connections import DirectoryOfClusters
    from fleetmesh.state.live import Live
    from fleetmesh.state.store import Store

CLOSING = 3.0
"""Seconds that connections have to end in order; after that they end with the process."""


@attrs.define(eq=False)
class Connected:
    """
    Entered, and when it is left all stores are closed.

    Attributes:
        options: What the command line says.
        files: Cilium's connection files, if they are followed.
        own: Names of the members that this process runs, whose files are passed over, as Cilium passes over
            that of its own cluster.
    """

    options: stores.Stores
    files: DirectoryOfClusters | None
    own: Callable[[], Collection[str]]
    _open: dict[str, tuple[EtcdConnection, Store]] = attrs.field(factory=dict, init=False)
    _shared: Store | None = attrs.field(default=None, init=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held = [store for _, store in self._open.values()]
        held += [] if self._shared is None else [self._shared]
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await asyncio.gather(*(store.aclose() for store in held))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """About the connection files."""
        return () if self.files is None else self.files.connections.findings

    def connection(self, name: str) -> EtcdConnection | None:
        """How a cluster is reached, if that is known."""
        return self._connections().get(name, self.options.shared)

    def to_run(self) -> Store | Mapping[str, Store]:
        """What a mesh runs on: one store for all, or one for each that has one."""
        if self.options.shared is not None:
            return self._of_all(self.options.shared)
        return {name: self._of(name, connection) for name, connection in self._connections().items()}

    def to_hear(self, names: Iterable[str]) -> Mapping[str, Store]:
        """What clusters are heard through, each that has something; nothing is published."""
        if self.options.shared is not None:
            return dict.fromkeys(names, self._of_all(self.options.shared))
        connections = self._connections()
        return {name: self._of(name, connections[name]) for name in names if name in connections}

    def names_of_files(self) -> tuple[str, ...]:
        """Clusters that have a connection file, whoever runs them."""
        return () if self.files is None else tuple(self.files.connections.clusters)

    def heard_by_files(self) -> tuple[str, ...]:
        """Clusters that are heard since they have a file."""
        return tuple(name for name in self._connections() if name not in self.options.single)

    async def follow(self, live: Live) -> bool:
        """Look at the connection files, and hear clusters that came, stop hearing those that went."""
        if self.files is None or self.files.poll() is None:
            return False
        wanted = self._connections()
        for name in [name for name in self._open if name not in wanted]:
            await live.disconnect(name)
            await self._open.pop(name)[1].aclose()
        for name, connection in wanted.items():
            before = self._open.get(name)
            if before is not None and before[0] == connection:
                continue
            self._open.pop(name, None)
            live.connect(name, self._of(name, connection))
            if before is not None:
                await before[1].aclose()
        return True

    def _connections(self) -> dict[str, EtcdConnection]:
        found = dict(self._in_files())
        found.update(self.options.single)  # what is said on the command line counts
        return found

    def _in_files(self) -> Iterator[tuple[str, EtcdConnection]]:
        own = self.own()
        clusters = {} if self.files is None else self.files.connections.clusters
        for name, connection in clusters.items():
            if name not in own:
                yield name, connection

    def _of(self, name: str, connection: EtcdConnection) -> Store:
        known = self._open.get(name)
        if known is None:
            known = self._open[name] = (connection, stores.open_store(connection))
        return known[1]

    def _of_all(self, connection: EtcdConnection) -> Store:
        if self._shared is None:
            self._shared = stores.open_store(connection)
        return self._shared

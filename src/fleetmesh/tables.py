"""
What a viewer decides with: for each frontend the backends and their Maglev table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

import attrs

from fleetmesh.errors import NotFoundError
from fleetmesh.policy.entries import PolicyTables
from fleetmesh.records import PROTOCOL_NAMES
from fleetmesh.services.global_service import Backend, Frontend, Viewpoint, frontends_of
from fleetmesh.services.words import FRONTEND_TYPES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fleetmesh._core import PolicyTables as CorePolicyTables
    from fleetmesh._core import Selection
    from fleetmesh._core import Tables as CoreTables

    Ranks: TypeAlias = NDArray[np.uint16] | NDArray[np.uint32]

__all__ = ["Tables"]

_Place: TypeAlias = tuple[str, str, str, int, str]  # type, scope, address, port, protocol


@attrs.frozen(repr=False, eq=False)
class Tables:
    """
    The tables of one viewer at one generation. They never change; `Mesh.tables` makes newer ones, and what
    did not change in between is shared. A service is compiled when it is first asked for.

    Attributes:
        viewer: Whose they are: `"east"`, or `"east/node-1"`.
        generation: Of the mesh.
    """

    viewer: str
    generation: int
    _view: Viewpoint
    _number: int
    _node: str | None
    _core: CoreTables | None  # None where the viewer has failed: then it sees nothing
    _policy: Callable[[], CorePolicyTables]

    def __repr__(self) -> str:
        return f"<Tables of {self.viewer!r}, generation {self.generation}>"

    @property
    def services(self) -> tuple[tuple[str, str], ...]:
        """(namespace, name) of every service of which the viewer has a frontend, sorted."""
        return () if self._core is None else tuple(self._core.services())

    @property
    def policy(self) -> PolicyTables:
        """
        Whom the viewer's cluster takes an address for, and the entries of its policies. Made when they are
        first asked for.
        """
        return PolicyTables(self._view.names, self._policy())

    def lookup_table(self, namespace: str, name: str, frontend: Frontend | None = None) -> Ranks:
        """
        The Maglev table of a service, Cilium's entry by entry: which backend takes the connections whose
        hash, modulo the length, is the index.

        Args:
            frontend: One of `GlobalService.frontends` with the same viewer; may be left out where all
                frontends select the same.

        Returns:
            (m,) indexes into `backends` of the same arguments, m being the viewer's `maglev_table_size`:
            uint16, or uint32 beyond 65,535 backends. The array can't be written to, is not a copy, and is one
            for all viewers with the same backends. Without any backend it is empty.

        Raises:
            NotFoundError: The viewer has no such service or frontend.
            ValueError: Its frontends select different backends, and none is named.
        """
        return self._selection(namespace, name, frontend)[1].ranks()

    def lookup_tables(self, services: Iterable[tuple[str, str]]) -> tuple[Ranks, ...]:
        """
        `lookup_table` of each (namespace, name), made at once: where other threads are busy, much faster than
        one by one.

        Raises:
            NotFoundError, ValueError: See `lookup_table`.
        """
        names = list(services)
        rows = [[] for _ in names] if self._core is None else self._core.filled(names)
        return tuple(
            self._chosen(_selections(found), *name, None)[1].ranks()
            for name, found in zip(names, rows, strict=True)
        )

    def backends(self, namespace: str, name: str, frontend: Frontend | None = None) -> tuple[Backend, ...]:
        """
        The backends that take new connections, in the order of the table: `lookup_table` has indexes of them.

        Raises:
            NotFoundError, ValueError: See `lookup_table`.
        """
        place, selection = self._selection(namespace, name, frontend)
        (seen,) = (
            each
            for each in frontends_of(self._view, self._number, self._node, namespace, name)
            if _place_of(each) == place
        )
        known = {(each.cluster, each.address, each.port, each.protocol): each for each in seen.backends}
        names = self._view.names
        return tuple(
            known[names[cluster], address, port, PROTOCOL_NAMES[protocol]]
            for cluster, address, port, protocol, _, _ in selection.backends()[: selection.in_use]
        )

    def changed_since(self, older: Tables) -> tuple[tuple[str, str], ...]:
        """
        (namespace, name) of the services that are not the same in older tables of the same viewer, sorted.

        Raises:
            ValueError: They are of another viewer, or of a mesh that is no fork; or sizes or seeds differ.
        """
        if self._core is None or older._core is None:
            return tuple(sorted({*self.services, *older.services}))
        return tuple(self._core.changed_since(older._core))

    def _selection(self, namespace: str, name: str, frontend: Frontend | None) -> tuple[_Place, Selection]:
        found = {} if self._core is None else _selections(self._core.frontends(namespace, name))
        return self._chosen(found, namespace, name, frontend)

    def _chosen(
        self, found: dict[_Place, Selection], namespace: str, name: str, frontend: Frontend | None
    ) -> tuple[_Place, Selection]:
        if not found:
            known = ["/".join(each) for each in self.services]
            raise NotFoundError(f"service with a frontend in {self.viewer!r}", f"{namespace}/{name}", known)
        if frontend is not None:
            place = _place_of(frontend)
            if place not in found:
                raise NotFoundError("frontend", _words(place), [_words(each) for each in found])
            return place, found[place]
        if len(set(found.values())) > 1:
            different = ", ".join(_words(each) for each in found)
            raise ValueError(
                f"the frontends of {namespace}/{name} select different backends; name one of {different}"
            )
        return next(iter(found.items()))


def _selections(rows: list[tuple[int, bool, str, int, int, str, Selection]]) -> dict[_Place, Selection]:
    return {
        (
            FRONTEND_TYPES[kind],
            "internal" if internal else "external",
            address,
            port,
            PROTOCOL_NAMES[protocol],
        ): selection
        for kind, internal, address, port, protocol, _, selection in rows
    }


def _place_of(frontend: Frontend) -> _Place:
    return (frontend.type, frontend.scope, frontend.address, frontend.port, frontend.protocol)


def _words(place: _Place) -> str:
    kind, scope, address, port, protocol = place
    host = f"[{address}]" if ":" in address else address
    return f"{kind} {host}:{port}/{protocol}" + (" (internal)" if scope == "internal" else "")

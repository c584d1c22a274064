"""
The data paths of a mesh's members.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from fleetmesh import _core
from fleetmesh.datapath.datapath import Datapath, columns
from fleetmesh.datapath.packets import Decisions, Packets
from fleetmesh.mesh.policy_tables import prefixes_of
from fleetmesh.mesh.viewpoint import Viewpoint
from fleetmesh.services.global_service import viewer as cluster_and_node

if TYPE_CHECKING:
    from fleetmesh.mesh.deciding import Deciding
    from fleetmesh.mesh.mesh import Mesh


@attrs.frozen(eq=False)
class MeshGround:
    """What one viewer's data path decides with; a `fleetmesh.datapath.datapath.Ground`."""

    view: Viewpoint
    tables: _core.Tables
    policy: _core.PolicyTables
    setup: tuple[int, int, str]  # cluster id, size and seed of its Maglev tables

    @property
    def names(self) -> Mapping[int, str]:
        """Cluster id -> name."""
        return self.view.names


@attrs.define(eq=False)
class MeshSource:
    """
    One viewer of a mesh, as its data path asks it.

    A member that has left or failed keeps what it had last: its kernel goes on with the tables that it has.
    """

    _mesh: Mesh
    _cluster: str
    _node: str | None
    _last: MeshGround | None = None
    _names_learnt: int = -1

    def newest(self) -> MeshGround:
        """The newest state, the same object while there is no newer one."""
        names_learnt = self._mesh.dns.version
        if self._last is not None and (self._last.view, self._names_learnt) == (
            self._mesh.viewpoint(),
            names_learnt,
        ):
            return self._last
        with self._mesh.judged() as deciding:
            found = self._at(deciding)
        self._last, self._names_learnt = found, names_learnt
        return found

    def _at(self, deciding: Deciding) -> MeshGround:
        view = deciding.view
        number = next((number for number, name in view.names.items() if name == self._cluster), None)
        if number is None or number in view.failed:
            if self._last is None:
                raise ValueError(f"{self._cluster!r} has failed; restore it to ask its data path")
            return self._last
        seen_from = self._cluster if self._node is None else f"{self._cluster}/{self._node}"
        tables = self._mesh.tables_of(view, seen_from)._core
        assert tables is not None  # it has not failed
        settings = view.members[self._cluster].settings
        setup = (number, settings.maglev_table_size, settings.maglev_hash_seed)
        return MeshGround(view, tables, deciding.tables(self._cluster), setup)


@attrs.define(eq=False)
class Datapaths:
    """Those that `Mesh.process` uses, one for each member that was ever asked for."""

    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _paths: dict[str, Datapath] = attrs.field(factory=dict)

    @staticmethod
    def make(
        mesh: Mesh, cluster: str, node: str | None, bounds: tuple[int, int, int], shards: int
    ) -> Datapath:
        """A data path of a viewer."""
        cluster_and_node(mesh.viewpoint().names, cluster if node is None else f"{cluster}/{node}")
        tcp, other, affinities = bounds
        return Datapath(
            MeshSource(mesh, cluster, node),
            tcp_connections=tcp,
            other_connections=other,
            affinities=affinities,
            shards=shards,
        )

    def process(self, mesh: Mesh, packets: Packets) -> Decisions:
        """See `Mesh.process`."""
        if not isinstance(packets, Packets):
            raise TypeError(
                f"packets are {type(packets).__name__}; expected Packets, from Packets.v4 or Packets.v6"
            )
        with self._lock:
            view = mesh.viewpoint()
            paths = []
            for number, name in view.names.items():
                if number in view.failed:
                    continue
                path = self._paths.get(name)
                if path is None:
                    path = self._paths[name] = Datapath(MeshSource(mesh, name, None))
                path.catch_up()
                paths.append((number, path._core))
            with mesh.judged() as deciding:
                deciding.meet_all()
                book, clusters = deciding.whereabouts.book.copy(), list(prefixes_of(deciding.view))
            return Decisions(*_core.process_chain(paths, book, clusters, *columns(packets)))

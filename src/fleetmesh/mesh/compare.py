"""
Two states of a mesh side by side: what moves, for whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from fleetmesh.mesh.impact import FlowChanges, compare_flows
from fleetmesh.mesh.movement import STILL, Movement, Selections, movement, selections_of
from fleetmesh.mesh.tables import core_tables
from fleetmesh.records import PROTOCOL_NAMES
from fleetmesh.services.global_service import Backend, Frontend, backends_of, frontends_of
from fleetmesh.services.words import FRONTEND_TYPES
from fleetmesh.services.workloads import ZONE

if TYPE_CHECKING:
    from fleetmesh._core import ServiceSpec
    from fleetmesh._core import Tables as CoreTables
    from fleetmesh.mesh.mesh import Mesh
    from fleetmesh.mesh.store import Name
    from fleetmesh.mesh.viewpoint import Viewpoint
    from fleetmesh.resources.model import Node

Status = Literal["changed", "appeared", "disappeared"]
Place: TypeAlias = tuple[str, int, str, str, str]  # address, port, protocol, type, scope
Share: TypeAlias = Mapping[str, float]

_USUAL_WEIGHT = 100
_EXTERNAL_TYPES = (2, 3)  # LoadBalancer, ExternalIPs: what two services of a cluster may both claim


@attrs.frozen
class ComparisonRow:
    """
    One service of one viewer that is not the same in both states.

    Attributes:
        status: `appeared` or `disappeared` where the viewer has the Service in one state only.
        backends_in, backends_out: What takes new connections after but not before, and the reverse, sorted.
            A backend is the same if cluster, address, port and protocol are.
        share_before, share_after: Cluster -> part of new connections, 0..1, by the weights of the backends
            in use; the mean over the frontends that have any. Empty where none has. Where nodes differ
            it is that of the union over them.
        table_moved: The part of the Maglev table whose entries lead to another backend after, 0..1: that
            part of the connections ends up elsewhere, if they are balanced afresh. Of the frontend where
            it is the most; 1 where nothing is in use any more, 0 where nothing was. `None` where size or
            seed of the tables are not the same: then all are balanced anew.
        table_excess: The part of these that need not have moved for the new shares: what Maglev costs.
        frontends_in, frontends_out: (address, port, protocol, type, scope) that come and go.
    """

    viewer: str
    namespace: str
    name: str
    status: Status
    backends_in: tuple[Backend, ...]
    backends_out: tuple[Backend, ...]
    share_before: Share
    share_after: Share
    table_moved: float | None
    table_excess: float | None
    frontends_in: tuple[Place, ...] = ()
    frontends_out: tuple[Place, ...] = ()

    @property
    def moved(self) -> float:
        """
        The part of new connections that goes to another cluster than before, 0..1; 1 where nothing takes
        them any more, 0 where nothing took them before.
        """
        if not self.share_before:
            return 0.0
        return sum(
            max(0.0, part - self.share_after.get(name, 0.0)) for name, part in self.share_before.items()
        )

    def __str__(self) -> str:
        return (
            f"{self.viewer} {self.namespace}/{self.name}: {self.status}, +{len(self.backends_in)} "
            f"-{len(self.backends_out)} backends, {_parts(self.share_before)} -> {_parts(self.share_after)}"
        )


@attrs.frozen(repr=False)
class Comparison:
    """
    What differs between two states of a mesh. Iterating gives the rows; false where nothing does.

    Attributes:
        rows: Sorted by service, then in order of the viewers' cluster ids.
        flows: Which connections policies decide otherwise. Iterating leaves them out.
    """

    rows: tuple[ComparisonRow, ...] = ()
    flows: FlowChanges = FlowChanges()

    def __iter__(self) -> Iterator[ComparisonRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __bool__(self) -> bool:
        return bool(self.rows or self.flows)

    @property
    def viewers(self) -> tuple[str, ...]:
        """The names of the viewers for whom something differs."""
        return tuple(dict.fromkeys(row.viewer for row in self.rows))

    def __str__(self) -> str:
        return "\n".join(map(str, (*self.rows, *([self.flows] if self.flows else [])))) or "nothing changes"

    def __repr__(self) -> str:
        services = len({(row.namespace, row.name) for row in self.rows})
        return f"<Comparison: {len(self.rows)} rows, {services} services, {len(self.viewers)} viewers>"


@attrs.frozen
class _Answer:
    """What a viewer has of a service; equal for all viewers of a class but for `places`."""

    used: tuple[Backend, ...]
    share: Share
    selections: Selections = attrs.field(eq=False)


_NOTHING: tuple[_Answer, frozenset[Place]] = (
    _Answer((), MappingProxyType({}), MappingProxyType({})),
    frozenset(),
)


@attrs.frozen
class _Difference:
    """What lies between two answers, which it keeps."""

    answers: tuple[_Answer, _Answer]
    same: bool
    came: tuple[Backend, ...]
    went: tuple[Backend, ...]
    movement: Movement

    @classmethod
    def of(cls, before: _Answer, after: _Answer) -> _Difference:
        if before == after:
            return cls((before, after), same=True, came=(), went=(), movement=STILL)
        known = {_same(each) for each in before.used}
        kept = {_same(each) for each in after.used}
        return cls(
            (before, after),
            same=False,
            came=tuple(each for each in after.used if _same(each) not in known),
            went=tuple(each for each in before.used if _same(each) not in kept),
            movement=movement(before.selections, after.selections),
        )


@attrs.define(eq=False)
class _Side:
    """One of the two states."""

    view: Viewpoint
    numbers: Mapping[str, int]
    answers: dict[tuple[object, ...], _Answer] = attrs.field(factory=dict)
    _compiled: dict[int, CoreTables | None] = attrs.field(factory=dict)
    _heard: dict[int, int] = attrs.field(factory=dict)
    _exporting: dict[Name, tuple[int, bool]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, mesh: Mesh) -> _Side:
        view = mesh.viewpoint()
        return cls(view, {name: number for number, name in view.names.items()})

    def has(self, viewer: str, name: Name) -> bool:
        """Whether the viewer is there, has not failed, and has the Service."""
        number = self.numbers.get(viewer)
        return (
            number is not None
            and number not in self.view.failed
            and self.view.snapshot.spec(number, *name) is not None
        )

    def outlook(self, viewer: str) -> tuple[object, ...]:
        """What an answer hangs on besides the facts of the service."""
        number = self.numbers.get(viewer)
        if number is None or number in self.view.failed:
            return ()
        member = self.view.members[viewer]
        return (number, member.settings, _zones(member._store.nodes))

    def heard(self, viewer: str) -> frozenset[str]:
        """Whom the viewer hears."""
        number = self.numbers.get(viewer)
        if number is None or number in self.view.failed:
            return frozenset()
        return frozenset(self.view.names[each] for each in self.view.snapshot.hears(number))

    def services(self, viewer: str) -> set[Name]:
        """All services of the viewer."""
        number = self.numbers.get(viewer)
        if number is None or number in self.view.failed:
            return set()
        return set(self.view.snapshot.services(number))

    def holders(self, name: Name) -> set[str]:
        """Who has anything of a service."""
        return {self.view.names[number] for number in self.view.snapshot.holders(*name)}

    def ask(self, viewer: str, name: Name) -> tuple[_Answer, frozenset[Place]]:
        """What the viewer has of the service; asked once for viewers that are alike."""
        number = self.numbers[viewer]
        spec = self.view.snapshot.spec(number, *name)
        key = None if spec is None else self._class(number, name, spec)
        if key is None or spec is None:
            frontends = frontends_of(self.view, number, None, *name)
            return self._answer(number, name, frontends), frozenset(_place(each) for each in frontends)
        if key not in self.answers:
            frontends = frontends_of(self.view, number, None, *name)
            self.answers[key] = self._answer(number, name, frontends)
        return self.answers[key], frozenset(_declared_places(spec))

    def _answer(self, number: int, name: Name, frontends: tuple[Frontend, ...]) -> _Answer:
        used = backends_of(self.view, number, None, *name)
        return _Answer(used, MappingProxyType(_share(frontends)), selections_of(self._tables(number), *name))

    def _tables(self, number: int) -> CoreTables | None:
        if number not in self._compiled:
            self._compiled[number] = core_tables(self.view, number, None)
        return self._compiled[number]

    def _class(self, number: int, name: Name, spec: ServiceSpec) -> tuple[object, ...] | None:
        """
        Equal for viewers that surely select the same: those whose answer hangs neither on nodes nor on what
        another of their services claims, and whose own endpoints are what the others hear of them.
        """
        frontends, affinity = spec.frontends, spec.affinity
        if (
            not spec.is_global
            or spec.distribution
            or spec.exposed_on is not None
            or any(frontend[0] in _EXTERNAL_TYPES for frontend in frontends)
        ):
            return None
        exporters, shared = self._exporters(name)
        contributors = self._hearing(number) & exporters
        rows = self.view.snapshot.backends(number, *name)
        if rows:
            alike = exporters >> number & 1 and not shared and self._as_heard(number, name, rows)
            if affinity or spec.internal_local or spec.external_local or not alike:
                return None
            contributors |= 1 << number
        ports = tuple((each[0], each[1], ":" in each[2], *each[3:]) for each in frontends)
        settings = self.view.member(number).settings
        table = (settings.maglev_table_size, settings.maglev_hash_seed)
        preference = (*spec.prefer_clusters, *spec.cluster_weights)
        return (name, affinity, preference, spec.headless, spec.external_name, ports, contributors, table)

    def _as_heard(self, number: int, name: Name, rows: Sequence[tuple[Any, ...]]) -> bool:
        """Whether all own rows are active, of the usual weight, in one slice each, and exported."""
        addresses = {row[1] for row in rows}
        record = self.view.snapshot.record(number, *name) or []
        return (
            all(row[5] == 0 and row[6] == _USUAL_WEIGHT for row in rows)
            and len({(row[0], row[1]) for row in rows}) == len(addresses)
            and {entry[0] for entry in record} == addresses
        )

    def _hearing(self, number: int) -> int:
        """Whom a viewer hears, as bits."""
        if number not in self._heard:
            self._heard[number] = sum(1 << each for each in self.view.snapshot.hears(number))
        return self._heard[number]

    def _exporters(self, name: Name) -> tuple[int, bool]:
        """Who exports a service, as bits; and whether several claim one address."""
        if name not in self._exporting:
            snapshot = self.view.snapshot
            bits = sum(1 << each for each in snapshot.exporters(*name))
            self._exporting[name] = (bits, bool(snapshot.duplicates(*name)))
        return self._exporting[name]


def compare(before: Mesh, after: Mesh) -> Comparison:
    """See `Mesh.compare`. Only services whose facts differ are looked at, and viewers whose outlook does."""
    old, new = _Side.of(before), _Side.of(after)
    changed: set[Name] = set()
    if before.lineage is after.lineage:
        changed.update(new.view.snapshot.changed_since(old.view.snapshot))
    else:
        changed.update(
            name for side in (old, new) for viewer in side.numbers for name in side.services(viewer)
        )
    changed |= _rivals(old, changed) | _rivals(new, changed)
    viewers = sorted(
        {**old.numbers, **new.numbers}, key=lambda name: (new.numbers.get(name) or old.numbers[name], name)
    )
    wanted: dict[Name, set[str]] = {name: set(viewers) for name in changed}
    for viewer in viewers:
        for name in _beyond(old, new, viewer):
            wanted.setdefault(name, set()).add(viewer)
    rows: list[ComparisonRow] = []
    for name in sorted(wanted):
        differences: dict[tuple[int, int], _Difference] = {}
        for viewer in viewers:
            if viewer in wanted[name]:
                row = _row(old, new, viewer, name, differences)
                if row is not None:
                    rows.append(row)
    return Comparison(tuple(rows), compare_flows(before, after))


def _beyond(old: _Side, new: _Side, viewer: str) -> set[Name]:
    """The services to look at because something else than their facts changed for the viewer."""
    if old.outlook(viewer) != new.outlook(viewer):
        return old.services(viewer) | new.services(viewer)
    moved = old.heard(viewer) ^ new.heard(viewer)
    if not moved:
        return set()
    return {
        name
        for side in (old, new)
        for name in side.services(viewer)
        if (old.holders(name) | new.holders(name)) & moved
    }


def _rivals(side: _Side, changed: Iterable[Name]) -> set[Name]:
    """The services that claim an external address which a changed one claims too: one may give way."""
    snapshot = side.view.snapshot
    claims: dict[int, set[tuple[str, int, int]]] = {}
    for name in changed:
        for number in snapshot.holders(*name):
            spec = snapshot.spec(number, *name)
            found = set() if spec is None else _claims(spec)
            if found:
                claims.setdefault(number, set()).update(found)
    return {
        name
        for number, claimed in claims.items()
        for name in snapshot.services(number)
        if (spec := snapshot.spec(number, *name)) is not None and _claims(spec) & claimed
    }


def _claims(spec: ServiceSpec) -> set[tuple[str, int, int]]:
    return {(each[2], each[3], each[4]) for each in spec.frontends if each[0] in _EXTERNAL_TYPES}


def _row(
    old: _Side, new: _Side, viewer: str, name: Name, differences: dict[tuple[int, int], _Difference]
) -> ComparisonRow | None:
    had, has = old.has(viewer, name), new.has(viewer, name)
    if not had and not has:
        return None
    before, places_before = old.ask(viewer, name) if had else _NOTHING
    after, places_after = new.ask(viewer, name) if has else _NOTHING
    # A difference keeps both answers, so that no other can have their ids.
    key = (id(before), id(after))
    difference = differences.get(key)
    if difference is None:
        difference = differences[key] = _Difference.of(before, after)
    if had and has and difference.same and places_before == places_after:
        return None
    return ComparisonRow(
        viewer,
        *name,
        status="changed" if had and has else "appeared" if has else "disappeared",
        backends_in=difference.came,
        backends_out=difference.went,
        share_before=before.share,
        share_after=after.share,
        table_moved=difference.movement.moved,
        table_excess=difference.movement.excess,
        frontends_in=tuple(sorted(places_after - places_before)),
        frontends_out=tuple(sorted(places_before - places_after)),
    )


def _share(frontends: Iterable[Frontend]) -> dict[str, float]:
    sums: dict[str, float] = {}
    counted = 0
    for frontend in frontends:
        used = frontend.backends[: frontend.in_use]
        total = sum(backend.weight for backend in used)
        if not used:
            continue
        counted += 1
        for backend in used:
            # Only terminating ones can all be without weight; they then share alike.
            part = backend.weight / total if total else 1 / len(used)
            sums[backend.cluster] = sums.get(backend.cluster, 0.0) + part
    return {name: round(sums[name] / counted, 12) for name in sorted(sums)}


def _same(backend: Backend) -> tuple[str, str, int, str]:
    return (backend.cluster, backend.address, backend.port, backend.protocol)


def _place(frontend: Frontend) -> Place:
    return (frontend.address, frontend.port, frontend.protocol, frontend.type, frontend.scope)


def _declared_places(spec: ServiceSpec) -> Iterator[Place]:
    if spec.headless or spec.external_name:
        return
    for kind, internal, address, port, protocol, _ in spec.frontends:
        scope = "internal" if internal else "external"
        yield (address, port, PROTOCOL_NAMES[protocol], FRONTEND_TYPES[kind], scope)


def _zones(nodes: Mapping[str, Node]) -> frozenset[tuple[str, str]]:
    return frozenset((name, node.labels.get(ZONE, "")) for name, node in nodes.items())


def _parts(share: Share) -> str:
    return ", ".join(f"{name} {part:.0%}" for name, part in share.items()) or "nobody"

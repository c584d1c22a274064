"""
MCS-API: what every member makes of the ServiceExports that it hears.

A derived Service and its slices enter the pipeline as if a user had applied them, but for
`Member.resources`, where they are not: the member did not declare them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from fleetmesh.mesh.facts import namespace_global
from fleetmesh.mesh.routing import set_service, set_slice
from fleetmesh.records import export_record
from fleetmesh.services.mcs import ImportPlan, invalid_export, plan_import

if TYPE_CHECKING:
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Name
    from fleetmesh.records import ExportRecord


@attrs.define(eq=False)
class Imports:
    """Brings the imports of a change's members up to date."""

    change: Change

    def run(self, *, everything: bool = False) -> None:
        """
        Plan anew, for every member, each name that something touched; all names where `everything` says
        that who hears whom has changed.
        """
        change = self.change
        # Whoever still imports these isn't touched by anything else.
        names: set[Name] = set(change.unexported)
        if everything:
            names.update(change.exporters)
            # What nobody exports any more, since the last exporter has left.
            names.update(name for member in change.members.values() for name in member._store.imports)
        for member, dirty in change.dirty.items():
            store = change.members[member]._store
            names |= {name for name in dirty.exported if name in change.exporters or name in store.imports}
            if dirty.namespaces:
                names |= {name for name in change.exporters if name[0] in dirty.namespaces}
        for name in sorted(names):
            self._plan(name)

    def forget(self, member: Member, name: Name) -> None:
        """Take back what a member made of a name."""
        self._carry_out(member, name, ImportPlan())

    def _plan(self, name: Name) -> None:
        exporters = self.change.exporters.get(name, frozenset())
        records = {
            exporter: record
            for exporter in exporters
            if (record := _record(self.change.members[exporter], name)) is not None
        }
        for member in self.change.members.values():
            if member._store.heard is not None:
                continue  # its own process imports, and publishes what comes of it
            if not exporters and name not in member._store.imports:
                continue
            self._carry_out(member, name, self._plan_for(member, name, records))

    def _plan_for(self, member: Member, name: Name, records: dict[str, ExportRecord]) -> ImportPlan:
        store, (namespace, service) = member._store, name
        return plan_import(
            member.name,
            namespace,
            service,
            heard=[records[other] for other in sorted(records) if self.change.linked(member.name, other)],
            own_export=store.exports.get(name),
            own_service=store.service(namespace, service),
            own_slices=() if store.drained else store.own_slices(name),
            namespace_exists=store.has_namespace(namespace),
            namespace_global=namespace_global(member, namespace),
            enable_ipv6=member.settings.enable_ipv6,
        )

    def _carry_out(self, member: Member, name: Name, plan: ImportPlan) -> None:
        change = self.change
        before = member._store.imports.get(name, ImportPlan())
        if plan == before:
            return
        store = change.store(member)
        if plan == ImportPlan():
            store.imports.pop(name)
        else:
            store.imports[name] = plan
        old, new = before.service, plan.service
        if old is not None and new is not None and (old.cluster_ip == "None") != (new.cluster_ip == "None"):
            # A Service can't become headless: Cilium deletes it and makes it anew.
            set_service(change, member, old, None)
            old = None
        if old != new:
            set_service(change, member, old, new)
        slices = {piece.name: piece for piece in plan.slices}
        for piece in before.slices:
            if piece.name not in slices:
                set_slice(change, member, piece, None)
        known = {piece.name: piece for piece in before.slices}
        for piece in plan.slices:
            if piece != known.get(piece.name):
                set_slice(change, member, known.get(piece.name), piece)


def _record(member: Member, name: Name) -> ExportRecord | None:
    """What a member publishes of its export of a name; nothing where it is invalid."""
    if member._store.heard is not None:
        return member._store.heard.exports.get(name)
    export, service = member._store.exports.get(name), member._store.service(*name)
    if export is None or service is None:
        return None
    if invalid_export(member.name, export, service, namespace_global=namespace_global(member, name[0])):
        return None
    return export_record(member.name, service, export)

"""
The records of a member of this process, kept up with it: what a change of few objects costs hangs on those.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, TypeVar

import attrs

from fleetmesh.mesh.cilium_objects import published_identity
from fleetmesh.mesh.publish import (
    PublishedPod,
    endpoints_of,
    export_of,
    labels_text,
    pod_of,
    pods_of,
    records_of,
    service_of,
)
from fleetmesh.records import (
    ExportRecord,
    IdentityRecord,
    IpRecord,
    NodeRecord,
    Record,
    ServiceRecord,
    identity_record,
)

if TYPE_CHECKING:
    from fleetmesh.mesh.store import Name
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint
    from fleetmesh.policy.labels import LabelSet

K = TypeVar("K", bound=Hashable)

Key = tuple[type[Record], str | int | tuple[str, str]]
"""Kind of a record, and what it is known by among those of its kind."""


def key_of(record: Record) -> Key:
    """What a record is known by within its member."""
    match record:
        case IpRecord():
            return IpRecord, record.address
        case IdentityRecord():
            return IdentityRecord, record.number
        case NodeRecord():
            return NodeRecord, record.name
        case _:
            return type(record), (record.namespace, record.name)


@attrs.define(eq=False)
class PublishedRecords:
    """
    What `records_of` says, asked again only of what has changed: pods, and services with their slices and
    exports. Where a Node, a Namespace, a CiliumIdentity, the number of an identity or something of the whole
    member has changed, all is asked.

    Not for several threads at once.

    Attributes:
        records: Of the state that was looked at last.
    """

    name: str
    records: dict[Key, Record] = attrs.field(factory=dict, init=False)
    _view: Viewpoint | None = attrs.field(default=None, init=False)
    _pods: dict[Name, PublishedPod] = attrs.field(factory=dict, init=False)
    _claimants: dict[str, tuple[Name, ...]] = attrs.field(factory=dict, init=False)
    _wearers: dict[int, tuple[LabelSet, int]] = attrs.field(factory=dict, init=False)
    _slices: dict[Name, dict[Key, Record]] = attrs.field(factory=dict, init=False)
    _owners: dict[Key, tuple[Name, ...]] = attrs.field(factory=dict, init=False)

    def look(self, view: Viewpoint) -> tuple[list[Record], list[Record]]:
        """
        Go over to a newer state.

        Returns:
            The records that came or changed, and those that went, as they were.
        """
        before, self._view = self._view, view
        old = None if before is None else before.members.get(self.name)
        member = view.members[self.name]
        if before is None or old is None or _is_other(old, member):
            wanted = self._all(view, member)
        else:
            wanted = dict(self._changed(before, view, old, member))
        put, gone = [], []
        for key, record in wanted.items():
            known = self.records.get(key)
            if record is None:
                if known is not None:
                    gone.append(self.records.pop(key))
            elif known != record:
                self.records[key] = record
                put.append(record)
        return put, gone

    def _all(self, view: Viewpoint, member: MemberView) -> dict[Key, Record | None]:
        for each in (self._pods, self._claimants, self._wearers, self._slices, self._owners):
            each.clear()
        for name, pod in pods_of(view, member):
            self._set_pod(name, pod)
        for name in view.snapshot.services(member.cluster_id):
            self._set_slices(view, member, name)
        wanted: dict[Key, Record | None] = dict.fromkeys(self.records)
        wanted.update((key_of(record), record) for record in records_of(view, self.name, None))
        return wanted

    def _changed(
        self, before: Viewpoint, view: Viewpoint, old: MemberView, member: MemberView
    ) -> Iterator[tuple[Key, Record | None]]:
        one, two = old._store, member._store
        addresses: set[str] = set()
        numbers: set[int] = set()
        for name in {
            *two.running.differing(one.running),
            *two.identified.differing(one.identified),
            *two.claims.differing(one.claims),
        }:
            for pod in (self._pods.get(name), self._set_pod(name, pod_of(view, member, name))):
                if pod is not None:
                    addresses.update(each.address for each in pod.addresses)
                    numbers.add(pod.number)
        for address in addresses:
            yield (IpRecord, address), self._address(address)
        for number in numbers:
            yield (IdentityRecord, number), self._identity(member, number)
        touched = view.touched.after(before.snapshot.generation)
        if touched is None:
            now = view.snapshot.services(member.cluster_id)
            touched = frozenset((*before.snapshot.services(member.cluster_id), *now))
        services = set(touched)
        services.update(two.in_force.differing(one.in_force))
        services.update(name for name, _ in two.slices.differing(one.slices))
        services.update(name for name, _ in two.derived.differing(one.derived))
        slices: set[Key] = set()
        for name in services:
            yield (ServiceRecord, name), next(service_of(view, member, name), None)
            slices |= self._set_slices(view, member, name)
        for key in slices:
            owners = self._owners.get(key)
            yield key, self._slices[owners[-1]][key] if owners else None
        for name in services | set(two.exports.differing(one.exports)):
            yield (ExportRecord, name), next(export_of(member, name), None)

    def _set_pod(self, name: Name, pod: PublishedPod | None) -> PublishedPod | None:
        old = self._pods.pop(name, None)
        for record in () if old is None else old.addresses:
            _keep(self._claimants, record.address, name, present=False)
        if old is not None and old.labels is not None:
            labels, count = self._wearers.pop(old.number)
            if count > 1:
                self._wearers[old.number] = labels, count - 1
        if pod is not None:
            self._pods[name] = pod
            for record in pod.addresses:
                _keep(self._claimants, record.address, name, present=True)
            if pod.labels is not None:
                _, count = self._wearers.get(pod.number, (None, 0))
                self._wearers[pod.number] = pod.labels, count + 1
        return pod

    def _address(self, address: str) -> Record | None:
        """Of an address that several pods claim, the first by name has it."""
        claimants = self._claimants.get(address)
        if not claimants:
            return None
        return next(each for each in self._pods[claimants[0]].addresses if each.address == address)

    def _identity(self, member: MemberView, number: int) -> Record | None:
        """Of a number that pods have and a CiliumIdentity tells, as the pods have it."""
        labels = self._wearers[number][0] if number in self._wearers else published_identity(member, number)
        if labels is None:
            return None
        return identity_record(self.name, member.cluster_id, number, labels_text(labels))

    def _set_slices(self, view: Viewpoint, member: MemberView, name: Name) -> set[Key]:
        """The slices of a service that there are, or were."""
        old = self._slices.pop(name, {})
        new = {key_of(record): record for record in endpoints_of(view, member, name)}
        if new:
            self._slices[name] = new
        for key in old.keys() | new.keys():
            _keep(self._owners, key, name, present=key in new)
        return old.keys() | new.keys()


def _keep(of: dict[K, tuple[Name, ...]], key: K, name: Name, *, present: bool) -> None:
    names = {*of.pop(key, ()), name} if present else {*of.pop(key, ())} - {name}
    if names:
        of[key] = tuple(sorted(names))


def _is_other(old: MemberView, new: MemberView) -> bool:
    """Whether something has changed that any record may hang on."""
    if (old.cluster_id, old.settings, old.drained) != (new.cluster_id, new.settings, new.drained):
        return True
    one, two = old._store, new._store
    gates_and_hosts = (
        *two.namespaces.differing(one.namespaces),
        *two.nodes.differing(one.nodes),
        *two.cilium_nodes.differing(one.cilium_nodes),
        *two.cilium_identities.differing(one.cilium_identities),
    )
    if gates_and_hosts:
        return True
    for labels in two.identities.differing(one.identities):
        before, now = one.identities.get(labels), two.identities.get(labels)
        if before is not None and now is not None and before.number != now.number:
            return True
    return False

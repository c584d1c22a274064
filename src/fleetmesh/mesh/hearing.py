"""
Hearing a member that another process runs: its records enter the mesh in the place of its objects.

Nothing is given out and nothing is worked out for such a member: its own process has done so, and the
records say what came of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, cast

import attrs

from fleetmesh.errors import MeshError
from fleetmesh.mesh.heard import Heard, RecordKey, parse_labels, unheard_labels
from fleetmesh.mesh.heard_pods import name_of, with_address
from fleetmesh.mesh.identities import Numbered
from fleetmesh.mesh.routing import export
from fleetmesh.policy.registry import FIRST_OF_PODS
from fleetmesh.records import (
    EndpointsRecord,
    ExportRecord,
    IdentityRecord,
    IpRecord,
    NodeRecord,
    ServiceRecord,
)
from fleetmesh.resources.model import (
    EndpointSlice,
    Node,
    Protocol,
    Service,
    ServicePort,
)
from fleetmesh.services.annotations import GLOBAL, HEADLESS, SHARED, ServiceAnnotations
from fleetmesh.services.endpoints import SERVICE_NAME, SliceArguments, slice_arguments
from fleetmesh.services.frontends import PROTOCOLS, compile_service
from fleetmesh.services.workloads import ZONE

if TYPE_CHECKING:
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.delta import Delta
    from fleetmesh.mesh.dirty import Dirty
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.mesh import Mesh
    from fleetmesh.mesh.store import Name, Store
    from fleetmesh.policy.labels import LabelSet
    from fleetmesh.records import Record

_GLOBAL: Mapping[str, str] = MappingProxyType({GLOBAL: "true"})
_NOT_SHARED: Mapping[str, str] = MappingProxyType({GLOBAL: "true", SHARED: "false"})
_ONLY_HERE = (IpRecord, IdentityRecord)
"""Records of which the core is told nothing."""

Said: TypeAlias = "tuple[Member, Iterable[Record], Iterable[RecordKey]]"
"""A member, records that came or changed, and the keys of those that went."""


def hear(change: Change, member: Member, put: Iterable[Record], withdrawn: Iterable[RecordKey]) -> None:
    """
    Take in records, then forget those that are withdrawn; what isn't there is passed over.

    Raises:
        MeshError: The member is one of this process.
        ValueError: A record is of another cluster, or a key names no kind of records.
    """
    hearing = _Hearing.of(change, member)
    hearing.take(put, withdrawn)
    hearing.finish()


def hear_all(mesh: Mesh, said: Sequence[Said]) -> Delta:
    """
    Take in what several members have said, in that order; one transaction. What is said of a member that has
    left meanwhile is passed over.

    Raises:
        MeshError, ValueError: As `Member.hear`.
    """

    def carry_out(change: Change) -> None:
        hearing: dict[str, _Hearing] = {}
        for member, put, withdrawn in said:
            if change.members.get(member.name) is member:
                if member.name not in hearing:
                    hearing[member.name] = _Hearing.of(change, member)
                hearing[member.name].take(put, withdrawn)
        for each in hearing.values():
            each.finish()

    return mesh._change(carry_out)


def said_again(change: Change, member: Member) -> None:
    """Tell the core all that is known of a member that joins, comes back or was drained."""
    hearing = _Hearing.of(change, member)
    store = hearing.store
    for name in hearing.heard.nodes:
        hearing.send_node(store.nodes[name])
    for service in hearing.heard.services:
        hearing.send_service(service)
    for exported in hearing.heard.exports:
        export(change, member, exported, present=True)
    hearing.dirty.running_pods.update(hearing.heard.pods)


def silenced(change: Change, member: Member) -> None:
    """Take its endpoints out of the core."""
    hearing = _Hearing.of(change, member)
    for name in hearing.heard.services:
        hearing.hide_service(name)


@attrs.define(eq=False)
class _Hearing:
    """Of one member, within one transaction."""

    change: Change
    member: Member
    store: Store
    heard: Heard
    dirty: Dirty
    _relabelled: dict[int, LabelSet | None] = attrs.field(factory=dict, init=False)
    _steps: dict[int, int] = attrs.field(factory=dict, init=False)

    @classmethod
    def of(cls, change: Change, member: Member) -> _Hearing:
        """Begin."""
        store = change.store(member)
        if store.heard is None:
            raise MeshError(f"{member.name!r} belongs to this process: apply its resources instead")
        return cls(change, member, store, store.heard, change.touch(member))

    def take(self, put: Iterable[Record], withdrawn: Iterable[RecordKey]) -> None:
        """What came, then what went."""
        for record in put:
            self.put(record)
        for key in withdrawn:
            self.withdraw(key)

    def put(self, record: Record) -> None:
        if record.cluster != self.member.name:
            raise ValueError(f"a record of {record.cluster!r} was given to {self.member.name!r}")
        if not isinstance(record, _ONLY_HERE) and "\0" in "".join(_texts(record)):
            raise ValueError("a name has a NUL character")  # refused now, and not when something else goes
        match record:
            case IpRecord():
                self._ip(record.address, record)
            case ServiceRecord():
                self._service((record.namespace, record.name), record)
            case IdentityRecord():
                self._identity(record.number, parse_labels(record.labels))
            case NodeRecord():
                self._node(record.name, record)
            case EndpointsRecord():
                self._endpoints((record.namespace, record.name), record)
            case ExportRecord():
                self._export((record.namespace, record.name), record)

    def withdraw(self, key: RecordKey) -> None:
        kind, name = key
        namespace, _, rest = name.partition("/")
        match kind:
            case "ip":
                self._ip(name, None)
            case "service":
                self._service((namespace, rest), None)
            case "identity":
                if name.isdecimal() and str(int(name)) == name:  # no other way to write it was ever taken in
                    self._identity(int(name), None)
            case "node":
                self._node(name, None)
            case "endpoints":
                self._endpoints((namespace, rest), None)
            case "export":
                self._export((namespace, rest), None)
            case _:
                raise ValueError(
                    f"record kind {kind!r}; expected ip, service, identity, node, endpoints or export"
                )

    def finish(self) -> None:
        """Work out which identities there are now."""
        heard = self.heard
        concerned: set[LabelSet] = set()
        relabelled = {number for number in self._relabelled if number in heard.carriers}
        for number in self._steps.keys() | relabelled:
            before = heard.carriers.get(number) or 0
            count = before + self._steps.get(number, 0)
            heard.carriers.keep(number, count, present=count > 0)
            if before and count and number not in relabelled:
                continue
            if before:
                labels = self._labels_before(number)
                heard.numbers[labels] = heard.numbers[labels] - {number}
                concerned.add(labels)
            if count:
                labels = heard.labels_of(number)
                heard.numbers[labels] = heard.numbers.get(labels, frozenset()) | {number}
                concerned.add(labels)
        for labels in concerned:
            self._number(labels)
        if relabelled:
            self._touch_relabelled(relabelled)

    def _number(self, labels: LabelSet) -> None:
        """Policies know several numbers of the same labels by the lowest."""
        identities, numbers = self.store.identities, self.heard.numbers[labels]
        first = min(numbers, default=0)
        reserved = first < FIRST_OF_PODS
        within = first if reserved else first & ((1 << self.change.identity_bits) - 1)
        old = identities.get(labels)
        identities.keep(labels, Numbered(within, 0, reserved), present=bool(numbers))
        self.heard.numbers.keep(labels, numbers, present=bool(numbers))
        if old is None or not numbers or old.number != within:
            self.change.renumbered.add((self.member.name, labels))

    def _labels_before(self, number: int) -> LabelSet:
        if number in self._relabelled:
            return self._relabelled[number] or unheard_labels(number)
        return self.heard.labels_of(number)

    def _touch_relabelled(self, numbers: set[int]) -> None:
        """Pods whose identity is known by other labels than before are somebody else."""
        self.dirty.identified.update(
            name for name, records in self.heard.pods.items() if records[0].identity in numbers
        )

    # Addresses

    def _ip(self, address: str, record: IpRecord | None) -> None:
        ips = self.heard.ips
        old = ips.get(address)
        if old == record:
            return
        self.dirty.heard_addresses.add(address)
        if record is None:
            ips.pop(address)
        else:
            ips[address] = record
        if "/" in address:
            return  # a network is nobody's
        after = None if record is None else name_of(record)
        if old is not None and name_of(old) != after:
            self._place(name_of(old), address, None)
        if after is not None:
            self._place(after, address, record)

    def _place(self, name: Name, address: str, record: IpRecord | None) -> None:
        """A pod has an address, or has it no more."""
        known = self.heard.pods.get(name, ())
        records = with_address(known, address, record)
        if known:
            self._step(known[0].identity, -1)
        if records:
            self._step(records[0].identity, 1)
        self.heard.set_pod(name, records)
        self.dirty.running_pods.add(name)

    def _step(self, number: int, step: int) -> None:
        self._steps[number] = self._steps.get(number, 0) + step

    def _identity(self, number: int, labels: LabelSet | None) -> None:
        old = self.heard.identities.get(number)
        if old == labels:
            return
        self._relabelled.setdefault(number, old)
        if labels is None:
            self.heard.identities.pop(number)
        else:
            self.heard.identities[number] = labels

    # Services

    def _service(self, name: Name, record: ServiceRecord | None) -> None:
        old = self.heard.services.get(name)
        if old == record:
            return
        if record is None:
            self.hide_service(name)
            self.heard.services.pop(name)
            self.store.services.pop(*name)
            self.store.in_force.pop(*name)
            self.change.core.remove_service(self.member.cluster_id, *name)
        else:
            self.heard.services[name] = record
            if old is None or not _is_same_service(old, record):
                service = _service_of(record)
                self.store.services.put(*name, service)
                self.store.in_force.put(*name, service)
                self._set_service(service)
            if old is None:
                self._show_service(name)
            elif not self._pieces(name) and not _has_same_backends(old, record):
                self._set_backends(name, old, record)
        self.dirty.exported.add(name)

    def send_service(self, name: Name) -> None:
        self._set_service(self.store.services[name[0]][name[1]])
        self._show_service(name)

    def _show_service(self, name: Name) -> None:
        """Tell the core of its endpoints: the slices, where they are known, or what its record says."""
        if self._pieces(name):
            self._set_slices(name, {}, self._in_slices(name))
        else:
            self._set_backends(name, None, self.heard.services[name])

    def hide_service(self, name: Name) -> None:
        """Have the core forget its endpoints."""
        if self._pieces(name):
            self._set_slices(name, self._in_slices(name), {})
        else:
            self._set_backends(name, self.heard.services[name], None)

    def _set_service(self, service: Service) -> None:
        spec = compile_service(service, annotations=_said(service)).to_core()
        self.change.core.set_service(self.member.cluster_id, service.namespace, service.name, spec)

    def _set_slices(
        self, name: Name, old: Mapping[str, SliceArguments], new: Mapping[str, SliceArguments]
    ) -> None:
        if self.store.drained:
            return
        core, number = self.change.core, self.member.cluster_id
        for piece in sorted(old.keys() - new.keys()):
            core.remove_slice(number, *name, piece)
        for piece, given in new.items():
            if old.get(piece) != given:
                endpoints, ports, weight = given
                core.set_slice(number, *name, piece, endpoints, ports, weight)

    def _set_backends(self, name: Name, old: ServiceRecord | None, new: ServiceRecord | None) -> None:
        """The core finds out which of them are others than before."""
        if self.store.drained:
            return
        self.change.core.set_backends(
            self.member.cluster_id,
            *name,
            {} if new is None else dict(new.backends),
            {} if new is None else dict(new.hostnames),
            {} if new is None else dict(new.zones),
            before=0 if old is None else _sets_of_ports(old),
        )

    def _pieces(self, name: Name) -> Mapping[str, EndpointsRecord]:
        return self.heard.endpoints.group(name)

    def _in_slices(self, name: Name) -> dict[str, SliceArguments]:
        found = {piece: _arguments(each) for piece, each in self._pieces(name).items()}
        return {f"={piece}": given for piece, given in found.items() if given is not None}

    def _endpoints(self, key: Name, record: EndpointsRecord | None) -> None:
        """Only mode `strict` reads them: Cilium 1.20's agents don't (pkg/clustermesh, the dummy observer)."""
        if not self.change.strict:
            return
        namespace, piece = key
        old = self.heard.service_of.get(key)
        new = None if record is None else record.labels.get(SERVICE_NAME) or None
        names = sorted({(namespace, each) for each in (old, new) if each is not None})
        known = [name for name in names if name in self.heard.services]
        before = {name: self._in_slices(name) if self._pieces(name) else None for name in known}
        if old is not None:
            self.heard.endpoints.pop((namespace, old), piece)
        self.heard.service_of.keep(key, new or "", present=new is not None)
        if record is not None and new is not None:
            self.heard.endpoints.put((namespace, new), piece, record)
        for name in known:
            self._take_over(name, before[name])
        self.dirty.exported.update(names)

    def _take_over(self, name: Name, before: Mapping[str, SliceArguments] | None) -> None:
        """The first slice that is known takes the place of what the record says; the last gives it back."""
        record, known = self.heard.services[name], self._pieces(name)
        if before is None and known:
            self._set_backends(name, record, None)
        self._set_slices(name, before or {}, self._in_slices(name))
        if before is not None and not known:
            self._set_backends(name, None, record)

    def _export(self, name: Name, record: ExportRecord | None) -> None:
        if self.heard.exports.get(name) == record:
            return
        if record is None:
            self.heard.exports.pop(name)
        else:
            self.heard.exports[name] = record
        export(self.change, self.member, name, present=record is not None)

    # Nodes

    def _node(self, name: str, record: NodeRecord | None) -> None:
        if self.heard.nodes.get(name) == record:
            return
        old = self.store.nodes.get(name)
        new = None if record is None else _node_of(record)
        if record is None or new is None:
            self.heard.nodes.pop(name)
            self.store.nodes.pop(name)
            self.change.core.remove_node(self.member.cluster_id, name)
        else:
            self.heard.nodes[name] = record
            self.store.nodes[name] = new
            self.send_node(new)
        if (() if old is None else old.pod_cidrs) != (() if new is None else new.pod_cidrs):
            self.change.nodes_moved = True
        self.dirty.hosts.add(name)

    def send_node(self, node: Node) -> None:
        self.change.core.set_node(self.member.cluster_id, node.name, node.labels.get(ZONE, ""))


def _texts(record: Record) -> Iterator[str]:
    """What the core may be told of a record, at once or later."""
    match record:
        case NodeRecord():
            yield from (record.name, record.labels.get(ZONE, ""))
        case ServiceRecord():
            yield from (record.namespace, record.name)
            yield from record.hostnames.values()
            for zone, hints in set(record.zones.values()):
                yield from (zone, *hints)
            for ports in {id(each): each for each in record.backends.values()}.values():
                yield from ports
            for ports in record.frontends.values():
                yield from ports
        case EndpointsRecord():
            yield from (record.namespace, record.name, *(port.name for port in record.ports))
            for each in record.endpoints:
                yield from (each.hostname, each.node_name, each.zone, *each.for_zones)
        case ExportRecord():
            yield from (record.namespace, record.name)


def _node_of(record: NodeRecord) -> Node:
    ranges = (
        record.ipv4_alloc_cidr,
        record.ipv6_alloc_cidr,
        *record.ipv4_secondary_alloc_cidrs,
        *record.ipv6_secondary_alloc_cidrs,
    )
    return Node(
        name=record.name,
        labels=record.labels,
        annotations=record.annotations,
        addresses=record.ip_addresses,
        pod_cidrs=tuple(filter(None, ranges)),
    )


def _service_of(record: ServiceRecord) -> Service:
    """Its frontends are what the exporter's own clients use; others take theirs from their own Service."""
    addresses = tuple(sorted(record.frontends, key=lambda each: (":" in each, each)))
    ports: dict[str, tuple[str, int]] = {}
    for each in record.frontends.values():
        ports.update(each)
    if not addresses:
        for backend in record.backends.values():
            ports.update(backend)
    return Service(
        namespace=record.namespace,
        name=record.name,
        labels=record.labels,
        annotations=_GLOBAL if record.shared else _NOT_SHARED,
        selector=record.selector or None,
        cluster_ip=addresses[0] if addresses else "None",
        cluster_ips=addresses or ("None",),
        ports=tuple(
            ServicePort(name=name, protocol=cast("Protocol", protocol), port=port)
            for name, (protocol, port) in ports.items()
            if protocol in PROTOCOLS
        ),
    )


def _is_same_service(one: ServiceRecord, other: ServiceRecord) -> bool:
    """Whether `_service_of` makes the same of both."""
    return (
        one.frontends == other.frontends
        and (bool(one.frontends) or one.backends == other.backends)
        and one.labels == other.labels
        and one.selector == other.selector
        and one.shared == other.shared
    )


def _has_same_backends(one: ServiceRecord, other: ServiceRecord) -> bool:
    """Whether both are reached at the same places."""
    return one.backends == other.backends and one.zones == other.zones and one.hostnames == other.hostnames


def _said(service: Service) -> ServiceAnnotations:
    """What the annotations of `_service_of` say, with all else that counts for it."""
    return _said_of(service.annotations is _GLOBAL, HEADLESS in service.labels, service.cluster_ip == "None")


@lru_cache
def _said_of(shared: bool, labelled: bool, without_ip: bool) -> ServiceAnnotations:  # noqa: FBT001  # a key
    return ServiceAnnotations.of(
        Service(
            name="any",
            annotations=_GLOBAL if shared else _NOT_SHARED,
            labels={HEADLESS: ""} if labelled else {},
            cluster_ip="None" if without_ip else "",
        )
    )


def _sets_of_ports(record: ServiceRecord) -> int:
    """How many different ones its backends have."""
    kinds = iter(record.backends.values())
    first = next(kinds, None)
    if all(each is first for each in kinds):  # mostly they are one and the same, as it was read
        return int(first is not None)
    return len({tuple(each.items()) for each in record.backends.values()})


def _arguments(record: EndpointsRecord) -> SliceArguments | None:
    return slice_arguments(
        EndpointSlice(
            namespace=record.namespace,
            name=record.name,
            annotations=record.annotations,
            address_type=record.address_type,
            endpoints=record.endpoints,
            ports=record.ports,
        )
    )

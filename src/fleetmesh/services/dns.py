"""
What a pod of a cluster gets from DNS for the name of a service.

Sources: the Kubernetes DNS specification (dns/specification.md, 1.1.0) and, for `clusterset.local`,
KEP-1645. Where these leave room, the answer is CoreDNS's: an endpoint without a host name is called
by its address with dashes. Endpoints of other clusters come in only through endpoint-slice sync
(Cilium pkg/clustermesh/endpointslicesync).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Literal, Protocol, get_args

import attrs

from fleetmesh.records import ServiceRecord, is_address
from fleetmesh.resources.model import EndpointSlice, Service
from fleetmesh.services.annotations import GLOBAL, SYNC_SLICES
from fleetmesh.services.mcs import SUPPORTED_FAMILIES, derived_name

RecordType = Literal["A", "AAAA", "SRV"]
Code = Literal["NOERROR", "NXDOMAIN", "REFUSED"]

CLUSTER_ZONE = "cluster.local"
CLUSTERSET_ZONE = "clusterset.local"


class DnsView(Protocol):
    """What a viewer's DNS server knows. Names are in lower case."""

    @property
    def cluster(self) -> str:
        """The viewer's name."""

    @property
    def endpoint_sync(self) -> bool:
        """The viewer's setting `enable_endpoint_sync`."""

    def has_namespace(self, namespace: str) -> bool:
        """Whether the viewer has the namespace."""

    def service(self, namespace: str, name: str) -> Service | None:
        """The viewer's Service as in force, with the cluster IPs it was given; derived ones too."""

    def slices(self, namespace: str, name: str) -> Iterable[EndpointSlice]:
        """The viewer's own slices of a Service: declared, made from its selector, or mirrored."""

    def remote_records(self, namespace: str, name: str) -> Iterable[ServiceRecord]:
        """The records of that name that the viewer hears."""


@attrs.frozen
class DnsAnswer:
    """
    An answer. Iterating it gives its records.

    Attributes:
        name: The name that was asked, in lower case and without the trailing dot.
        type: The type that was asked; "CNAME" where the name is an alias.
        records: Addresses, "priority weight port target" for SRV, or the one target of an alias.
        code: NXDOMAIN if there is no such name, NOERROR without records if it has none of the type,
            REFUSED if the cluster's zones don't answer for it.
        reason: Where the records come from, or why there are none.
    """

    name: str
    type: str
    records: tuple[str, ...]
    code: Code
    reason: str

    def __iter__(self) -> Iterator[str]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)


@attrs.frozen
class _Endpoint:
    """A ready endpoint: its label in names, and its ports as (name, protocol, port)."""

    address: str
    label: str
    cluster: str
    ports: tuple[tuple[str, str, int], ...]


@attrs.frozen
class _Question:
    """A name within a zone, taken apart; `cluster` only in the cluster set's zone."""

    name: str
    type: str
    zone: str
    service: str
    namespace: str
    endpoint: str = ""
    cluster: str = ""
    port: str = ""
    protocol: str = ""

    def answer(self, records: Iterable[str], reason: str, code: Code = "NOERROR") -> DnsAnswer:
        return DnsAnswer(self.name, self.type, tuple(dict.fromkeys(records)), code, reason)

    def missing(self, reason: str) -> DnsAnswer:
        return self.answer((), reason, "NXDOMAIN")

    def asks(self, name: str, protocol: str) -> bool:
        """Whether a port belongs into the answer to an SRV question."""
        if self.port:
            return (self.port, self.protocol) == (name.lower(), protocol.lower())
        return bool(name)


def resolve(view: DnsView, name: str, type: str = "A") -> DnsAnswer:  # noqa: A002 (as the record's field is called)
    """
    What a pod of the viewer gets for a name. Case and a trailing dot don't matter.

    Raises:
        ValueError: The type isn't A, AAAA or SRV.
    """
    kind = type.upper()
    if kind not in get_args(RecordType):
        raise ValueError(f"record type {type!r} is not one of {', '.join(get_args(RecordType))}")
    asked = name.strip().lower()
    plain = asked.removesuffix(".")
    for zone in (CLUSTER_ZONE, CLUSTERSET_ZONE):
        if plain.endswith(f".svc.{zone}"):
            return _within(view, plain, kind, zone, plain.removesuffix(f".svc.{zone}").split("."))
        if plain == zone or plain.endswith(f".{zone}"):
            if plain in {zone, f"svc.{zone}"}:
                return DnsAnswer(plain, kind, (), "NOERROR", f"{plain} is a zone and has no {kind} records")
            return DnsAnswer(plain, kind, (), "NXDOMAIN", f"only names under svc.{zone} are answered")
    return DnsAnswer(plain, kind, (), "REFUSED", _outside(view, plain, absolute=asked.endswith(".")))


def _outside(view: DnsView, name: str, *, absolute: bool) -> str:
    """A short name is told from a name of the world by the namespaces that there are."""
    labels = name.removesuffix(".svc").split(".")
    short = len(labels) == 1 or (
        len(labels) == 2 and (name.endswith(".svc") or view.has_namespace(labels[1]))
    )
    if absolute or not short or not all(labels):
        return (
            f"{name or '.'} is outside of {CLUSTER_ZONE} and {CLUSTERSET_ZONE}: the mesh doesn't answer it, "
            "an upstream server does"
        )
    full = f"{labels[0]}.{labels[1] if len(labels) > 1 else 'NAMESPACE'}.svc.{CLUSTER_ZONE}"
    return f"a short name depends on the namespace of the pod that asks; write {full}"


def _within(view: DnsView, name: str, kind: str, zone: str, labels: list[str]) -> DnsAnswer:
    match labels:
        case [namespace]:
            question = _Question(name, kind, zone, "", namespace)
            if view.has_namespace(namespace):
                return question.answer((), f"{namespace} is a namespace and has no {kind} records")
            return question.missing(_no_namespace(view, namespace))
        case [called, namespace]:
            question = _Question(name, kind, zone, called, namespace)
        case [port, protocol, called, namespace] if port.startswith("_") and protocol.startswith("_"):
            question = _Question(name, kind, zone, called, namespace, port=port[1:], protocol=protocol[1:])
        case [endpoint, called, namespace] if zone == CLUSTER_ZONE:
            question = _Question(name, kind, zone, called, namespace, endpoint=endpoint)
        case [endpoint, cluster, called, namespace] if zone == CLUSTERSET_ZONE:
            question = _Question(name, kind, zone, called, namespace, endpoint=endpoint, cluster=cluster)
        case _:
            forms = "SERVICE.NAMESPACE, _PORT._PROTOCOL.SERVICE.NAMESPACE or "
            forms += "HOST.SERVICE.NAMESPACE" if zone == CLUSTER_ZONE else "HOST.CLUSTER.SERVICE.NAMESPACE"
            return DnsAnswer(name, kind, (), "NXDOMAIN", f"a name under svc.{zone} is {forms}")
    own = question.service if zone == CLUSTER_ZONE else derived_name(question.namespace, question.service)
    service = view.service(question.namespace, own)
    if service is None:
        return question.missing(_no_service(view, question, own))
    return _answer(view, question, service)


def _no_namespace(view: DnsView, namespace: str) -> str:
    return f"{view.cluster} has no namespace {namespace}"


def _no_service(view: DnsView, question: _Question, own: str) -> str:
    """Why there is no such name, and who in the mesh has what would make it one."""
    label = f"{question.namespace}/{question.service}"
    exporters = sorted(record.cluster for record in view.remote_records(question.namespace, own))
    if not view.has_namespace(question.namespace):
        reason = _no_namespace(view, question.namespace)
    elif question.zone == CLUSTERSET_ZONE:
        reason = f"{view.cluster} imports no service {label}: it hears no ServiceExport of it"
    else:
        reason = f"{view.cluster} has no Service {label}"
    if exporters:
        exports = "exports" if len(exporters) == 1 else "export"
        reason += f"; {', '.join(exporters)} {exports} it, and it takes a Service of that name here to use it"
    return reason


def _answer(view: DnsView, question: _Question, service: Service) -> DnsAnswer:
    if service.type == "ExternalName":
        if question.endpoint or question.port or is_address(service.external_name):
            return question.missing(f"{service.subject} is of type ExternalName and has no such records")
        reason = f"{service.subject} is of type ExternalName"
        return DnsAnswer(
            question.name, "CNAME", (service.external_name.removesuffix("."),), "NOERROR", reason
        )
    if question.endpoint or service.cluster_ip == "None":
        return _from_endpoints(view, question, service)
    return _from_cluster_ips(question, service)


def _from_cluster_ips(question: _Question, service: Service) -> DnsAnswer:
    if question.type == "SRV":
        ports = [port.port for port in service.ports if question.asks(port.name, port.protocol)]
        if question.port and not ports:
            return question.missing(_no_port(question, service))
        target = f"{question.service}.{question.namespace}.svc.{question.zone}"
        records = [f"0 {_weight(len(ports))} {port} {target}" for port in ports]
        return question.answer(
            records, f"the named ports of {service.subject}" if records else _unnamed(service)
        )
    if question.port:
        return question.answer((), "the name of a port has only SRV records")
    addresses = service.cluster_ips or ((service.cluster_ip,) if service.cluster_ip else ())
    if question.zone == CLUSTERSET_ZONE and SUPPORTED_FAMILIES in service.annotations:
        families = service.annotations[SUPPORTED_FAMILIES].split(",")
        addresses = tuple(text for text in addresses if ("IPv6" if ":" in text else "IPv4") in families)
    found = [text for text in addresses if _is_of(text, question.type)]
    if not found:
        return question.answer((), f"{service.subject} has no cluster IP of that family")
    return question.answer(found, f"the cluster IP of {service.subject}")


def _from_endpoints(view: DnsView, question: _Question, service: Service) -> DnsAnswer:
    endpoints = [*_own(view, service)]
    synced, why = _synced(view, service)
    if synced:
        endpoints += _remote(view, service)
    if question.endpoint:
        endpoints = [
            endpoint
            for endpoint in endpoints
            if endpoint.label == question.endpoint and question.cluster in {"", endpoint.cluster}
        ]
        if not endpoints:
            return question.missing(f"no ready endpoint of {service.subject} has that name; {why}")
    if not endpoints:
        return question.missing(f"{service.subject} has no ready endpoint; {why}")
    endpoints.sort(
        key=lambda endpoint: (":" in endpoint.address, ip_address(endpoint.address), endpoint.cluster)
    )
    if question.type == "SRV":
        return _endpoint_ports(question, service, endpoints)
    if question.port:
        return question.answer((), "the name of a port has only SRV records")
    found = [endpoint.address for endpoint in endpoints if _is_of(endpoint.address, question.type)]
    if not found:
        return question.answer((), f"no ready endpoint of {service.subject} has an address of that family")
    clusters = sorted({endpoint.cluster for endpoint in endpoints if endpoint.address in found})
    return question.answer(found, f"ready endpoints of {service.subject} in {', '.join(clusters)}; {why}")


def _endpoint_ports(question: _Question, service: Service, endpoints: list[_Endpoint]) -> DnsAnswer:
    found = {
        (port, _target(question, endpoint))
        for endpoint in endpoints
        for name, protocol, port in endpoint.ports
        if question.asks(name, protocol)
    }
    if not found:
        if question.port:
            return question.missing(_no_port(question, service))
        return question.answer((), _unnamed(service))
    records = [f"0 {_weight(len(found))} {port} {target}" for port, target in sorted(found)]
    return question.answer(records, f"the named ports of the ready endpoints of {service.subject}")


def _own(view: DnsView, service: Service) -> Iterator[_Endpoint]:
    """The viewer's own endpoints: the ready ones, or all where the Service publishes them unready."""
    for piece in view.slices(service.namespace, service.name):
        if piece.address_type == "FQDN":
            continue
        ports = tuple((port.name, port.protocol, port.port) for port in piece.ports if port.port is not None)
        for endpoint in piece.endpoints:
            if endpoint.ready is False and not service.publish_not_ready_addresses:
                continue
            for address in filter(is_address, endpoint.addresses):
                yield _Endpoint(address, endpoint.hostname.lower() or _dashed(address), view.cluster, ports)


def _remote(view: DnsView, service: Service) -> Iterator[_Endpoint]:
    """
    Endpoints of other clusters, as endpoint-slice sync writes them: all are ready, each has every port
    of its cluster's record, and only families of the local Service are written.
    """
    for record in view.remote_records(service.namespace, service.name):
        merged = {
            name: target for _, ports in sorted(record.backends.items()) for name, target in ports.items()
        }
        ports = tuple((name, protocol, port) for name, (protocol, port) in sorted(merged.items()))
        for address in record.backends:
            if is_address(address) and _family_of(address) in _families(service):
                label = record.hostnames.get(address, "").lower() or _dashed(address)
                yield _Endpoint(address, label, record.cluster, ports)


def _synced(view: DnsView, service: Service) -> tuple[bool, str]:
    """Whether endpoints of other clusters are written into this one, and the setting that decides."""
    annotations = service.annotations
    # The sync looks at this annotation alone: its alias makes a service global, but not synchronised.
    if annotations.get(GLOBAL, "").lower() != "true":
        return False, f'without the annotation {GLOBAL}: "true" only this cluster\'s are listed'
    if not view.endpoint_sync:
        return False, f"{view.cluster} has enable_endpoint_sync off, so that only its own are listed"
    value = annotations.get(SYNC_SLICES)
    if value is None:
        if service.cluster_ip == "None":
            return True, "those of other clusters come through endpoint-slice sync"
        return False, f'without the annotation {SYNC_SLICES}: "true" only this cluster\'s are listed'
    if value.lower() == "true":
        return True, "those of other clusters come through endpoint-slice sync"
    return False, f"{SYNC_SLICES} is {value!r}, so that only this cluster's are listed"


def _families(service: Service) -> tuple[str, ...]:
    supported = service.annotations.get(SUPPORTED_FAMILIES, "")
    if supported:
        return tuple(supported.split(","))
    return service.ip_families or ("IPv4", "IPv6")


def _target(question: _Question, endpoint: _Endpoint) -> str:
    cluster = f".{endpoint.cluster}" if question.zone == CLUSTERSET_ZONE else ""
    return f"{endpoint.label}{cluster}.{question.service}.{question.namespace}.svc.{question.zone}"


def _no_port(question: _Question, service: Service) -> str:
    return f"{service.subject} has no port {question.port} of protocol {question.protocol.upper()}"


def _unnamed(service: Service) -> str:
    return f"the ports of {service.subject} have no names, and SRV records are by name"


def _dashed(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


def _family_of(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _is_of(address: str, kind: str) -> bool:
    return is_address(address) and (":" in address) == (kind == "AAAA")


def _weight(count: int) -> int:
    """The share of one of `count` records of the same priority, as CoreDNS gives it."""
    return max(1, 100 // count) if count else 0

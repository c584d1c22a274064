"""
Records: what a member publishes about itself, as pure values.

A record holds what Cilium's wire carries and nothing else; the functions below are the projection
from a member's own objects onto it. Bytes and keys are the codecs' business, at the border of a
store. The namespace gate stands before all of them: what lives in a namespace that is not global is
not published at all (Cilium pkg/clustermesh/namespace), only nodes have no namespace.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

import attrs

from fleetmesh.resources.model import (
    EMPTY,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Family,
    Node,
    Pod,
    Service,
    ServiceExport,
    ServicePort,
)

PROTOCOL_NAMES: Mapping[int, str] = MappingProxyType({6: "TCP", 17: "UDP", 132: "SCTP"})

PortMap = Mapping[str, tuple[str, int]]
"""Port name ("" where it has none) to (protocol, port)."""

ExportedAddress = tuple[str, str, str, tuple[str, ...], Sequence[tuple[str, int, int]]]
"""An exported address, as the core says it: address, hostname, zone, hints, ports (name, number, port)."""

HEADLESS_LABEL = "service.kubernetes.io/headless"
_WIREGUARD_KEYS = ("network.cilium.io/wg-pub-key", "io.cilium.network.wg-pub-key")


@attrs.frozen(kw_only=True)
class NodeRecord:
    """
    A node as other clusters see it (Cilium pkg/node/types/node.go).

    Attributes:
        ip_addresses: (type, address) of every address that is one; host names are left out.
        ipv4_alloc_cidr: The first pod range of the family, "" where it has none.
        encryption_key: Index of the IPsec key, 0 without.
    """

    name: str
    cluster: str
    cluster_id: int
    ip_addresses: tuple[tuple[str, str], ...] = ()
    ipv4_alloc_cidr: str = ""
    ipv4_secondary_alloc_cidrs: tuple[str, ...] = ()
    ipv6_alloc_cidr: str = ""
    ipv6_secondary_alloc_cidrs: tuple[str, ...] = ()
    ipv4_health_ip: str = ""
    ipv6_health_ip: str = ""
    ipv4_ingress_ip: str = ""
    ipv6_ingress_ip: str = ""
    source: str = "custom-resource"
    encryption_key: int = 0
    labels: Mapping[str, str] = EMPTY
    annotations: Mapping[str, str] = EMPTY
    wireguard_pub_key: str = ""
    boot_id: str = ""


@attrs.frozen(kw_only=True)
class ServiceRecord:
    """
    A global service as its exporter writes it (Cilium pkg/clustermesh/store/store.go, `ClusterService`).

    No weight, no condition, no node, no session affinity and no traffic policy: the wire has none.

    Attributes:
        frontends: Cluster IP to its ports; receivers build no frontend from it. Empty if headless.
        backends: Address to its ports.
        hostnames: Address to the host name of its endpoint, where that has one.
        zones: Address to (zone, zones of its hints), where the endpoint has a zone.
    """

    cluster: str
    cluster_id: int
    namespace: str
    name: str
    frontends: Mapping[str, PortMap]
    backends: Mapping[str, PortMap]
    hostnames: Mapping[str, str] = EMPTY
    zones: Mapping[str, tuple[str, tuple[str, ...]]] = attrs.field(factory=dict)
    labels: Mapping[str, str] = EMPTY
    selector: Mapping[str, str] = EMPTY
    include_external: bool = True
    shared: bool = True


@attrs.frozen(kw_only=True)
class EndpointsRecord:
    """
    An EndpointSlice of a global service, conditions, node, hints and annotations included
    (Cilium pkg/clustermesh/types/endpointslice, `ClusterEndpointSlice`; written since 1.20).

    Attributes:
        endpoints: As in the slice, but for what an endpoint stands for (`targetRef`).
        ports: As in the slice, but for the application protocol.
    """

    cluster: str
    cluster_id: int
    namespace: str
    name: str
    labels: Mapping[str, str] = EMPTY
    annotations: Mapping[str, str] = EMPTY
    address_type: str = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


@attrs.frozen(kw_only=True)
class IdentityRecord:
    """
    A set of security-relevant labels that some pod of the cluster has, and its number.

    Attributes:
        number: With the cluster's id in its bits (pkg/identity/numericidentity.go).
        labels: Sorted by key, `source:key=value;` each with the semicolon (pkg/labels, `SortedList`).
    """

    cluster: str
    cluster_id: int
    number: int
    labels: str


@attrs.frozen(kw_only=True)
class IpRecord:
    """
    An address of a pod and what stands behind it (Cilium pkg/identity/identity.go, `IPIdentityPair`).

    Attributes:
        address: Of a pod; a network, with its length, where something writes one.
        host: The address of the pod's node, "" where unknown.
        identity: As in `IdentityRecord.number`, or a reserved one below 256.
        namespace, pod: "" where nobody says whose address it is.
        encryption_key: Index of the node's IPsec key, 0 without.
        named_ports: (name, port, protocol) of the containers' named ports, sorted.
    """

    cluster: str
    cluster_id: int
    address: str
    host: str
    identity: int
    namespace: str = ""
    pod: str = ""
    service_account: str = ""
    encryption_key: int = 0
    metadata: str = ""
    named_ports: tuple[tuple[str, int, str], ...] = ()


@attrs.frozen(kw_only=True)
class ExportRecord:
    """
    A ServiceExport with its Service, as MCS-API's controllers hear it
    (Cilium pkg/clustermesh/mcsapi/types/mcsapiservicespec.go).

    Attributes:
        created: Creation time of the ServiceExport, RFC 3339; "" where unknown.
        session_affinity_seconds: 0 without ClientIP affinity.
        ip_families: Empty where unknown, as from exporters before 1.19.
    """

    cluster: str
    namespace: str
    name: str
    annotations: Mapping[str, str] = EMPTY
    labels: Mapping[str, str] = EMPTY
    created: str = ""
    ports: tuple[ServicePort, ...] = ()
    type: Literal["ClusterSetIP", "Headless"] = "ClusterSetIP"
    session_affinity_seconds: int = 0
    ip_families: tuple[Family, ...] = ()
    internal_traffic_policy: str = "Cluster"
    traffic_distribution: str = ""


Record: TypeAlias = NodeRecord | ServiceRecord | EndpointsRecord | IdentityRecord | IpRecord | ExportRecord


def node_record(cluster: str, cluster_id: int, node: Node) -> NodeRecord:
    """
    The projection of a node (Cilium pkg/k8s/node.go, `ParseCiliumNode`).

    Addresses and pod ranges that can't be read are left out, host bits of a range are cleared.
    """
    ranges: dict[int, list[str]] = {4: [], 6: []}
    for text in node.pod_cidrs:
        network = _network(text)
        if network is not None:
            ranges[network.version].append(str(network))
    keys = (node.annotations[key] for key in _WIREGUARD_KEYS if key in node.annotations)
    return NodeRecord(
        name=node.name,
        cluster=cluster,
        cluster_id=cluster_id,
        ip_addresses=tuple((kind, text) for kind, text in node.addresses if is_address(text)),
        ipv4_alloc_cidr=ranges[4][0] if ranges[4] else "",
        ipv4_secondary_alloc_cidrs=tuple(ranges[4][1:]),
        ipv6_alloc_cidr=ranges[6][0] if ranges[6] else "",
        ipv6_secondary_alloc_cidrs=tuple(ranges[6][1:]),
        labels=node.labels,
        annotations=node.annotations,
        wireguard_pub_key=next(keys, ""),
    )


def service_record(
    cluster: str, cluster_id: int, service: Service, exported: Iterable[ExportedAddress]
) -> ServiceRecord:
    """
    The projection of a global service (Cilium operator/watchers/service_sync.go, `Convert`).

    `service` is the one in force, with the cluster IPs that it was given; `exported` is what the core
    says that the member exports of it. A service of which `Snapshot.record` is None has no record.
    """
    ports = MappingProxyType({port.name: (str(port.protocol), port.port) for port in service.ports})
    addresses = () if is_headless(service) else service.cluster_ips or (service.cluster_ip,)
    backends: dict[str, PortMap] = {}
    hostnames: dict[str, str] = {}
    zones: dict[str, tuple[str, tuple[str, ...]]] = {}
    for address, hostname, zone, hints, numbered in exported:
        backends[address] = MappingProxyType(
            {name: (PROTOCOL_NAMES[number], port) for name, number, port in numbered}
        )
        if hostname:
            hostnames[address] = hostname
        if zone:
            zones[address] = (zone, tuple(hints))
    return ServiceRecord(
        cluster=cluster,
        cluster_id=cluster_id,
        namespace=service.namespace,
        name=service.name,
        frontends=MappingProxyType(dict.fromkeys(addresses, ports)),
        backends=MappingProxyType(backends),
        hostnames=MappingProxyType(hostnames),
        zones=MappingProxyType(zones),
        labels=service.labels,
        selector=service.selector or EMPTY,
    )


def endpoints_record(cluster: str, cluster_id: int, endpoint_slice: EndpointSlice) -> EndpointsRecord:
    """The projection of a slice of an exported service (operator/watchers/endpointslice_export_sync.go)."""
    return EndpointsRecord(
        cluster=cluster,
        cluster_id=cluster_id,
        namespace=endpoint_slice.namespace,
        name=endpoint_slice.name,
        labels=endpoint_slice.labels,
        annotations=endpoint_slice.annotations,
        address_type=endpoint_slice.address_type,
        endpoints=tuple(attrs.evolve(endpoint, target=("", "")) for endpoint in endpoint_slice.endpoints),
        ports=tuple(attrs.evolve(port, app_protocol="") for port in endpoint_slice.ports),
    )


def identity_record(cluster: str, cluster_id: int, number: int, labels: str) -> IdentityRecord:
    """The record of an identity; number and labels as `IdentityRecord` has them."""
    return IdentityRecord(cluster=cluster, cluster_id=cluster_id, number=number, labels=labels)


def ip_records(
    cluster: str, cluster_id: int, identity: int, pod: Pod, host: str = ""
) -> tuple[IpRecord, ...]:
    """
    One record for each address of a pod (Cilium clustermesh-apiserver/clustermesh/converters.go).

    Empty for pods of the host's network, which are the node to everybody, for pods that have ended
    and for those that have no address yet.

    Args:
        identity: The number of the pod's.
        host: The address of the pod's node, for pods that don't say it themselves.
    """
    if pod.template.host_network or pod.phase in ("Succeeded", "Failed"):
        return ()
    ports = {(port.name, port.container_port, str(port.protocol)) for port in pod.template.ports if port.name}
    return tuple(
        IpRecord(
            cluster=cluster,
            cluster_id=cluster_id,
            address=str(ipaddress.ip_address(address)),
            host=pod.host_address or host,
            identity=identity,
            namespace=pod.namespace,
            pod=pod.name,
            service_account=pod.template.service_account,
            named_ports=tuple(sorted(ports)),
        )
        for address in pod.addresses
        if is_address(address)
    )


def export_record(cluster: str, service: Service, export: ServiceExport) -> ExportRecord:
    """
    The projection of a ServiceExport and its Service (`FromCiliumServiceToMCSAPIServiceSpec`).

    Whether there is anything to publish is `services.mcs.invalid_export`'s question.
    """
    families: tuple[Family, ...] = service.ip_families
    if not families:
        addresses = [text for text in service.cluster_ips or (service.cluster_ip,) if is_address(text)]
        families = tuple("IPv6" if ":" in text else "IPv4" for text in addresses)
    return ExportRecord(
        cluster=cluster,
        namespace=service.namespace,
        name=service.name,
        annotations=export.exported_annotations,
        labels=export.exported_labels,
        created=export.creation_timestamp,
        ports=tuple(
            ServicePort(
                port=port.port, name=port.name, protocol=port.protocol, app_protocol=port.app_protocol
            )
            for port in service.ports
        ),
        type="Headless" if service.cluster_ip == "None" else "ClusterSetIP",
        session_affinity_seconds=service.session_affinity_seconds,
        ip_families=families,
        internal_traffic_policy=service.internal_traffic_policy,
        traffic_distribution=service.traffic_distribution,
    )


def is_headless(service: Service) -> bool:
    """Whether the exporter takes a Service as headless: by its cluster IP, or by a label alone."""
    return HEADLESS_LABEL in service.labels or service.cluster_ip.lower() == "none"


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address without a zone."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None

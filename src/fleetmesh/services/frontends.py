"""
A Service as the core takes it: its frontends, and what its record says of it.

Follows Cilium's convertService (pkg/loadbalancer/reflectors/conversions.go) for the frontends and
its exporter (operator/watchers/service_sync.go) for the record. IPv4 and NodePort are taken as
enabled. That load balancer and external IPs equal to an address of the viewer's own node are left out
if their port is within the node port range (pkg/loadbalancer/writer/writer.go) is not modelled.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from itertools import product
from typing import TYPE_CHECKING

import attrs
import msgspec

from fleetmesh.resources.model import Family, Node, Service
from fleetmesh.services.annotations import ServiceAnnotations, is_headless

if TYPE_CHECKING:
    from fleetmesh._core import ServiceSpec

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
CLUSTER_IP, NODE_PORT, LOAD_BALANCER, EXTERNAL_IPS = range(4)
_ANY: dict[Family, str] = {"IPv4": "0.0.0.0", "IPv6": "::"}
_AFFINITIES = {"none": 0, "local": 1, "remote": 2}

Frontend = tuple[int, bool, str, int, int, str]  # type, internal scope, address, port, protocol, port name
RecordPorts = dict[str, dict[str, str | int]]  # port name -> {"Protocol": "TCP", "Port": 80}


@attrs.frozen(kw_only=True)
class CompiledService:
    """The fields of `_core.ServiceSpec`, by the same names and in the same numbers."""

    is_global: bool
    shared: bool
    namespace_global: bool
    affinity: int
    headless: bool
    external_name: bool
    record_valid: bool
    internal_local: bool
    external_local: bool
    distribution: int
    session_affinity_seconds: int
    frontends: tuple[Frontend, ...]
    exposed_on: tuple[str, ...] | None
    record_digest: int
    created: str
    prefer_clusters: tuple[str, ...]
    cluster_weights: tuple[tuple[str, int], ...]
    min_local_backends: int

    def to_core(self) -> ServiceSpec:
        """The same as the core's own type."""
        from fleetmesh._core import ServiceSpec  # noqa: PLC0415 - compiling needs no built core, only this does

        return ServiceSpec(**{name: getattr(self, name) for name in _FIELDS})


_FIELDS = tuple(field.name for field in attrs.fields(CompiledService))


def compile_service(
    service: Service,
    *,
    namespace_global: bool = True,
    enable_ipv6: bool = True,
    nodes: Iterable[Node] = (),
    annotations: ServiceAnnotations | None = None,
) -> CompiledService:
    """
    Compile a Service that has the cluster IPs that the API server would give it (see
    `addressing.address_services`). A port without a node port has no NodePort frontend.

    Args:
        service: Its invalid addresses (and those of other address spaces, with a zone or `@`) are
            passed over, as Cilium does.
        namespace_global: See `annotations.namespace_is_global`.
        enable_ipv6: Whether frontends of that family exist in the cluster.
        nodes: The declared nodes of the cluster: whom `service.cilium.io/node` and `/node-selector`
            choose from. Without any, the one implied node has no labels.
        annotations: `ServiceAnnotations.of(service)`, if the caller has it already.
    """
    said = ServiceAnnotations.of(service) if annotations is None else annotations
    record = record_frontends(service)
    return CompiledService(
        is_global=said.is_global,
        shared=said.shared,
        namespace_global=namespace_global,
        affinity=_AFFINITIES[said.affinity],
        headless=said.headless,
        external_name=service.type == "ExternalName",
        record_valid=all(canonical(address) is not None for address in record),
        internal_local=service.internal_traffic_policy == "Local",
        external_local=service.external_traffic_policy == "Local",
        distribution=1 if said.same_zone else 2 if said.same_node else 0,
        session_affinity_seconds=service.session_affinity_seconds,
        frontends=() if said.headless else _frontends(service, said.exposed_type, enable_ipv6=enable_ipv6),
        exposed_on=_exposed_on(said, nodes),
        record_digest=_digest(service, record),
        created=service.creation_timestamp,
        prefer_clusters=said.preference.prefer_clusters,
        cluster_weights=said.preference.cluster_weights,
        min_local_backends=said.preference.min_local_backends,
    )


def record_frontends(service: Service) -> dict[str, RecordPorts]:
    """
    The `frontends` of the service's record: cluster IP -> port name -> protocol and port.

    Without a cluster IP the key is the empty string, which receivers refuse together with the whole
    record (Cilium pkg/clustermesh/store/store.go, validate). Of ports of one name the last counts.
    """
    if is_headless(service):
        return {}
    ports: RecordPorts = {
        port.name: {"Protocol": port.protocol, "Port": port.port & 0xFFFF} for port in service.ports
    }
    return dict.fromkeys(service.cluster_ips or (service.cluster_ip,), ports)


@lru_cache(maxsize=4096)
def canonical(address: str) -> str | None:
    """
    The address as Go's netip writes it, `None` for what is no address or has a zone.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.scope_id is not None:
        return None
    return f"::ffff:{parsed.ipv4_mapped}" if parsed.ipv4_mapped else str(parsed)


def family_of(address: str) -> Family:
    """The family of something that is an address."""
    return "IPv6" if ":" in address else "IPv4"


def service_families(service: Service) -> tuple[Family, ...]:
    """The families of its node ports: as declared, else those of its cluster IPs (Cilium getIPFamilies)."""
    if service.ip_families:
        return service.ip_families
    if service.cluster_ip in ("", "None"):
        return ()
    found = {
        family_of(address)
        for address in service.cluster_ips or (service.cluster_ip,)
        if canonical(address) is not None
    }
    return tuple(sorted(found))


def _frontends(service: Service, exposed: str | None, *, enable_ipv6: bool) -> tuple[Frontend, ...]:
    """
    Sorted as Cilium's reflector applies them: by address (IPv4 as IPv4-mapped IPv6), port, protocol
    letter and scope. Of several at one place the one that convertService makes last is in force.
    """
    made: dict[tuple[int, int, str, bool], Frontend] = {}
    for kind, internal, text, port, protocol, name in _made(service, exposed):
        address = canonical(text)
        if address is None or (":" in address and not enable_ipv6):
            continue
        made[_number(address), port, protocol, internal] = (
            kind,
            internal,
            address,
            port,
            PROTOCOLS[protocol],
            name,
        )
    # The letters that Cilium sorts protocols by, S T U, are in the order of their names.
    return tuple(made[key] for key in sorted(made))


@lru_cache(maxsize=4096)
def _number(address: str) -> int:
    """The 16 bytes of an address as Go's As16 gives them."""
    parsed = ipaddress.ip_address(address)
    return int(parsed) | 0xFFFF << 32 if parsed.version == 4 else int(parsed)


def _made(service: Service, exposed: str | None) -> Iterator[tuple[int, bool, str, int, str, str]]:
    """Type, internal scope, address as written, port, protocol, port name; what is in force comes last."""
    # Two scopes where exactly one of the two traffic policies is Local.
    policies = {service.internal_traffic_policy == "Local", service.external_traffic_policy == "Local"}
    scopes = (False,) if len(policies) == 1 else (False, True)
    # KEP-1860: of a load balancer that is a proxy, traffic comes to the node's or the pod's address.
    balancers = [address for address, mode in service.ingress if mode in ("", "VIP")]
    cluster_ips = sorted(service.cluster_ips) or [service.cluster_ip]
    node_addresses = [_ANY[family] for family in service_families(service)]
    outside = service.type in ("NodePort", "LoadBalancer")
    ports = [(port.port & 0xFFFF, port.protocol, port.name) for port in service.ports]
    node_ports = [
        (port.node_port & 0xFFFF, port.protocol, port.name) for port in service.ports if port.node_port
    ]
    parts = (
        (CLUSTER_IP, exposed in (None, "ClusterIP"), (False,), cluster_ips, ports),
        (NODE_PORT, outside and exposed in (None, "NodePort"), scopes, node_addresses, node_ports),
        (
            LOAD_BALANCER,
            service.type == "LoadBalancer" and exposed in (None, "LoadBalancer"),
            scopes,
            balancers,
            ports,
        ),
        (EXTERNAL_IPS, True, (False,), service.external_ips, ports),
    )
    for kind, exists, internal, addresses, sockets in parts:
        if exists:
            for scope, address, (port, protocol, name) in product(internal, addresses, sockets):
                yield kind, scope, address, port, protocol, name


def _exposed_on(said: ServiceAnnotations, nodes: Iterable[Node]) -> tuple[str, ...] | None:
    if said.node_selector is None and said.node_value is None:
        return None
    declared = tuple(nodes)
    admitted = tuple(sorted(node.name for node in declared if said.admits(node.labels)))
    # A node that is not declared has no labels.
    return None if len(admitted) == len(declared) and said.admits({}) else admitted


def _digest(service: Service, record: dict[str, RecordPorts]) -> int:
    """Equal for equal labels, selector and record frontends, which with the backends are the whole record."""
    facts = (
        sorted(service.labels.items()),
        sorted((service.selector or {}).items()),
        sorted((address, sorted(ports.items())) for address, ports in record.items()),
    )
    return int.from_bytes(blake2b(msgspec.json.encode(facts), digest_size=8).digest(), "big")

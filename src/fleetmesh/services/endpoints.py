"""
EndpointSlices: what the core takes of one, and those that Kubernetes' own controllers would write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fleetmesh.resources.model import (
    ContainerPort,
    Endpoint,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    Family,
    Pod,
    Service,
    ServicePort,
)
from fleetmesh.services.annotations import HEADLESS, is_headless, slice_weight
from fleetmesh.services.frontends import PROTOCOLS, canonical, family_of, service_families
from fleetmesh.services.naming import token

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
_READY, _SERVING, _TERMINATING = 1, 2, 4
_NEAR = ("PreferClose", "PreferSameZone", "PreferSameNode")

CoreEndpoint = tuple[tuple[str, ...], int, str, str, str, tuple[str, ...]]
CorePort = tuple[str, int, int]
SliceArguments = tuple[list[CoreEndpoint], list[CorePort], int]


def slice_arguments(endpoint_slice: EndpointSlice) -> SliceArguments | None:
    """
    The last three arguments of `_core.Transaction.set_slice`
    (Cilium pkg/k8s/endpoints.go, ParseEndpointSliceV1): endpoints as (addresses, condition bits,
    node, hostname, zone, zones of the hints), ports as (name, protocol number, port), weight.

    Unset conditions count as ready, serving and not terminating. Ports without a number or of a
    protocol that Cilium doesn't know are left out. `None` for a slice of domain names.
    """
    if endpoint_slice.address_type not in ("IPv4", "IPv6"):
        return None
    endpoints = [
        (
            endpoint.addresses,
            (endpoint.ready is not False) * _READY
            | (endpoint.serving is not False) * _SERVING
            | (endpoint.terminating is True) * _TERMINATING,
            endpoint.node_name,
            endpoint.hostname,
            endpoint.zone,
            endpoint.for_zones,
        )
        for endpoint in endpoint_slice.endpoints
    ]
    ports = [
        (port.name, PROTOCOLS[port.protocol], port.port & 0xFFFF)
        for port in endpoint_slice.ports
        if port.port is not None and port.protocol in PROTOCOLS
    ]
    return endpoints, ports, slice_weight(endpoint_slice)[0]


def derive_slices(
    service: Service, pods: Iterable[Pod], zone_of_node: Mapping[str, str]
) -> tuple[EndpointSlice, ...]:
    """
    What Kubernetes' EndpointSlice controller writes for a service with a selector
    (k8s.io/endpointslice reconciler.go and utils.go), but one slice for each family and set of
    ports, however many endpoints there are.

    Args:
        service: Its families are `ip_families`, or those of its cluster IPs, or both.
        pods: Any; those of other namespaces or labels, without an address, or that have come to an
            end (phase Succeeded or Failed) are no endpoints.
        zone_of_node: Name of a node -> its label `topology.kubernetes.io/zone`.

    Returns:
        Sorted by name; endpoints in the order of the pods. Nothing if no pod is an endpoint, or the
        service has no selector or is an ExternalName.

    Zone hints are those that `trafficDistribution` asks for. For the annotation topology-mode the
    controller shares zones out by the CPUs of nodes, which are not modelled: it gives no hints then.
    """
    if not service.selector or service.type == "ExternalName":
        return ()
    members = selected_pods(service, pods)
    slices = []
    for family in _families(service):
        groups: dict[tuple[EndpointPort, ...], list[Endpoint]] = {}
        for pod in members:
            addresses = tuple(address for address in pod.addresses if _is_in(address, family))
            if addresses:
                endpoint = _endpoint(service, pod, addresses, zone_of_node)
                groups.setdefault(endpoint_ports(service, pod), []).append(endpoint)
        slices += [_slice(service, family, ports, group) for ports, group in groups.items()]
    return tuple(sorted(slices, key=lambda each: each.name))


def selected_pods(service: Service, pods: Iterable[Pod]) -> list[Pod]:
    """Those of its namespace that its selector matches, but for those that have come to an end."""
    wanted = (service.selector or {}).items()
    return [
        pod
        for pod in pods
        if pod.namespace == service.namespace
        and pod.phase not in ("Succeeded", "Failed")
        and wanted <= pod.labels.items()
    ]


def has_address(service: Service, pod: Pod) -> bool:
    """Whether a pod has an address of one of the Service's families."""
    return any(_is_in(address, family) for family in _families(service) for address in pod.addresses)


def endpoint_ports(service: Service, pod: Pod) -> tuple[EndpointPort, ...]:
    """The service's ports as this pod has them; one whose name the pod doesn't have is left out."""
    return tuple(_resolved(service.ports, pod.template.ports))


def mirror_endpoints(endpoints: Endpoints, service: Service | None) -> tuple[EndpointSlice, ...]:
    """
    What Kubernetes' EndpointSliceMirroring controller writes for hand-made Endpoints
    (pkg/controller/endpointslicemirroring/reconciler.go): one slice for each family and set of ports.

    Nothing without a service of that name, for a service with a selector, and for Endpoints that ask
    not to be mirrored or are a leader lock. A not ready address is written without the condition
    `serving`, which readers take as true.
    """
    if (
        service is None
        or service.selector
        or (endpoints.namespace, endpoints.name)
        != (
            service.namespace,
            service.name,
        )
    ):
        return ()
    if endpoints.labels.get(SKIP_MIRROR) == "true" or LEADER in endpoints.annotations:
        return ()
    groups: dict[tuple[Family, tuple[EndpointPort, ...]], list[Endpoint]] = {}
    for subset in endpoints.subsets:
        for addresses, ready in ((subset.addresses, True), (subset.not_ready_addresses, False)):
            for text, hostname, node in addresses:
                address = canonical(text)
                if address is not None:
                    endpoint = Endpoint(addresses=(address,), ready=ready, hostname=hostname, node_name=node)
                    groups.setdefault((family_of(address), subset.ports), []).append(endpoint)
    labels = {key: value for key, value in endpoints.labels.items() if key != HEADLESS}
    labels |= {SERVICE_NAME: service.name, MANAGED_BY: "endpointslicemirroring-controller.k8s.io"}
    slices = (
        EndpointSlice(
            namespace=service.namespace,
            name=_slice_name(service, family, ports),
            labels=labels,
            origin=endpoints.origin,
            address_type=family,
            endpoints=tuple(group),
            ports=ports,
        )
        for (family, ports), group in groups.items()
    )
    return tuple(sorted(slices, key=lambda each: each.name))


def is_ready(pod: Pod) -> bool:
    """Its Ready condition; where no status declares it, whether it runs."""
    return pod.phase == "Running" if pod.ready is None else pod.ready


def _is_in(address: str, family: Family) -> bool:
    return family_of(address) == family and canonical(address) is not None


def _endpoint(
    service: Service, pod: Pod, addresses: tuple[str, ...], zone_of_node: Mapping[str, str]
) -> Endpoint:
    serving = is_ready(pod)
    ready = service.publish_not_ready_addresses or (serving and not pod.terminating)
    template = pod.template
    zone = zone_of_node.get(template.node_name, "")
    named = template.hostname and template.subdomain == service.name
    return Endpoint(
        addresses=addresses,
        ready=ready,
        serving=serving,
        terminating=pod.terminating,
        hostname=template.hostname if named else "",
        node_name=template.node_name,
        zone=zone,
        for_zones=(zone,) if zone and ready and service.traffic_distribution in _NEAR else (),
        target=("Pod", pod.name),
    )


def _families(service: Service) -> tuple[Family, ...]:
    return service.ip_families or service_families(service) or ("IPv4", "IPv6")


def _resolved(
    ports: tuple[ServicePort, ...], container_ports: tuple[ContainerPort, ...]
) -> Iterator[EndpointPort]:
    for port in ports:
        target: int | None
        if isinstance(port.target_port, int):
            target = port.target_port or port.port
        else:
            target = next(
                (
                    each.container_port
                    for each in container_ports
                    if each.name == port.target_port and each.protocol == port.protocol
                ),
                None,
            )
        if target is not None:
            yield EndpointPort(
                port=target, name=port.name, protocol=port.protocol, app_protocol=port.app_protocol
            )


def _slice(
    service: Service, family: Family, ports: tuple[EndpointPort, ...], endpoints: list[Endpoint]
) -> EndpointSlice:
    labels = {SERVICE_NAME: service.name, MANAGED_BY: "endpointslice-controller.k8s.io"}
    if is_headless(service):
        labels[HEADLESS] = ""
    return EndpointSlice(
        namespace=service.namespace,
        name=_slice_name(service, family, ports),
        labels=labels,
        origin=service.origin,
        address_type=family,
        endpoints=tuple(endpoints),
        ports=ports,
    )


def _slice_name(service: Service, family: Family, ports: tuple[EndpointPort, ...]) -> str:
    said = ",".join(f"{port.name}:{port.protocol}:{port.port}" for port in ports)
    return f"{service.name}-{token(f'{family}/{said}', 8)}"

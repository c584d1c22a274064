"""
From an object as it is on the wire to the model, with the defaults of the API server.

Each function gets the fields that all resources have and the decoded object, and reports what
Kubernetes' validation refuses by adding to `mistakes`.
"""

from __future__ import annotations

from typing import Any

from fleetmesh.resources import checks, model, wire
from fleetmesh.resources.mistakes import Mistake

Head = dict[str, Any]
"""kind, api_version, namespace, name, labels, annotations, creation_timestamp, origin."""

CLIENT_IP_SECONDS = 10800  # core/v1 DefaultClientIPServiceAffinitySeconds


def namespace(head: Head, _found: wire.Object, _mistakes: list[Mistake]) -> model.Namespace:
    return model.Namespace(**head)


def node(head: Head, found: wire.Node, _mistakes: list[Mistake]) -> model.Node:
    spec = found.spec or wire.NodeSpec()
    status = found.status or wire.NodeStatus()
    cidrs = spec.podCIDRs or ([spec.podCIDR] if spec.podCIDR else [])
    addresses = tuple((each.type, each.address) for each in status.addresses or ())
    return model.Node(**head, addresses=addresses, pod_cidrs=tuple(cidrs))


def service(head: Head, found: wire.Service, mistakes: list[Mistake]) -> model.Service:
    spec = found.spec or wire.ServiceSpec()
    balancer = found.status and found.status.loadBalancer
    cluster_ips = tuple(spec.clusterIPs or ())
    cluster_ip = spec.clusterIP or (cluster_ips[0] if cluster_ips else "")
    if cluster_ips and cluster_ips[0] != cluster_ip:
        message = f"expected {cluster_ip!r} as spec.clusterIP has it, got {cluster_ips[0]!r}"
        mistakes.append(Mistake(("spec", "clusterIPs", 0), message))
    if cluster_ip not in {"", "None"}:
        checks.address(cluster_ip, ("spec", "clusterIP"), mistakes)
    for number, external in enumerate(spec.externalIPs or ()):
        checks.address(external, ("spec", "externalIPs", number), mistakes)
    seconds = 0
    if spec.sessionAffinity == "ClientIP":
        client_ip = spec.sessionAffinityConfig and spec.sessionAffinityConfig.clientIP
        seconds = (client_ip and client_ip.timeoutSeconds) or CLIENT_IP_SECONDS
    return model.Service(
        **head,
        type=spec.type or "ClusterIP",
        cluster_ip=cluster_ip,
        cluster_ips=cluster_ips,
        ip_families=tuple(spec.ipFamilies or ()),
        ip_family_policy=spec.ipFamilyPolicy or "",
        ports=tuple(_service_port(number, port, mistakes) for number, port in enumerate(spec.ports or ())),
        selector=checks.label_map(spec.selector, ("spec", "selector"), mistakes) or None,
        external_ips=tuple(spec.externalIPs or ()),
        external_name=spec.externalName or "",
        ingress=tuple(
            (each.ip, each.ipMode or "VIP") for each in (balancer and balancer.ingress) or () if each.ip
        ),
        internal_traffic_policy=spec.internalTrafficPolicy or "Cluster",
        external_traffic_policy=spec.externalTrafficPolicy or "Cluster",
        traffic_distribution=spec.trafficDistribution or "",
        session_affinity_seconds=seconds,
        publish_not_ready_addresses=bool(spec.publishNotReadyAddresses),
    )


def _service_port(number: int, port: wire.ServicePort, mistakes: list[Mistake]) -> model.ServicePort:
    path = ("spec", "ports", number)
    target = port.targetPort or 0
    if isinstance(target, str):
        checks.port_name(target, (*path, "targetPort"), mistakes)
    if port.name:
        checks.dns_label(port.name, (*path, "name"), mistakes)
    return model.ServicePort(
        port=port.port,
        name=port.name or "",
        protocol=port.protocol or "TCP",
        target_port=target,
        node_port=port.nodePort or 0,
        app_protocol=port.appProtocol or "",
    )


def endpoint_slice(head: Head, found: wire.EndpointSlice, _mistakes: list[Mistake]) -> model.EndpointSlice:
    return model.EndpointSlice(
        **head,
        address_type=found.addressType,
        endpoints=tuple(map(_endpoint, found.endpoints or ())),
        ports=tuple(map(_endpoint_port, found.ports or ())),
    )


def _endpoint(found: wire.Endpoint) -> model.Endpoint:
    conditions = found.conditions or wire.Conditions()
    target = found.targetRef or wire.ObjectReference()
    zones = (found.hints and found.hints.forZones) or ()
    return model.Endpoint(
        addresses=tuple(found.addresses),
        ready=conditions.ready,
        serving=conditions.serving,
        terminating=conditions.terminating,
        hostname=found.hostname or "",
        node_name=found.nodeName or "",
        zone=found.zone or "",
        for_zones=tuple(zone.name for zone in zones),
        target=(target.kind or "", target.name or ""),
    )


def _endpoint_port(found: wire.SlicePort | wire.SubsetPort) -> model.EndpointPort:
    return model.EndpointPort(
        port=found.port,
        name=found.name or "",
        protocol=found.protocol or "TCP",
        app_protocol=found.appProtocol or "",
    )


def endpoints(head: Head, found: wire.Endpoints, _mistakes: list[Mistake]) -> model.Endpoints:
    return model.Endpoints(**head, subsets=tuple(map(_subset, found.subsets or ())))


def _subset(found: wire.Subset) -> model.EndpointSubset:
    return model.EndpointSubset(
        addresses=_subset_addresses(found.addresses),
        not_ready_addresses=_subset_addresses(found.notReadyAddresses),
        ports=tuple(map(_endpoint_port, found.ports or ())),
    )


def _subset_addresses(found: list[wire.EndpointAddress] | None) -> tuple[tuple[str, str, str], ...]:
    return tuple((each.ip, each.hostname or "", each.nodeName or "") for each in found or ())


def service_export(head: Head, found: wire.ServiceExport, mistakes: list[Mistake]) -> model.ServiceExport:
    spec = found.spec or wire.ServiceExportSpec()
    return model.ServiceExport(
        **head,
        exported_labels=checks.label_map(spec.exportedLabels, ("spec", "exportedLabels"), mistakes),
        exported_annotations=checks.annotation_map(
            spec.exportedAnnotations, ("spec", "exportedAnnotations"), mistakes
        ),
    )


def service_import(head: Head, found: wire.ServiceImport, _mistakes: list[Mistake]) -> model.ServiceImport:
    spec = found.spec or wire.ServiceImportSpec()
    ports = (
        model.ServicePort(
            port=each.port,
            name=each.name or "",
            protocol=each.protocol or "TCP",
            app_protocol=each.appProtocol or "",
        )
        for each in spec.ports or ()
    )
    return model.ServiceImport(
        **head, type=spec.type or "ClusterSetIP", ips=tuple(spec.ips or ()), ports=tuple(ports)
    )


def cilium_config(head: Head, found: wire.ConfigMap, _mistakes: list[Mistake]) -> model.CiliumConfig:
    data = found.data or {}
    return model.CiliumConfig(
        **head,
        cluster_id=data.get("cluster-id") or "",
        cluster_name=data.get("cluster-name") or "",
    )

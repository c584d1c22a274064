"""
The addresses that a cluster gives to what declares none: nodes, pods and cluster IPs.

Everything comes out of `Allocations`; what a manifest declares is kept. Each function takes a whole
batch, so that what is new in it is handed out in one sorted order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from fleetmesh.identity import Allocations, What
from fleetmesh.resources.model import Family, Node, Pod, Service
from fleetmesh.services.frontends import canonical, family_of


def key_of(resource: Pod | Service) -> str:
    """The key of a pod or a service in `Allocations`."""
    return f"{resource.namespace}/{resource.name}"


def needs_address(pod: Pod) -> bool:
    """Whether a pod has to be given an address of its own: it runs, on the pod network, and declares none."""
    return not pod.addresses and pod.phase == "Running" and not pod.template.host_network


def declared_cluster_ips(service: Service) -> tuple[str, ...]:
    """The valid cluster IPs that its manifest names."""
    named = service.cluster_ips or (service.cluster_ip,)
    return tuple(address for address in named if canonical(address) is not None)


def missing_families(service: Service, families: Sequence[Family]) -> tuple[Family, ...]:
    """
    The families in which a service has to be given a cluster IP, out of `families`, which are those
    of the cluster's service ranges, the primary one first.

    None for ExternalName and headless services, and for one that names a cluster IP that is no
    address: the API server would refuse it, and a made-up address would hide that.
    """
    declared = declared_cluster_ips(service)
    if service.type == "ExternalName" or len(declared) < len([*filter(None, _named(service))]):
        return ()
    has = {family_of(address) for address in declared}
    wanted = wanted_families(service, families)
    return tuple(family for family in wanted if family in families and family not in has)


def wanted_families(service: Service, families: Sequence[Family]) -> tuple[Family, ...]:
    """
    The families that the API server gives a service (KEP-563): those that it names, else those of its
    cluster IPs, else the cluster's primary one; and the other one too if its policy asks for two
    stacks and the cluster has them.
    """
    named = service.ip_families or tuple(
        dict.fromkeys(family_of(address) for address in declared_cluster_ips(service))
    )
    first = named or tuple(families[:1])
    if service.ip_family_policy in ("PreferDualStack", "RequireDualStack"):
        return (*first, *(family for family in families if family not in first))
    return first


def address_nodes(
    nodes: Iterable[Node], member: str, allocations: Allocations, families: Sequence[Family]
) -> dict[str, tuple[str, ...]]:
    """
    Name of a node -> its addresses: the internal ones that it declares, else the external ones, else
    allocated ones, one of each family.

    Raises:
        RangeExhaustedError: The member's node ranges have no free address left.
    """
    found: dict[str, tuple[str, ...]] = {}
    bare: list[str] = []
    for node in nodes:
        declared = declared_node_addresses(node)
        if declared:
            found[node.name] = declared
        else:
            bare.append(node.name)
    return found | _allocated(bare, member, allocations, families)


def declared_node_addresses(node: Node) -> tuple[str, ...]:
    """The valid addresses that a node's pods on the host network have (Kubernetes, GetNodeHostIPs)."""
    for kind in ("InternalIP", "ExternalIP"):
        addresses = tuple(
            text for each, text in node.addresses if each == kind and canonical(text) is not None
        )
        if addresses:
            return addresses
    return ()


def address_pods(
    pods: Iterable[Pod],
    member: str,
    allocations: Allocations,
    families: Sequence[Family],
    node_addresses: Mapping[str, tuple[str, ...]],
) -> tuple[Pod, ...]:
    """
    The same pods, in the same order, with addresses: those that they declare; those of the node for
    pods on the host network; else allocated ones, one of each of `families` and in that order. Pods
    that don't run get none.

    `node_addresses` is what `address_nodes` gave. A node that is not in it is given addresses when a
    pod on the host network needs them, so that a pod may be on a node that no object declares.

    Raises:
        RangeExhaustedError: The member's ranges have no free address left.
    """
    batch = tuple(pods)
    own = [key_of(pod) for pod in batch if needs_address(pod)]
    given = _given(own, "pod", member, allocations, families)
    on_host = {pod.template.node_name for pod in batch if pod.template.host_network and not pod.addresses}
    hosts = {**node_addresses}
    hosts |= _allocated(sorted(on_host - hosts.keys() - {""}), member, allocations, families)
    addressed = []
    for pod in batch:
        host = hosts.get(pod.template.node_name, ())
        addresses = pod.addresses
        if not addresses and pod.phase == "Running":
            addresses = host if pod.template.host_network else given[key_of(pod)]
        host_address = pod.host_address or (host[0] if host else "")
        if addresses != pod.addresses or host_address != pod.host_address:
            pod = attrs.evolve(pod, addresses=addresses, host_address=host_address)  # noqa: PLW2901
        addressed.append(pod)
    return tuple(addressed)


def address_services(
    services: Iterable[Service], member: str, allocations: Allocations, families: Sequence[Family]
) -> tuple[Service, ...]:
    """
    The same services, in the same order, with the families and cluster IPs that the API server would
    have given them. Load balancer addresses and node ports are not made up.

    A declared `clusterIP` or `clusterIPs` stays as written, invalid ones too. `families` are those
    of the member's service ranges, the primary one first.

    Raises:
        RangeExhaustedError: The member's service ranges have no free address left.
    """
    batch = tuple(services)
    missing = {key_of(service): missing_families(service, families) for service in batch}
    given = {
        family: allocations.addresses(
            member, "service", family, [key for key, wanted in missing.items() if family in wanted]
        )
        for family in ("IPv4", "IPv6")
    }
    return tuple(
        _completed(
            service,
            tuple(given[family][key_of(service)] for family in missing[key_of(service)]),
            families,
        )
        for service in batch
    )


def _completed(service: Service, new: tuple[str, ...], families: Sequence[Family]) -> Service:
    if service.type == "ExternalName":
        return service
    cluster_ips = (*filter(None, _named(service)), *new) if new else service.cluster_ips
    return attrs.evolve(
        service,
        cluster_ip=cluster_ips[0] if new else service.cluster_ip,
        cluster_ips=cluster_ips,
        ip_families=service.ip_families or wanted_families(service, families),
    )


def _named(service: Service) -> tuple[str, ...]:
    return service.cluster_ips or (service.cluster_ip,)


def _allocated(
    nodes: Sequence[str], member: str, allocations: Allocations, families: Sequence[Family]
) -> dict[str, tuple[str, ...]]:
    return _given(nodes, "node", member, allocations, families)


def _given(
    keys: Sequence[str], what: What, member: str, allocations: Allocations, families: Sequence[Family]
) -> dict[str, tuple[str, ...]]:
    columns = [allocations.addresses(member, what, family, keys) for family in families]
    return {key: tuple(column[key] for column in columns) for key in keys}

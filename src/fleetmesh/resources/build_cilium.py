"""Cilium's own objects, from the wire to the model; see `build`."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from types import MappingProxyType

from fleetmesh.resources import model, wire
from fleetmesh.resources.build import Head
from fleetmesh.resources.documents import Path
from fleetmesh.resources.mistakes import Mistake

_MOST_IDENTITY = 2**32 - 1


def node(head: Head, found: wire.CiliumNode, mistakes: list[Mistake]) -> model.CiliumNode:
    spec = found.spec
    return model.CiliumNode(
        **head,
        addresses=tuple((each.type or "", each.ip or "") for each in spec.addresses or ()),
        pod_cidrs=tuple(_pod_cidrs(spec.ipam or wire.Ipam(), mistakes)),
        health_addresses=_pair(spec.health),
        ingress_addresses=_pair(spec.ingress),
        encryption_key=_key(spec.encryption),
        boot_id=spec.bootid or "",
    )


def _pod_cidrs(ipam: wire.Ipam, mistakes: list[Mistake]) -> Iterator[str]:
    """In the order in which Cilium takes them, of which the first of a family is the main one."""
    path: Path = ("spec", "ipam")
    for number, text in enumerate(ipam.podCIDRs or ()):
        yield _cidr(text, (*path, "podCIDRs", number), mistakes)
    for at, pool in enumerate((ipam.pools and ipam.pools.allocated) or ()):
        for number, text in enumerate(pool.cidrs or ()):
            yield _cidr(text, (*path, "pools", "allocated", at, "cidrs", number), mistakes)


def _cidr(text: str, path: Path, mistakes: list[Mistake]) -> str:
    try:
        ip_network(text, strict=False)
        right = text.rpartition("/")[2].isdecimal() and "/" in text
    except ValueError:
        right = False
    if not right:
        mistakes.append(Mistake(path, f"expected a network such as 10.0.0.0/24, got {text[:60]!r}"))
    return text


def identity(head: Head, found: wire.CiliumIdentity, mistakes: list[Mistake]) -> model.CiliumIdentity:
    name = head["name"]
    number = int(name) if name.isascii() and name.isdecimal() and len(name) < 12 else -1
    if name and (not 0 < number <= _MOST_IDENTITY or str(number) != name):
        message = f"expected the number of an identity, 1..{_MOST_IDENTITY}, got {name[:60]!r}"
        mistakes.append(Mistake(("metadata", "name"), message))
    labels = {key: value or "" for key, value in found.security_labels.items()}
    return model.CiliumIdentity(**head, number=number, security_labels=MappingProxyType(labels))


def endpoint(head: Head, found: wire.CiliumEndpoint, _mistakes: list[Mistake]) -> model.CiliumEndpoint:
    status = found.status or wire.EndpointStatus()
    number = (status.identity and status.identity.id) or 0
    return model.CiliumEndpoint(**head, endpoint=_pod_endpoint(head["name"], number, status))


def endpoint_slice(
    head: Head, found: wire.CiliumEndpointSlice, _mistakes: list[Mistake]
) -> model.CiliumEndpointSlice:
    return model.CiliumEndpointSlice(
        **head,
        pod_namespace=found.namespace or "",
        endpoints=tuple(_pod_endpoint(each.name or "", each.id or 0, each) for each in found.endpoints),
    )


def _pod_endpoint(pod: str, number: int, found: wire.EndpointStatus | wire.CoreEndpoint) -> model.PodEndpoint:
    networking = found.networking or wire.Networking()
    pairs = (_pair(each) for each in networking.addressing or ())
    return model.PodEndpoint(
        pod=pod,
        identity=number,
        addresses=tuple(address for pair in pairs for address in pair if address),
        host_address=networking.node or "",
        encryption_key=_key(found.encryption),
        named_ports=tuple(
            (each.name or "", each.port or 0, each.protocol or "") for each in found.named_ports or ()
        ),
        service_account=found.service_account or "",
    )


def _pair(found: wire.AddressPair | None) -> tuple[str, str]:
    pair = found or wire.AddressPair()
    return (pair.ipv4 or "", pair.ipv6 or "")


def _key(found: wire.Encryption | None) -> int:
    """Others are told its lowest eight bits (pkg/k8s/node.go, `uint8`)."""
    return ((found and found.key) or 0) & 0xFF

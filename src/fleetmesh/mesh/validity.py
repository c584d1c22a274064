"""
What keeps a resource from being in force: resources that were made by hand rather than read, since
what a manifest has wrong is told when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fleetmesh.resources.model import (
    EndpointSlice,
    Resource,
    Service,
    Workload,
)
from fleetmesh.services.frontends import PROTOCOLS


def objection(resource: Resource) -> str:
    """Why a resource can't be in force; "" for nothing."""
    return next(_objections(resource), "")


def _objections(resource: Resource) -> Iterator[str]:
    if not resource.name:
        yield "it has no name"
    if isinstance(resource, (Service, EndpointSlice, Workload)) and not resource.namespace:
        yield "it has no namespace"
    if isinstance(resource, Service):
        numbers = [
            (f"port {port.name!r}".removesuffix(" ''"), port.port, port.protocol) for port in resource.ports
        ]
        yield from _ports(numbers, lowest=1)
        yield from _ports((("nodePort", port.node_port, port.protocol) for port in resource.ports), lowest=0)
    if isinstance(resource, Workload) and resource.replicas is not None and resource.replicas < 0:
        yield f"it wants {resource.replicas} replicas"


def _ports(ports: Iterable[tuple[str, int, str]], *, lowest: int) -> Iterator[str]:
    for what, number, protocol in ports:
        if not lowest <= number <= 65535:
            yield f"{what} is {number}, expected {lowest}..65535"
        if protocol not in PROTOCOLS:
            yield f"{what} has protocol {protocol!r}, expected one of {', '.join(PROTOCOLS)}"

"""
Why a Service has no endpoint of its own that serves, though it has a selector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

import attrs

from fleetmesh.resources.model import EndpointSlice, Pod, Service
from fleetmesh.services.endpoints import endpoint_ports, has_address, is_ready, selected_pods

Why = Literal["no-pod", "no-port", "unready", "no-address", "empty-slices", "unready-slices", "drained"]


@attrs.frozen
class Lack:
    """
    Attributes:
        ports: The names that `targetPort` asks for and no pod has; for `no-port`.
    """

    why: Why
    ports: tuple[str, ...] = ()

    def said(self, where: str) -> str:
        """The fact in words; `where` names the clusters."""
        return _SENTENCES[self.why].format(where=where, ports=" or ".join(map(repr, self.ports)))

    @property
    def fix(self) -> str:
        """What to do about it."""
        return _FIXES[self.why]


_SENTENCES: Mapping[Why, str] = MappingProxyType(
    {
        "no-pod": "its selector matches no pod in {where}",
        "no-port": "no pod that its selector matches in {where} has a port named {ports}, as its targetPort",
        "unready": "no pod that its selector matches in {where} is ready",
        "no-address": "no pod that its selector matches in {where} has an address of its IP families",
        "empty-slices": "its EndpointSlices in {where}, which are declared, have no endpoint with a port",
        "unready-slices": "its EndpointSlices in {where}, which are declared, have no endpoint that is ready",
        "drained": "its endpoints in {where} are drained",
    }
)
_FIXES: Mapping[Why, str] = MappingProxyType(
    {
        "no-pod": "Correct the selector, or the labels of the pods.",
        "no-port": "Name the container port so, or correct targetPort.",
        "unready": "See why the pods are not ready.",
        "no-address": "See why the pods have no address, or change the ipFamilies of the Service.",
        "empty-slices": "Give the EndpointSlices endpoints and ports, or remove them.",
        "unready-slices": "See why the endpoints are not ready.",
        "drained": "Restore the cluster, or share the Service from another one.",
    }
)


def lack_of(
    service: Service, pods: Iterable[Pod], declared: Iterable[EndpointSlice], *, drained: bool
) -> Lack | None:
    """
    What keeps a Service without endpoints; None for one that ought to have none, without selector or
    ports, and where nothing of it is wrong.

    Args:
        pods: Those of its cluster; as for `derive_slices`.
        declared: Its EndpointSlices in the manifests, which stand in place of those made of pods.
        drained: Whether its cluster is.
    """
    if not service.selector or not service.ports or service.type == "ExternalName":
        return None
    slices = tuple(declared)
    found = _of_slices(slices) if slices else _of_pods(service, selected_pods(service, pods))
    return found or (Lack("drained") if drained else None)


def _of_slices(slices: Iterable[EndpointSlice]) -> Lack | None:
    endpoints = [
        endpoint
        for piece in slices
        if any(port.port is not None for port in piece.ports)
        for endpoint in piece.endpoints
    ]
    if not endpoints:
        return Lack("empty-slices")
    if any(endpoint.ready is not False for endpoint in endpoints):
        return None
    return Lack("unready-slices")


def _of_pods(service: Service, pods: list[Pod]) -> Lack | None:
    if not pods:
        return Lack("no-pod")
    serving = [pod for pod in pods if endpoint_ports(service, pod)]
    if not serving:
        asked = dict.fromkeys(str(port.target_port) for port in service.ports)
        return Lack("no-port", tuple(asked))
    ready = [pod for pod in serving if service.publish_not_ready_addresses or is_ready(pod)]
    if not ready:
        return Lack("unready")
    return None if any(has_address(service, pod) for pod in ready) else Lack("no-address")

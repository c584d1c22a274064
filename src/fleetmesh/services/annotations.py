"""
What the annotations of Services, Namespaces and EndpointSlices say, with Cilium's precedence and its
treatment of values that it doesn't know (pkg/annotation/clustermesh.go, pkg/annotation/k8s.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, TypeVar

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.labels import Selector
from fleetmesh.resources.model import EndpointSlice, Namespace, Service
from fleetmesh.services.preference import (
    CLUSTER_WEIGHTS,
    MIN_LOCAL_BACKENDS,
    PREFER_CLUSTERS,
    Preference,
    read_minimum,
    read_order,
    read_weights,
)

GLOBAL = "service.cilium.io/global"
SHARED = "service.cilium.io/shared"
AFFINITY = "service.cilium.io/affinity"
SYNC_SLICES = "service.cilium.io/global-sync-endpoint-slices"
EXPOSED_TYPE = "service.cilium.io/type"
EXPOSED_NODE = "service.cilium.io/node"
EXPOSED_NODES = "service.cilium.io/node-selector"
WEIGHT = "service.cilium.io/weight"
GLOBAL_NAMESPACE = "clustermesh.cilium.io/global"
TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"  # deprecated, yet it has precedence
TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
HEADLESS = "service.kubernetes.io/headless"  # a label; its value has no meaning
DEFAULT_WEIGHT = 100

# The primary name wins wherever both are there, whatever its value.
ALIASES: Mapping[str, tuple[str, str]] = {
    GLOBAL: (GLOBAL, "io.cilium/global-service"),
    SHARED: (SHARED, "io.cilium/shared-service"),
    AFFINITY: (AFFINITY, "io.cilium/service-affinity"),
}

Affinity = Literal["none", "local", "remote"]
T = TypeVar("T")


@attrs.frozen(kw_only=True)
class ServiceAnnotations:
    """
    What a Service's annotations, its traffic distribution and its headlessness come to.

    Attributes:
        shared: Whether its backends are for other clusters; false unless it is global.
        affinity: "none" unless it is global.
        headless: By its cluster IP or by the label `service.kubernetes.io/headless`.
        sync_endpoint_slices: Whether other clusters' backends become EndpointSlices here, where the
            cluster does that at all (Cilium pkg/clustermesh/endpointslicesync/service_informer.go).
        exposed_type: The only type of frontend to make besides external IPs; `None` for all.
        node_value: The value that the label `service.cilium.io/node` of a node must have; `None` for
            any. Without force if there is a node selector.
        node_selector: Which nodes have the service; `None` for all.
        same_zone: PreferClose, PreferSameZone, or topology-aware hints.
        same_node: PreferSameNode.
        preference: Of fleetmesh's own annotations, what is in force.
        findings: `invalid-affinity` and `invalid-annotation`, one for each value that is not known, and
            `preference-ignored`.
    """

    is_global: bool
    shared: bool
    affinity: Affinity
    headless: bool
    sync_endpoint_slices: bool
    exposed_type: str | None
    node_value: str | None
    node_selector: Selector | None
    same_zone: bool
    same_node: bool
    preference: Preference = Preference()
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, service: Service) -> ServiceAnnotations:
        """Read those of a Service."""
        findings: list[Finding] = []
        is_global = _is_true(_get(service, GLOBAL))
        affinity = _affinity(service, findings) if is_global else "none"
        headless = is_headless(service)
        nearness = _distribution(service)
        return cls(
            is_global=is_global,
            shared=is_global and _is_true(_get(service, SHARED), default=True),
            affinity=affinity,
            headless=headless,
            sync_endpoint_slices=_synced(service),
            exposed_type=_exposed_type(service, findings),
            node_value=service.annotations.get(EXPOSED_NODE),
            node_selector=_node_selector(service, findings),
            same_zone=nearness == "zone",
            same_node=nearness == "node",
            preference=_preference(service, affinity, findings, is_global=is_global, headless=headless),
            findings=(*findings, *_unclear(service)),
        )

    def admits(self, node_labels: Mapping[str, str]) -> bool:
        """
        Whether a node of these labels has the service
        (Cilium pkg/loadbalancer/reflectors/conversions.go, CheckServiceNodeExposure).
        """
        if self.node_selector is not None:
            return self.node_selector.matches(node_labels)
        return self.node_value is None or node_labels.get(EXPOSED_NODE) == self.node_value


def is_headless(service: Service) -> bool:
    """Whether it has no frontends: by label, or because its cluster IP is `None` in any case of letters."""
    return HEADLESS in service.labels or service.cluster_ip.lower() == "none"


def namespace_is_global(namespace: Namespace | None, default: bool) -> bool:  # noqa: FBT001 - a setting's value
    """
    Whether a namespace's services are published
    (Cilium pkg/clustermesh/namespace/namespace.go).

    Args:
        namespace: `None` where no object declares it: it exists without annotations.
        default: The cluster's `clustermesh-default-global-namespace`.
    """
    if namespace is None or GLOBAL_NAMESPACE not in namespace.annotations:
        return default
    return _is_true(namespace.annotations[GLOBAL_NAMESPACE])


def namespace_findings(namespace: Namespace) -> tuple[Finding, ...]:
    """`invalid-annotation` if the global annotation is neither true nor false: it counts as false."""
    value = namespace.annotations.get(GLOBAL_NAMESPACE)
    if value is None or value.lower() in ("true", "false", ""):
        return ()
    return (_invalid(namespace, GLOBAL_NAMESPACE, value, '"true" or "false"; it counts as false'),)


def slice_weight(endpoint_slice: EndpointSlice) -> tuple[int, tuple[Finding, ...]]:
    """
    The weight of a slice's backends, 0 (maintenance) to 65535, and a finding if it can't be read
    (Cilium pkg/k8s/endpoints.go, ParseEndpointSliceV1).
    """
    value = endpoint_slice.annotations.get(WEIGHT)
    if value is None:
        return DEFAULT_WEIGHT, ()
    # As Go's ParseUint in base 10: digits only, neither sign nor space nor underscore.
    if value.isascii() and value.isdigit() and len(value.lstrip("0")) <= 5 and int(value) <= 65535:
        return int(value), ()
    expected = f"a whole number within 0..65535; {DEFAULT_WEIGHT} is in force"
    return DEFAULT_WEIGHT, (_invalid(endpoint_slice, WEIGHT, value, expected),)


def _get(service: Service, name: str) -> str | None:
    return next((service.annotations[key] for key in ALIASES[name] if key in service.annotations), None)


def _is_true(value: str | None, *, default: bool = False) -> bool:
    return default if value is None else value.lower() == "true"


def _affinity(service: Service, findings: list[Finding]) -> Affinity:
    value = _get(service, AFFINITY)
    match (value or "").lower():
        case "" | "none":
            return "none"
        case "local":
            return "local"
        case "remote":
            return "remote"
    name = next(key for key in ALIASES[AFFINITY] if key in service.annotations)
    findings.append(
        finding(
            "invalid-affinity",
            service.subject,
            f"affinity {value!r} is not local, remote or none; none is in force",
            (f"{name}: {value!r}",),
            service.origin,
        )
    )
    return "none"


def _synced(service: Service) -> bool:
    # Only the primary names count here, and only the cluster IP says that a service is headless.
    if not _is_true(service.annotations.get(GLOBAL)):
        return False
    return _is_true(service.annotations.get(SYNC_SLICES), default=service.cluster_ip == "None")


def _exposed_type(service: Service, findings: list[Finding]) -> str | None:
    value = service.annotations.get(EXPOSED_TYPE)
    if value is None or value in ("ClusterIP", "NodePort", "LoadBalancer"):
        return value
    expected = "ClusterIP, NodePort or LoadBalancer; all types are exposed"
    findings.append(_invalid(service, EXPOSED_TYPE, value, expected))
    return None


def _node_selector(service: Service, findings: list[Finding]) -> Selector | None:
    value = service.annotations.get(EXPOSED_NODES)
    if value is None:
        return None
    try:
        return Selector.parse(value)
    except ValueError as error:
        expected = f"a label selector ({error}); the service is on every node"
        findings.append(_invalid(service, EXPOSED_NODES, value, expected))
        # An unreadable selector still keeps `service.cilium.io/node` out of force.
        return Selector()


def _distribution(service: Service) -> str:
    """The preference for near backends (Cilium conversions.go, trafficDistribution)."""
    match service.traffic_distribution:
        case _ if service.internal_traffic_policy == "Local":
            return ""
        case "PreferSameZone" | "PreferClose":
            return "zone"
        case "PreferSameNode":
            return "node"
    value = service.annotations.get(TOPOLOGY_HINTS, service.annotations.get(TOPOLOGY_MODE, ""))
    return "" if value in ("", "disabled", "Disabled") else "zone"


def _preference(
    service: Service, affinity: Affinity, findings: list[Finding], *, is_global: bool, headless: bool
) -> Preference:
    order = _read(service, PREFER_CLUSTERS, read_order, 'clusters, such as "east, west"', findings)
    weights = _read(service, CLUSTER_WEIGHTS, read_weights, 'parts, such as "east=80, west=20"', findings)
    least = _read(service, MIN_LOCAL_BACKENDS, read_minimum, "a number of backends", findings)
    useless = "it is headless" if headless else "" if is_global else "the Service is not global"
    ignored = {
        PREFER_CLUSTERS: useless if order else "",
        CLUSTER_WEIGHTS: (useless or (order and f"{PREFER_CLUSTERS} is in force")) if weights else "",
        MIN_LOCAL_BACKENDS: (useless or (affinity != "local" and f'{AFFINITY} is not "local"'))
        if least
        else "",
    }
    for name, reason in ignored.items():
        if reason:
            message = f"{name} has no effect: {reason}"
            evidence = (f"{name}: {service.annotations[name]!r}",)
            findings.append(finding("preference-ignored", service.subject, message, evidence, service.origin))
    return Preference(
        order if order and not ignored[PREFER_CLUSTERS] else (),
        weights if weights and not ignored[CLUSTER_WEIGHTS] else (),
        least if least and not ignored[MIN_LOCAL_BACKENDS] else 1,
    )


def _read(
    service: Service, name: str, read: Callable[[str], T], expected: str, findings: list[Finding]
) -> T | None:
    """None where it is not there, or invalid."""
    value = service.annotations.get(name)
    if value is None:
        return None
    try:
        return read(value)
    except ValueError as error:
        findings.append(_invalid(service, name, value, f"{expected} ({error}); it has no effect"))
        return None


def _unclear(service: Service) -> Iterator[Finding]:
    """Values of flags that count as false though nobody wrote false."""
    for name, keys in ((GLOBAL, ALIASES[GLOBAL]), (SHARED, ALIASES[SHARED]), (SYNC_SLICES, (SYNC_SLICES,))):
        key = next((key for key in keys if key in service.annotations), None)
        if key is not None and service.annotations[key].lower() not in ("true", "false", ""):
            said = (
                f'"true" or "false"; it counts as false{"" if key == name else f" ({name} is its name now)"}'
            )
            yield _invalid(service, key, service.annotations[key], said)


def _invalid(resource: Service | Namespace | EndpointSlice, key: str, value: str, expected: str) -> Finding:
    return finding(
        "invalid-annotation",
        resource.subject,
        f"{key} is {value!r}, expected {expected}",
        (f"{key}: {value!r}",),
        resource.origin,
    )

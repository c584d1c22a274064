"""
What one member holds: its objects as declared, what its controllers make of them, and the indexes
that keep the work of a change to what changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from fleetmesh.findings import Finding
from fleetmesh.resources.model import (
    Endpoints,
    EndpointSlice,
    Namespace,
    Node,
    Pod,
    PolicyObject,
    Resource,
    Service,
    ServiceExport,
    UnknownKind,
    Workload,
)

if TYPE_CHECKING:
    from fleetmesh.services.mcs import ImportPlan

Key: TypeAlias = tuple[str, str, str]
Name: TypeAlias = tuple[str, str]
Rows: TypeAlias = tuple[tuple[str, int, int, int], ...]  # address, port, protocol, state


def key_in_store(resource: Resource) -> Key:
    """
    Kind, namespace and name; of a kind that no rule reads, with its API version: other groups may call a
    kind of theirs as Kubernetes calls one.
    """
    if isinstance(resource, UnknownKind):
        return (f"{resource.kind} {resource.api_version}", resource.namespace, resource.name)
    return resource.key


@attrs.define
class Store:
    """
    The facts of one member. Plain dictionaries; a fork shares the whole until one side writes.

    Attributes:
        resources: Everything applied, in order of its last change.
        sources: Source -> the keys that it gave last.
        source_of: The source that gave a key last.
        findings: What is to be said about an object by itself.
        source_findings: What is to be said about a source, such as a file that can't be read.
        services: Namespace -> name -> the Service as written (derived ones of MCS-API too).
        in_force: The Service with the cluster IPs that it was given.
        slices: Service -> name of slice -> declared slice.
        derived: Service -> name of slice -> slice made of its pods, or mirrored from Endpoints.
        declared_pods, pods: Namespace -> name -> Pod, as declared and as it runs.
        expanded: Workload -> the names of the pods that were made for it.
        imports: What the member makes of the MCS-API exports of a name.
        trouble: What working something out had to say, by what was worked out and the object.
        set_aside: Rows that were loaded in bulk, kept while the member is drained.
        flags: `drained` and `failed`.
    """

    resources: dict[Key, Resource] = attrs.field(factory=dict)
    sources: dict[str, dict[Key, None]] = attrs.field(factory=dict)
    source_of: dict[Key, str] = attrs.field(factory=dict)
    findings: dict[Key, tuple[Finding, ...]] = attrs.field(factory=dict)
    source_findings: dict[str, tuple[Finding, ...]] = attrs.field(factory=dict)
    namespaces: dict[str, Namespace] = attrs.field(factory=dict)
    used_namespaces: dict[str, int] = attrs.field(factory=dict)
    nodes: dict[str, Node] = attrs.field(factory=dict)
    services: dict[str, dict[str, Service]] = attrs.field(factory=dict)
    in_force: dict[str, dict[str, Service]] = attrs.field(factory=dict)
    slices: dict[Name, dict[str, EndpointSlice]] = attrs.field(factory=dict)
    endpoints: dict[Name, Endpoints] = attrs.field(factory=dict)
    derived: dict[Name, dict[str, EndpointSlice]] = attrs.field(factory=dict)
    workloads: dict[str, dict[str, Workload]] = attrs.field(factory=dict)
    declared_pods: dict[str, dict[str, Pod]] = attrs.field(factory=dict)
    pods: dict[str, dict[str, Pod]] = attrs.field(factory=dict)
    expanded: dict[Key, tuple[str, ...]] = attrs.field(factory=dict)
    exports: dict[Name, ServiceExport] = attrs.field(factory=dict)
    imports: dict[Name, ImportPlan] = attrs.field(factory=dict)
    policies: dict[Key, PolicyObject] = attrs.field(factory=dict)
    unknown: dict[str, dict[str, UnknownKind]] = attrs.field(factory=dict)
    trouble: dict[tuple[str, Key], Finding] = attrs.field(factory=dict)
    set_aside: dict[Name, Rows] = attrs.field(factory=dict)
    flags: dict[str, bool] = attrs.field(factory=dict)

    @property
    def drained(self) -> bool:
        """Whether its endpoints have been taken away."""
        return self.flags.get("drained", False)

    @property
    def failed(self) -> bool:
        """Whether it is cut off."""
        return self.flags.get("failed", False)

    def copy(self) -> Store:
        """The same facts, to be changed separately. Costs what the member holds."""
        values: dict[str, object] = {}
        for field in attrs.fields(Store):
            value = getattr(self, field.name)
            if not isinstance(value, dict):
                values[field.name] = value
            elif field.name in _NESTED:
                values[field.name] = {key: dict(inner) for key, inner in value.items()}
            else:
                values[field.name] = dict(value)
        return Store(**values)  # type: ignore[arg-type]

    def service(self, namespace: str, name: str) -> Service | None:
        """The Service in force."""
        return self.in_force.get(namespace, {}).get(name)

    def own_slices(self, name: Name) -> list[EndpointSlice]:
        """The slices of a service, those of its own controllers too, in order of their last change."""
        return [*self.derived.get(name, {}).values(), *self.slices.get(name, {}).values()]

    def has_namespace(self, namespace: str) -> bool:
        """Whether it is declared or something is in it."""
        return namespace in self.namespaces or namespace in self.used_namespaces


_NESTED = frozenset(
    {"sources", "services", "in_force", "slices", "derived", "workloads", "declared_pods", "pods", "unknown"}
)

"""
What one member holds: its objects as declared, what its controllers make of them, and the indexes
that keep the work of a change to what changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from fleetmesh.findings import Finding
from fleetmesh.identity import Ranges
from fleetmesh.identity.cow import CowGroups, CowMap
from fleetmesh.mesh.heard_pods import HeardPods, labels_of_pods, pods_of
from fleetmesh.resources.model import (
    CiliumNode,
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
    from fleetmesh.mesh.cilium_objects import Claim
    from fleetmesh.mesh.heard import Heard
    from fleetmesh.mesh.identities import Numbered
    from fleetmesh.policy import Rule
    from fleetmesh.policy.labels import LabelSet
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
    The facts of one member, in one state: a transaction writes to a copy of its own, which costs what it
    writes, and whoever has the state before keeps it.

    Attributes:
        resources: Everything applied, in order of its last change.
        sources: Source -> the keys that it gave last.
        source_of: The source that gave a key last.
        findings: What is to be said about an object by itself.
        source_findings: What is to be said about a source, such as a file that can't be read.
        nodes: Name -> Node, as declared or else as its CiliumNode has it.
        cilium_nodes: What others hear of instead of the Nodes, where there is any.
        cilium_identities: Number -> labels of a CiliumIdentity.
        numbers_of: Labels -> the numbers of CiliumIdentities that have them.
        claimed_by: CiliumEndpoint or CiliumEndpointSlice -> the pods of which it says something.
        claims: Namespace -> name of a pod -> what Cilium's objects say of it, the one that counts first.
        services: Namespace -> name -> the Service as written (derived ones of MCS-API too).
        in_force: The Service with the cluster IPs that it was given.
        slices: Service -> name of slice -> declared slice.
        derived: Service -> name of slice -> slice made of its pods, or mirrored from Endpoints.
        declared_pods, running: Namespace -> name -> Pod, as declared and as it runs; see `pods`.
        identified: See `identity_of`; of a member of this process.
        identities: The labels of an identity -> its number, and how many pods have it.
        asking: The policies whose rules may conflict.
        on_services: The policies whose rules hang on the services that there are.
        held: The labels of an identity whose rules are in conflict -> those that were in force before.
        expanded: Workload -> the names of the pods that were made for it.
        imports: What the member makes of the MCS-API exports of a name.
        trouble: What working something out had to say, by what was worked out and the object.
        set_aside: Rows that were loaded in bulk, kept while the member is drained.
        heard: What is known of a member that another process runs; `None` of one of this process.
        ranges: The ranges in force.
        evading: Whether they keep clear of what was heard when it joined, and stay as they are.
        drained: Whether its endpoints have been taken away.
        failed: Whether it is cut off.
    """

    resources: CowMap[Key, Resource] = attrs.field(factory=CowMap)
    sources: CowGroups[str, Key, None] = attrs.field(factory=CowGroups)
    source_of: CowMap[Key, str] = attrs.field(factory=CowMap)
    findings: CowMap[Key, tuple[Finding, ...]] = attrs.field(factory=CowMap)
    source_findings: CowMap[str, tuple[Finding, ...]] = attrs.field(factory=CowMap)
    namespaces: CowMap[str, Namespace] = attrs.field(factory=CowMap)
    used_namespaces: CowMap[str, int] = attrs.field(factory=CowMap)
    nodes: CowMap[str, Node] = attrs.field(factory=CowMap)
    cilium_nodes: CowMap[str, CiliumNode] = attrs.field(factory=CowMap)
    cilium_identities: CowMap[int, LabelSet] = attrs.field(factory=CowMap)
    numbers_of: CowGroups[LabelSet, int, None] = attrs.field(factory=CowGroups)
    claimed_by: CowMap[Key, tuple[Name, ...]] = attrs.field(factory=CowMap)
    claims: CowGroups[str, str, tuple[Claim, ...]] = attrs.field(factory=CowGroups)
    services: CowGroups[str, str, Service] = attrs.field(factory=CowGroups)
    in_force: CowGroups[str, str, Service] = attrs.field(factory=CowGroups)
    slices: CowGroups[Name, str, EndpointSlice] = attrs.field(factory=CowGroups)
    endpoints: CowMap[Name, Endpoints] = attrs.field(factory=CowMap)
    derived: CowGroups[Name, str, EndpointSlice] = attrs.field(factory=CowGroups)
    workloads: CowGroups[str, str, Workload] = attrs.field(factory=CowGroups)
    declared_pods: CowGroups[str, str, Pod] = attrs.field(factory=CowGroups)
    running: CowGroups[str, str, Pod] = attrs.field(factory=CowGroups)
    identified: CowGroups[str, str, LabelSet] = attrs.field(factory=CowGroups)
    identities: CowMap[LabelSet, Numbered] = attrs.field(factory=CowMap)
    held: CowMap[LabelSet, tuple[Rule, ...]] = attrs.field(factory=CowMap)
    expanded: CowMap[Key, tuple[str, ...]] = attrs.field(factory=CowMap)
    exports: CowMap[Name, ServiceExport] = attrs.field(factory=CowMap)
    imports: CowMap[Name, ImportPlan] = attrs.field(factory=CowMap)
    policies: CowMap[Key, PolicyObject] = attrs.field(factory=CowMap)
    asking: CowMap[Key, None] = attrs.field(factory=CowMap)
    on_services: CowMap[Key, None] = attrs.field(factory=CowMap)
    unknown: CowGroups[str, str, UnknownKind] = attrs.field(factory=CowGroups)
    trouble: CowMap[tuple[str, Key], Finding] = attrs.field(factory=CowMap)
    set_aside: CowMap[Name, Rows] = attrs.field(factory=CowMap)
    heard: Heard | None = None
    ranges: Ranges = attrs.field(factory=Ranges)
    evading: bool = False
    drained: bool = False
    failed: bool = False

    def copy(self) -> Store:
        """The same facts, to be changed separately; costs nothing that grows with them."""
        other = Store.__new__(Store)
        for name in _MAPS:
            setattr(other, name, getattr(self, name).copy())
        other.heard = None if self.heard is None else self.heard.copy()
        other.ranges, other.evading = self.ranges, self.evading
        other.drained, other.failed = self.drained, self.failed
        return other

    def service(self, namespace: str, name: str) -> Service | None:
        """The Service in force."""
        return self.in_force.group(namespace).get(name)

    @property
    def pods(self) -> CowGroups[str, str, Pod] | HeardPods[Pod]:
        """Namespace -> name -> Pod, as it runs."""
        return self.running if self.heard is None else pods_of(self.heard)

    @property
    def identity_of(self) -> CowGroups[str, str, LabelSet] | HeardPods[LabelSet]:
        """
        Namespace -> name of a pod -> the labels of its identity; those on a node's network have none.
        """
        return self.identified if self.heard is None else labels_of_pods(self.heard)

    def labels_of(self, namespace: str, name: str) -> LabelSet | None:
        """Of a pod's identity; `None` for one on its node's network, or where there is no such pod."""
        if self.heard is None:
            return self.identified.group(namespace).get(name)
        records = self.heard.pods.get((namespace, name))
        return None if records is None else self.heard.labels_of(records[0].identity)

    def addresses_of(self, namespace: str, name: str) -> tuple[str, ...]:
        """Of a pod; none where there is no such pod."""
        if self.heard is None:
            pod = self.running.group(namespace).get(name)
            return () if pod is None else pod.addresses
        return tuple(each.address for each in self.heard.pods.get((namespace, name), ()))

    def own_slices(self, name: Name) -> list[EndpointSlice]:
        """The slices of a service, those of its own controllers too, in order of their last change."""
        return [*self.derived.group(name).values(), *self.slices.group(name).values()]

    def has_namespace(self, namespace: str) -> bool:
        """Whether it is declared or something is in it."""
        return namespace in self.namespaces or namespace in self.used_namespaces


_MAPS = tuple(
    field.name
    for field in attrs.fields(Store)
    if field.name not in ("heard", "ranges", "evading", "drained", "failed")
)

"""
The parts of Kubernetes' JSON that fleetmesh reads, with the names that they have there.

Everything is optional that may be left out or null: the API server takes both for the default
(k8s.io/api core/v1, apps/v1, batch/v1, discovery/v1; sigs.k8s.io/mcs-api; Cilium pkg/k8s/apis/cilium.io).
"""
# ruff: noqa: N815 -- these are the names on the wire

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Port = Annotated[int, Meta(ge=1, le=65535)]
PortOrNone = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
IdentityNumber = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Protocol = Literal["TCP", "UDP", "SCTP"]
Family = Literal["IPv4", "IPv6"]
Status = Literal["True", "False", "Unknown"]
TrafficPolicy = Literal["Cluster", "Local"]
Strings = dict[str, str | None]  # a null in it is the empty string, as Go has it


class OwnerReference(Struct):
    kind: str
    name: str


class Metadata(Struct):
    name: str | None = None
    generateName: str | None = None
    namespace: str | None = None
    labels: Strings | None = None
    annotations: Strings | None = None
    creationTimestamp: str | None = None
    deletionTimestamp: str | None = None
    ownerReferences: list[OwnerReference] | None = None


class Object(Struct):
    """Any object; also all of Namespace and of the policies, which are judged elsewhere."""

    metadata: Metadata | None = None


class NodeAddress(Struct):
    type: str
    address: str


class NodeSpec(Struct):
    podCIDR: str | None = None
    podCIDRs: list[str] | None = None


class NodeStatus(Struct):
    addresses: list[NodeAddress] | None = None


class Node(Object):
    spec: NodeSpec | None = None
    status: NodeStatus | None = None


class ContainerPort(Struct):
    containerPort: Port
    name: str | None = None
    protocol: Protocol | None = None


class Container(Struct):
    ports: list[ContainerPort] | None = None
    restartPolicy: str | None = None


class PodSpec(Struct):
    containers: list[Container] | None = None
    initContainers: list[Container] | None = None
    serviceAccountName: str | None = None
    serviceAccount: str | None = None
    nodeName: str | None = None
    nodeSelector: Strings | None = None
    hostNetwork: bool | None = None
    hostname: str | None = None
    subdomain: str | None = None


class PodIP(Struct):
    ip: str | None = None


class Condition(Struct):
    type: str
    status: Status


class PodStatus(Struct):
    podIP: str | None = None
    podIPs: list[PodIP] | None = None
    hostIP: str | None = None
    phase: Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"] | None = None
    conditions: list[Condition] | None = None


class Pod(Object):
    spec: PodSpec | None = None
    status: PodStatus | None = None


class TemplateMetadata(Struct):
    labels: Strings | None = None
    annotations: Strings | None = None


class PodTemplate(Struct):
    metadata: TemplateMetadata | None = None
    spec: PodSpec | None = None


class Expression(Struct):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] | None = None


class LabelSelector(Struct):
    matchLabels: Strings | None = None
    matchExpressions: list[Expression] | None = None


class WorkloadSpec(Struct):
    template: PodTemplate
    replicas: Count | None = None
    selector: LabelSelector | None = None
    serviceName: str | None = None


class Workload(Object, kw_only=True):
    spec: WorkloadSpec


class JobSpec(Struct):
    template: PodTemplate
    parallelism: Count | None = None
    completions: Count | None = None
    suspend: bool | None = None
    selector: LabelSelector | None = None


class JobStatus(Struct):
    conditions: list[Condition] | None = None


class Job(Object, kw_only=True):
    spec: JobSpec
    status: JobStatus | None = None


class ServicePort(Struct):
    port: Port
    name: str | None = None
    protocol: Protocol | None = None
    targetPort: PortOrNone | str | None = None
    nodePort: PortOrNone | None = None
    appProtocol: str | None = None


class ClientIP(Struct):
    timeoutSeconds: Annotated[int, Meta(ge=1, le=86400)] | None = None


class SessionAffinityConfig(Struct):
    clientIP: ClientIP | None = None


class ServiceSpec(Struct):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] | None = None
    clusterIP: str | None = None
    clusterIPs: list[str] | None = None
    ipFamilies: list[Family] | None = None
    ipFamilyPolicy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    ports: list[ServicePort] | None = None
    selector: Strings | None = None
    externalIPs: list[str] | None = None
    externalName: str | None = None
    internalTrafficPolicy: TrafficPolicy | None = None
    externalTrafficPolicy: Literal["", "Cluster", "Local"] | None = None
    trafficDistribution: Literal["PreferClose", "PreferSameZone", "PreferSameNode"] | None = None
    sessionAffinity: Literal["", "None", "ClientIP"] | None = None
    sessionAffinityConfig: SessionAffinityConfig | None = None
    publishNotReadyAddresses: bool | None = None


class Ingress(Struct):
    ip: str | None = None
    ipMode: Literal["VIP", "Proxy"] | None = None


class LoadBalancerStatus(Struct):
    ingress: list[Ingress] | None = None


class ServiceStatus(Struct):
    loadBalancer: LoadBalancerStatus | None = None


class Service(Object):
    spec: ServiceSpec | None = None
    status: ServiceStatus | None = None


class ObjectReference(Struct):
    kind: str | None = None
    name: str | None = None


class Conditions(Struct):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Struct):
    name: str


class Hints(Struct):
    forZones: list[ForZone] | None = None


class Endpoint(Struct):
    addresses: list[str]
    conditions: Conditions | None = None
    hostname: str | None = None
    nodeName: str | None = None
    zone: str | None = None
    hints: Hints | None = None
    targetRef: ObjectReference | None = None


class SlicePort(Struct):
    port: PortOrNone | None = None
    name: str | None = None
    protocol: Protocol | None = None
    appProtocol: str | None = None


class EndpointSlice(Object, kw_only=True):
    addressType: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: list[Endpoint] | None = None
    ports: list[SlicePort] | None = None


class EndpointAddress(Struct):
    ip: str
    hostname: str | None = None
    nodeName: str | None = None


class SubsetPort(Struct):
    port: Port
    name: str | None = None
    protocol: Protocol | None = None
    appProtocol: str | None = None


class Subset(Struct):
    addresses: list[EndpointAddress] | None = None
    notReadyAddresses: list[EndpointAddress] | None = None
    ports: list[SubsetPort] | None = None


class Endpoints(Object):
    subsets: list[Subset] | None = None


class ServiceExportSpec(Struct):
    exportedLabels: Strings | None = None
    exportedAnnotations: Strings | None = None


class ServiceExport(Object):
    spec: ServiceExportSpec | None = None


class ImportPort(Struct):
    port: Port
    name: str | None = None
    protocol: Protocol | None = None
    appProtocol: str | None = None


class ServiceImportSpec(Struct):
    type: Literal["ClusterSetIP", "Headless"] | None = None
    ips: list[str] | None = None
    ports: list[ImportPort] | None = None


class ServiceImport(Object):
    spec: ServiceImportSpec | None = None


class CiliumAddress(Struct):
    type: str | None = None
    ip: str | None = None


class AddressPair(Struct):
    ipv4: str | None = None
    ipv6: str | None = None


class Encryption(Struct):
    key: Whole | None = None


class AllocatedPool(Struct):
    cidrs: list[str] | None = None


class Pools(Struct):
    allocated: list[AllocatedPool] | None = None


class Ipam(Struct):
    podCIDRs: list[str] | None = None
    pools: Pools | None = None


class CiliumNodeSpec(Struct):
    addresses: list[CiliumAddress] | None = None
    health: AddressPair | None = None
    ingress: AddressPair | None = None
    encryption: Encryption | None = None
    ipam: Ipam | None = None
    bootid: str | None = None


class CiliumNode(Object, kw_only=True):
    spec: CiliumNodeSpec


class CiliumIdentity(Object, kw_only=True):
    security_labels: Strings = field(name="security-labels")


class Networking(Struct):
    addressing: list[AddressPair] | None = None
    node: str | None = None


class NamedPort(Struct):
    name: str | None = None
    port: PortOrNone | None = None
    protocol: str | None = None


class EndpointIdentity(Struct):
    id: IdentityNumber | None = None


class EndpointStatus(Struct):
    identity: EndpointIdentity | None = None
    networking: Networking | None = None
    encryption: Encryption | None = None
    named_ports: list[NamedPort] | None = field(name="named-ports", default=None)
    service_account: str | None = field(name="service-account", default=None)


class CiliumEndpoint(Object):
    status: EndpointStatus | None = None


class CoreEndpoint(Struct):
    name: str | None = None
    id: IdentityNumber | None = None
    networking: Networking | None = None
    encryption: Encryption | None = None
    named_ports: list[NamedPort] | None = field(name="named-ports", default=None)
    service_account: str | None = field(name="service-account", default=None)


class CiliumEndpointSlice(Object, kw_only=True):
    endpoints: list[CoreEndpoint]
    namespace: str | None = None


class ConfigMap(Object):
    data: Strings | None = None

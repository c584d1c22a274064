"""
The Kubernetes objects that fleetmesh understands, as immutable values.

Field names are Kubernetes' in snake_case; a field that Kubernetes leaves out holds the value that
its API documents as the default, or `None` where absence has a meaning of its own. Only what some
rule of fleetmesh reads is kept. Addresses stay the strings that the manifest has: whether one is
valid is judged where it is used, as in Kubernetes' own consumers.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import attrs

EMPTY: Mapping[str, str] = MappingProxyType({})

Protocol = Literal["TCP", "UDP", "SCTP"]
Family = Literal["IPv4", "IPv6"]


@attrs.frozen
class Origin:
    """
    Where a resource was read.

    Attributes:
        file: The path as given, or `<text>`.
        document: The number of the document in the file, from 1.
        line: The line of the file on which the document (or the item of a `List`) begins, from 1.
    """

    file: str
    document: int
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} (document {self.document})"


@attrs.frozen(kw_only=True)
class Resource:
    """
    One Kubernetes object.

    Two resources are equal if they say the same, wherever they were read.
    """

    kind: str
    api_version: str = "v1"
    namespace: str = ""  # "" for cluster-scoped kinds
    name: str
    labels: Mapping[str, str] = EMPTY
    annotations: Mapping[str, str] = EMPTY
    creation_timestamp: str = ""  # RFC 3339, "" where unknown
    origin: Origin | None = attrs.field(default=None, eq=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind, namespace and name: what an upsert goes by."""
        return (self.kind, self.namespace, self.name)

    @property
    def subject(self) -> str:
        """How findings name it, such as `Service shop/checkout` or `Namespace /shop`."""
        return f"{self.kind} {self.namespace}/{self.name}"


@attrs.frozen(kw_only=True)
class Namespace(Resource):
    kind: str = "Namespace"


@attrs.frozen(kw_only=True)
class Node(Resource):
    kind: str = "Node"
    addresses: tuple[tuple[str, str], ...] = ()  # (type, address), such as ("InternalIP", "192.168.0.4")
    pod_cidrs: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ContainerPort:
    """
    Attributes:
        sidecar: Whether it is of an init container that keeps running.
    """

    container_port: int
    name: str = ""
    protocol: Protocol = "TCP"
    sidecar: bool = False


@attrs.frozen(kw_only=True)
class PodTemplate:
    """What a workload says about each of its pods."""

    labels: Mapping[str, str] = EMPTY
    annotations: Mapping[str, str] = EMPTY
    service_account: str = "default"
    node_name: str = ""
    node_selector: Mapping[str, str] = EMPTY
    ports: tuple[ContainerPort, ...] = ()
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""


@attrs.frozen(kw_only=True)
class Pod(Resource):
    """
    Attributes:
        addresses: `status.podIPs` (or `status.podIP`); empty where none is declared.
        host_address: `status.hostIP`, "" where unknown.
        phase: `status.phase`; "Running" where a manifest has no status.
        ready: The Ready condition; `None` where no status declares it.
        terminating: Whether `metadata.deletionTimestamp` is set.
    """

    kind: str = "Pod"
    template: PodTemplate = PodTemplate()
    addresses: tuple[str, ...] = ()
    host_address: str = ""
    phase: str = "Running"
    ready: bool | None = None
    terminating: bool = False
    owners: tuple[tuple[str, str], ...] = ()  # (kind, name) of metadata.ownerReferences


@attrs.frozen(kw_only=True)
class Workload(Resource):
    """
    A Deployment, StatefulSet, DaemonSet, ReplicaSet or Job.

    Attributes:
        replicas: How many pods it wants; `None` for a DaemonSet (one a node). A Job's parallelism.
        selector_labels: `spec.selector.matchLabels`.
        service_name: `spec.serviceName` of a StatefulSet, "" for other kinds.
    """

    replicas: int | None = 1
    selector_labels: Mapping[str, str] = EMPTY
    template: PodTemplate = PodTemplate()
    service_name: str = ""
    owners: tuple[tuple[str, str], ...] = ()


@attrs.frozen(kw_only=True)
class ServicePort:
    port: int
    name: str = ""
    protocol: Protocol = "TCP"
    target_port: int | str = 0  # 0: the same as port
    node_port: int = 0
    app_protocol: str = ""


@attrs.frozen(kw_only=True)
class Service(Resource):
    """
    Attributes:
        selector: `None` where the service has none: its endpoints are declared by hand.
        cluster_ip: "" where not given, "None" for a headless service.
        ingress: `status.loadBalancer.ingress` as (ip, ipMode); hostnames are left out.
        session_affinity_seconds: 0 without ClientIP affinity.
    """

    kind: str = "Service"
    type: str = "ClusterIP"
    cluster_ip: str = ""
    cluster_ips: tuple[str, ...] = ()
    ip_families: tuple[Family, ...] = ()
    ip_family_policy: str = ""
    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] | None = None
    external_ips: tuple[str, ...] = ()
    external_name: str = ""
    ingress: tuple[tuple[str, str], ...] = ()
    internal_traffic_policy: str = "Cluster"
    external_traffic_policy: str = "Cluster"
    traffic_distribution: str = ""
    session_affinity_seconds: int = 0
    publish_not_ready_addresses: bool = False


@attrs.frozen(kw_only=True)
class EndpointPort:
    """
    Attributes:
        port: `None` where the slice leaves it out ("all ports"): such a port serves nobody.
    """

    port: int | None
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""


@attrs.frozen(kw_only=True)
class Endpoint:
    """One endpoint of a slice. A condition that is unset is `None`."""

    addresses: tuple[str, ...]
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None
    hostname: str = ""
    node_name: str = ""
    zone: str = ""
    for_zones: tuple[str, ...] = ()
    target: tuple[str, str] = ("", "")  # (kind, name) of targetRef


@attrs.frozen(kw_only=True)
class EndpointSlice(Resource):
    kind: str = "EndpointSlice"
    api_version: str = "discovery.k8s.io/v1"
    address_type: str = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    @property
    def service(self) -> str:
        """The name of the service it belongs to, "" if it names none."""
        return self.labels.get("kubernetes.io/service-name", "")


@attrs.frozen(kw_only=True)
class EndpointSubset:
    """Addresses as (ip, hostname, node name), in the order of the manifest."""

    addresses: tuple[tuple[str, str, str], ...] = ()
    not_ready_addresses: tuple[tuple[str, str, str], ...] = ()
    ports: tuple[EndpointPort, ...] = ()


@attrs.frozen(kw_only=True)
class Endpoints(Resource):
    kind: str = "Endpoints"
    subsets: tuple[EndpointSubset, ...] = ()


@attrs.frozen(kw_only=True)
class ServiceExport(Resource):
    kind: str = "ServiceExport"
    api_version: str = "multicluster.x-k8s.io/v1beta1"
    exported_labels: Mapping[str, str] = EMPTY
    exported_annotations: Mapping[str, str] = EMPTY


@attrs.frozen(kw_only=True)
class ServiceImport(Resource):
    kind: str = "ServiceImport"
    api_version: str = "multicluster.x-k8s.io/v1beta1"
    type: str = "ClusterSetIP"
    ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()


@attrs.frozen(kw_only=True)
class CiliumNode(Resource):
    """
    What Cilium knows of a node: where there are such objects, others hear of them and not of the Nodes.

    Attributes:
        addresses: `spec.addresses` as (type, address).
        pod_cidrs: `spec.ipam.podCIDRs`, then those of the pools that are allocated.
        health_addresses, ingress_addresses: IPv4 and IPv6, "" for none.
        encryption_key: Index of the IPsec key, 0 without.
    """

    kind: str = "CiliumNode"
    api_version: str = "cilium.io/v2"
    addresses: tuple[tuple[str, str], ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    health_addresses: tuple[str, str] = ("", "")
    ingress_addresses: tuple[str, str] = ("", "")
    encryption_key: int = 0
    boot_id: str = ""


@attrs.frozen(kw_only=True)
class CiliumIdentity(Resource):
    """
    A security identity: its name is its number.

    Attributes:
        number: With the cluster's id in its bits.
        security_labels: `source:key` -> value.
    """

    kind: str = "CiliumIdentity"
    api_version: str = "cilium.io/v2"
    number: int
    security_labels: Mapping[str, str] = EMPTY


@attrs.frozen(kw_only=True)
class PodEndpoint:
    """
    What Cilium knows of a pod.

    Attributes:
        pod: Its name.
        identity: The number of its identity, 0 where it has none yet.
        addresses: In the order of the object.
        host_address: Of its node, "" where unknown.
        named_ports: (name, port, protocol), in the order of the object.
        service_account: "" where unknown.
    """

    pod: str
    identity: int = 0
    addresses: tuple[str, ...] = ()
    host_address: str = ""
    encryption_key: int = 0
    named_ports: tuple[tuple[str, int, str], ...] = ()
    service_account: str = ""


@attrs.frozen(kw_only=True)
class CiliumEndpoint(Resource):
    """What Cilium knows of the pod of the same name."""

    kind: str = "CiliumEndpoint"
    api_version: str = "cilium.io/v2"
    endpoint: PodEndpoint


@attrs.frozen(kw_only=True)
class CiliumEndpointSlice(Resource):
    """
    What Cilium knows of some pods of a namespace, where it has no CiliumEndpoints or beside them.

    Attributes:
        pod_namespace: Of the pods; the object itself is in none.
    """

    kind: str = "CiliumEndpointSlice"
    api_version: str = "cilium.io/v2alpha1"
    pod_namespace: str = ""
    endpoints: tuple[PodEndpoint, ...] = ()


@attrs.frozen(kw_only=True)
class CiliumConfig(Resource):
    """
    The ConfigMap `kube-system/cilium-config`: only what tells a self-managed mesh.

    Attributes:
        cluster_id: The value of `cluster-id`, "" where the key is missing.
    """

    kind: str = "ConfigMap"
    cluster_id: str = ""
    cluster_name: str = ""


@attrs.frozen(kw_only=True)
class ClusterMeshSecret(Resource):
    """That the Secret `cilium-clustermesh` exists. Of a Secret only its name is ever read."""

    kind: str = "Secret"


@attrs.frozen(kw_only=True)
class PolicyObject(Resource):
    """
    A policy, kept as it was written: `document` is the whole object, read-only, and judged later.
    """

    document: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class UnknownKind(Resource):
    """An object of a kind that no rule of fleetmesh reads. Reported once a kind."""

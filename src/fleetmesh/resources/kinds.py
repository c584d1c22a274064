"""
The kinds that fleetmesh reads, one entry each.

To add one, add its class to `wire`, its builder to `build`, and an entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from fleetmesh.resources import build, build_cilium, build_pods, fields, wire
from fleetmesh.resources.model import Resource


@attrs.frozen
class Kind:
    """
    Attributes:
        versions: The apiVersions whose schema is the one that `wire` has.
        wire: The class of the object on the wire.
        build: Makes the resource of it; `None` for a policy, which is kept as it is.
        fields: All fields that Kubernetes knows, as far as one that it doesn't would matter.
        namespaced: Whether its objects are in a namespace.
        short_name: Whether its names are DNS labels (of at most 63 characters) and not subdomains.
    """

    name: str
    versions: tuple[str, ...]
    wire: type[wire.Object]
    build: Callable[[dict[str, Any], Any, Any], Resource] | None
    fields: fields.Fields = fields.ANY
    namespaced: bool = True
    short_name: bool = False


_OLD_APPS = ("apps/v1beta2", "apps/v1beta1", "extensions/v1beta1")
_MCS = ("multicluster.x-k8s.io/v1beta1", "multicluster.x-k8s.io/v1alpha1")
_API = "policy.networking.k8s.io"

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "Namespace",
            ("v1",),
            wire.Object,
            build.namespace,
            fields.NAMESPACE,
            namespaced=False,
            short_name=True,
        ),
        Kind("Node", ("v1",), wire.Node, build.node, fields.NODE, namespaced=False),
        Kind("Pod", ("v1",), wire.Pod, build_pods.pod, fields.POD),
        Kind("Deployment", ("apps/v1", *_OLD_APPS), wire.Workload, build_pods.workload, fields.WORKLOAD),
        Kind(
            "StatefulSet",
            ("apps/v1", "apps/v1beta2", "apps/v1beta1"),
            wire.Workload,
            build_pods.workload,
            fields.WORKLOAD,
        ),
        Kind(
            "DaemonSet",
            ("apps/v1", "apps/v1beta2", "extensions/v1beta1"),
            wire.Workload,
            build_pods.workload,
            fields.WORKLOAD,
        ),
        Kind(
            "ReplicaSet",
            ("apps/v1", "apps/v1beta2", "extensions/v1beta1"),
            wire.Workload,
            build_pods.workload,
            fields.WORKLOAD,
        ),
        Kind("Job", ("batch/v1",), wire.Job, build_pods.job, fields.JOB),
        Kind("Service", ("v1",), wire.Service, build.service, fields.SERVICE, short_name=True),
        Kind(
            "EndpointSlice",
            ("discovery.k8s.io/v1",),
            wire.EndpointSlice,
            build.endpoint_slice,
            fields.ENDPOINT_SLICE,
        ),
        Kind("Endpoints", ("v1",), wire.Endpoints, build.endpoints, fields.ENDPOINTS),
        Kind("ServiceExport", _MCS, wire.ServiceExport, build.service_export, fields.SERVICE_EXPORT),
        Kind("ServiceImport", _MCS, wire.ServiceImport, build.service_import, fields.SERVICE_IMPORT),
        Kind(
            "CiliumNode",
            ("cilium.io/v2",),
            wire.CiliumNode,
            build_cilium.node,
            fields.CILIUM_NODE,
            namespaced=False,
        ),
        Kind(
            "CiliumIdentity",
            ("cilium.io/v2",),
            wire.CiliumIdentity,
            build_cilium.identity,
            fields.CILIUM_IDENTITY,
            namespaced=False,
        ),
        Kind(
            "CiliumEndpoint",
            ("cilium.io/v2",),
            wire.CiliumEndpoint,
            build_cilium.endpoint,
            fields.CILIUM_ENDPOINT,
        ),
        Kind(
            "CiliumEndpointSlice",
            ("cilium.io/v2alpha1",),
            wire.CiliumEndpointSlice,
            build_cilium.endpoint_slice,
            fields.CILIUM_ENDPOINT_SLICE,
            namespaced=False,
        ),
        Kind("NetworkPolicy", ("networking.k8s.io/v1",), wire.Object, None),
        Kind("CiliumNetworkPolicy", ("cilium.io/v2",), wire.Object, None),
        Kind("CiliumClusterwideNetworkPolicy", ("cilium.io/v2",), wire.Object, None, namespaced=False),
        Kind("CiliumCIDRGroup", ("cilium.io/v2", "cilium.io/v2alpha1"), wire.Object, None, namespaced=False),
        Kind("ClusterNetworkPolicy", (f"{_API}/v1alpha2",), wire.Object, None, namespaced=False),
        Kind("AdminNetworkPolicy", (f"{_API}/v1alpha1",), wire.Object, None, namespaced=False),
        Kind("BaselineAdminNetworkPolicy", (f"{_API}/v1alpha1",), wire.Object, None, namespaced=False),
    )
}

CILIUM_CONFIG = Kind("ConfigMap", ("v1",), wire.ConfigMap, build.cilium_config)
"""Only `kube-system/cilium-config`; other ConfigMaps are of a kind that no rule reads."""


def group(api_version: str) -> str:
    """The API group: "" for `v1`, `apps` for `apps/v1`."""
    return api_version.rpartition("/")[0]


def is_foreign(api_version: str, kind: Kind) -> bool:
    """
    Whether it is another project's kind of the same name, such as Knative's Service.

    Groups of Kubernetes itself have no dot or end with `.k8s.io`.
    """
    name = group(api_version)
    own = "." not in name or name.endswith(".k8s.io")
    return not own and name not in {group(version) for version in kind.versions}

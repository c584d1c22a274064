"""
The rules of the merge in words: for each code of the core a sentence and what would change it.

The rules themselves are the core's; sources are Cilium's pkg/clustermesh/selectbackends.go,
pkg/clustermesh/service_merger.go, pkg/loadbalancer/writer/writer.go and operator/watchers/service_sync.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs


@attrs.frozen
class Rule:
    """
    Why a candidate is in or out.

    Both texts are format strings over `cluster` (whose candidate it is), `viewer`, `service`
    (namespace/name), `namespace`, `detail`, `state`, `address`, `port_name` (of the frontend) and
    `frontend`.

    Attributes:
        code: As the core says it.
        sentence: The fact, with the annotation, object or setting that decided.
        fix: What to change to get the other answer; "" where nothing is to be changed.
    """

    code: str
    sentence: str
    fix: str = ""


_RULES = (
    Rule("in-use", "it takes new connections"),
    Rule(
        "selected",
        "it is selected but takes no new connections: its state is {state}",
        "see its readiness, and the weight of its EndpointSlice (0 means maintenance)",
    ),
    Rule(
        "no-service",
        "{cluster} has endpoints of that name but no Service {service}",
        "declare the Service in {cluster}",
    ),
    Rule(
        "viewer-no-service",
        "{viewer} has no Service {service}, and frontends come only from a cluster's own Service",
        "declare the Service in {viewer}, a selector is not needed",
    ),
    Rule(
        "not-heard",
        "{viewer} does not hear {cluster}: the topology has no link between them",
        "link the two in the topology, or bring {cluster} back if it has failed",
    ),
    Rule(
        "cluster-failed",
        "{viewer} and {cluster} are cut off from each other, or from themselves: one of them has failed",
        "restore the one that has failed",
    ),
    Rule(
        "publisher-not-global",
        'its Service has no annotation service.cilium.io/global: "true"',
        'annotate Service {service} in {cluster} with service.cilium.io/global: "true"',
    ),
    Rule(
        "publisher-not-shared",
        'its Service is annotated service.cilium.io/shared: "false"',
        "remove the annotation service.cilium.io/shared from Service {service} in {cluster}",
    ),
    Rule(
        "namespace-not-global",
        "its namespace {namespace} is not global, so that nothing in it is exported",
        'annotate Namespace {namespace} in {cluster} with clustermesh.cilium.io/global: "true", '
        "or set default_global_namespace",
    ),
    Rule(
        "not-exported",
        "its endpoint is neither ready nor serving, and such ones are not exported",
        "see the readiness of the pod",
    ),
    Rule(
        "record-refused",
        "its record has a frontend address that can't be read, and receivers refuse the whole record",
        "give Service {service} in {cluster} a cluster IP; one of type ExternalName can't be shared",
    ),
    Rule(
        "viewer-not-global",
        "it is exported, but {viewer}'s own Service has no annotation service.cilium.io/global: "
        '"true", and both sides need it',
        'annotate Service {service} in {viewer} with service.cilium.io/global: "true"',
    ),
    Rule("family", "its address {address} is of another family than the frontend"),
    Rule("protocol", "its port is of another protocol than the frontend"),
    Rule(
        "port-name",
        "its ports ({detail}) don't include the frontend's port name {port_name}; numbers are not compared",
        "give the port the same name in the Services of {viewer} and {cluster}",
    ),
    Rule(
        "hidden-by-local",
        "{viewer} has an endpoint of the same address, port and protocol, which hides it",
        "give each cluster its own pod range",
    ),
    Rule(
        "shared-row",
        "{detail} exports the same address, port and protocol and owns the one row of it",
        "export the address from one cluster only",
    ),
    Rule(
        "slice-overlap",
        "its EndpointSlice {detail} has the same address and wins",
        "list each address in one EndpointSlice",
    ),
    Rule(
        "traffic-policy",
        "the traffic policy of Service {service} in {viewer} is Local, and it is on another node",
        "set internalTrafficPolicy or externalTrafficPolicy to Cluster in {viewer}",
    ),
    Rule(
        "same-node",
        "trafficDistribution is PreferSameNode in {viewer}, and an active endpoint is on the node itself",
        "change spec.trafficDistribution of Service {service} in {viewer}",
    ),
    Rule(
        "zone-hints",
        "its hints don't name the zone of the viewer's node, and {viewer} keeps to its zone",
        "change spec.trafficDistribution of Service {service} in {viewer}, or its topology-mode annotation",
    ),
    Rule(
        "affinity-local",
        '{viewer}\'s Service is annotated service.cilium.io/affinity: "local" and has {detail} of its own '
        "to use",
        "change the annotation in {viewer}; other clusters' are used when none of its own is active",
    ),
    Rule(
        "min-local-backends",
        '{viewer}\'s Service is annotated service.cilium.io/affinity: "local" and has {detail} healthy of '
        "its own, enough by fleetmesh.io/min-local-backends",
        "change either annotation in {viewer}; all clusters' are used when fewer of its own are healthy",
    ),
    Rule(
        "affinity-remote",
        '{viewer}\'s Service is annotated service.cilium.io/affinity: "remote" and has {detail} of other '
        "clusters to use",
        "change the annotation in {viewer}; its own are used when no other cluster has a healthy one",
    ),
    Rule(
        "preferred-cluster",
        "preferred cluster {detail}",
        "change the annotation fleetmesh.io/prefer-clusters of Service {service} in {viewer}",
    ),
    Rule(
        "cluster-weights",
        "{viewer}'s fleetmesh.io/cluster-weights gives {cluster} no share, and the clusters that have one "
        "have {detail}",
        "give {cluster} a share in the annotation of Service {service} in {viewer}",
    ),
    Rule(
        "ipv6-disabled",
        "its address is IPv6, which {viewer} has switched off",
        "set enable_ipv6 in {viewer}",
    ),
    Rule(
        "ingress-dummy",
        "its address stands for Cilium's Ingress or Gateway and is no endpoint",
    ),
    Rule(
        "frontend-conflict",
        "{detail} has the address of a frontend of {service} in {viewer}",
        "give each Service its own external address or port",
    ),
    Rule(
        "node-exposure",
        "the annotation service.cilium.io/node or node-selector keeps {service} off the viewer's node",
        "change the annotation on Service {service} in {viewer}",
    ),
    Rule(
        "headless",
        "{service} has no frontend in {viewer}: it is headless, and clients take the endpoints from DNS",
    ),
    Rule(
        "no-endpoints",
        "its Service has no endpoint",
        "see whether its selector matches pods that run",
    ),
)

RULES: Mapping[str, Rule] = MappingProxyType({rule.code: rule for rule in _RULES})

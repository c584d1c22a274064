"""
The fields that Kubernetes' own API has, where one that isn't there could change an answer.

A field of another name is not in any schema: it is a misspelt one, which the API server drops or refuses
(k8s.io/api v0.36 core/v1, discovery/v1, apps/v1, batch/v1; k8s.io/apimachinery meta/v1; sigs.k8s.io/mcs-api
v0.5). What fleetmesh never reads, such as a status or the inside of a volume, is not looked into.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import attrs

from fleetmesh.resources.documents import Path

_MOST = 20  # fields reported of one object
_ABSENT = object()


@attrs.frozen(eq=False)
class Fields:
    """
    The fields of a mapping, or of each mapping in a list.

    Attributes:
        known: Name -> the fields inside it, `None` where anything may be.
        lenient: Whether a name that is like none of the known ones is let pass: newer versions of
            Kubernetes may have it, and nothing that is read could have been meant.
    """

    known: Mapping[str, Fields | None]
    lenient: bool = False


@attrs.frozen
class UnknownField:
    """
    A field that no version of the schema has.

    Attributes:
        subject: The object that has it, as findings name it.
        nearest: The name of a field that is there and was probably meant, "" for none.
    """

    subject: str
    path: Path
    nearest: str


def unknown_fields(value: Mapping[str, Any], fields: Fields, subject: str) -> list[UnknownField]:
    """The fields of an object that `fields` doesn't have, in its order, at most twenty."""
    found: list[tuple[Path, Fields]] = []
    _look(value, fields, (), found)
    told = []
    for path, around in found:
        nearest = _nearest(str(path[-1]), around.known)
        if nearest or not around.lenient:
            told.append(UnknownField(subject, path, nearest))
    return told[:_MOST]


def _look(value: Mapping[str, Any], fields: Fields, path: Path, found: list[tuple[Path, Fields]]) -> None:
    known = fields.known
    for key, each in value.items():
        inside: Any = known.get(key, _ABSENT)
        if inside is None or each is None:
            continue
        if inside is _ABSENT:
            found.append(((*path, key), fields))
        elif each.__class__ is dict:
            _look(each, inside, (*path, key), found)
        elif each.__class__ is list:
            for number, item in enumerate(each):
                if item.__class__ is dict:
                    _look(item, inside, (*path, key, number), found)


def _nearest(name: str, known: Mapping[str, Fields | None]) -> str:
    alike = {each.lower(): each for each in known}
    found = get_close_matches(name.lower(), alike, n=1, cutoff=0.75)
    return alike[found[0]] if found else ""


def _fields(text: str, *, lenient: bool = False, **inside: Fields) -> Fields:
    return Fields({**dict.fromkeys(text.split()), **inside}, lenient)


METADATA = _fields(
    "name generateName namespace selfLink uid resourceVersion generation creationTimestamp deletionTimestamp "
    "deletionGracePeriodSeconds labels annotations finalizers clusterName managedFields",
    ownerReferences=_fields("apiVersion kind name uid controller blockOwnerDeletion"),
)
_SELECTOR = _fields("matchLabels", matchExpressions=_fields("key operator values"))
_SESSION = _fields("", clientIP=_fields("timeoutSeconds"))
_REFERENCE = _fields("kind namespace name uid apiVersion resourceVersion fieldPath")
_PORT = _fields("name port protocol appProtocol")
_ADDRESS = _fields("ip hostname nodeName", targetRef=_REFERENCE)


def _object(text: str = "", **inside: Fields) -> Fields:
    return Fields({**dict.fromkeys(f"apiVersion kind {text}".split()), "metadata": METADATA, **inside})


ANY = Fields({"metadata": METADATA}, lenient=True)
"""A kind whose schema is somebody else's to judge: only its metadata is looked at."""

NAMESPACE = _object("status", spec=_fields("finalizers"))
NODE = _object(
    "status",
    spec=_fields("podCIDR podCIDRs providerID unschedulable taints configSource externalID", lenient=True),
)
SERVICE = _object(
    spec=_fields(
        "selector clusterIP clusterIPs type externalIPs sessionAffinity loadBalancerIP "
        "loadBalancerSourceRanges externalName externalTrafficPolicy healthCheckNodePort "
        "publishNotReadyAddresses topologyKeys ipFamily ipFamilies ipFamilyPolicy "
        "allocateLoadBalancerNodePorts loadBalancerClass internalTrafficPolicy trafficDistribution",
        ports=_fields("name protocol appProtocol port targetPort nodePort"),
        sessionAffinityConfig=_SESSION,
    ),
    status=_fields("conditions", loadBalancer=_fields("", ingress=_fields("ip hostname ipMode ports"))),
)
ENDPOINT_SLICE = _object(
    "addressType",
    endpoints=_fields(
        "addresses hostname deprecatedTopology nodeName zone",
        conditions=_fields("ready serving terminating"),
        targetRef=_REFERENCE,
        hints=_fields("", forZones=_fields("name"), forNodes=_fields("name")),
    ),
    ports=_PORT,
)
ENDPOINTS = _object(subsets=_fields("", addresses=_ADDRESS, notReadyAddresses=_ADDRESS, ports=_PORT))
SERVICE_EXPORT = _object("status", spec=_fields("exportedLabels exportedAnnotations"))
SERVICE_IMPORT = _object(
    "status",
    spec=_fields(
        "ips type sessionAffinity ipFamilies internalTrafficPolicy trafficDistribution",
        ports=_PORT,
        sessionAffinityConfig=_SESSION,
    ),
)

# Cilium's own kinds, of 1.20 (pkg/k8s/apis/cilium.io/client/crds); newer versions add fields.
_PAIR = _fields("ipv4 ipv6")
_KEY = _fields("key")
_NETWORKING = _fields("node", addressing=_PAIR)
_NAMED_PORT = _fields("name port protocol")

CILIUM_NODE = _object(
    "status",
    spec=_fields(
        "instance-id bootid eni azure alibaba-cloud",
        lenient=True,
        addresses=_fields("type ip"),
        health=_PAIR,
        ingress=_PAIR,
        encryption=_KEY,
        ipam=_fields(
            "ipv6-pool max-above-watermark max-allocate min-allocate podCIDRs pool pre-allocate "
            "static-ip-tags",
            lenient=True,
            pools=_fields("requested", allocated=_fields("pool cidrs", lenient=True)),
        ),
    ),
)
CILIUM_IDENTITY = _object("security-labels status")
CILIUM_ENDPOINT = _object(
    status=_fields(
        "id state controllers external-identifiers health log policy service-account",
        lenient=True,
        identity=_fields("id labels"),
        networking=_NETWORKING,
        encryption=_KEY,
        **{"named-ports": _NAMED_PORT},
    )
)
CILIUM_ENDPOINT_SLICE = _object(
    "namespace",
    endpoints=_fields(
        "name id pod-uid service-account",
        lenient=True,
        networking=_NETWORKING,
        encryption=_KEY,
        **{"named-ports": _NAMED_PORT},
    ),
)

_CONTAINER = _fields(
    "name image command args workingDir envFrom env resources resizePolicy restartPolicy restartPolicyRules "
    "volumeMounts volumeDevices livenessProbe readinessProbe startupProbe lifecycle terminationMessagePath "
    "terminationMessagePolicy imagePullPolicy securityContext stdin stdinOnce tty",
    lenient=True,
    ports=_fields("name hostPort containerPort protocol hostIP"),
)
_POD_SPEC = _fields(
    "volumes ephemeralContainers restartPolicy terminationGracePeriodSeconds activeDeadlineSeconds "
    "dnsPolicy nodeSelector serviceAccountName serviceAccount automountServiceAccountToken nodeName "
    "hostNetwork hostPID hostIPC shareProcessNamespace securityContext imagePullSecrets hostname subdomain "
    "affinity schedulerName tolerations hostAliases priorityClassName priority dnsConfig readinessGates "
    "runtimeClassName enableServiceLinks preemptionPolicy overhead topologySpreadConstraints "
    "setHostnameAsFQDN os hostUsers schedulingGates resourceClaims resources hostnameOverride workloadRef "
    "schedulingGroup",
    lenient=True,
    containers=_CONTAINER,
    initContainers=_CONTAINER,
)
_TEMPLATE = _fields("", metadata=METADATA, spec=_POD_SPEC)

POD = _object("status", spec=_POD_SPEC)
WORKLOAD = _object(
    "status",
    spec=_fields(
        # Of all the kinds and versions; those that a kind hasn't are none that fleetmesh reads.
        "replicas strategy minReadySeconds revisionHistoryLimit paused progressDeadlineSeconds rollbackTo "
        "templateGeneration volumeClaimTemplates serviceName podManagementPolicy updateStrategy "
        "persistentVolumeClaimRetentionPolicy ordinals",
        selector=_SELECTOR,
        template=_TEMPLATE,
    ),
)
JOB = _object(
    "status",
    spec=_fields(
        "parallelism completions activeDeadlineSeconds podFailurePolicy successPolicy backoffLimit "
        "backoffLimitPerIndex maxFailedIndexes failedPodsLimit manualSelector ttlSecondsAfterFinished "
        "completionMode suspend podReplacementPolicy managedBy",
        selector=_SELECTOR,
        template=_TEMPLATE,
    ),
)

"""
The pods of workloads whose cluster declares none: what its controllers and scheduler would make.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.resources.model import Node, Pod, PodTemplate, Workload
from fleetmesh.services.naming import ALPHABET, SUFFIX, generated, number_of, token

IMPLIED_NODE = "node-1"  # the node of a cluster that declares none
ZONE = "topology.kubernetes.io/zone"
_HASH = re.compile(f"[{ALPHABET}]{{1,10}}")


@attrs.frozen
class Expansion:
    """Pods without addresses (see `addressing.address_pods`), and what is to be said about them."""

    pods: tuple[Pod, ...] = ()
    findings: tuple[Finding, ...] = ()


def expand(workload: Workload, nodes: Iterable[Node]) -> Expansion:
    """
    Make the pods of a workload: running, ready, spread over the nodes that its template admits.

    Names look like those of Kubernetes but follow from the workload's kind, namespace and name, so
    that they stay: scaling from 3 to 5 keeps the first three where and what they are, and neither a
    change of the template nor of the nodes renames a pod. Only nodes that come or go move pods.
    A pod that fits no declared node is pending and not ready (`unscheduled-pod`, one a workload).
    In a cluster without declared nodes every pod is on the implied `node-1`, whatever its
    nodeSelector says.

    Whether a workload is to be expanded at all: see `belongs` and `superseded`.
    """
    declared = sorted(nodes, key=lambda node: node.name)
    fitting = _fitting(workload.template, declared)
    if workload.kind == "DaemonSet":
        return Expansion(tuple(_daemons(workload, fitting)))
    replicas = 1 if workload.replicas is None else max(0, workload.replicas)
    pods = tuple(_replicas(workload, replicas, fitting))
    if fitting or not pods:
        return Expansion(pods)
    return Expansion(pods, (_unscheduled(workload, workload.template, len(pods), declared),))


def schedule(pod: Pod, nodes: Iterable[Node]) -> Expansion:
    """
    Give a declared pod a node if it has none: one that its nodeSelector matches, chosen by its name.

    A pod that fits no declared node becomes pending and not ready (`unscheduled-pod`); one whose
    status says where it got to (any phase but Running) is left as it is.
    """
    if pod.template.node_name or pod.phase != "Running":
        return Expansion((pod,))
    declared = sorted(nodes, key=lambda node: node.name)
    fitting = _fitting(pod.template, declared)
    if not fitting:
        waiting = attrs.evolve(pod, phase="Pending", ready=False)
        return Expansion((waiting,), (_unscheduled(pod, pod.template, 1, declared),))
    node = fitting[number_of(f"{pod.namespace}/{pod.name}") % len(fitting)]
    return Expansion((attrs.evolve(pod, template=attrs.evolve(pod.template, node_name=node)),))


def belongs(pod: Pod, workload: Workload) -> bool:
    """
    Whether a declared pod is one of a workload's, so that nothing is made for that workload.

    By its ownerReferences (for a Deployment also through a ReplicaSet of its name); a pod without
    any belongs to whom its labels match, as controllers adopt orphans.
    """
    if pod.namespace != workload.namespace:
        return False
    if pod.owners:
        return any(_owns(workload, kind, name) for kind, name in pod.owners)
    return _selects(workload, pod.labels)


def workload_name(pod: Pod) -> str:
    """The name of what a pod was made for, of a Deployment's ReplicaSet the Deployment's; "" for none."""
    for kind, name in pod.owners:
        stem, _, rest = name.rpartition("-")
        return stem if kind == "ReplicaSet" and stem and _HASH.fullmatch(rest) else name
    return ""


def superseded(workload: Workload, workloads: Iterable[Workload]) -> bool:
    """
    Whether another declared workload makes a workload's pods: a Deployment whose ReplicaSets are declared.
    """
    if workload.kind != "Deployment":
        return False
    return any(
        other.kind == "ReplicaSet"
        and other.namespace == workload.namespace
        and (
            ("Deployment", workload.name) in other.owners
            if other.owners
            else _owns(workload, other.kind, other.name) and _selects(workload, other.template.labels)
        )
        for other in workloads
    )


def zones(nodes: Iterable[Node]) -> dict[str, str]:
    """Name of a node -> its zone, for those that have one."""
    return {node.name: node.labels[ZONE] for node in nodes if node.labels.get(ZONE)}


def _owns(workload: Workload, kind: str, name: str) -> bool:
    if (kind, name) == (workload.kind, workload.name):
        return True
    stem, _, rest = name.rpartition("-")
    return (
        workload.kind == "Deployment"
        and kind == "ReplicaSet"
        and stem == workload.name
        and _HASH.fullmatch(rest) is not None
    )


def _selects(workload: Workload, labels: Mapping[str, str]) -> bool:
    return bool(workload.selector_labels) and workload.selector_labels.items() <= labels.items()


def _fitting(template: PodTemplate, nodes: Sequence[Node]) -> tuple[str, ...]:
    """The names of the nodes that a pod may be on. A nodeName binds, whether that node is declared or not."""
    if template.node_name:
        return (template.node_name,)
    if not nodes:
        return (IMPLIED_NODE,)
    return tuple(node.name for node in nodes if template.node_selector.items() <= _labels(node).items())


def _labels(node: Node) -> Mapping[str, str]:
    # Every kubelet sets these two, and manifests written by hand leave them out.
    return {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", **node.labels}


def _replicas(workload: Workload, count: int, fitting: tuple[str, ...]) -> Iterator[Pod]:
    seed = number_of(f"{workload.kind}/{workload.namespace}/{workload.name}")
    prefix, owner = f"{workload.name}-", (workload.kind, workload.name)
    if workload.kind == "Deployment":
        owner = ("ReplicaSet", prefix + token(f"{workload.namespace}/{workload.name}", 10))
        prefix = f"{owner[1]}-"
    templates = {node: attrs.evolve(workload.template, node_name=node) for node in fitting}
    for ordinal in range(count):
        node = fitting[(seed + ordinal) % len(fitting)] if fitting else ""
        template = templates.get(node, workload.template)
        if workload.kind == "StatefulSet":
            yield _pod(workload, f"{workload.name}-{ordinal}", template, owner, _stateful(workload, ordinal))
        else:
            yield _pod(workload, generated(prefix, seed, ordinal), template, owner, _own_labels(workload))


def _daemons(workload: Workload, fitting: tuple[str, ...]) -> Iterator[Pod]:
    used: set[str] = set()
    for node in fitting:
        name, attempt = "", 0
        while not name or name in used:
            suffix = token(f"{workload.namespace}/{workload.name}/{node}/{attempt}", SUFFIX)
            name = f"{workload.name}-"[:58] + suffix
            attempt += 1
        used.add(name)
        template = attrs.evolve(workload.template, node_name=node)
        yield _pod(workload, name, template, (workload.kind, workload.name), {})


def _stateful(workload: Workload, ordinal: int) -> Mapping[str, str]:
    name = f"{workload.name}-{ordinal}"
    return {"apps.kubernetes.io/pod-index": str(ordinal), "statefulset.kubernetes.io/pod-name": name}


def _own_labels(workload: Workload) -> Mapping[str, str]:
    """What a controller adds to the template's labels that selectors of people refer to."""
    if workload.kind != "Job":
        return {}
    return {"batch.kubernetes.io/job-name": workload.name, "job-name": workload.name}


def _pod(
    workload: Workload,
    name: str,
    template: PodTemplate,
    owner: tuple[str, str],
    labels: Mapping[str, str],
) -> Pod:
    if workload.kind == "StatefulSet":
        template = attrs.evolve(template, hostname=name, subdomain=workload.service_name)
    scheduled = bool(template.node_name)
    return Pod(
        namespace=workload.namespace,
        name=name,
        labels={**template.labels, **labels} if labels else template.labels,
        annotations=template.annotations,
        creation_timestamp=workload.creation_timestamp,
        origin=workload.origin,
        template=template,
        phase="Running" if scheduled else "Pending",
        ready=scheduled,
        owners=(owner,),
    )


def _unscheduled(what: Workload | Pod, template: PodTemplate, count: int, nodes: Sequence[Node]) -> Finding:
    selector = ", ".join(f"{key}={value}" for key, value in sorted(template.node_selector.items()))
    pods = "its pod is" if count == 1 else f"its {count} pods are"
    return finding(
        "unscheduled-pod",
        what.subject,
        f"{pods} on no node: none of the {len(nodes)} declared ones has the labels {selector}",
        (f"nodeSelector: {selector}",),
        what.origin,
    )

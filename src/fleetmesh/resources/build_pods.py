"""Pods and workloads, from the wire to the model; see `build`."""

from __future__ import annotations

from collections.abc import Iterator

from fleetmesh.resources import checks, model, wire
from fleetmesh.resources.build import Head
from fleetmesh.resources.documents import Path
from fleetmesh.resources.mistakes import Mistake


def pod(head: Head, found: wire.Pod, mistakes: list[Mistake]) -> model.Pod:
    status = found.status or wire.PodStatus()
    addresses = tuple(each.ip for each in status.podIPs or () if each.ip)
    ready = [each.status == "True" for each in status.conditions or () if each.type == "Ready"]
    return model.Pod(
        **head,
        template=_template(head["labels"], head["annotations"], found.spec, ("spec",), mistakes),
        addresses=addresses or ((status.podIP,) if status.podIP else ()),
        host_address=status.hostIP or "",
        phase=status.phase or "Running",
        ready=ready[0] if ready else None,
        terminating=bool(found.metadata and found.metadata.deletionTimestamp),
        owners=_owners(found),
    )


def workload(head: Head, found: wire.Workload, mistakes: list[Mistake]) -> model.Workload:
    spec = found.spec
    template = _pod_template(spec.template, mistakes)
    replicas = 1 if spec.replicas is None else spec.replicas
    return model.Workload(
        **head,
        replicas=None if head["kind"] == "DaemonSet" else replicas,
        selector_labels=_selector(spec.selector, template, mistakes),
        template=template,
        service_name=(spec.serviceName or "") if head["kind"] == "StatefulSet" else "",
        owners=_owners(found),
    )


def job(head: Head, found: wire.Job, mistakes: list[Mistake]) -> model.Workload:
    spec = found.spec
    template = _pod_template(spec.template, mistakes)
    conditions = (found.status and found.status.conditions) or ()
    finished = any(each.type in ("Complete", "Failed") and each.status == "True" for each in conditions)
    parallelism = 1 if spec.parallelism is None else spec.parallelism
    if spec.completions is not None:
        parallelism = min(parallelism, spec.completions)
    return model.Workload(
        **head,
        replicas=0 if finished or spec.suspend else parallelism,
        selector_labels=_selector(spec.selector, template, mistakes),
        template=template,
        owners=_owners(found),
    )


def _owners(found: wire.Object) -> tuple[tuple[str, str], ...]:
    references = (found.metadata and found.metadata.ownerReferences) or ()
    return tuple((each.kind, each.name) for each in references)


def _selector(
    found: wire.LabelSelector | None, template: model.PodTemplate, mistakes: list[Mistake]
) -> checks.Strings:
    """
    What the selector names; without one, the template's labels, as in apps/v1beta1 and in Jobs.
    """
    if found is None:
        return template.labels
    path = ("spec", "selector", "matchLabels")
    labels = checks.label_map(found.matchLabels, path, mistakes)
    if not checks.selects(found, template.labels, mistakes):
        message = "expected labels that spec.selector matches"
        mistakes.append(Mistake(("spec", "template", "metadata", "labels"), message))
    return labels


def _pod_template(found: wire.PodTemplate, mistakes: list[Mistake]) -> model.PodTemplate:
    metadata = found.metadata or wire.TemplateMetadata()
    path = ("spec", "template", "metadata")
    labels = checks.label_map(metadata.labels, (*path, "labels"), mistakes)
    annotations = checks.annotation_map(metadata.annotations, (*path, "annotations"), mistakes)
    return _template(labels, annotations, found.spec, ("spec", "template", "spec"), mistakes)


def _template(
    labels: checks.Strings,
    annotations: checks.Strings,
    found: wire.PodSpec | None,
    path: Path,
    mistakes: list[Mistake],
) -> model.PodTemplate:
    spec = found or wire.PodSpec()
    return model.PodTemplate(
        labels=labels,
        annotations=annotations,
        service_account=spec.serviceAccountName or spec.serviceAccount or "default",
        node_name=spec.nodeName or "",
        node_selector=checks.label_map(spec.nodeSelector, (*path, "nodeSelector"), mistakes),
        ports=tuple(_ports(spec, path, mistakes)),
        host_network=bool(spec.hostNetwork),
        hostname=spec.hostname or "",
        subdomain=spec.subdomain or "",
    )


def _ports(spec: wire.PodSpec, path: Path, mistakes: list[Mistake]) -> Iterator[model.ContainerPort]:
    """Those of the containers, then those of sidecars: init containers that keep running."""
    for field, containers in (("containers", spec.containers), ("initContainers", spec.initContainers)):
        for number, container in enumerate(containers or ()):
            if field == "initContainers" and container.restartPolicy != "Always":
                continue
            for at, port in enumerate(container.ports or ()):
                if port.name:
                    checks.port_name(port.name, (*path, field, number, "ports", at, "name"), mistakes)
                yield model.ContainerPort(
                    container_port=port.containerPort,
                    name=port.name or "",
                    protocol=port.protocol or "TCP",
                    sidecar=field == "initContainers",
                )

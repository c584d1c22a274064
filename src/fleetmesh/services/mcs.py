"""
MCS-API: how ServiceExports of many clusters become one imported service (KEP-1645; Cilium
pkg/clustermesh/mcsapi).

All functions are pure. Every viewer merges the exports that it hears, its own among them, and makes
a *derived* Service: a global service of a name of its own, without selector, whose endpoints are the
mirrored slices of the local Service and, by the merge of global services, those of other clusters.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.records import ExportRecord, export_record
from fleetmesh.resources.model import (
    EndpointPort,
    EndpointSlice,
    Family,
    Service,
    ServiceExport,
    ServiceImport,
    ServicePort,
)
from fleetmesh.services.annotations import GLOBAL

SUPPORTED_FAMILIES = "clustermesh.cilium.io/supported-ip-families"
DERIVED_SERVICE = "multicluster.kubernetes.io/derived-service"
SERVICE_NAME = "multicluster.kubernetes.io/service-name"
SOURCE_CLUSTER = "multicluster.kubernetes.io/source-cluster"
LOCAL_SLICE = "service.cilium.io/local-endpointslice"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MIRROR_CONTROLLER = "endpointslice-local-mcsapi-controller.cilium.io"
_KUBERNETES_SERVICE = "kubernetes.io/service-name"
_DERIVED = re.compile(r"derived-[0-9a-v]{10}")
_UNKNOWN_TIME = datetime.max.replace(tzinfo=UTC)


@attrs.frozen
class Import:
    """
    What the exports of one name come to; the oldest export decides where they differ.

    Attributes:
        clusters: The exporters, sorted.
        oldest: The cluster whose export came first.
        ip_families: Empty where no exporter told its families.
        conflict: Why exports disagree, "" where they don't; `reason` is the condition's reason.
    """

    namespace: str
    name: str
    clusters: tuple[str, ...]
    oldest: str
    type: Literal["ClusterSetIP", "Headless"]
    ports: tuple[ServicePort, ...]
    ip_families: tuple[Family, ...]
    session_affinity_seconds: int
    annotations: dict[str, str]
    labels: dict[str, str]
    internal_traffic_policy: str
    traffic_distribution: str
    reason: str
    conflict: str


@attrs.frozen
class ImportPlan:
    """
    What a viewer makes of the exports of one name.

    Attributes:
        merged: None where the viewer imports nothing.
        service: The derived Service; None where there is none.
        slices: The mirrored slices of the viewer's own Service, if it exports it.
        findings: What is invalid or in conflict.
    """

    merged: Import | None = None
    service: Service | None = None
    slices: tuple[EndpointSlice, ...] = ()
    findings: tuple[Finding, ...] = ()


def derived_name(namespace: str, name: str) -> str:
    """`derived-` and ten characters of a hash of `namespace/name` (`derivedName`)."""
    digest = hashlib.sha256(f"{namespace}/{name}".encode()).digest()
    return "derived-" + base64.b32hexencode(digest).decode("ascii").lower()[:10]


def is_derived(name: str) -> bool:
    """Whether a Service is called as derived ones are."""
    return _DERIVED.fullmatch(name) is not None


def invalid_export(
    cluster: str, export: ServiceExport, service: Service | None, *, namespace_global: bool
) -> Finding | None:
    """
    Why a ServiceExport is not published; None where it is (`syncMCSAPIServiceSpec`).
    """
    if not namespace_global:
        why = f"namespace {export.namespace} of {cluster} is not global (reason NamespaceNotGlobal)"
        fix = 'annotate it with clustermesh.cilium.io/global: "true"'
    elif service is None:
        why = f"{cluster} has no Service {export.namespace}/{export.name} (reason NoService)"
        fix = "declare the Service"
    elif service.type == "ExternalName":
        why = f"{service.subject} of {cluster} is of type ExternalName (reason InvalidServiceType)"
        fix = "export a ClusterIP Service"
    else:
        return None
    return finding("invalid-export", export.subject, f"it is not exported: {why}; {fix}", where=export.origin)


def declared_import(declared: ServiceImport) -> Finding:
    """
    What becomes of a ServiceImport of a manifest: Cilium overwrites it with what the exports come to, and
    deletes it where there is none (serviceimport_controller.go, `Reconcile`).
    """
    return finding(
        "import-declared",
        declared.subject,
        "it has no effect: imports are made of the ServiceExports that a cluster hears, which would "
        "overwrite it, or remove it where there are none",
        where=declared.origin,
    )


def plan_import(
    viewer: str,
    namespace: str,
    name: str,
    *,
    heard: Iterable[ExportRecord],
    own_export: ServiceExport | None = None,
    own_service: Service | None = None,
    own_slices: Iterable[EndpointSlice] = (),
    namespace_exists: bool = True,
    namespace_global: bool = True,
    enable_ipv6: bool = True,
) -> ImportPlan:
    """
    The derived Service and slices of one viewer (`mcsAPIServiceImportReconciler`,
    `mcsAPIServiceReconciler`, `mcsAPIEndpointSliceMirrorReconciler`).

    `heard` are the records of other members only; what the viewer exports itself is given by
    `own_export` and `own_service` (the Service of that name, with its slices).

    As in Cilium, an own ServiceExport that is invalid for lack of a proper Service stops the import
    altogether, while one in a namespace that is not global only stops the derived Service.
    """
    if not namespace_exists:
        return ImportPlan()
    records = [record for record in heard if record.cluster != viewer]
    findings: list[Finding] = []
    exporting = False
    if own_export is not None:
        problem = invalid_export(viewer, own_export, own_service, namespace_global=namespace_global)
        if problem is not None:
            findings.append(problem)
            if namespace_global:
                return ImportPlan(findings=tuple(findings))
        elif own_service is not None:
            exporting = True
            records.append(export_record(viewer, own_service, own_export))
    if not records:
        return ImportPlan(findings=tuple(findings))
    merged = merge_exports(records)
    if exporting and merged.conflict and own_export is not None:
        findings.append(
            finding("export-conflict", own_export.subject, f"{merged.conflict} (reason {merged.reason})")
        )
    families = _supported(merged.ip_families, enable_ipv6=enable_ipv6)
    if not namespace_global or not families:
        why = (
            f"namespace {namespace} of {viewer} is not global"
            if not namespace_global
            else f"{viewer} supports none of its address families ({', '.join(merged.ip_families)})"
        )
        findings.append(
            finding(
                "import-not-ready", f"ServiceImport {namespace}/{name}", f"{viewer} does not import it: {why}"
            )
        )
        return ImportPlan(merged, findings=tuple(findings))
    service = derived_service(merged, families)
    slices: tuple[EndpointSlice, ...] = ()
    if exporting and own_service is not None:
        slices = mirrored_slices(viewer, own_service, own_slices, service)
    return ImportPlan(merged, service, slices, tuple(findings))


def unimported(namespace: str, name: str, exporters: Iterable[str], viewers: Iterable[str]) -> Finding | None:
    """The finding that viewers hear exports of a name but lack its namespace; None for no viewers."""
    lacking = sorted(viewers)
    if not lacking:
        return None
    return finding(
        "unresolvable-name",
        f"ServiceImport {namespace}/{name}",
        f"{name}.{namespace}.svc.clusterset.local doesn't resolve in {', '.join(lacking)}: there is no "
        f"namespace {namespace}",
        evidence=[f"exported by {cluster}" for cluster in sorted(exporters)],
    )


def merge_exports(exports: Iterable[ExportRecord]) -> Import:
    """
    The merge: the oldest export first, then by cluster name. An unknown time is later than any known.

    Raises:
        ValueError: There is no export.
    """
    ordered = sorted(exports, key=lambda export: (_time(export.created), export.cluster))
    if not ordered:
        raise ValueError("there is no export to merge")
    oldest = ordered[0]
    ports, conflict = _merge_ports(ordered)
    reason = "PortConflict" if conflict else ""
    families, skipped = _merge_families(ordered)
    if not conflict and skipped:
        reason = "IPFamilyConflict"
        conflict = f"ip families: {skipped} has none in common with the others and is left out"
    if not conflict:
        reason, conflict = _first_difference(ordered)
    return Import(
        namespace=oldest.namespace,
        name=oldest.name,
        clusters=tuple(sorted(export.cluster for export in ordered)),
        oldest=oldest.cluster,
        type=oldest.type,
        ports=ports,
        ip_families=families,
        session_affinity_seconds=oldest.session_affinity_seconds,
        annotations=dict(oldest.annotations),
        labels=dict(oldest.labels),
        internal_traffic_policy=oldest.internal_traffic_policy,
        traffic_distribution=oldest.traffic_distribution,
        reason=reason,
        conflict=conflict,
    )


def derived_service(merged: Import, families: Sequence[Family]) -> Service:
    """
    The derived Service of an import, for a viewer that supports `families`.

    It always prefers dual stack; the families that count are in an annotation. Cilium does not give it
    the session affinity of the import.
    """
    name = derived_name(merged.namespace, merged.name)
    return Service(
        namespace=merged.namespace,
        name=name,
        annotations={
            **merged.annotations,
            DERIVED_SERVICE: name,
            SUPPORTED_FAMILIES: ",".join(families),
            GLOBAL: "true",
        },
        labels={**merged.labels, SERVICE_NAME: merged.name},
        cluster_ip="None" if merged.type == "Headless" else "",
        ip_family_policy="PreferDualStack",
        ports=merged.ports,
        internal_traffic_policy=merged.internal_traffic_policy or "Cluster",
        traffic_distribution=merged.traffic_distribution,
    )


def mirrored_slices(
    cluster: str, service: Service, slices: Iterable[EndpointSlice], derived: Service
) -> tuple[EndpointSlice, ...]:
    """
    The slices of an exported Service again, as slices of its derived Service.

    Slices of a family that the import doesn't have are left out, and so are ports on which the Service
    and the import disagree. A slice without any port left is not mirrored at all
    (Cilium pkg/clustermesh/mcsapi/endpointslice_mirror_controller.go).
    """
    families = derived.annotations[SUPPORTED_FAMILIES].split(",")
    return tuple(
        attrs.evolve(
            piece,
            name=_mirror_name(piece, service, derived),
            annotations={},
            labels={
                **derived.labels,
                SERVICE_NAME: service.name,
                _KUBERNETES_SERVICE: derived.name,
                SOURCE_CLUSTER: cluster,
                MANAGED_BY: MIRROR_CONTROLLER,
                LOCAL_SLICE: piece.name,
            },
            ports=ports,
        )
        for piece in slices
        if piece.address_type in families and (ports := _agreed_ports(piece.ports, service, derived))
    )


def _mirror_name(piece: EndpointSlice, service: Service, derived: Service) -> str:
    suffix = piece.name.removeprefix(service.name)[-40:].lstrip("-.")
    return f"{derived.name}-{suffix}" if suffix else derived.name


def _agreed_ports(
    ports: Iterable[EndpointPort], service: Service, derived: Service
) -> tuple[EndpointPort, ...]:
    own = {port.name: (port.port, port.protocol) for port in service.ports}
    merged = {port.name: (port.port, port.protocol) for port in derived.ports}
    return tuple(port for port in ports if port.name in merged and own.get(port.name) == merged[port.name])


def _merge_ports(ordered: Sequence[ExportRecord]) -> tuple[tuple[ServicePort, ...], str]:
    """The union, older exports first, and the first disagreement ("" for none)."""
    merged: list[tuple[ServicePort, str]] = []
    conflict = ""
    for export in ordered:
        for port in export.ports:
            taken = next(((p, by) for p, by in merged if p.name == port.name), None)
            if taken is not None and not _same_port(taken[0], port):
                conflict = conflict or (
                    f"ports: {export.cluster} gives the name {port.name!r} to {port.protocol} {port.port}, "
                    f"which is {taken[0].protocol} {taken[0].port} in {taken[1]}, the older"
                )
                continue
            older = next(((p, by) for p, by in merged if _same_port(p, port)), None)
            if older is None:
                merged.append((port, export.cluster))
            elif (older[0].name, older[0].app_protocol) != (port.name, port.app_protocol):
                conflict = conflict or (
                    f"ports: {export.cluster} calls {port.protocol} {port.port} {port.name!r} "
                    f"({port.app_protocol or 'no'} application protocol), {older[1]}, the older, "
                    f"{older[0].name!r} ({older[0].app_protocol or 'no'} application protocol)"
                )
    ports = tuple(port for port, _ in merged)
    if not conflict:
        other = next((export.cluster for export in ordered if _facts(export.ports) != _facts(ports)), "")
        if other:
            conflict = f"ports: those of {other} are not all, or not in the order, that the exports come to"
    return ports, conflict


def _same_port(one: ServicePort, other: ServicePort) -> bool:
    return (one.port, one.protocol) == (other.port, other.protocol)


def _facts(ports: Iterable[ServicePort]) -> list[tuple[str, str, int, str]]:
    return [(port.name, port.protocol, port.port, port.app_protocol) for port in ports]


def _merge_families(ordered: Sequence[ExportRecord]) -> tuple[tuple[Family, ...], str]:
    """The intersection, and the first cluster that was passed over for having nothing in common."""
    told = [export for export in ordered if export.ip_families]
    if not told:
        return (), ""
    families = told[0].ip_families
    skipped = ""
    for export in told[1:]:
        common = tuple(family for family in families if family in export.ip_families)
        if common:
            families = common
        else:
            skipped = skipped or export.cluster
    return families, skipped


_FIELDS: tuple[tuple[str, str, Callable[[ExportRecord], object]], ...] = (
    ("type", "TypeConflict", lambda export: export.type),
    (
        "session affinity",
        "SessionAffinityConflict",
        lambda export: "ClientIP" if export.session_affinity_seconds else "None",
    ),
    (
        "session affinity timeout",
        "SessionAffinityConfigConflict",
        lambda export: export.session_affinity_seconds,
    ),
    ("annotations", "AnnotationsConflict", lambda export: dict(export.annotations)),
    ("labels", "LabelsConflict", lambda export: dict(export.labels)),
    (
        "internal traffic policy",
        "InternalTrafficPolicyConflict",
        lambda export: export.internal_traffic_policy or "Cluster",
    ),
    ("traffic distribution", "TrafficDistributionConflict", lambda export: export.traffic_distribution),
)


def _first_difference(ordered: Sequence[ExportRecord]) -> tuple[str, str]:
    """The first field of the first export that differs from the oldest's (`checkConflictExport`)."""
    oldest = ordered[0]
    for export in ordered[1:]:
        for field, reason, value in _FIELDS:
            if value(export) != value(oldest):
                count = sum(value(other) != value(oldest) for other in ordered)
                return reason, (
                    f"{field}: {count} of {len(ordered)} clusters disagree, {export.cluster} first; "
                    f"{value(oldest)} of {oldest.cluster}, the oldest, is in force"
                )
    return "", ""


def _supported(families: Sequence[Family], *, enable_ipv6: bool) -> tuple[Family, ...]:
    here: tuple[Family, ...] = ("IPv4", "IPv6") if enable_ipv6 else ("IPv4",)
    return tuple(family for family in families or here if family in here)


def _time(text: str) -> datetime:
    """A creation time; one that isn't known, as in a manifest never applied, comes after all others."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _UNKNOWN_TIME
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

"""
Exported services of the MCS API (Cilium pkg/clustermesh/mcsapi/types/mcsapiservicespec.go).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import msgspec

from fleetmesh.errors import WireError
from fleetmesh.records import ExportRecord
from fleetmesh.resources.model import Family, Protocol, ServicePort
from fleetmesh.state.codecs import gojson
from fleetmesh.state.codecs.exporter import Exporter
from fleetmesh.state.codecs.fields import Int32, check_cluster, check_key, texts
from fleetmesh.state.codecs.times import parse_time
from fleetmesh.state.codecs.words import shown

_TYPES = ("ClusterSetIP", "Headless")
_AFFINITIES = ("ClientIP", "None")
_DEFAULT_SECONDS = 10800
"""Kubernetes' own, where a service has ClientIP affinity and says no time (k8s.io/api/core/v1)."""

_UNKNOWN = "9999-12-31T23:59:59Z"
"""Of an export that doesn't say when it was made: readers want a time, and it gives way to all others."""

_POLICIES = ("Cluster", "Local")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")


class _Port(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    name: str | None = None
    protocol: str | None = None
    app_protocol: str | None = None
    port: Int32 | None = None


class _ClientIP(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    timeout_seconds: Int32 | None = None


class _AffinityConfig(msgspec.Struct, forbid_unknown_fields=True, rename={"client_ip": "clientIP"}):
    client_ip: _ClientIP | None = None


class _Spec(
    msgspec.Struct,
    forbid_unknown_fields=True,
    rename={
        "legacy_labels": "Labels",
        "legacy_annotations": "Annotations",
        "created": "exportCreationTimestamp",
        "type_": "type",
        "session_affinity": "sessionAffinity",
        "session_affinity_config": "sessionAffinityConfig",
        "ip_families": "ipFamilies",
        "internal_traffic_policy": "internalTrafficPolicy",
        "traffic_distribution": "trafficDistribution",
    },
):
    cluster: str | None = None
    name: str | None = None
    namespace: str | None = None
    annotations: dict[str, str | None] | None = None
    labels: dict[str, str | None] | None = None
    legacy_labels: dict[str, str | None] | None = None
    legacy_annotations: dict[str, str | None] | None = None
    created: str | None = None
    ports: list[_Port | None] | None = None
    type_: str | None = None
    session_affinity: str | None = None
    session_affinity_config: _AffinityConfig | None = None
    ip_families: list[str | None] | None = None
    internal_traffic_policy: str | None = None
    traffic_distribution: str | None = None


_READER = gojson.Reader(_Spec)


def encode(record: ExportRecord) -> bytes:
    """The JSON of `serviceexports/v1`; labels and annotations twice, for readers of old."""
    value: dict[str, Any] = {
        "cluster": record.cluster,
        "name": record.name,
        "namespace": record.namespace,
    }
    annotations, labels = gojson.by_key(record.annotations), gojson.by_key(record.labels)
    marks = {"annotations": annotations, "labels": labels, "Labels": labels, "Annotations": annotations}
    value |= {name: held for name, held in marks.items() if held}
    value["exportCreationTimestamp"] = record.created or _UNKNOWN
    value["ports"] = [_write_port(port) for port in record.ports]
    value["type"] = record.type
    value["sessionAffinity"] = "ClientIP" if record.session_affinity_seconds else "None"
    if record.session_affinity_seconds:
        value["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": record.session_affinity_seconds}}
    if record.ip_families:
        value["ipFamilies"] = list(record.ip_families)
    if record.internal_traffic_policy:
        value["internalTrafficPolicy"] = record.internal_traffic_policy
    if record.traffic_distribution:
        value["trafficDistribution"] = record.traffic_distribution
    return gojson.write(value)


def decode(name: str, value: bytes, exporter: Exporter) -> ExportRecord:
    """
    Raises:
        WireError: It is no exported service, or not that of the key, or it says something that Cilium does
            not know. Stricter than Cilium: another protocol or family of addresses than Kubernetes has.
    """
    read = _READER.read(value)
    check_cluster(read.cluster or "", exporter)
    check_key(read.namespace or "", read.name or "", name)
    affinity = _one_of(read.session_affinity or "", _AFFINITIES, "sessionAffinity")
    return ExportRecord(
        cluster=exporter.cluster,
        namespace=read.namespace or "",
        name=read.name or "",
        annotations=texts(read.annotations or read.legacy_annotations),
        labels=texts(read.labels or read.legacy_labels),
        created=_created(read.created).removeprefix(_UNKNOWN),
        type=_one_of(read.type_ or "", _TYPES, "type"),
        ports=tuple(_port(port or _Port(), number) for number, port in enumerate(read.ports or ())),
        session_affinity_seconds=_seconds(read.session_affinity_config) if affinity == "ClientIP" else 0,
        ip_families=tuple(
            _one_of(each or "", get_args(Family), f"ipFamilies[{number}]")
            for number, each in enumerate(read.ip_families or ())
        ),
        internal_traffic_policy=_optional(read.internal_traffic_policy, _POLICIES, "internalTrafficPolicy"),
        traffic_distribution=_optional(read.traffic_distribution, _DISTRIBUTIONS, "trafficDistribution"),
    )


def _write_port(port: ServicePort) -> dict[str, Any]:
    texts_of = {"name": port.name, "protocol": port.protocol, "appProtocol": port.app_protocol}
    return {**{name: text for name, text in texts_of.items() if text}, "port": port.port}


def _port(port: _Port, number: int) -> ServicePort:
    return ServicePort(
        port=port.port or 0,
        name=port.name or "",
        protocol=_one_of(port.protocol or "TCP", get_args(Protocol), f"ports[{number}].protocol"),
        app_protocol=port.app_protocol or "",
    )


def _created(text: str | None) -> str:
    """In UTC, and to the second, as Kubernetes writes times (k8s.io/apimachinery, `metav1.Time`)."""
    if text is None:
        raise WireError("exportCreationTimestamp", "is unset")
    found = parse_time(text, "exportCreationTimestamp").replace(microsecond=0)
    if found == datetime.min.replace(tzinfo=UTC):
        raise WireError("exportCreationTimestamp", "is unset")
    return f"{found:%Y-%m-%dT%H:%M:%SZ}".rjust(20, "0")


def _seconds(config: _AffinityConfig | None) -> int:
    if config is None or config.client_ip is None or not config.client_ip.timeout_seconds:
        return _DEFAULT_SECONDS
    return config.client_ip.timeout_seconds


def _optional(text: str | None, known: tuple[str, ...], field: str) -> str:
    return "" if text is None else _one_of(text, known, field)


def _one_of(text: str, known: tuple[str, ...], field: str) -> Any:
    if text not in known:
        raise WireError(field, f"is {shown(text)}, expected {' or '.join(known)}" if text else "is unset")
    return text

"""
Answers as plain values: the stable shapes of JSON and YAML, which docs/cli.md lists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeAlias

from fleetmesh.findings import Finding
from fleetmesh.mesh import ComparisonRow, Topology
from fleetmesh.services.global_service import Backend, Frontend

Plain: TypeAlias = dict[str, Any]


def topology(value: Topology) -> Plain:
    """
    Who hears whom; `hub` is null and `pairs` empty where the kind has none.
    """
    return {
        "kind": value.kind,
        "hub": value.center or None,
        "pairs": [list(pair) for pair in value.links],
    }


def backend(value: Backend) -> Plain:
    """
    An endpoint that serves.
    """
    return {
        "cluster": value.cluster,
        "address": value.address,
        "port": value.port,
        "protocol": value.protocol,
        "port_names": list(value.port_names),
        "state": value.state,
        "weight": value.weight,
        "nodes": list(value.nodes),
    }


def frontend(value: Frontend) -> Plain:
    """
    What clients use, with the numbers of its backends.
    """
    return {
        "type": value.type,
        "scope": value.scope,
        "address": value.address,
        "port": value.port,
        "protocol": value.protocol,
        "port_name": value.port_name,
        "backends": len(value.backends),
        "in_use": value.in_use,
    }


def finding(value: Finding) -> Plain:
    """
    One thing worth telling; `where` is null for what wasn't read from a manifest.
    """
    where = value.where
    return {
        "code": value.code,
        "severity": value.severity,
        "subject": value.subject,
        "message": value.message,
        "evidence": list(value.evidence),
        "fix": value.fix,
        "where": None
        if where is None
        else {"file": where.file, "document": where.document, "line": where.line},
    }


def severities(values: Iterable[Finding]) -> Plain:
    """
    How many findings there are of each severity, the worst first.
    """
    found = Counter(each.severity for each in values)
    return {"error": found["error"], "warning": found["warning"], "info": found["info"]}


def comparison_row(value: ComparisonRow) -> Plain:
    """
    What moves for one viewer of one service.
    """
    places = ("address", "port", "protocol", "type", "scope")
    return {
        "viewer": value.viewer,
        "namespace": value.namespace,
        "name": value.name,
        "status": value.status,
        "moved": value.moved,
        "table_moved": value.table_moved,
        "table_excess": value.table_excess,
        "backends_in": [backend(each) for each in value.backends_in],
        "backends_out": [backend(each) for each in value.backends_out],
        "share_before": dict(value.share_before),
        "share_after": dict(value.share_after),
        "frontends_in": [dict(zip(places, each, strict=True)) for each in value.frontends_in],
        "frontends_out": [dict(zip(places, each, strict=True)) for each in value.frontends_out],
    }

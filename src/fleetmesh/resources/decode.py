"""From the plain value of a document to resources, or to what is wrong with it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs
import msgspec

from fleetmesh.resources import checks, wire
from fleetmesh.resources.documents import Path
from fleetmesh.resources.fields import UnknownField, unknown_fields
from fleetmesh.resources.kinds import CILIUM_CONFIG, KINDS, Kind, is_foreign
from fleetmesh.resources.mistakes import Mistake, convert, describe
from fleetmesh.resources.model import ClusterMeshSecret, Origin, PolicyObject, Resource, UnknownKind

_SYSTEM = "kube-system"
_MOST_LISTS = 8  # levels of lists inside lists


Told: TypeAlias = Resource | Mistake | UnknownField


def decode(value: object, origin_of: Callable[[Path], Origin]) -> Iterator[Told]:
    """
    The resources of a document: one, or the items of a `List`, of which each is good or bad for itself.
    An object's unknown fields follow it.

    Args:
        value: What a reader of YAML or JSON gave; it is not used afterwards.
        origin_of: Where the object at a path begins.
    """
    return _decode(value, (), {}, origin_of)


def _decode(
    value: object, path: Path, implied: dict[str, str], origin_of: Callable[[Path], Origin]
) -> Iterator[Told]:
    if not isinstance(value, dict):
        # Not what a string says: nobody knows what it would have been part of.
        got = "a string" if isinstance(value, str) else describe(value)
        yield Mistake(path, f"expected an object with apiVersion and kind, got {got}")
        return
    named: dict[str, str] = {}
    for field in ("apiVersion", "kind"):
        found = value.get(field) or implied.get(field)
        if not isinstance(found, str):
            problem = (
                "is missing: expected a string"
                if found is None
                else f"expected a string, got {describe(found)}"
            )
            yield Mistake((*path, field), problem)
            return
        named[field] = found
    if named["kind"].endswith("List") and ("items" in value or named["kind"] == "List"):
        yield from _items(value, path, named, origin_of)
        return
    origin = origin_of(path)
    result = _object(value, named["apiVersion"], named["kind"], origin)
    if isinstance(result, Resource):
        yield result
    else:
        yield from (Mistake(path + each.path, each.message) for each in result)
    known = KINDS.get(named["kind"])
    if known is not None and named["apiVersion"] in known.versions:
        subject = (
            result if isinstance(result, Resource) else _unknown(value, "", known.name, origin)
        ).subject
        for each in unknown_fields(value, known.fields, subject):
            yield attrs.evolve(each, path=path + each.path)


def _items(
    value: dict[str, Any], path: Path, named: dict[str, str], origin_of: Callable[[Path], Origin]
) -> Iterator[Told]:
    items = value.get("items")
    if items is not None and not isinstance(items, list):
        yield Mistake((*path, "items"), f"expected a list, got {describe(items)}")
        return
    if len(path) >= 2 * _MOST_LISTS:
        yield Mistake(path, f"lists are nested deeper than {_MOST_LISTS} levels")
        return
    kind = named["kind"].removesuffix("List")
    # The API server leaves kind and apiVersion out of the items of a typed list.
    implied = {"apiVersion": named["apiVersion"], "kind": kind} if kind else {}
    for number, item in enumerate(items or ()):
        yield from _decode(item, (*path, "items", number), implied, origin_of)


def _object(value: dict[str, Any], api_version: str, kind: str, origin: Origin) -> Resource | list[Mistake]:
    known = KINDS.get(kind)
    if known is None:
        return _special(value, api_version, kind, origin)
    if is_foreign(api_version, known):
        return _unknown(value, api_version, f"{kind}.{api_version.partition('/')[0]}", origin)
    if api_version not in known.versions:
        expected = " or ".join(known.versions)
        return [Mistake(("apiVersion",), f"expected {expected} for kind {kind}, got {api_version!r}")]
    return _known(value, api_version, known, origin)


def _special(value: dict[str, Any], api_version: str, kind: str, origin: Origin) -> Resource | list[Mistake]:
    """The one ConfigMap and the one Secret that matter, and kinds that don't."""
    resource = _unknown(value, api_version, kind, origin)
    if api_version == "v1" and resource.namespace == _SYSTEM:
        if kind == "ConfigMap" and resource.name == "cilium-config":
            return _known(value, api_version, CILIUM_CONFIG, origin)
        if kind == "Secret" and resource.name == "cilium-clustermesh":
            return ClusterMeshSecret(namespace=_SYSTEM, name=resource.name, origin=origin)
    return resource


def _unknown(value: dict[str, Any], api_version: str, kind: str, origin: Origin) -> UnknownKind:
    """Only its names: the annotations of a Secret may repeat its data."""
    metadata = value.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    name, namespace = (
        found if isinstance(found := names.get(field), str) else "" for field in ("name", "namespace")
    )
    return UnknownKind(kind=kind, api_version=api_version, namespace=namespace, name=name, origin=origin)


def _known(value: dict[str, Any], api_version: str, kind: Kind, origin: Origin) -> Resource | list[Mistake]:
    found = convert(value, kind.wire)
    if isinstance(found, list):
        return found
    mistakes: list[Mistake] = []
    metadata = found.metadata or wire.Metadata()
    head: dict[str, Any] = {
        "kind": kind.name,
        "api_version": api_version,
        "namespace": _namespace(metadata, kind, mistakes),
        "name": _name(value, metadata, kind, mistakes),
        "labels": checks.label_map(metadata.labels, ("metadata", "labels"), mistakes),
        "annotations": checks.annotation_map(metadata.annotations, ("metadata", "annotations"), mistakes),
        "creation_timestamp": metadata.creationTimestamp or "",
        "origin": origin,
    }
    if kind.build:
        resource = kind.build(head, found, mistakes)
    else:
        resource = PolicyObject(**head, document=MappingProxyType(value))
    return mistakes or resource


def _namespace(metadata: wire.Metadata, kind: Kind, mistakes: list[Mistake]) -> str:
    if not kind.namespaced:
        return ""
    if not metadata.namespace:
        return "default"
    checks.dns_label(metadata.namespace, ("metadata", "namespace"), mistakes)
    return metadata.namespace


def _name(value: dict[str, Any], metadata: wire.Metadata, kind: Kind, mistakes: list[Mistake]) -> str:
    name = metadata.name
    if not name and metadata.generateName:
        # The API server would append random characters; the same object gets the same ones here.
        try:
            digest = hashlib.sha256(msgspec.json.encode(value, order="deterministic")).digest()
        except (RecursionError, UnicodeEncodeError, msgspec.MsgspecError):
            mistakes.append(Mistake(("metadata", "name"), "is missing: expected a string"))
            return ""
        name = metadata.generateName + base64.b32encode(digest)[:5].decode().lower()
    if not name:
        mistakes.append(Mistake(("metadata", "name"), "is missing: expected a string"))
        return ""
    check = checks.dns_label if kind.short_name else checks.subdomain
    check(name, ("metadata", "name"), mistakes)
    return name

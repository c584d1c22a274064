"""
What a selector that selects nobody nearly selects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import islice

from fleetmesh.policy.labels import (
    ANY,
    CLUSTER,
    GENERATED,
    K8S,
    METADATA_NAME,
    NAMESPACE,
    NAMESPACE_LABELS,
    LabelKey,
)
from fleetmesh.policy.lint.known import Known
from fleetmesh.policy.selectors import LabelSelector, Requirement, equals

_MOST = 3
_NAMED = {NAMESPACE: "namespace", CLUSTER: "cluster"}


def nearest(selector: LabelSelector, known: Known, clusters: Sequence[str]) -> str:
    """
    Words that follow those which say that it selects nobody; "" where nothing is near.

    Args:
        clusters: Whose pods it might select.
    """
    for hint in (_on_nodes, _unknown_label, _one_too_many):
        found = hint(selector, known, clusters)
        if found:
            return f"; {found}"
    return ""


def _unknown_label(selector: LabelSelector, known: Known, _clusters: Sequence[str]) -> str:
    """A key that nobody has, or else a value, each with what is near it."""
    wanted = [each for each in selector.requirements if each.operator in {"Equals", "In", "Exists"}]
    for requirement in wanted:
        if not known.values(requirement.key.key):
            return _unknown_key(requirement, known)
        if requirement.key.source not in {ANY, K8S, GENERATED}:
            return f"pods have {requirement.key.key} of source {K8S}, not {requirement.key.source}"
    for requirement in wanted:
        if requirement.operator == "Exists":
            continue
        values = known.values(requirement.key.key)
        for value in sorted(requirement.values.difference(values)):
            return _unknown_value(requirement, value, values, known)
    return ""


def _unknown_key(requirement: Requirement, known: Known) -> str:
    key = requirement.key.key
    left_out = known.left_out()
    if key in left_out:
        return f"pods have {key}, but Cilium leaves that label out of identities: select by another one"
    of_namespaces = f"{NAMESPACE_LABELS}.{key}"
    if key == METADATA_NAME and known.values(of_namespaces):
        return f"to select pods by their namespace name {NAMESPACE}"
    if known.values(of_namespaces):
        return f"{key} is a label of namespaces: name {of_namespaces}"
    close = _nearest_key(key, known.label_keys())
    said = f"nobody has {requirement}"
    return f"did you mean {LabelKey(requirement.key.source, close)}? {said}" if close else said


def _unknown_value(requirement: Requirement, value: str, values: Sequence[str], known: Known) -> str:
    key = requirement.key
    if key.key == CLUSTER and value in known.members:
        return f"{known.cluster} does not hear {value}"
    close = _close(value, known.members if key.key == CLUSTER else values)
    if close:
        return f"did you mean {key}={close[0]}?"
    what = _NAMED.get(key.key)
    return f"nobody is in {what} {value}" if what else f"nobody has {key}={value}"


def _on_nodes(selector: LabelSelector, known: Known, _clusters: Sequence[str]) -> str:
    if any(selector.matches(labels) for labels in known.on_nodes()):
        return (
            "pods with these labels are on the networks of their nodes, and to policies they are these: "
            "entities host and remote-node"
        )
    return ""


def _one_too_many(selector: LabelSelector, known: Known, clusters: Sequence[str]) -> str:
    """Somebody has all of the labels but one, and has another value there."""
    for requirement in _by_scope(selector.requirements):
        rest = tuple(each for each in selector.requirements if each is not requirement)
        if not rest or not known.is_somebody(LabelSelector(rest), clusters):
            continue
        key = requirement.key
        if key.source not in {ANY, K8S}:
            continue
        there = (
            value
            for value in known.values(key.key)
            if known.is_somebody(LabelSelector((*rest, equals(key, value))), clusters)
        )
        having = list(islice(there, _MOST + 1))
        if having:
            return _instead(key, having)
    return ""


def _by_scope(requirements: Iterable[Requirement]) -> Iterator[Requirement]:
    """Namespace and cluster first, which are mostly not written but added."""
    yield from sorted(requirements, key=lambda each: each.key.key not in {CLUSTER, NAMESPACE})


def _instead(key: LabelKey, having: Sequence[str]) -> str:
    listed = ", ".join(having[:_MOST]) + (" and others" if len(having) > _MOST else "")
    if key.key == CLUSTER:
        return f"{listed} has such pods: name {CLUSTER} in the selector"
    if key.key == NAMESPACE:
        return f"there are such pods in {listed}: name {NAMESPACE} in the selector"
    return f"those that are else so have {key}={listed}"


def _close(wanted: str, there: Collection[str]) -> list[str]:
    return get_close_matches(wanted, sorted(there), n=1)


def _nearest_key(wanted: str, there: Collection[str]) -> str:
    """Prefixes are long, and make any two keys alike: one of prefix and name has to be right."""
    prefix, name = _split(wanted)
    split = sorted(map(_split, there))
    if close := _close(name, [each for other, each in split if other == prefix]):
        return prefix + close[0]
    if close := _close(prefix, [other for other, each in split if each == name and other]):
        return close[0] + name
    return ""


def _split(key: str) -> tuple[str, str]:
    for prefix in (f"{NAMESPACE_LABELS}.", key[: key.rfind("/") + 1], key[: key.rfind(".") + 1]):
        if prefix and key.startswith(prefix):
            return prefix, key[len(prefix) :]
    return "", key

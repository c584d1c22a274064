"""
Policies that say something else than they seem to, or nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.policy.labels import CLUSTER, K8S, RESERVED, LabelKey
from fleetmesh.policy.rule import Rule
from fleetmesh.policy.selectors import LabelSelector, Requirement

_LOCAL = LabelKey(K8S, CLUSTER)


@attrs.frozen
class Known:
    """
    Whom selectors may select.

    Attributes:
        cluster: The name of the one whose policies are looked at.
        heard: The others that it hears.
        spread: Selector -> member -> how many of its identities it selects.
        values: Key of a label -> the values that pods of these members have.
    """

    cluster: str
    heard: Sequence[str]
    spread: Callable[[LabelSelector], Mapping[str, int]]
    values: Callable[[str], Sequence[str]]


def lint(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """Of the rules of one cluster."""
    yield from _subjects(rules, known)
    yield from _peers(rules, known)
    yield from _local(rules, known)


def _subjects(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """Each policy once for each of its subjects, whatever its rules."""
    seen = set()
    for rule in rules:
        key = (rule.source.subject, rule.subject)
        if rule.on_host or key in seen or _reserved(rule.subject):
            continue
        seen.add(key)
        if not known.spread(rule.subject).get(known.cluster):
            yield finding(
                "policy-selects-nobody",
                rule.source.subject,
                f"its subject, {rule.subject}, selects no pod of {known.cluster}"
                + _nearest(rule.subject, known),
                where=rule.source.origin,
            )


def _peers(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    for rule in rules:
        for peer in rule.peers or ():
            if not isinstance(peer, LabelSelector) or peer.is_wildcard or _reserved(peer):
                continue
            spread = known.spread(peer)
            if any(spread.get(name) for name in (known.cluster, *known.heard)):
                continue
            elsewhere = _elsewhere(peer, known)
            fix = (
                f"; {', '.join(elsewhere)} has such pods: name {CLUSTER} in the selector"
                if elsewhere
                else _nearest(peer, known)
            )
            yield finding(
                "policy-peer-nobody",
                rule.source.subject,
                f"{rule.source.path} is about {peer}, which is no pod that {known.cluster} hears of{fix}",
                where=rule.source.origin,
            )


def _local(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """Peers that are there in other clusters too, where only their own cluster's are meant."""
    meant: dict[str, tuple[Rule, set[str]]] = {}
    for rule in rules:
        for peer in rule.peers or ():
            if isinstance(peer, LabelSelector) and known.spread(peer).get(known.cluster):
                found = _elsewhere(peer, known)
                if found:
                    meant.setdefault(rule.source.subject, (rule, set()))[1].update(found)
    for subject, (rule, clusters) in meant.items():
        yield finding(
            "policy-local-cluster",
            subject,
            f"its peers are those of {known.cluster} only, as policy-default-local-cluster is on; "
            f"{', '.join(sorted(clusters))} has pods with these labels too",
            where=rule.source.origin,
        )


def _elsewhere(peer: LabelSelector, known: Known) -> list[str]:
    """Who else of those that are heard has such pods, if the peer is of the own cluster by default."""
    if not any(_is_local(each, known.cluster) for each in peer.requirements):
        return []
    wider = LabelSelector(tuple(each for each in peer.requirements if not _is_local(each, known.cluster)))
    if wider.is_wildcard:
        return []
    spread = known.spread(wider)
    return [name for name in known.heard if spread.get(name)]


def _is_local(requirement: Requirement, cluster: str) -> bool:
    return requirement == Requirement(_LOCAL, "Equals", frozenset({cluster}))


def _reserved(selector: LabelSelector) -> bool:
    return selector.has_prefix(RESERVED)


def _nearest(selector: LabelSelector, known: Known) -> str:
    """A label that is nearly the one that nobody has."""
    for requirement in selector.requirements:
        if requirement.operator not in {"Equals", "In"}:
            continue
        values = known.values(requirement.key.key)
        for wanted in sorted(requirement.values.difference(values)):
            close = get_close_matches(wanted, values, n=1)
            if close:
                return f"; did you mean {requirement.key}={close[0]}?"
            return f"; nobody has {requirement.key}={wanted}"
    return ""

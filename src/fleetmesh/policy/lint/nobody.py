"""
Subjects and peers that are nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetmesh.findings import Finding, finding
from fleetmesh.policy.labels import CLUSTER, RESERVED
from fleetmesh.policy.lint.known import Known, peers_of
from fleetmesh.policy.lint.nearest import nearest
from fleetmesh.policy.rule import Rule
from fleetmesh.policy.selectors import LabelSelector


def nobody(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """What selects no pod, with what it nearly does."""
    yield from _subjects(rules, known)
    yield from _peers(rules, known)


def _subjects(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """Each policy once for each of its subjects, whatever its rules."""
    seen = set()
    for rule in rules:
        key = (rule.source.subject, rule.subject)
        if rule.on_host or key in seen or rule.subject.has_prefix(RESERVED):
            continue
        seen.add(key)
        if not known.is_somebody(rule.subject, [known.cluster]):
            yield finding(
                "policy-selects-nobody",
                rule.source.subject,
                f"its subject, {rule.subject}, selects no pod of {known.cluster}"
                + _of_another(rule.subject, known),
                where=rule.source.origin,
            )


def _of_another(subject: LabelSelector, known: Known) -> str:
    named = sorted(
        value
        for each in subject.requirements
        if each.key.key == CLUSTER and each.operator in {"Equals", "In"}
        for value in each.values
    )
    if named and known.cluster not in named:
        return f"; a policy is in force in its own cluster only: apply it in {', '.join(named)}"
    return nearest(subject, known, [known.cluster])


def _peers(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    for rule, peer in peers_of(rules):
        if peer.has_prefix(RESERVED) or known.is_somebody(peer):
            continue
        yield finding(
            "policy-peer-nobody",
            rule.source.subject,
            f"{rule.source.path} is about {peer}, which is no pod that {known.cluster} hears of"
            + nearest(peer, known, known.everywhere),
            where=rule.source.origin,
        )

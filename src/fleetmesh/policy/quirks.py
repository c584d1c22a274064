"""
Where Cilium decides otherwise than specifications say, for the policies that are in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetmesh.findings import Finding, finding
from fleetmesh.policy.rule import Rule
from fleetmesh.policy.selectors import LabelSelector


def policy_quirks(rules: Sequence[Rule]) -> Iterator[Finding]:
    """Of the rules of one cluster."""
    yield from _reopened(rules)
    for rule in rules:
        for peer in rule.peers or ():
            if isinstance(peer, LabelSelector) and peer.is_negative:
                yield finding(
                    "policy-negative-selector",
                    rule.source.subject,
                    f"{rule.source.path} selects by {peer}, which is true of the world too, and of what "
                    "stands for all pods of a cluster in Cilium's policy map: it is about every pod",
                    where=rule.source.origin,
                )


def _reopened(rules: Sequence[Rule]) -> Iterator[Finding]:
    """Accepts of tier Baseline, where something isolates in the same direction."""
    for rule in rules:
        if rule.tier != "baseline" or rule.verdict != "allow":
            continue
        isolating = next(
            (
                each
                for each in rules
                if each.tier == "normal" and each.default_deny and each.direction == rule.direction
            ),
            None,
        )
        if isolating is not None:
            yield finding(
                "policy-baseline-reopens",
                rule.source.subject,
                f"{rule.source.path} lets {rule.direction} through to pods of its subject that "
                f"{isolating.source.subject} isolates; the specification has it that this is final",
                where=rule.source.origin,
            )

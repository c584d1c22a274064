"""
Where Cilium decides otherwise than specifications say, for the policies that are in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetmesh.findings import Finding, finding
from fleetmesh.policy.labels import Network, is_within, overlap
from fleetmesh.policy.rule import Rule
from fleetmesh.policy.selectors import CidrSelector, LabelSelector

_OF_ADDRESSES = ("NetworkPolicy", "ClusterNetworkPolicy")


def unmatched_services(rules: Sequence[Rule]) -> Iterator[Finding]:
    """Rules about Services of which there are none: without a peer they are about everybody, or nobody."""
    for rule in rules:
        if rule.of_services and rule.peers == ():
            whom = "everybody on its ports" if rule.ports else "nobody"
            yield finding(
                "policy-unmatched-service",
                rule.source.subject,
                f"{rule.source.path}.toServices matches no Service, so that the rule is about {whom}",
                where=rule.source.origin,
            )


def policy_quirks(rules: Sequence[Rule], pod_ranges: Sequence[tuple[str, Network]]) -> Iterator[Finding]:
    """
    Of the rules of one cluster.

    Args:
        pod_ranges: The ranges of pods that the cluster hears of, each with the name of its member.
    """
    yield from _reopened(rules)
    yield from _addresses_of_pods(rules, pod_ranges)
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


def _addresses_of_pods(rules: Sequence[Rule], pod_ranges: Sequence[tuple[str, Network]]) -> Iterator[Finding]:
    for rule in rules:
        if rule.source.subject.partition(" ")[0] not in _OF_ADDRESSES:
            continue
        for peer in rule.peers or ():
            if not isinstance(peer, CidrSelector) or peer.network is None:
                continue
            within = [
                f"{member}'s {pods}"
                for member, pods in pod_ranges
                if overlap(pods, peer.network) and not any(is_within(pods, hole) for hole in peer.excepted)
            ]
            if within:
                yield finding(
                    "policy-address-of-pod",
                    rule.source.subject,
                    f"{rule.source.path} names {peer}, where pods have their addresses: {', '.join(within)}; "
                    "to Cilium networks select no pods, by the specification they do",
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

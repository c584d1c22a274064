"""
Peers whose cluster is another than one would think.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from fleetmesh.findings import Finding, finding
from fleetmesh.policy.labels import CLUSTER, RESERVED
from fleetmesh.policy.lint.known import Known, peers_of
from fleetmesh.policy.rule import Rule
from fleetmesh.policy.selectors import LabelSelector


def unknown_clusters(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """Clusters that peers name and the mesh does not have, where it selects others all the same."""
    for rule, peer in peers_of(rules):
        for requirement in peer.requirements:
            if requirement.key.key != CLUSTER:
                continue
            unknown = sorted(requirement.values.difference(known.members))
            if not unknown or (requirement.operator != "NotIn" and not known.is_somebody(peer)):
                continue
            close = get_close_matches(unknown[0], sorted(known.members), n=1)
            yield finding(
                "policy-unknown-cluster",
                rule.source.subject,
                f"{rule.source.path} names the cluster {unknown[0]}, which is no member of the mesh"
                + (f"; did you mean {close[0]}?" if close else ""),
                where=rule.source.origin,
            )


def default_local(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """
    Policies whose peers would be others if `policy-default-local-cluster` were the other way: each once.

    On: peers that are there in other clusters too, where only their own cluster's are meant. Off: peers of
    every cluster, as none is named. Those that the setting on leaves nobody are told of as such.
    """
    if not known.heard:
        return
    meant: dict[str, tuple[Rule, set[str]]] = {}
    for rule, flipped in zip(rules, known.flipped(), strict=True):
        local, wide = (rule, flipped) if known.default_local else (flipped, rule)
        local_peers, wide_peers = _selectors(local), _selectors(wide)
        if len(local_peers) != len(wide_peers):
            continue
        for narrow, peer in zip(local_peers, wide_peers, strict=True):
            if narrow == peer or peer.is_wildcard or peer.has_prefix(RESERVED):
                continue
            if known.default_local and not known.is_somebody(narrow, [known.cluster]):
                continue
            spread = known.spread(peer)
            others = {name for name in known.heard if spread.get(name)}
            if others:
                meant.setdefault(rule.source.subject, (rule, set()))[1].update(others)
    for subject, (rule, clusters) in meant.items():
        listed = ", ".join(sorted(clusters))
        if known.default_local:
            yield finding(
                "policy-local-cluster",
                subject,
                f"its peers are those of {known.cluster} only, as policy-default-local-cluster is on; "
                f"{listed} has pods with these labels too",
                where=rule.source.origin,
            )
        else:
            yield finding(
                "policy-every-cluster",
                subject,
                f"its peers are those of every cluster that {known.cluster} hears, as "
                f"policy-default-local-cluster is off; were it on, those of {listed} were none",
                where=rule.source.origin,
            )


def _selectors(rule: Rule) -> list[LabelSelector]:
    return [each for each in rule.peers or () if isinstance(each, LabelSelector)]

"""
Nodes as peers and as subjects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetmesh.findings import Finding, finding
from fleetmesh.policy.lint.containment import peers
from fleetmesh.policy.lint.known import Known
from fleetmesh.policy.rule import Rule
from fleetmesh.policy.selectors import reserved_selector

_HOST = reserved_selector("host")


def nodes(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """Rules for nodes that are not in force, and rules that name a pod's own node only."""
    told = set[str]()
    for rule in rules:
        subject = rule.source.subject
        if rule.on_host and not known.options.host_firewall and subject not in told:
            told.add(subject)
            yield finding(
                "policy-host-firewall-off",
                subject,
                f"it is about nodes, which {known.cluster} does not judge, as enable_host_firewall is off",
                where=rule.source.origin,
            )
        if _names_its_node_only(rule) and known.options.allow_host:
            yield finding(
                "policy-host-only",
                subject,
                f"{rule.source.path} allows the host, which is a pod's own node and may reach it anyway; "
                f"other nodes, of {' and '.join(known.everywhere)}, are remote-node",
                where=rule.source.origin,
            )


def _names_its_node_only(rule: Rule) -> bool:
    about = (rule.direction, rule.verdict, rule.on_host)
    return about == ("ingress", "allow", False) and set(peers(rule)) == {_HOST}

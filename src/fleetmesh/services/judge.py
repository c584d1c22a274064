"""
What is worth saying about a service of a mesh: the quirks that the merge reproduces, and mistakes.

Everything is told by service and from the facts, not from each viewer's answer: members that are alike
are taken together, so that a finding comes once and names whom it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fleetmesh.findings import Finding
from fleetmesh.services.mismatches import (
    external_name_global,
    namespace_not_global,
    one_sided_global,
    port_name_unmatched,
    preference_unknown_cluster,
    service_without_match,
    unnamed_remote_port,
    unresolvable_name,
)
from fleetmesh.services.quirks import (
    duplicates,
    frontend_conflicts,
    policy_local_remote,
    slice_overlap,
    terminating_remote,
    weight_not_carried,
    zone_hints_defeated,
)
from fleetmesh.services.service_facts import Judge, ServiceFacts, read_facts

__all__ = ["RULES", "Judge", "ServiceFacts", "frontend_conflicts", "judge_service", "read_facts"]

RULES: tuple[Callable[[ServiceFacts], Iterable[Finding]], ...] = (
    external_name_global,
    service_without_match,
    port_name_unmatched,
    unnamed_remote_port,
    duplicates,
    slice_overlap,
    policy_local_remote,
    terminating_remote,
    weight_not_carried,
    zone_hints_defeated,
    unresolvable_name,
    one_sided_global,
    namespace_not_global,
    preference_unknown_cluster,
)
"""Each gives the findings of its kind about one service. A new rule is added here."""


def judge_service(judge: Judge, namespace: str, name: str) -> tuple[Finding, ...]:
    """
    All findings about one service, but for `frontend_conflicts`, which are a member's.
    """
    facts = read_facts(judge, namespace, name)
    return tuple(found for rule in RULES for found in rule(facts))

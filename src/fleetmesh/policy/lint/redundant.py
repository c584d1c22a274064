"""
Rules that decide nothing, in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetmesh.findings import Finding, finding
from fleetmesh.policy.lint.containment import peers, ports
from fleetmesh.policy.lint.covered import Covered, covered_rules
from fleetmesh.policy.lint.known import Known
from fleetmesh.policy.rule import Rule

_SAYS = {"allow": "allows", "deny": "denies", "pass": "passes on"}


def redundant(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """Rules that say again what another says, and those that never get a say."""
    for found in covered_rules(rules, known):
        rule, by = found.rule, found.by
        if found.is_redundant and not _is_in_force(rule, known):
            continue
        if found.is_redundant:
            code, why = "policy-rule-redundant", f"{_place(found)} {_SAYS[by.verdict]} that already"
        else:
            now = ", as labels are now" if found.holds == "now" else ""
            code = "policy-rule-shadowed"
            why = f"{_place(found)} {_SAYS[by.verdict]} all of that before it{now}"
        yield finding(
            code,
            rule.source.subject,
            f"{rule.source.path} {_SAYS[rule.verdict]} {_what(rule)}: {why}"
            + ("; but nothing else isolates its subject" if found.isolates else ""),
            [f"{_SAYS[by.verdict]} {_what(by)}, subject {by.subject}" + _at(by)],
            where=rule.source.origin,
        )


def _is_in_force(rule: Rule, known: Known) -> bool:
    """If not, that is told of, and is enough."""
    return known.options.host_firewall if rule.on_host else known.is_somebody(rule.subject, [known.cluster])


def _place(found: Covered) -> str:
    """Within one object the path is enough."""
    by, rule = found.by.source, found.rule.source
    if by == rule:
        return f"another of its peers, {_whom(found.by)},"
    return by.path if by.subject == rule.subject else f"{by.path} of {by.subject}"


def _at(rule: Rule) -> str:
    return "" if rule.source.origin is None else f" ({rule.source.origin})"


def _what(rule: Rule) -> str:
    at = ", ".join(dict.fromkeys(map(str, ports(rule)))) if rule.ports else ""
    return _whom(rule) + (f" at {at}" if at else "")


def _whom(rule: Rule) -> str:
    return " or ".join(map(str, peers(rule)))

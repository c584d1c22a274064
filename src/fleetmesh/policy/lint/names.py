"""
Rules on names that are never learnt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fleetmesh.findings import Finding, finding
from fleetmesh.policy.lint.containment import implies
from fleetmesh.policy.lint.known import Known
from fleetmesh.policy.matching import dns_matches
from fleetmesh.policy.rule import DnsRule, Rule
from fleetmesh.policy.selectors import FqdnSelector, LabelSelector

_STARS = re.compile(r"\*+")


def names_without_dns(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """
    What a name has resolved to is learnt from answers that the DNS proxy sees, and that sees those only that
    a rule with DNS rules lets pass (pkg/fqdn/dnsproxy).
    """
    asking = [
        (rule.subject, [each for port in rule.ports for each in port.l7 if isinstance(each, DnsRule)])
        for rule in rules
        if (rule.direction, rule.verdict) == ("egress", "allow")
        and any(each.parser == "dns" for each in rule.ports)
    ]
    learnt: dict[LabelSelector, list[DnsRule]] = {}
    for rule in rules:
        names = [each for each in rule.peers or () if isinstance(each, FqdnSelector)]
        if not names or not (rule.default_deny or rule.tier != "normal"):
            continue
        subject = rule.subject
        if subject not in learnt:
            learnt[subject] = [
                each
                for wide, found in asking
                if implies(subject, wide) or known.now_within(subject, wide, own=True)
                for each in found
            ]
        unknown = [each for each in names if not any(_is_asked(each, rule) for rule in learnt[subject])]
        if unknown:
            why = (
                "the DNS rules of its subject allow no look-up of it"
                if learnt[subject]
                else "no rule of its subject with DNS rules allows look-ups"
            )
            yield finding(
                "policy-fqdn-without-dns",
                rule.source.subject,
                f"{rule.source.path} is about {' and '.join(map(str, unknown))}, but {why}, so that no "
                "address is ever learnt",
                where=rule.source.origin,
            )


def _is_asked(names: FqdnSelector, rule: DnsRule) -> bool:
    """Of a pattern, whether a name that it stands for may be looked up."""
    return dns_matches(rule, names.name or _STARS.sub("a", names.pattern.strip()))

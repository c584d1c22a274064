"""
Rules of L7 beside a rule that lets the same flows pass without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetmesh.findings import Finding, finding
from fleetmesh.policy.lint.containment import peers, port_within
from fleetmesh.policy.lint.index import RuleIndex
from fleetmesh.policy.lint.known import Known
from fleetmesh.policy.rule import EVERYTHING, DnsRule, HttpRule, L7Rule, PortRange, PortRule, Rule

_EVERY_NAME = ("*", "**")


def proxies(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """
    Rules of HTTP or DNS whose flows another allow covers: mostly they refuse nothing then. Those that let
    everything pass anyway are there to be seen by.
    """
    index = RuleIndex(rules, known.options.cidr_match_modes)
    for number, rule in enumerate(rules):
        asking = [each for each in rule.ports if _narrows(each)]
        if not asking or not rule.default_deny:
            continue
        for other in index.covering(rule):
            by = rules[other]
            if by.verdict != "allow" or by.level > rule.level:
                continue
            wide = [port for plain, port in _plain(by) if other != number or plain not in asking]
            narrow = [
                port for each in asking for port in each.ports if any(port_within(port, it) for it in wide)
            ]
            if narrow:
                yield _told(rule, by, narrow, wide)
                break


def _told(rule: Rule, by: Rule, narrow: Sequence[PortRange], wide: Sequence[PortRange]) -> Finding:
    where = "another of its toPorts" if by is rule else by.source.path
    if by.source.subject != rule.source.subject:
        where += f" of {by.source.subject}"
    if by.level < rule.level:
        outcome = "decides before: what they say is not asked"
    elif set(peers(by)) == set(peers(rule)) and set(narrow) <= set(wide):
        outcome = "has the same peers and ports: together they refuse nothing"
    else:
        outcome = "is wider: flows still go to the proxy, and it is the proxy's to say what it refuses"
    return finding(
        "policy-plain-beside-proxy",
        rule.source.subject,
        f"{rule.source.path} allows by L7 rules what {where} allows without; it {outcome}",
        where=rule.source.origin,
    )


def _narrows(rule: PortRule) -> bool:
    return rule.parser in {"http", "dns"} and bool(rule.l7) and not any(map(_is_everything, rule.l7))


def _is_everything(rule: L7Rule) -> bool:
    return rule == HttpRule() or (isinstance(rule, DnsRule) and rule.pattern in _EVERY_NAME)


def _plain(rule: Rule) -> Iterator[tuple[PortRule | None, PortRange]]:
    if not rule.ports:
        yield None, EVERYTHING
    for each in rule.ports:
        if each.parser is None and not each.server_names:
            yield from ((each, port) for port in each.ports)

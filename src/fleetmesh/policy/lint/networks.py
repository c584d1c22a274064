"""
Networks that select nobody, or whose exceptions except nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetmesh.findings import Finding, finding
from fleetmesh.policy.labels import Network, is_within, overlap
from fleetmesh.policy.lint.containment import implies, peers, port_within, ports
from fleetmesh.policy.lint.known import Known
from fleetmesh.policy.rule import Rule, Source
from fleetmesh.policy.selectors import WILDCARD, WORLDS, CidrSelector, Selector, reserved_selector

_WORLD = tuple(map(reserved_selector, WORLDS))
_CILIUM = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")


def networks(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """Of rules that select by addresses; each policy's by themselves."""
    of_policy: dict[str, list[Rule]] = {}
    for rule in rules:
        of_policy.setdefault(rule.source.subject, []).append(rule)
    for rule in rules:
        for peer in _networks(rule):
            yield from _of_the_mesh(rule, peer, known)
            yield from _exceptions(rule, peer, of_policy[rule.source.subject])
    if not known.options.dual_stack:
        yield from _without_ipv6(rules, known)


def _networks(rule: Rule) -> Iterator[CidrSelector]:
    for peer in rule.peers or ():
        if isinstance(peer, CidrSelector) and peer.network is not None:
            yield peer


def _of_the_mesh(rule: Rule, peer: CidrSelector, known: Known) -> Iterator[Finding]:
    """
    Where all addresses that are meant are of pods or of nodes. Of pods `policy-address-of-pod` speaks in the
    other dialects, whose specifications select them.
    """
    of_cilium = rule.source.subject.partition(" ")[0] in _CILIUM
    ranges = [("pods", *each) for each in known.pod_ranges if of_cilium]
    ranges += [("nodes", *each) for each in known.node_ranges]
    for what, member, where in ranges:
        if peer.network is not None and is_within(peer.network, where):
            yield finding(
                "policy-network-of-mesh",
                rule.source.subject,
                f"{rule.source.path} names {peer}, where {member} has its {what} ({where}): "
                f"networks select no {what}",
                where=rule.source.origin,
            )
            return


def _exceptions(rule: Rule, peer: CidrSelector, siblings: Sequence[Rule]) -> Iterator[Finding]:
    assert peer.network is not None
    for hole in peer.excepted:
        if not is_within(hole, peer.network):
            why = "which is not within it"
        else:
            reopening = next((each for each in siblings if _reopens(each, rule, peer, hole)), None)
            if reopening is None:
                continue
            where = "another of its peers" if reopening.source == rule.source else reopening.source.path
            why = f"which {where} {'allows' if rule.verdict == 'allow' else 'denies'} again"
        yield finding(
            "policy-except-idle",
            rule.source.subject,
            f"{rule.source.path} names {peer.network} except {hole}, {why}: it excepts nothing",
            where=rule.source.origin,
        )


def _reopens(other: Rule, rule: Rule, peer: CidrSelector, hole: Network) -> bool:
    """Whether a rule of the same policy says of a hole what is said around it."""
    return (
        (other.direction, other.verdict, other.on_host) == (rule.direction, rule.verdict, rule.on_host)
        and implies(rule.subject, other.subject)
        and all(any(port_within(each, wide) for wide in ports(other)) for each in ports(rule))
        and any(_selects(each, hole) for each in peers(other) if each != peer)
    )


def _selects(selector: Selector, hole: Network) -> bool:
    if isinstance(selector, CidrSelector):
        return (
            selector.network is not None
            and is_within(hole, selector.network)
            and not any(overlap(hole, each) for each in selector.excepted)
        )
    return selector == WILDCARD or selector in _WORLD


def _without_ipv6(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """Beside an IPv4 network one of IPv6 does no harm: the policy may be for clusters of both kinds."""
    by_source: dict[Source, list[Selector]] = {}
    for rule in rules:
        by_source.setdefault(rule.source, []).extend(peers(rule))
    for source, named in by_source.items():
        if named and all(
            isinstance(each, CidrSelector) and each.network is not None and each.network.version == 6
            for each in named
        ):
            yield finding(
                "policy-family-disabled",
                source.subject,
                f"{source.path} is about {', '.join(map(str, named))} only, and {known.cluster} has no IPv6: "
                "it selects nobody",
                where=source.origin,
            )

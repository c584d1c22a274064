"""
Finds the rules that may cover one, without looking at all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import attrs

from fleetmesh.policy.labels import CLUSTER, NAMESPACE
from fleetmesh.policy.lint.containment import implies, peer_within, peers
from fleetmesh.policy.rule import Rule
from fleetmesh.policy.selectors import (
    WORLDS,
    CidrSelector,
    FqdnSelector,
    LabelSelector,
    Selector,
    reserved_selector,
)

_Sign: TypeAlias = tuple[str, str]
_ANYTHING: _Sign = ("", "")


@attrs.define
class RuleIndex:
    """
    Rules by one label of their subject and one of a peer: rather one that few have than the namespace.

    Attributes:
        match_modes: Whom networks select besides the world.
    """

    rules: Sequence[Rule]
    match_modes: Sequence[str]
    _found: dict[tuple[str, bool, _Sign, _Sign], list[int]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        for number, rule in enumerate(self.rules):
            for sign in {_sign(each) for each in peers(rule)}:
                key = (rule.direction, rule.on_host, _sign(rule.subject), sign)
                self._found.setdefault(key, []).append(number)

    def covering(self, rule: Rule) -> Iterator[int]:
        """
        The numbers of the rules of its direction whose subject and peers include all of its own, whatever
        their ports and verdicts; its own too.
        """
        own = peers(rule)
        if not own:
            return
        for of_subject in _signs(rule.subject):
            for of_peer in _signs(own[0]):
                for number in self._found.get((rule.direction, rule.on_host, of_subject, of_peer), ()):
                    other = self.rules[number]
                    theirs = frozenset(peers(other))
                    if implies(rule.subject, other.subject) and all(
                        peer_within(each, theirs, self.match_modes) for each in own
                    ):
                        yield number


def _sign(selector: Selector) -> _Sign:
    """One thing that every selector within this one says too."""
    if isinstance(selector, FqdnSelector):
        return ("fqdn", str(selector))
    if isinstance(selector, CidrSelector):
        return ("cidr", "")
    signs = [
        (each.key.key, value)
        for each in selector.requirements
        if each.operator in {"Equals", "In"} and len(each.values) == 1
        for value in each.values
    ]
    return min(signs, key=lambda each: each[0] in {NAMESPACE, CLUSTER}, default=_ANYTHING)


def _signs(selector: Selector) -> set[_Sign]:
    """All by which one that covers it may be found."""
    if not isinstance(selector, LabelSelector):
        return {_sign(selector), _ANYTHING, *(_sign(reserved_selector(world)) for world in WORLDS)}
    values = (each for each in selector.requirements if each.operator in {"Equals", "In"})
    return {_ANYTHING, *((each.key.key, value) for each in values for value in each.values)}

"""
Rules that decide nothing, since another one says the same, or decides before.

What is looked for is one rule that covers another: its subject, each of its peers and each of its ports,
and what it asks for. Not seen are rules that several others cover together, a rule of which only a part is
covered, a range of ports that adjoining ranges cover, a rule beside others of its direction that ask for L7
rules or authentication on the same ports, where a rule that says the same may still change what is asked,
and what hangs on a pass of an earlier tier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import attrs

from fleetmesh.policy.lint.containment import (
    asks_for_more,
    disjoint,
    implies,
    peer_within,
    peers,
    port_within,
    ports,
    ports_meet,
)
from fleetmesh.policy.lint.index import RuleIndex
from fleetmesh.policy.lint.known import Known
from fleetmesh.policy.rule import Direction, Rule
from fleetmesh.policy.selectors import LabelSelector

_RANKS = {"pass": 0, "allow": 1, "deny": 2}


@attrs.frozen
class Covered:
    """
    Attributes:
        rule: Decides nothing.
        by: Decides in its place.
        holds: `always`, or as labels are `now`.
        isolates: Whether nothing else isolates all of its subject: without the rule more would pass.
    """

    rule: Rule
    by: Rule
    holds: Literal["always", "now"]
    isolates: bool

    @property
    def is_redundant(self) -> bool:
        """Whether it says the same as what decides in its place."""
        return self.rule.verdict == self.by.verdict


def covered_rules(rules: Sequence[Rule], known: Known) -> Iterator[Covered]:
    """
    Each rule with at most one that covers it. All of them may go together.

    That another says the same is told only if it does whatever labels there are: who has two labels today
    may not tomorrow. That a rule is without effect is told also as labels are now.
    """
    if known.options.enforcement == "never":
        return
    search = _Search(rules, known)
    for number in reversed(range(len(rules))):
        found = search.cover_of(number)
        if found is not None:
            search.gone.add(number)
            yield found


MOST_CANDIDATES = 256
"""Rules that may cover one; what would come after is not looked at."""


@attrs.define
class _Search:
    rules: Sequence[Rule]
    known: Known
    gone: set[int] = attrs.field(factory=set, init=False)
    _index: RuleIndex = attrs.field(init=False)
    _early: dict[Direction, list[int]] = attrs.field(factory=dict, init=False)
    _asking: list[Rule] = attrs.field(factory=list, init=False)
    _first_pass: dict[tuple[str, str], float] = attrs.field(factory=dict, init=False)
    _now: dict[tuple[LabelSelector, LabelSelector, bool], bool] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._index = RuleIndex(self.rules, self.known.options.cidr_match_modes)
        for number, rule in enumerate(self.rules):
            if not rule.on_host and (rule.verdict == "deny" or rule.tier != "normal"):
                self._early.setdefault(rule.direction, []).append(number)
            if asks_for_more(rule):
                self._asking.append(rule)
            if rule.verdict == "pass":
                place = (rule.direction, rule.tier)
                self._first_pass[place] = min(rule.priority, self._first_pass.get(place, rule.priority))

    def cover_of(self, number: int) -> Covered | None:
        rule = self.rules[number]
        if not peers(rule) or not ports(rule):
            return None
        for other in islice(self._index.covering(rule), MOST_CANDIDATES):
            by = self.rules[other]
            if other != number and other not in self.gone and self._covers(by, rule):
                return self._covered(number, other, "always")
        for other in () if rule.on_host else self._early.get(rule.direction, ())[:MOST_CANDIDATES]:
            by = self.rules[other]
            if other not in self.gone and self._covers_now(by, rule):
                return self._covered(number, other, "now")
        return None

    def _covers(self, by: Rule, rule: Rule) -> bool:
        """Of two of which one has all of the other's subject and peers."""
        if not _ports_within(rule, by):
            return False
        if by.verdict == rule.verdict:
            return self._says_the_same(by, rule)
        return self._decides_before(by, rule)

    def _covers_now(self, by: Rule, rule: Rule) -> bool:
        """Of pods only, and of labels as they are."""
        if by.verdict == rule.verdict or by.level > rule.level:
            return False
        if disjoint(rule.subject, by.subject) or not _ports_within(rule, by):
            return False
        others = frozenset(peers(by))
        modes = self.known.options.cidr_match_modes
        return (
            self._decides_before(by, rule)
            and self._within(rule.subject, by.subject, own=True)
            and all(
                peer_within(each, others, modes)
                or (
                    isinstance(each, LabelSelector)
                    and any(isinstance(one, LabelSelector) and self._within(each, one) for one in others)
                )
                for each in peers(rule)
            )
        )

    def _within(self, one: LabelSelector, other: LabelSelector, *, own: bool = False) -> bool:
        if implies(one, other):
            return True
        key = (one, other, own)
        if key not in self._now:
            self._now[key] = self.known.now_within(one, other, own=own)
        return self._now[key]

    def _says_the_same(self, by: Rule, rule: Rule) -> bool:
        """Not later; of a pass, for the same tier."""
        if attrs.evolve(by, source=rule.source) == rule:
            return True
        if rule.verdict == "allow" and (asks_for_more(by) or asks_for_more(rule) or self._is_beside(rule)):
            return False
        return by.level <= rule.level and self._reaches(by, rule)

    def _decides_before(self, by: Rule, rule: Rule) -> bool:
        if asks_for_more(rule) and self._is_beside(rule):
            return False  # without it a conflict might be gone
        one, other = by.level, rule.level
        if one == other:
            return _RANKS[by.verdict] > _RANKS[rule.verdict]
        return one < other and self._reaches(by, rule)

    def _is_beside(self, rule: Rule) -> bool:
        """Whether another rule asks for more on packets that it is about."""
        return any(each is not rule and _meet(each, rule) for each in self._asking)

    def _reaches(self, by: Rule, rule: Rule) -> bool:
        """Whether what an earlier rule says holds for the tier of the other one."""
        if by.tier == rule.tier:
            return True
        passing = self._first_pass.get((by.direction, by.tier))
        return by.verdict != "pass" and (passing is None or passing >= by.priority)

    def _covered(self, number: int, by: int, holds: Literal["always", "now"]) -> Covered:
        rule = self.rules[number]
        isolates = rule.default_deny and not self._others_isolate(number, rule, by)
        return Covered(rule, self.rules[by], holds, isolates)

    def _others_isolate(self, number: int, rule: Rule, by: int) -> bool:
        """Mostly what covers it does, or another rule of its own policy."""
        order = (by, *(each for each in range(len(self.rules)) if each != by))
        return any(
            self.rules[other].default_deny
            and (self.rules[other].direction, self.rules[other].on_host) == (rule.direction, rule.on_host)
            and implies(rule.subject, self.rules[other].subject)
            for other in order
            if other != number and other not in self.gone
        )


def _ports_within(rule: Rule, by: Rule) -> bool:
    wide = ports(by)
    return all(any(port_within(each, one) for one in wide) for each in ports(rule))


def _meet(one: Rule, other: Rule) -> bool:
    """Whether both may be about the same packet."""
    return (
        (one.direction, one.on_host) == (other.direction, other.on_host)
        and not disjoint(one.subject, other.subject)
        and any(ports_meet(each, wide) for each in ports(one) for wide in ports(other))
    )

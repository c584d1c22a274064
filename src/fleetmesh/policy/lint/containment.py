"""
Whether what one rule is about another is about too, whatever labels and addresses there are.

Where it is not known the answer is no.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from fleetmesh.policy.labels import ANY, is_within, overlap
from fleetmesh.policy.rule import ANY_PROTOCOL, EVERYTHING, PortRange, Rule
from fleetmesh.policy.selectors import (
    WILDCARD,
    WORLDS,
    CidrSelector,
    LabelSelector,
    Requirement,
    Selector,
    reserved_selector,
)

_WORLD = frozenset(map(reserved_selector, WORLDS))
_POSITIVE = frozenset({"Equals", "In", "Exists"})


def implies(one: LabelSelector, other: LabelSelector) -> bool:
    """Whether whoever the one selects the other selects too."""
    return all(any(_implies(each, wanted) for each in one.requirements) for wanted in other.requirements)


def disjoint(one: LabelSelector, other: LabelSelector) -> bool:
    """Whether nobody can be selected by both."""
    return any(
        each.key.key == wanted.key.key
        and each.operator in {"Equals", "In"}
        and wanted.operator in {"Equals", "In"}
        and not each.values & wanted.values
        for each in one.requirements
        for wanted in other.requirements
    )


def _implies(one: Requirement, other: Requirement) -> bool:
    """An identity has one label of a key, whatever its source."""
    if one == other:
        return True
    if one.key.key != other.key.key or one.key.network or other.key.network:
        return False
    if other.operator in _POSITIVE:
        if one.operator not in _POSITIVE or other.key.source not in {ANY, one.key.source}:
            return False
        return other.operator == "Exists" or (one.operator != "Exists" and one.values <= other.values)
    if one.operator in {"Equals", "In"}:
        return other.operator == "NotIn" and not one.values & other.values
    if one.operator == "Exists" or one.key.source not in {ANY, other.key.source}:
        return False
    return one.operator == "DoesNotExist" or (other.operator == "NotIn" and one.values >= other.values)


def peers(rule: Rule) -> Sequence[Selector]:
    """Whom a rule is about: nobody or everybody by name."""
    if rule.peers is None:
        return ()
    return rule.peers or ((WILDCARD,) if rule.ports else ())


def peer_within(one: Selector, others: Collection[Selector], match_modes: Collection[str]) -> bool:
    """
    Whether any one of the others selects whom the one does, or all of them are the world and it is of it.

    Args:
        match_modes: Whom networks select besides the world.
    """
    if one in others or WILDCARD in others:
        return True
    if isinstance(one, LabelSelector):
        return any(isinstance(each, LabelSelector) and implies(one, each) for each in others)
    if isinstance(one, CidrSelector):
        if any(isinstance(each, CidrSelector) and _network_within(one, each) for each in others):
            return True
        if one.modes(match_modes):
            return False
    return others >= _WORLD if isinstance(others, frozenset) else frozenset(others) >= _WORLD


def _network_within(one: CidrSelector, other: CidrSelector) -> bool:
    if one.of_pods and not other.of_pods:
        return False
    if one.network is None or other.network is None:
        return attrs.evolve(one, excepted=()) == attrs.evolve(other, excepted=()) and set(
            one.excepted
        ) >= set(other.excepted)
    if not is_within(one.network, other.network):
        return False
    return all(
        not overlap(hole, one.network) or any(is_within(hole, each) for each in one.excepted)
        for hole in other.excepted
    )


def ports(rule: Rule) -> Sequence[PortRange]:
    """Without any, all of them."""
    return [port for each in rule.ports for port in each.ports] if rule.ports else [EVERYTHING]


def port_within(one: PortRange, other: PortRange) -> bool:
    """Whether a range covers all of another; a named port is within its own name, or within all ports."""
    if other.protocol == ANY_PROTOCOL:
        return True
    if one.protocol != other.protocol:
        return False
    if other.name or one.name:
        return one.name == other.name or not (other.name or other.first)
    if not other.first or not one.first:
        return not other.first
    return other.first <= one.first and one.last <= other.last


def ports_meet(one: PortRange, other: PortRange) -> bool:
    """Whether a packet may be one of both; of named ports that is not known, and so they do."""
    if ANY_PROTOCOL in {one.protocol, other.protocol}:
        return True
    if one.protocol != other.protocol:
        return False
    if one.name or other.name or not one.first or not other.first:
        return True
    return one.first <= other.last and other.first <= one.last


def asks_for_more(rule: Rule) -> bool:
    """Whether an allow asks for something besides passing: a proxy, or authentication."""
    return bool(rule.authentication) or any(each.parser or each.server_names for each in rule.ports)

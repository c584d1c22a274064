"""
Policies in the core: what follows identities that come and go is what is made of those that are there.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmesh import _core

TERMS = st.integers(1, 12)
NUMBERS = st.sampled_from([1, 2, 9, 11, 12, *(1 << 16 | n for n in range(256, 300)), 2 << 16 | 256, 1 << 24])
NAMES = st.integers(1, 2)
PORTS = st.sampled_from([0, 1, 80, 81, 443, 65535])
NAMED_PORTS = st.lists(st.tuples(NAMES, st.just(6), st.sampled_from([80, 443])), max_size=2)
IDENTITIES = st.tuples(st.lists(TERMS, max_size=6), NAMED_PORTS)
REQUIREMENTS = st.tuples(st.booleans(), st.lists(TERMS, min_size=1, max_size=3))
SELECTORS = st.lists(REQUIREMENTS, max_size=3)
RANGES = st.tuples(st.sampled_from([0, 6, 17]), PORTS, PORTS, st.sampled_from([0, 0, 0, 1, 2])).map(
    lambda each: (
        (each[0], 0, 0, 0)
        if not each[0]
        else (each[0], 0, 0, each[3])
        if each[3]
        else (each[0], min(each[1], each[2]), max(each[1], each[2]) if min(each[1], each[2]) else 0, 0)
    )
)
SELECTOR_COUNT = 5


@st.composite
def rules(draw: st.DrawFn) -> tuple[Any, ...]:
    tier = draw(st.integers(0, 2))
    verdict = draw(st.integers(0, 2 if tier == 0 else 1))
    ports = draw(st.lists(st.lists(RANGES, min_size=1, max_size=2), max_size=2))
    parsers = [draw(st.sampled_from([0, 0, 1])) if verdict == 0 else 0 for _ in ports]
    return (
        draw(st.integers(0, 1)),
        verdict,
        tier,
        float(draw(st.integers(0, 2))),
        draw(st.integers(0, SELECTOR_COUNT - 1)),
        False,
        draw(st.booleans()),
        draw(st.integers(0, 9)) == 0,
        draw(st.lists(st.integers(0, SELECTOR_COUNT - 1), max_size=2)),
        [(each, parser, 0, 0, False, 10000 * parser) for each, parser in zip(ports, parsers, strict=True)],
        draw(st.sampled_from([0, 0, 0, 1, 2])) if verdict == 0 else 0,
    )


def repository(
    known: dict[int, tuple[list[int], list[Any]]],
) -> tuple[_core.PolicyRepository, _core.PolicyIdentities]:
    identities = _core.PolicyIdentities()
    made = _core.PolicyRepository(
        identities,
        enforcement=0,
        allow_host=True,
        host_firewall=False,
        isolation_is_final=False,
        cluster=1,
        cluster_shift=16,
    )
    made.hear([2])
    for number, identity in known.items():
        identities.set(number, *identity)
    return made, identities


def resolved(policies: _core.PolicyRepository, subject: tuple[list[int], list[Any]]) -> _core.EndpointPolicy:
    terms, named_ports = subject
    return policies.resolve(terms, named_ports, is_host=False, is_init=False)


def answers(policy: _core.EndpointPolicy) -> list[Any]:
    return [
        policy.lookup(bool(ingress), number, protocol, port)
        for ingress in (0, 1)
        for number in (
            1,
            2,
            9,
            11,
            12,
            13,
            1 << 16 | 256,
            1 << 16 | 257,
            2 << 16 | 256,
            1 << 24,
            3 << 16 | 999,
        )
        for protocol in (6, 17, 1)
        for port in (0, 1, 79, 80, 81, 442, 443, 444, 65534, 65535)
    ]


@settings(deadline=None)
@given(
    selectors=st.lists(SELECTORS, min_size=SELECTOR_COUNT, max_size=SELECTOR_COUNT),
    all_rules=st.lists(rules(), max_size=6),
    before=st.dictionaries(NUMBERS, IDENTITIES, max_size=6),
    subject=IDENTITIES,
    steps=st.lists(st.tuples(NUMBERS, st.none() | IDENTITIES), max_size=8),
)
def test_a_policy_follows_the_identities_that_come_and_go(
    selectors: list[Any],
    all_rules: list[Any],
    before: dict[int, Any],
    subject: tuple[list[int], list[Any]],
    steps: list[tuple[int, Any]],
) -> None:
    known = dict(before)
    followed, numbered = repository(known)
    followed.set_rules("", selectors, all_rules)
    policy = resolved(followed, subject)
    for number, identity in steps:
        if identity is None:
            known.pop(number, None)
            numbered.remove(number)
        else:
            known[number] = identity
            numbered.set(number, *identity)

        rebuilt, _ = repository(known)
        rebuilt.set_rules("", selectors, all_rules)
        made = resolved(rebuilt, subject)
        assert answers(policy) == answers(made)
        assert len(policy) == len(made)
        assert answers(resolved(followed, subject)) == answers(made)


def probed(entries: list[Any], ingress: bool, number: int, protocol: int, port: int) -> Any:
    """What Cilium's two look-ups find in a policy map (mapState.lookup); each is of the longest prefix."""

    def longest(identity: int) -> Any:
        found = None
        for entry in entries:
            direction, whose, of_protocol, first, length, *value = entry
            if (direction, whose) != (ingress, identity):
                continue
            if length and of_protocol != protocol:
                continue
            bits = max(length - 8, 0)
            if length > 8 and (port ^ first) >> (16 - bits):
                continue
            if found is None or length > found[0]:
                found = (length, *value)
        return found

    def rank(precedence: int) -> int:
        return precedence & ~255 | 1

    own, every = longest(number), longest(aggregate_of(number))
    if number == aggregate_of(number):
        own = None
    if own is None or every is None:
        found = own if every is None else every
        return (False, 0, 0, False, 0) if found is None else (True, *found[1:])
    if own[1] != every[1]:
        return (True, *(own if own[1] > every[1] else every)[1:])
    if own[1] & 255 == 255:
        return (True, *own[1:])
    winner, other = (every, own) if own[0] > every[0] else (own, every)
    _, precedence, authentication, explicit, rule = winner
    if not explicit and other[2] > authentication and rank(other[1]) >= rank(precedence):
        authentication = other[2]
    return (True, precedence, authentication, explicit, rule)


def aggregate_of(number: int) -> int:
    if number in (0, 11, 12, 13, 14):
        return number
    if number < 100:
        return 0
    return {1: 13, 2: 14}.get(number >> 24, 11 if number >> 16 == 1 else 12)


@settings(deadline=None)
@given(
    selectors=st.lists(SELECTORS, min_size=SELECTOR_COUNT, max_size=SELECTOR_COUNT),
    all_rules=st.lists(rules(), max_size=6),
    identities=st.dictionaries(NUMBERS, IDENTITIES, max_size=6),
    subject=IDENTITIES,
)
def test_one_answer_is_what_two_look_ups_in_the_policy_map_find(
    selectors: list[Any], all_rules: list[Any], identities: dict[int, Any], subject: Any
) -> None:
    policies, _ = repository(identities)
    policies.set_rules("", selectors, all_rules)
    policy = resolved(policies, subject)
    entries = policy.entries()

    for ingress in (False, True):
        if not policy.enforced(ingress):
            continue
        for number in (*identities, 1, 2, 13, 3 << 16 | 999):
            for protocol in (6, 17, 1):
                for port in (0, 1, 79, 80, 81, 443, 65535):
                    found = policy.lookup(ingress, number, protocol, port)
                    assert found == probed(entries, ingress, number, protocol, port)


def sourced(policy: _core.EndpointPolicy, numbered: dict[int, tuple[str, int]]) -> list[Any]:
    """Answers, each with the policy and the place of its rule in the place of the rule's number."""
    return [(*each, numbered.get(rule) if each[0] else None) for *each, rule in answers(policy)]


@settings(deadline=None)
@given(
    selectors=st.lists(SELECTORS, min_size=SELECTOR_COUNT, max_size=SELECTOR_COUNT),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.lists(rules(), max_size=3)), max_size=6),
    identities=st.dictionaries(NUMBERS, IDENTITIES, max_size=6),
    subject=IDENTITIES,
)
def test_policies_that_come_and_go_leave_what_is_made_of_those_that_are_there(
    selectors: list[Any], steps: list[tuple[str, list[Any]]], identities: dict[int, Any], subject: Any
) -> None:
    followed, _ = repository(identities)
    there: dict[str, list[Any]] = {}
    numbered: dict[int, tuple[str, int]] = {}
    for name, own in steps:
        old = resolved(followed, subject)
        kept = answers(old)
        there.pop(name, None)
        if own:
            there[name] = own
            first = followed.set_rules(name, selectors, own)
            numbered |= {first + at: (name, at) for at in range(len(own))}
        else:
            followed.remove_rules(name)
        assert answers(old) == kept

        rebuilt, _ = repository(identities)
        everything = [(each, at) for each in sorted(there) for at in range(len(there[each]))]
        rebuilt.set_rules("", selectors, [there[each][at] for each, at in everything])
        found, wanted = resolved(followed, subject), resolved(rebuilt, subject)
        assert sourced(found, numbered) == sourced(wanted, dict(enumerate(everything)))
        assert [conflict_of(found, numbered), len(found)] == [
            conflict_of(wanted, dict(enumerate(everything))),
            len(wanted),
        ]


def conflict_of(policy: _core.EndpointPolicy, numbered: dict[int, tuple[str, int]]) -> Any:
    if policy.conflict is None:
        return None
    one, other, why = policy.conflict
    return numbered[one], numbered[other], why

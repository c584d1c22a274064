"""
The policies of a member, read, and where they contradict each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import ref

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.policy import KINDS, Reading, Refused, Rule, read_policy
from fleetmesh.policy.judge import Conflict, Options, PolicyJudge
from fleetmesh.policy.labels import LabelSet, ports_of
from fleetmesh.policy.registry import Identity, IdentityRegistry
from fleetmesh.resources.model import PolicyObject, Service

if TYPE_CHECKING:
    from fleetmesh.mesh.store import Key
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint


@attrs.frozen
class ReadPolicies:
    """The rules of a member, in the order in which Cilium takes them, and what it would refuse."""

    rules: tuple[Rule, ...]
    refused: tuple[tuple[PolicyObject, Refused], ...]


def read_policies(view: Viewpoint, member: MemberView, *, flipped: bool = False) -> ReadPolicies:
    """
    All policies that a member has.

    Args:
        flipped: Whether they are to be read as if `policy-default-local-cluster` were the other way.
    """
    reader = PolicyReader(view, member, flipped=flipped)
    policies = [each for each in member._store.policies.values() if each.kind in KINDS]
    policies.sort(key=lambda each: place(each.key))
    rules: list[Rule] = []
    refused = []
    for policy in policies:
        found = reader.read(policy)
        if isinstance(found, Refused):
            refused.append((policy, found))
        else:
            rules += found
    return ReadPolicies(tuple(rules), tuple(refused))


def place(key: Key) -> str:
    """What a policy is known by among others: Cilium takes their rules in the order of these."""
    kind, namespace, name = key
    return f"{KINDS.index(kind)}\0{namespace}\0{name}"


class PolicyReader:
    """Reads single policies of a member, as they are to be understood in one state of its mesh."""

    def __init__(self, view: Viewpoint, member: MemberView, *, flipped: bool = False) -> None:
        settings = member.settings
        self._view, self._member = view, member
        self._reading = Reading(
            member.name,
            settings.policy_default_local_cluster != flipped,
            not settings.disable_non_default_deny,
            view.strict,
            view.strict and not settings.policy_cidr_match_mode,
        )

    def read(self, policy: PolicyObject) -> tuple[Rule, ...] | Refused:
        """Once as long as it lives, but for one whose rules hang on the services there are."""
        if policy.key in self._member._store.on_services:
            return _read(policy, self._with_services)
        number = id(policy), self._reading.default_local_cluster
        known = _KNOWN.get(number)
        if known is not None and known[0]() is policy and known[1] == self._reading:
            return known[2]
        found = _read(policy, self._reading)
        _KNOWN[number] = (ref(policy, lambda _: _KNOWN.pop(number, None)), self._reading, found)
        return found

    def rules(self, policy: PolicyObject | None) -> tuple[Rule, ...]:
        """None where it is refused, or not there."""
        read = () if policy is None else self.read(policy)
        return () if isinstance(read, Refused) else read

    @cached_property
    def _with_services(self) -> Reading:
        view, member = self._view, self._member
        services = tuple(each for by_name in member._store.services.values() for each in by_name.values())

        def backends(service: Service) -> list[str]:
            rows = view.snapshot.candidates(member.cluster_id, service.namespace, service.name)
            return sorted({backend[1] for _, backend, *_ in rows})

        return attrs.evolve(self._reading, services=services, backends=backends)


def _read(policy: PolicyObject, reading: Reading) -> tuple[Rule, ...] | Refused:
    try:
        return read_policy(policy, reading)
    except Refused as why:
        return why


_KNOWN: dict[tuple[int, bool], tuple[ref[PolicyObject], Reading, tuple[Rule, ...] | Refused]] = {}


def hangs_on_services(policy: PolicyObject) -> bool:
    """Whether rules of a policy are others when services change: a look at the words, no reading."""
    return "toServices" in str(policy.document)


_ASKING = ("rules", "authentication", "listener", "serverNames", "domainNames")


def may_conflict(policy: PolicyObject) -> bool:
    """Whether rules of a policy may ask for something besides passing: a look at the words, no reading."""
    text = str(policy.document)
    return any(word in text for word in _ASKING)


def conflicting(view: Viewpoint, member: MemberView, among: Collection[LabelSet]) -> dict[LabelSet, Conflict]:
    """
    Those of these identities of a member's own pods for which rules can't all be carried out. For that they
    have to ask for something besides passing, twice.
    """
    reader, store = PolicyReader(view, member), member._store
    rules = [rule for key in store.asking for rule in reader.rules(store.policies[key])]
    asking = [(rule.subject, _demands(rule)) for rule in rules if _demands(rule)]
    suspects = [
        labels
        for labels in among
        if sum(demands for subject, demands in asking if subject.matches(labels)) > 1
    ]
    if not suspects:
        return {}
    judge = PolicyJudge(IdentityRegistry(), options_of(view, member))
    judge.set_rules("", read_policies(view, member).rules)
    conflicts = {
        labels: judge.conflict(Identity(0, labels, ports_of(labels)))
        for labels in suspects
        if labels in store.identities
    }
    return {labels: conflict for labels, conflict in conflicts.items() if conflict is not None}


def _demands(rule: Rule) -> int:
    """How often it asks for something besides passing."""
    return bool(rule.authentication) + sum(each.parser is not None for each in rule.ports)


def conflicts(view: Viewpoint, member: MemberView) -> Iterator[Finding]:
    """Rules that can't all be carried out for some pod."""
    store = member._store
    broken = conflicting(view, member, store.identities)
    hit: dict[tuple[Conflict, bool], list[str]] = {}
    for namespace, pods in store.identity_of.items() if broken else ():
        for name, labels in pods.items():
            if labels in broken:
                hit.setdefault((broken[labels], labels in store.held), []).append(f"{namespace}/{name}")
    for (found, kept), names in hit.items():
        names.sort()
        outcome = "what was in force before stays" if kept else "nothing was before, so that all is refused"
        yield finding(
            "policy-conflict",
            found.other.subject,
            f"for {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''} rules "
            f"{found.words}; {outcome}",
            names,
            where=found.other.origin,
        )


def options_of(view: Viewpoint, member: MemberView) -> Options:
    """What its policies are resolved with."""
    settings = member.settings
    return Options(
        member.cluster_id,
        settings.policy_enforcement,
        settings.allow_localhost == "always",
        settings.enable_host_firewall,
        settings.enable_ipv6,
        settings.policy_cidr_match_mode,
        view.identity_bits,
        view.strict,
    )

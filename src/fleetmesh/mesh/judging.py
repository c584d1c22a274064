"""
The judge of a cluster's policies, and how it follows what the cluster has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import TYPE_CHECKING

from fleetmesh.mesh.policies import PolicyReader, options_of, place
from fleetmesh.policy import KINDS
from fleetmesh.policy.judge import PolicyJudge
from fleetmesh.policy.labels import LabelSet, Network
from fleetmesh.policy.selectors import group_labels

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from fleetmesh.mesh.store import Key
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint
    from fleetmesh.policy.registry import IdentityRegistry
    from fleetmesh.resources.model import PolicyObject

_GROUP = "CiliumCIDRGroup"


def judge_of(
    view: Viewpoint,
    member: MemberView,
    registry: IdentityRegistry,
    dns: Mapping[str, Sequence[IPv4Address | IPv6Address]],
) -> PolicyJudge:
    """By the policies that a member has."""
    judge = PolicyJudge(registry, options_of(view, member), dns)
    follow(judge, view, member, member._store.policies)
    return judge


def held_judge_of(
    view: Viewpoint,
    member: MemberView,
    labels: LabelSet,
    registry: IdentityRegistry,
    dns: Mapping[str, Sequence[IPv4Address | IPv6Address]],
) -> PolicyJudge:
    """By what is still in force for an identity whose rules are in conflict."""
    judge = PolicyJudge(registry, options_of(view, member), dns)
    follow(judge, view, member, (key for key in member._store.policies if key[0] == _GROUP))
    judge.set_rules("", member._store.held[labels])
    return judge


def follow(judge: PolicyJudge, view: Viewpoint, member: MemberView, keys: Iterable[Key]) -> None:
    """Have a judge take in policies and groups of networks, as the member has them now or has not."""
    reader, policies = PolicyReader(view, member), member._store.policies
    for key in keys:
        kind, _, name = key
        policy = policies.get(key)
        if kind in KINDS:
            judge.set_rules(place(key), reader.rules(policy))
        elif kind == _GROUP and policy is None:
            judge.set_group(name, None)
        elif kind == _GROUP and policy is not None:
            judge.set_group(name, (list(_networks(policy)), list(group_labels(name, policy.labels))))


def follow_services(judge: PolicyJudge, view: Viewpoint, member: MemberView) -> bool:
    """Have a judge take in those rules that are others by the services that there are now, if any are."""
    reader, store, found = PolicyReader(view, member), member._store, False
    for key in store.on_services:
        rules = reader.rules(store.policies[key])
        if rules != judge.rules_of(place(key)):
            judge.set_rules(place(key), rules)
            found = True
    return found


def _networks(group: PolicyObject) -> Iterator[Network]:
    for cidr in (group.document.get("spec") or {}).get("externalCIDRs") or ():
        yield ip_network(cidr, strict=False)

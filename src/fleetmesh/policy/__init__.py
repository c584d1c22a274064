"""
Network policy: who may reach whom, in every dialect that a cluster may have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from fleetmesh.policy.cilium import read_cilium_policy
from fleetmesh.policy.cluster_policy import (
    read_admin_policy,
    read_baseline_policy,
    read_cluster_policy,
)
from fleetmesh.policy.kubernetes import read_network_policy
from fleetmesh.policy.reading import Refused
from fleetmesh.policy.rule import Rule
from fleetmesh.policy.selectors import WILDCARD, LabelSelector
from fleetmesh.policy.settings import Reading
from fleetmesh.resources.model import PolicyObject

__all__ = ["KINDS", "Reading", "Refused", "Rule", "read_policy"]

KINDS = (
    "AdminNetworkPolicy",
    "BaselineAdminNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
    "CiliumNetworkPolicy",
    "ClusterNetworkPolicy",
    "NetworkPolicy",
)
"""Of all objects that are policies, in the order in which their rules are taken."""

_READERS: Mapping[str, Callable[[PolicyObject, Reading], tuple[Rule, ...]]] = {
    "CiliumNetworkPolicy": read_cilium_policy,
    "CiliumClusterwideNetworkPolicy": read_cilium_policy,
    "NetworkPolicy": read_network_policy,
    "ClusterNetworkPolicy": read_cluster_policy,
    "AdminNetworkPolicy": read_admin_policy,
    "BaselineAdminNetworkPolicy": read_baseline_policy,
}


def read_policy(policy: PolicyObject, reading: Reading) -> tuple[Rule, ...]:
    """
    The rules of a policy, whatever its dialect.

    Raises:
        Refused: It can't be taken, and has no effect; names the field and why.
    """
    rules = tuple(map(_of_everybody, _READERS[policy.kind](policy, reading)))
    return tuple(map(_of_the_labelled, rules)) if reading.strict else rules


def _of_everybody(rule: Rule) -> Rule:
    """Where one peer is everybody the others don't count (pkg/policy selectorcache.go AddSelectorsTxn)."""
    if not any(each.is_wildcard for each in rule.peers or ()):
        return rule
    return attrs.evolve(rule, peers=(WILDCARD,))


def _of_the_labelled(rule: Rule) -> Rule:
    if not any(isinstance(each, LabelSelector) and each.is_negative for each in rule.peers or ()):
        return rule
    peers = (
        each.without_the_world() if isinstance(each, LabelSelector) and each.is_negative else each
        for each in rule.peers or ()
    )
    return attrs.evolve(rule, peers=tuple(peers))

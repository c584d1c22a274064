"""
The smallest change that would turn a verdict, as far as one rule or one label does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fleetmesh.policy.decision import Statement
from fleetmesh.policy.labels import (
    CLUSTER,
    GENERATED,
    NAMESPACE,
    NAMESPACE_LABELS,
    SERVICE_ACCOUNT,
    Label,
    LabelSet,
)
from fleetmesh.policy.rule import Direction, Rule
from fleetmesh.policy.selectors import LabelSelector, Requirement

_HIDDEN = (NAMESPACE_LABELS, SERVICE_ACCOUNT)
_FIELDS: dict[Direction, str] = {"ingress": "fromEndpoints", "egress": "toEndpoints"}


def to_allow(
    statements: Sequence[Statement],
    nearby: Iterable[tuple[Rule, LabelSelector]],
    peer: LabelSet,
    direction: Direction,
    isolating: Sequence[str],
) -> str:
    """
    What would let a refused flow pass.

    Args:
        nearby: Rules that would allow the flow if one of their selectors selected the peer.
        isolating: The policies by which the subject refuses what no rule allows.
    """
    deciding = [each.source for each in statements if each.decides and each.verdict == "deny"]
    if deciding:
        places = ", ".join(f"{each.path} of {each.subject}" for each in dict.fromkeys(deciding))
        return f"take the flow out of {places}, or remove it"
    for rule, selector in nearby:
        missing = [each for each in selector.requirements if not each.matches(peer)]
        if len(missing) == 1:
            place = f"{rule.source.path} of {rule.source.subject}"
            return f"{place} allows it but for one thing: {_missing(missing[0], peer)}"
    labels = ", ".join(f"{each.key}: {each.value}" for each in _telling(peer))
    wanted = f"{_FIELDS[direction]} with {labels or 'its labels'}"
    if not isolating:
        return f"allow it by a policy that has {wanted}"
    return f"give {isolating[0]} a rule that allows it, such as {wanted}"


def to_deny(statements: Sequence[Statement], direction: Direction, *, enforced: bool) -> str:
    """What would refuse a flow that passes."""
    if not enforced:
        return f"no policy speaks about its {direction}: one that does would refuse what it does not allow"
    deciding = list(dict.fromkeys(each.source for each in statements if each.decides))
    if not deciding:
        return f"a rule that denies it, as no {direction} rule is needed for it to pass"
    places = " and ".join(f"{each.path} of {each.subject}" for each in deciding)
    return f"remove {places}, or deny it by a rule of the same tier"


def _missing(requirement: Requirement, peer: LabelSet) -> str:
    found = peer.lookup(requirement.key)
    said = "has no such label" if found is None else f"has {found!r}"
    if requirement.key.key == CLUSTER:
        return (
            f"its peers are those of cluster {', '.join(sorted(requirement.values))}; name "
            f"{CLUSTER}: {found} in the selector"
        )
    return f"it asks for {requirement}, and the other end {said}"


def _telling(peer: LabelSet) -> Iterable[Label]:
    """Labels that a person would choose by."""
    scope = {NAMESPACE, CLUSTER}
    own = [
        each
        for each in peer
        if each.source != GENERATED and not each.key.startswith(_HIDDEN) and each.key not in scope
    ]
    return [*own[:2], *(each for each in peer if each.key in scope)]

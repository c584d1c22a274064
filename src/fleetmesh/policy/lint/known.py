"""
What is known of a cluster when its policies are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import attrs

from fleetmesh.policy.judge import Options
from fleetmesh.policy.labels import CLUSTER, NAMESPACE, LabelSet, Network
from fleetmesh.policy.rule import Rule
from fleetmesh.policy.selectors import LabelSelector, Operator, Requirement
from fleetmesh.resources.model import PolicyObject

NO_CLUSTER = ""
"""Whose identities are of no cluster: the reserved ones, and those of addresses."""

_OF_PODS = ("Equals", "In", "Exists")
_OPPOSITES: Mapping[Operator, Operator] = {
    "Equals": "NotIn",
    "In": "NotIn",
    "NotIn": "In",
    "Exists": "DoesNotExist",
    "DoesNotExist": "Exists",
}


@attrs.frozen
class Known:
    """
    Whom selectors may select, and how the cluster is set.

    Attributes:
        cluster: The name of the one whose policies are looked at.
        heard: The others that it hears.
        members: All of the mesh.
        options: What its policies are resolved with.
        default_local: Whether peers that name no cluster are those of this one.
        non_default_deny: Whether `enableDefaultDeny: false` counts.
        policies: The policy objects that are in force.
        flipped: Its rules as they would be were `default_local` the other way.
        spread: Selector -> member, or `NO_CLUSTER` -> how many of its identities it selects.
        label_keys: The keys of all labels that pods that are heard of have.
        values: Key of a label -> the values that these pods have, sorted; most have few.
        left_out: The labels of pods, and their values, that identities do not have.
        on_nodes: The labels of pods that are on their nodes' networks.
        pod_ranges: (member, range) of the pods of all that it hears.
        node_ranges: Likewise of the nodes, and their addresses.
    """

    cluster: str
    heard: Sequence[str]
    members: Collection[str]
    options: Options
    default_local: bool
    non_default_deny: bool
    policies: Sequence[PolicyObject]
    flipped: Callable[[], Sequence[Rule]]
    spread: Callable[[LabelSelector], Mapping[str, int]]
    label_keys: Callable[[], Collection[str]]
    values: Callable[[str], Sequence[str]]
    left_out: Callable[[], Mapping[str, Collection[str]]]
    on_nodes: Callable[[], Sequence[LabelSet]]
    pod_ranges: Sequence[tuple[str, Network]]
    node_ranges: Sequence[tuple[str, Network]]

    @property
    def everywhere(self) -> Sequence[str]:
        """The cluster, and the others that it hears."""
        return (self.cluster, *self.heard)

    def is_somebody(self, selector: LabelSelector, clusters: Iterable[str] | None = None) -> bool:
        """Whether it selects any pod of these clusters; of all that are heard by default."""
        spread = self.spread(selector)
        return any(spread.get(name) for name in (self.everywhere if clusters is None else clusters))

    def now_within(self, one: LabelSelector, other: LabelSelector, *, own: bool) -> bool:
        """
        Whether whoever the one selects now the other selects too, of pods; somebody has to be.

        Args:
            own: Whether pods of other clusters don't count, as they are no subjects.
        """
        if not any(
            each.operator in _OF_PODS and each.key.key in {NAMESPACE, CLUSTER} for each in one.requirements
        ):
            return False
        clusters = [self.cluster] if own else [*self.spread(one)]
        if not self.is_somebody(one, clusters) or any(each.key.network for each in other.requirements):
            return False
        return not any(
            self.is_somebody(LabelSelector((*one.requirements, opposite(each))), clusters)
            for each in other.requirements
        )


def opposite(requirement: Requirement) -> Requirement:
    """What is true where it is not."""
    return Requirement(requirement.key, _OPPOSITES[requirement.operator], requirement.values)


def peers_of(rules: Iterable[Rule]) -> Iterator[tuple[Rule, LabelSelector]]:
    """Each selector of pods that a rule is about; `everybody` is none."""
    for rule in rules:
        for peer in rule.peers or ():
            if isinstance(peer, LabelSelector) and not peer.is_wildcard:
                yield rule, peer

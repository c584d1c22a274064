"""
Who can reach an end, and whom a pod can reach: asked for each kind of pod once, not for each pod.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from fleetmesh.mesh.deciding import Deciding
from fleetmesh.policy.decision import FlowVerdict, worst
from fleetmesh.policy.judge import Flow
from fleetmesh.policy.labels import LabelSet


@attrs.frozen
class Reach:
    """
    Pods of one cluster that policies don't tell apart.

    Attributes:
        cluster: The name of their member.
        identity: As the other end's cluster sees them; of pods that it does not hear that is the world.
        labels: Of that identity.
        pods: Ends, such as `east/shop/cart`, sorted.
        verdict: What becomes of a connection; `redirect` leaves requests to a proxy.
    """

    cluster: str
    identity: int
    labels: LabelSet
    pods: tuple[str, ...]
    verdict: FlowVerdict


@attrs.frozen
class Reachability:
    """
    Who can reach an end, or whom it can reach. `Mesh.decide` of any pair says why.

    Attributes:
        end: The end that was asked about.
        groups: All pods of the mesh but that one, in order of clusters and of their first pod.
    """

    end: str
    groups: tuple[Reach, ...]

    @property
    def allowed(self) -> tuple[str, ...]:
        """The pods whose connections are allowed or redirected, sorted."""
        return tuple(sorted(pod for each in self.groups if each.verdict != "deny" for pod in each.pods))

    @property
    def denied(self) -> tuple[str, ...]:
        """The pods whose connections are not, sorted."""
        return tuple(sorted(pod for each in self.groups if each.verdict == "deny" for pod in each.pods))

    def pairs(self) -> Iterator[tuple[str, FlowVerdict]]:
        """Each pod with its verdict."""
        for group in self.groups:
            for pod in group.pods:
                yield pod, group.verdict


def reachability(deciding: Deciding, end: str, flow: Flow, *, to: bool) -> Reachability:
    """
    Args:
        to: Whether the end is the destination.
    """
    deciding.check(end)
    groups = []
    for pods in deciding.kinds(end):
        first = min(pods)
        cluster = first.partition("/")[0]
        source, destination = (first, end) if to else (end, first)
        seen = deciding.seen(first, end)
        verdict = worst(
            [
                each
                for each in (
                    deciding.verdict(source, destination, flow, "egress"),
                    deciding.verdict(destination, source, flow, "ingress"),
                )
                if each is not None
            ]
        )
        groups.append(Reach(cluster, seen.number, seen.labels, tuple(sorted(pods)), verdict))
    order = list(deciding.view.members)
    groups.sort(key=lambda each: (order.index(each.cluster), each.pods[0]))
    return Reachability(end, tuple(groups))

"""
Who can reach an end, and whom an end can reach: asked for classes of pods, not for each pod.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import attrs

from fleetmesh.mesh.deciding import Deciding
from fleetmesh.mesh.population import Population
from fleetmesh.policy.decision import OUTCOMES, FlowVerdict
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


@attrs.frozen(eq=False)
class Reachability:
    """
    Who can reach an end, or whom it can reach. `Mesh.decide` of any pair says why.

    Attributes:
        end: The end that was asked about.
    """

    end: str
    _viewer: str | None
    _population: Population = attrs.field(repr=False)
    _class_of: tuple[int, ...] = attrs.field(repr=False)
    _outcomes: bytes = attrs.field(repr=False)

    @cached_property
    def groups(self) -> tuple[Reach, ...]:
        """All pods of the mesh but the end, in order of clusters and of their first pod."""
        found: dict[tuple[str, LabelSet, int, int], list[str]] = {}
        population = self._population
        for place, group in enumerate(population.groups):
            seen = population.seen(place, self._viewer or group.cluster)
            outcome = self._outcomes[self._class_of[place]]
            found.setdefault((group.cluster, group.labels, seen, outcome), []).extend(group.pods)
        groups = []
        for (cluster, _, seen, outcome), pods in found.items():
            others = tuple(sorted(pod for pod in pods if pod != self.end))
            if others:
                groups.append(Reach(cluster, seen, population.labels[seen], others, OUTCOMES[outcome]))
        return tuple(sorted(groups, key=lambda each: (population.places[each.cluster], each.pods[0])))

    @property
    def allowed(self) -> tuple[str, ...]:
        """The pods whose connections are allowed or redirected, sorted."""
        return self._with({"allow", "redirect"})

    @property
    def denied(self) -> tuple[str, ...]:
        """The pods whose connections are not, sorted."""
        return self._with({"deny"})

    def _with(self, verdicts: set[FlowVerdict]) -> tuple[str, ...]:
        wanted = [OUTCOMES[outcome] in verdicts for outcome in range(len(OUTCOMES))]
        chosen = [wanted[outcome] for outcome in self._outcomes]
        groups = zip(self._population.groups, self._class_of, strict=True)
        pods = (pod for group, of in groups if chosen[of] for pod in group.pods)
        return tuple(sorted(pod for pod in pods if pod != self.end))

    def pairs(self) -> Iterator[tuple[str, FlowVerdict]]:
        """Each pod with its verdict."""
        for group in self.groups:
            for pod in group.pods:
                yield pod, group.verdict


def reachability(deciding: Deciding, end: str, flow: Flow, *, to: bool) -> Reachability:
    """
    Args:
        to: Whether the end is the destination.

    Raises:
        NotFoundError: There is no such end; names the nearest.
        ValueError: It is written like none.
    """
    viewer = deciding.cluster_of(end)
    key = flow.protocol << 16 | flow.port
    judged = deciding.population()
    place = judged.population.group_of.get(end)
    if place is not None:
        outcomes = judged.everywhere.around(judged.class_of[place], to, key)
    else:
        eyes = zip(judged.population.eyes, judged.judges, strict=True)
        numbers = [deciding.peer(end, each.cluster, judge)[0].number for each, judge in eyes]
        judged = deciding.population(knowing=max(numbers, default=0))
        own = None if viewer is None else judged.population.places[viewer]
        policy = None if viewer is None else deciding.judged_by(deciding.view.members[viewer], None)[0]
        outcomes = judged.everywhere.around_end(numbers, own, policy, to, key)
    return Reachability(end, viewer, judged.population, judged.class_of, outcomes)

"""
The pods of a mesh in groups, with who takes them for whom: what the core works out reachability from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import attrs

from fleetmesh import _core
from fleetmesh.mesh.heard import unheard_labels
from fleetmesh.policy.judge import PolicyJudge
from fleetmesh.policy.labels import LabelSet
from fleetmesh.policy.registry import RESERVED

if TYPE_CHECKING:
    from fleetmesh.mesh.deciding import Deciding
    from fleetmesh.mesh.viewpoint import MemberView

Window: TypeAlias = tuple[int, int]
"""First and last protocol << 16 | port."""

EVERYTHING: Window = (0, (1 << 24) - 1)


@attrs.frozen
class PodGroup:
    """
    Pods of one cluster with the same labels, whose addresses tell them apart for nobody.

    Attributes:
        number: Of their identity, as their own cluster numbers it.
        labels: Of that identity.
        pods: Ends, such as `east/shop/cart`, sorted.
    """

    cluster: str
    number: int
    labels: LabelSet
    pods: tuple[str, ...]


@attrs.frozen
class Eyes:
    """
    Those of a cluster who see others by one judge.

    Attributes:
        cluster: The name of their member.
        looks: By place of a cluster: 0 where its groups are taken for who they are, else 1 + the place of a
            list of their numbers.
    """

    cluster: str
    looks: tuple[int, ...]


@attrs.frozen(eq=False)
class Population:
    """
    Attributes:
        clusters: Name -> id.
        groups: In order of clusters and of their first pod.
        eyes: The first ones are those of each cluster's judge, in order; behind them those of pods for which
            what was in force before stays.
        eyes_of: The place of the eyes that each group sees others with.
        looks: Numbers of the groups of one cluster each.
        labels: Number -> labels, of all those numbers.
    """

    clusters: Mapping[str, int]
    groups: tuple[PodGroup, ...]
    eyes: tuple[Eyes, ...]
    eyes_of: tuple[int, ...]
    looks: tuple[tuple[int, ...], ...]
    labels: Mapping[int, LabelSet]

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Of the clusters, by their names."""
        return {name: place for place, name in enumerate(self.clusters)}

    @cached_property
    def group_of(self) -> Mapping[str, int]:
        """Pod -> place of its group."""
        return {pod: place for place, group in enumerate(self.groups) for pod in group.pods}

    @cached_property
    def _within(self) -> tuple[int, ...]:
        """The place of each group among those of its cluster."""
        next_of = dict.fromkeys(self.clusters, -1)
        found = []
        for group in self.groups:
            next_of[group.cluster] += 1
            found.append(next_of[group.cluster])
        return tuple(found)

    def seen(self, group: int, viewer: str) -> int:
        """The number of whom the judge of a cluster takes a group for."""
        of = self.groups[group]
        look = self.eyes[self.places[viewer]].looks[self.places[of.cluster]]
        if look:
            return self.looks[look - 1][self._within[group]]
        on_node = of.number == RESERVED["host"] and viewer != of.cluster
        return RESERVED["remote-node"] if on_node else of.number


@attrs.frozen(eq=False)
class JudgedPopulation:
    """
    Attributes:
        judges: By place of the eyes.
        policies: What each group is judged by; `None` refuses everything.
        cluster_shift: Bits of an identity's number below its cluster's id.
        next_of_address: The first number that nobody had when this was made.
    """

    population: Population
    judges: tuple[PolicyJudge, ...]
    policies: tuple[_core.EndpointPolicy | None, ...]
    cluster_shift: int
    next_of_address: int

    def core(self, window: Window) -> _core.Reachability:
        """What is said at the ports of a window."""
        of = self.population
        return _core.Reachability(
            list(of.clusters.values()),
            cluster_shift=self.cluster_shift,
            groups=[
                (of.places[each.cluster], each.number, eyes, len(each.pods), policy)
                for each, eyes, policy in zip(of.groups, of.eyes_of, self.policies, strict=True)
            ],
            eyes=[(of.places[each.cluster], list(each.looks)) for each in of.eyes],
            looks=[list(each) for each in of.looks],
            window=window,
        )

    @cached_property
    def everywhere(self) -> _core.Reachability:
        """What is said at all ports."""
        return self.core(EVERYTHING)

    @cached_property
    def class_of(self) -> tuple[int, ...]:
        """The class of each group, where all ports count."""
        return tuple(self.everywhere.class_of())


def population_of(deciding: Deciding, counted: dict[str, Counted]) -> JudgedPopulation:
    """
    All pods of a mesh, as they are now.

    Args:
        counted: What was counted before; those members of it that are as they were are not counted again.
    """
    return _Census(deciding, counted).taken()


_Judged: TypeAlias = tuple[_core.EndpointPolicy | None, int]
"""What judges, and the place of the eyes."""


_Way: TypeAlias = tuple[bool, int, bool]
"""Whether they hear it, what they make of addresses, whether they are of the same cluster."""

_Counted: TypeAlias = tuple[LabelSet | None, PodGroup, tuple[int, ...]]
"""The labels that a group is judged by, the group, and its numbers in each way of seeing it."""


@attrs.frozen(eq=False)
class Counted:
    """The pods of a member in one state of it, where addresses tell nobody apart."""

    member: MemberView
    groups: list[_Counted]


@attrs.define(eq=False)
class _Census:
    """Counts the pods of a mesh."""

    deciding: Deciding
    counted: dict[str, Counted]
    members: list[MemberView] = attrs.field(init=False)
    main: list[PolicyJudge] = attrs.field(init=False)
    judges: list[tuple[int, PolicyJudge]] = attrs.field(init=False)
    told_by: list[int] = attrs.field(init=False)
    looks: dict[tuple[int, ...], int] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.members = list(self.deciding.view.members.values())
        self.main = [self.deciding.judge(each.name) for each in self.members]
        self.judges = list(enumerate(self.main))

    def taken(self) -> JudgedPopulation:
        view, registry = self.deciding.view, self.deciding.registry
        judged = [self._judged(place, member) for place, member in enumerate(self.members)]
        known: dict[object, int] = {}
        self.told_by = [known.setdefault(judge.addresses_told_by, len(known)) for _, judge in self.judges]
        groups: list[PodGroup] = []
        by: list[_Judged] = []
        looks_of: list[list[int]] = [[] for _ in self.judges]
        for place in range(len(self.members)):
            ways = self._ways(place)
            counted = self._groups(place, ways)
            groups += (group for _, group, _ in counted)
            by += (judged[place][labels] for labels, _, _ in counted)
            numbered = {
                way: self._look(tuple(numbers[at] for _, _, numbers in counted))
                for at, way in enumerate(dict.fromkeys(way for way in ways if way is not None))
            }
            for looks, way in zip(looks_of, ways, strict=True):
                looks.append(0 if way is None else numbered[way])
        eyes = (
            Eyes(self.members[place].name, tuple(looks))
            for (place, _), looks in zip(self.judges, looks_of, strict=True)
        )
        numbers = {each.number for each in groups}.union(RESERVED.values(), *self.looks)
        population = Population(
            {each.name: each.cluster_id for each in self.members},
            tuple(groups),
            tuple(eyes),
            tuple(place for _, place in by),
            tuple(self.looks),
            {each: self._labels(each) for each in numbers},
        )
        judges = tuple(judge for _, judge in self.judges)
        policies = tuple(policy for policy, _ in by)
        return JudgedPopulation(population, judges, policies, view.identity_bits, registry.next_of_address)

    def _judged(self, place: int, member: MemberView) -> dict[LabelSet | None, _Judged]:
        """By the labels of pods; `None`: those on a node's network."""
        found: dict[LabelSet | None, _Judged] = {}
        for labels in (*member._store.identities, None):
            policy, judge = self.deciding.judged_by(member, labels)
            at = place
            if judge is not self.main[place]:
                if (place, judge) not in self.judges:
                    self.judges.append((place, judge))
                at = self.judges.index((place, judge))
            found[labels] = (policy, at)
        return found

    def _ways(self, of: int) -> list[_Way | None]:
        """
        How each of the eyes sees the pods of a member: `None` as they are numbered; else equal for those
        who see the same, as they don't hear it or as their networks select pods.
        """
        view, name, own = self.deciding.view, self.members[of].name, self.main[of]
        found: list[_Way | None] = []
        for at, (place, judge) in enumerate(self.judges):
            if place != of and not view.hears(self.members[place].name, name):
                found.append((False, self.told_by[at], False))
                continue
            by = judge if view.strict or place == of else own
            alike = by is own or self.told_by[at] == self.told_by[of]
            selects = by.selects_by_address or own.selects_by_address
            found.append((True, self.told_by[at], place == of) if selects and not alike else None)
        return found

    def _groups(self, place: int, ways: list[_Way | None]) -> list[_Counted]:
        """Of one member, in order of their first pods."""
        member = self.members[place]
        viewers = [self.judges[ways.index(way)] for way in dict.fromkeys(ways) if way is not None]
        if viewers or self.main[place].selects_by_address:
            return self._told_apart(member, [(place, self.main[place]), *viewers])
        counted = self.counted.get(member.name)
        if counted is None or counted.member is not member:
            counted = self.counted[member.name] = Counted(member, self._told_apart(member, []))
        return counted.groups

    def _told_apart(self, member: MemberView, viewers: list[tuple[int, PolicyJudge]]) -> list[_Counted]:
        """By their labels, and by who they are to viewers, of whom the first is their own judge."""
        alike: dict[tuple[LabelSet | None, tuple[int, ...]], list[str]] = {}
        for namespace, pods in member._store.pods.items():
            labels_of = member._store.identity_of.group(namespace)
            for name in pods:
                pod = f"{member.name}/{namespace}/{name}"
                numbers = tuple(self._numbers(pod, viewers))
                alike.setdefault((labels_of.get(name), numbers), []).append(pod)
        found: list[_Counted] = []
        for (labels, numbers), names in alike.items():
            own, *others = numbers or (self.deciding.subject_of(member, labels).number,)
            group = PodGroup(member.name, own, self._labels(own), tuple(sorted(names)))
            found.append((labels, group, tuple(others)))
        return sorted(found, key=lambda each: each[1].pods)

    def _numbers(self, pod: str, viewers: list[tuple[int, PolicyJudge]]) -> Iterator[int]:
        for place, judge in viewers:
            yield self.deciding.peer(pod, self.members[place].name, judge)[0].number

    def _labels(self, number: int) -> LabelSet:
        """Nobody may have told those of a pod's identity."""
        found = self.deciding.registry.numbered(number)
        return unheard_labels(number) if found is None else found.labels

    def _look(self, numbers: tuple[int, ...]) -> int:
        """1 + its place among those that there are."""
        return 1 + self.looks.setdefault(numbers, len(self.looks))

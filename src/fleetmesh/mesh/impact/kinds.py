"""
The ends of two states of a mesh, those together that policies tell apart in neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import attrs

from fleetmesh.mesh.impact.ends import Ends
from fleetmesh.mesh.impact.steady import seen_labels
from fleetmesh.policy.labels import LabelSet
from fleetmesh.services.workloads import workload_name

if TYPE_CHECKING:
    from fleetmesh.mesh.impact.networks import Regions
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint
    from fleetmesh.resources.model import Pod

NOBODY = LabelSet(())


@attrs.frozen
class Like:
    """
    What policies may tell a pod by, in one state.

    Attributes:
        labels: Of its identity; `None` on its node's network, where it is the node.
        networks: Those that its addresses are in, where addresses matter.
    """

    labels: LabelSet | None
    networks: tuple[object, ...] = ()


@attrs.frozen(eq=False)
class Kind:
    """
    Attributes:
        before, after: What they are in each state; `None` where they are not there.
        viewer: Of a network and the world, whose policies tell it from others: the flows to and from the
            ends of that cluster are asked for. "" for the others.
    """

    ends: Ends
    before: Like | None
    after: Like | None
    viewer: str = ""

    @property
    def one(self) -> str:
        """An end that stands for all of them."""
        return self.ends.members[0]

    @property
    def moves(self) -> bool:
        """Whether they are in one state only."""
        return self.before is None or self.after is None

    @property
    def outside(self) -> bool:
        """Whether they are in no cluster."""
        return bool(self.viewer)

    @property
    def cluster(self) -> str:
        """The one whose policies judge flows of theirs, or tell them from others."""
        return self.viewer or self.ends.cluster


_Key: TypeAlias = tuple[str, str, Like | None, Like | None]
_ALWAYS = Like(NOBODY)


def kinds_of(before: Viewpoint, after: Viewpoint, regions: Regions) -> Iterator[Kind]:
    """All of them, by cluster: the node, pods, then what is outside of the mesh."""
    for name in dict.fromkeys([*before.members, *after.members]):
        sides = (before.members.get(name), after.members.get(name))
        ends = Ends("node", name, "", "", NOBODY, (f"host:{name}",))
        had, has = (None if side is None else Like(None) for side in sides)
        yield Kind(ends, had, has)
        yield from _pods(name, sides, regions)
        for region in regions.of(name):
            yield Kind(region, _ALWAYS, _ALWAYS, viewer=name)


def _pods(name: str, sides: Sequence[MemberView | None], regions: Regions) -> Iterator[Kind]:
    spaces = dict.fromkeys(space for side in sides if side is not None for space in side._store.pods)
    for space in spaces:
        groups = [{} if side is None else side._store.pods.group(space) for side in sides]
        labels = [{} if side is None else side._store.identity_of.group(space) for side in sides]
        found: dict[_Key, list[str]] = {}
        for pod in dict.fromkeys(pod for group in groups for pod in group):
            each = [group.get(pod) for group in groups]
            likes = [
                None if one is None or side is None else _like(side, one, known.get(pod), regions)
                for side, one, known in zip(sides, each, labels, strict=True)
            ]
            named = each[1] or each[0]
            assert named is not None, "it is in one of the groups"
            found.setdefault((workload_name(named), space, likes[0], likes[1]), []).append(pod)
        for (workload, _, had, has), pods in found.items():
            yield Kind(_ends(name, space, workload, pods, (has or had)), had, has)


def _like(member: MemberView, pod: Pod, labels: LabelSet | None, regions: Regions) -> Like:
    seen = None if labels is None else seen_labels(member, labels)
    return Like(seen, regions.around(pod))


def _ends(cluster: str, space: str, workload: str, pods: Iterable[str], like: Like | None) -> Ends:
    names = sorted(pods)
    labels = NOBODY if like is None or like.labels is None else like.labels
    called = workload or (names[0] if len(names) == 1 else "")
    return Ends("pods", cluster, space, called, labels, tuple(f"{cluster}/{space}/{name}" for name in names))

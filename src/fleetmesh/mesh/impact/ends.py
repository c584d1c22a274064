"""
Ends that go together, and what to call them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import attrs

from fleetmesh.policy.labels import LabelSet

EndKind: TypeAlias = Literal["pods", "node", "world", "network"]

_MOST = 3
_MOST_GROUPS = 2


@attrs.frozen
class Ends:
    """
    Ends of one kind, which policies tell apart in neither state.

    Attributes:
        kind: Pods; the node of a cluster; the world, which is all addresses of a family that no policy names;
            or a network that a policy names, without narrower ones that it names too.
        cluster: Of pods and nodes, "" for the others.
        namespace: Of pods, "" for the others.
        name: Of pods their workload, or the name of the only one, "" where they have none in common; of a
            network itself; `world-ipv4`, `world-ipv6` or `world`.
        labels: Of the identity of pods, in the state after if they are there; empty for the others.
        members: What `Mesh.decide` takes, sorted: each pod; of a network and the world one that stands for
            all.
    """

    kind: EndKind
    cluster: str
    namespace: str
    name: str
    labels: LabelSet = attrs.field(repr=False)
    members: tuple[str, ...]

    @property
    def place(self) -> str:
        """What it is without its cluster, such as `shop/cart`."""
        if self.kind == "pods":
            return f"{self.namespace}/{self.name or self.members[0].rpartition('/')[2]}"
        return {
            "world-ipv4": "the world of IPv4",
            "world-ipv6": "the world of IPv6",
            "world": "the world",
        }.get(self.name, self.name)

    def __str__(self) -> str:
        return ends_in_words((self,))


def cluster_of(end: str) -> str:
    """That of a pod or node, as `Mesh.decide` takes it."""
    return end.partition("/")[0].removeprefix("host:")


def ends_in_words(ends: Sequence[Ends]) -> str:
    """Such as `shop/cart in east, west; the node of north; the world`; of many the first."""
    return "; ".join((*_pods(ends), *_nodes(ends), *_outside(ends)))


def _pods(ends: Sequence[Ends]) -> Iterator[str]:
    clusters: dict[str, list[str]] = {}
    for each in ends:
        if each.kind == "pods" and each.cluster not in clusters.setdefault(each.place, []):
            clusters[each.place].append(each.cluster)
    groups: dict[tuple[str, ...], list[str]] = {}
    for place, names in clusters.items():
        groups.setdefault(tuple(names), []).append(place)
    if len(groups) > _MOST_GROUPS:
        everywhere = tuple(dict.fromkeys(name for found in groups for name in found))
        groups = {everywhere: list(clusters)}
    for found, places in groups.items():
        yield f"{_few(places, 'kinds of pods')} in {_few(found, 'clusters')}"


def _nodes(ends: Sequence[Ends]) -> Iterator[str]:
    names = [each.cluster for each in ends if each.kind == "node"]
    if names:
        yield f"the node{'s' if len(names) > 1 else ''} of {_few(names, 'clusters')}"


def _outside(ends: Sequence[Ends]) -> Iterator[str]:
    names = [each.place for each in ends if each.kind in ("world", "network")]
    families = ["the world of IPv4", "the world of IPv6"]
    if set(families) <= set(names):
        names = ["the world", *(each for each in names if each not in families)]
    if names:
        yield _few(list(dict.fromkeys(names)), "networks")


def _few(names: Sequence[str], many: str) -> str:
    if len(names) > _MOST + 1:
        return f"{', '.join(names[:_MOST])} and {len(names) - _MOST} more {many}"
    return ", ".join(names)

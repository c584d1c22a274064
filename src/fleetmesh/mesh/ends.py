"""
Ends of flows: the pods of a mesh, one for all that policies can't tell apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from fleetmesh.policy.labels import LabelSet
from fleetmesh.policy.selectors import LabelSelector

if TYPE_CHECKING:
    from fleetmesh.mesh.viewpoint import Viewpoint

_NOBODY: Sequence[LabelSet] = ()


@attrs.define(eq=False)
class Ends:
    """
    The pods of a mesh, one of each kind: those of a cluster with the same labels.
    """

    view: Viewpoint
    _ends: dict[str, dict[LabelSet, str]] = attrs.field(factory=dict, init=False)
    _values: dict[str, Mapping[str, Collection[str]]] = attrs.field(factory=dict, init=False)
    _by_label: dict[str, dict[tuple[str, str], list[LabelSet]]] = attrs.field(factory=dict, init=False)

    def of(self, cluster: str) -> dict[LabelSet, str]:
        """The labels of an identity -> a pod that has it, as an end."""
        if cluster not in self._ends:
            found: dict[LabelSet, str] = {}
            for namespace, pods in self.view.members[cluster]._store.identity_of.items():
                for name, labels in pods.items():
                    found.setdefault(labels, f"{cluster}/{namespace}/{name}")
            self._ends[cluster] = found
            index = self._by_label.setdefault(cluster, {})
            for labels in found:
                for each in labels:
                    index.setdefault((each.key, each.value), []).append(labels)
        return self._ends[cluster]

    def values(self, cluster: str) -> Mapping[str, Collection[str]]:
        """Key of a label -> the values that pods of a cluster have."""
        if cluster not in self._values:
            found: dict[str, set[str]] = {}
            for labels in self.view.members[cluster]._store.identities:
                for each in labels:
                    found.setdefault(each.key, set()).add(each.value)
            self._values[cluster] = found
        return self._values[cluster]

    def selected(self, cluster: str, selector: LabelSelector) -> Iterator[tuple[LabelSet, str]]:
        """The kinds of a cluster that a selector selects, each with a pod."""
        ends = self.of(cluster)
        index = self._by_label[cluster]
        few: Collection[LabelSet] = ends
        for each in selector.requirements:
            if each.operator in {"Equals", "In"}:
                having = [index.get((each.key.key, value), _NOBODY) for value in each.values]
                if sum(map(len, having)) < len(few):
                    few = [labels for found in having for labels in found]
        return ((labels, ends[labels]) for labels in few if selector.matches(labels))

"""
What a transaction has touched of a member and has to be worked out at its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from fleetmesh.resources.model import Pod

if TYPE_CHECKING:
    from fleetmesh.mesh.store import Key, Name, Store
    from fleetmesh.policy.labels import LabelSet


@attrs.define
class Dirty:
    """
    Attributes:
        nodes: Whether nodes came, changed or went, or lost their addresses.
        workloads: Workloads to expand anew.
        claimed: Pods of which Cilium's objects say something else than before.
        declared_pods: Declared pods that came, changed (both versions) or went.
        pods: Pods that have to be given an address anew.
        readdressed: Services that have to be given a cluster IP anew.
        slices: Services whose derived slices have to be worked out.
        exported: Names whose ServiceExport, Service or slices changed.
        namespaces: Namespaces that came, changed or went.
        running_pods: Pods that came, changed or went, workloads' too.
        heard_addresses: Whose records came, changed or went.
        identified: Pods that are of another identity than before.
        relabelled: Numbers whose labels CiliumIdentities told, changed or took away.
        renumbered: Labels of which CiliumIdentities told or took away a number.
        unnumbered: Labels of identities, as texts, that lost their number to a declared one.
        hosts: The names of Nodes that came, changed or went.
        policy_objects: Policies and groups of networks that came, changed or went.
        moved_policies: Those that were read elsewhere, and are what they were.
        policies: Whether policies, or the sets of labels that pods have, came, changed or went.
    """

    nodes: bool = False
    workloads: set[Key] = attrs.field(factory=set)
    claimed: set[Name] = attrs.field(factory=set)
    declared_pods: list[Pod] = attrs.field(factory=list)
    pods: set[Name] = attrs.field(factory=set)
    readdressed: set[Name] = attrs.field(factory=set)
    slices: set[Name] = attrs.field(factory=set)
    exported: set[Name] = attrs.field(factory=set)
    namespaces: set[str] = attrs.field(factory=set)
    running_pods: set[Name] = attrs.field(factory=set)
    heard_addresses: set[str] = attrs.field(factory=set)
    identified: set[Name] = attrs.field(factory=set)
    relabelled: set[int] = attrs.field(factory=set)
    renumbered: set[LabelSet] = attrs.field(factory=set)
    unnumbered: set[str] = attrs.field(factory=set)
    hosts: set[str] = attrs.field(factory=set)
    policy_objects: set[Key] = attrs.field(factory=set)
    moved_policies: set[Key] = attrs.field(factory=set)
    policies: bool = False

    def everything(self, store: Store) -> None:
        """Mark all that a member has."""
        self.nodes = self.policies = True
        self.workloads.update(each.key for found in store.workloads.values() for each in found.values())
        self.declared_pods.extend(pod for found in store.declared_pods.values() for pod in found.values())
        self.claimed.update((space, pod) for space, found in store.claims.items() for pod in found)
        self.slices.update((space, name) for space, found in store.services.items() for name in found)
        self.readdressed.update(self.slices)
        self.exported.update(store.exports)
        self.namespaces.update(store.namespaces, store.used_namespaces)

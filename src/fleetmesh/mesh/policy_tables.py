"""
What the nodes of one cluster decide with about policy, as its data paths take it.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING

import attrs

from fleetmesh import _core

if TYPE_CHECKING:
    from fleetmesh.mesh.deciding import Deciding
    from fleetmesh.mesh.viewpoint import Viewpoint
    from fleetmesh.policy.judge import PolicyJudge

Prefix = tuple[str, int, int]
"""An address, the length of the prefix, and a cluster id or the number of an identity."""


@attrs.define(eq=False)
class ClusterTables:
    """
    Of one member, brought up to date when they are asked for: what did not change is what it was.
    """

    _deciding: Deciding
    _cluster: str
    _maker: _core.PolicyTablesMaker = attrs.field(init=False)
    _made: _core.PolicyTables | None = attrs.field(default=None, init=False)
    _revision: int = attrs.field(default=-1, init=False)
    _endpoints: dict[int, _core.EndpointPolicy] = attrs.field(factory=dict, init=False)
    _located: tuple[object, object, object] = attrs.field(default=(None, None, None), init=False)

    def __attrs_post_init__(self) -> None:
        view = self._deciding.view
        cluster_id = view.members[self._cluster].cluster_id
        self._maker = _core.PolicyTablesMaker(cluster_id, view.identity_bits)

    def newest(self) -> _core.PolicyTables:
        """The same object as long as nothing has changed that policies are about."""
        self._deciding.meet_all()
        if self._made is None or self._revision != self._deciding.revision:
            judge = self._deciding.judge(self._cluster)
            self._locate(judge)
            self._set_endpoints()
            self._set_own()
            self._made = self._maker.make(self._deciding.whereabouts.book)
            self._revision = self._deciding.revision
        return self._made

    def _locate(self, judge: PolicyJudge) -> None:
        heard = self._deciding.heard_by(self._cluster)
        ranges = [(each.cluster_id, each.ranges) for each in self._deciding.view.members.values()]
        world = judge.networks_of_the_world()
        if self._located[:2] == (heard, ranges) and self._located[2] is world:
            return
        known = frozenset(heard)
        clusters = [each for each in prefixes_of(self._deciding.view) if each[2] in known]
        identities = [(str(each.network_address), each.prefixlen, whom.number) for each, whom in world]
        self._maker.hear(heard)
        self._maker.locate(clusters, identities)
        self._located = (heard, ranges, world)

    def _set_endpoints(self) -> None:
        wanted = dict(self._subjects())
        for number, policy in wanted.items():
            if self._endpoints.get(number) is not policy:
                self._maker.set_endpoint(number, policy)
                self._endpoints[number] = policy
        for number in self._endpoints.keys() - wanted.keys():
            self._maker.remove_endpoint(number)
            del self._endpoints[number]

    def _subjects(self) -> Iterator[tuple[int, _core.EndpointPolicy]]:
        """Whom the cluster's policies are about: the identities of its pods, and its nodes."""
        deciding, member = self._deciding, self._deciding.view.members[self._cluster]
        host, on_host = deciding.subject(f"host:{self._cluster}")
        yield host.number, deciding.policy_of(self._cluster, host, on_host=on_host)
        for labels in member._store.identities:
            subject = deciding.identity(member, labels)
            yield subject.number, deciding.policy_of(self._cluster, subject)

    def _set_own(self) -> None:
        """Addresses of which the book does not say what this cluster takes them for."""
        deciding = self._deciding
        self._maker.forget_own()
        for address in deciding.whereabouts.contested:
            pod = next(deciding.heard_pods_at(ip_address(address), self._cluster), None)
            if pod is not None:
                cluster_id = deciding.view.members[pod.cluster].cluster_id
                self._maker.set_own(address, pod.identity.number, cluster_id)
        for pod, identity in deciding.told_by_address(self._cluster):
            cluster_id = deciding.view.members[pod.cluster].cluster_id
            for text in pod.texts:
                self._maker.set_own(text, identity.number, cluster_id)
            if pod.cluster == self._cluster:
                policy = self._endpoints[pod.identity.number]
                self._endpoints[identity.number] = policy
                self._maker.set_endpoint(identity.number, policy)


def prefixes_of(view: Viewpoint) -> Iterator[Prefix]:
    """Where pods and nodes of all members are."""
    for member in view.members.values():
        for cidr in (*member.ranges.pod_cidrs, *member.ranges.node_cidrs):
            address, _, length = cidr.partition("/")
            yield address, int(length), member.cluster_id

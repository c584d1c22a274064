"""
What a cluster's policies are looked at with, to find those that don't say what they seem to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from fleetmesh.findings import Finding
from fleetmesh.identity_labels import is_identity_relevant
from fleetmesh.mesh.asymmetry import asymmetries
from fleetmesh.mesh.ends import Ends
from fleetmesh.mesh.policies import ReadPolicies, options_of, read_policies
from fleetmesh.policy.labels import LabelSet, Network, pod_labels
from fleetmesh.policy.lint import Known, lint
from fleetmesh.policy.lint.known import NO_CLUSTER
from fleetmesh.policy.quirks import policy_quirks, unmatched_services
from fleetmesh.policy.selectors import LabelSelector

if TYPE_CHECKING:
    from fleetmesh.mesh.deciding import Deciding
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint
    from fleetmesh.resources.model import Pod


def policy_findings(
    view: Viewpoint, member: MemberView, read: ReadPolicies, deciding: Deciding | None, ends: Ends
) -> Iterator[Finding]:
    """
    About the policies of one member that are in force.

    Args:
        deciding: What decides in the mesh; may be left out where no member has policies.
        ends: The kinds of pods of the mesh, for all members alike.
    """
    yield from unmatched_services(read.rules)
    if not view.strict:
        yield from policy_quirks(read.rules, _pod_ranges(view, member))
    if read.rules and deciding is not None:
        yield from lint(read.rules, known_of(view, member, read, deciding, ends))
        yield from asymmetries(view, member, read.rules, deciding, ends)


def known_of(
    view: Viewpoint, member: MemberView, read: ReadPolicies, deciding: Deciding, ends: Ends
) -> Known:
    """What is known of a member."""
    heard = [name for name in view.members if name != member.name and view.hears(member.name, name)]
    everywhere = (member.name, *heard)
    refused = {id(policy) for policy, _ in read.refused}

    @cache
    def spread(selector: LabelSelector) -> Mapping[str, int]:
        found = deciding.spread(member.name, selector)
        return {view.names[number] if number else NO_CLUSTER: count for number, count in found.items()}

    @cache
    def values(key: str) -> Sequence[str]:
        return sorted({value for name in everywhere for value in ends.values(name).get(key, ())})

    @cache
    def left_out() -> Mapping[str, set[str]]:
        found: dict[str, set[str]] = {}
        for pod in _pods(view, everywhere):
            for key, value in pod.template.labels.items():
                if not is_identity_relevant(key):
                    found.setdefault(key, set()).add(value)
        return found

    @cache
    def on_nodes() -> Sequence[LabelSet]:
        return tuple(
            {
                pod_labels(pod.template, pod.namespace, {}, name)
                for name in everywhere
                for pod in _pods(view, [name])
                if pod.template.host_network
            }
        )

    return Known(
        cluster=member.name,
        heard=heard,
        members=tuple(view.members),
        options=options_of(view, member),
        default_local=member.settings.policy_default_local_cluster,
        non_default_deny=not member.settings.disable_non_default_deny,
        policies=[each for each in member._store.policies.values() if id(each) not in refused],
        flipped=lambda: read_policies(view, member, flipped=True).rules,
        spread=spread,
        label_keys=lambda: {key for name in everywhere for key in ends.values(name)},
        values=values,
        left_out=left_out,
        on_nodes=on_nodes,
        pod_ranges=_pod_ranges(view, member),
        node_ranges=_node_ranges(view, member),
    )


def _pods(view: Viewpoint, names: Sequence[str]) -> Iterator[Pod]:
    for name in names:
        for pods in view.members[name]._store.pods.values():
            yield from pods.values()


def _heard(view: Viewpoint, member: MemberView) -> Iterator[MemberView]:
    """Itself too."""
    for other in view.members.values():
        if other.name == member.name or view.hears(member.name, other.name):
            yield other


def _pod_ranges(view: Viewpoint, member: MemberView) -> list[tuple[str, Network]]:
    """Where those that the member hears have their pods; nothing where networks select them."""
    if "pods" in member.settings.policy_cidr_match_mode:
        return []
    return [
        (other.name, ip_network(cidr, strict=False))
        for other in _heard(view, member)
        for cidr in other.ranges.pod_cidrs
    ]


def _node_ranges(view: Viewpoint, member: MemberView) -> list[tuple[str, Network]]:
    """Likewise of nodes: the ranges that were declared, and the addresses of those that there are."""
    if "nodes" in member.settings.policy_cidr_match_mode:
        return []
    found: list[tuple[str, Network]] = []
    for other in _heard(view, member):
        found += ((other.name, ip_network(cidr, strict=False)) for cidr in other.declared.node_cidrs)
        for node in other._store.nodes.values():
            for kind, text in node.addresses:
                if kind in {"InternalIP", "ExternalIP"}:
                    address = _address(text)
                    found += [] if address is None else [(other.name, address)]
    return found


def _address(text: str) -> Network | None:
    """Of what may be none."""
    try:
        return ip_network(ip_address(text))
    except ValueError:
        return None

"""
Cilium's own objects of a member, CiliumNodes, CiliumIdentities and CiliumEndpoints: what they say of nodes,
identities and pods stands in the place of what would have been worked out, in the mesh and in what is
published (Cilium clustermesh-apiserver/clustermesh/converters.go).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, cast

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.mesh.facts import namespace_global
from fleetmesh.mesh.heard import is_unheard, reserved_labels, unheard_labels
from fleetmesh.mesh.sending import declare, lose
from fleetmesh.policy.labels import K8S, NAMESPACE, Label, LabelKey, LabelSet
from fleetmesh.policy.registry import FIRST_OF_PODS, RESERVED
from fleetmesh.records import IpRecord, NodeRecord, node_record
from fleetmesh.resources.model import (
    CiliumEndpoint,
    CiliumEndpointSlice,
    CiliumIdentity,
    CiliumNode,
    ContainerPort,
    Node,
    Pod,
    PodEndpoint,
    PodTemplate,
    Protocol,
)
from fleetmesh.services.frontends import canonical

if TYPE_CHECKING:
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Name, Store
    from fleetmesh.mesh.viewpoint import MemberView

Claim: TypeAlias = tuple[tuple[int, str], PodEndpoint]
"""
What an object says of a pod: slices come before CiliumEndpoints, as Cilium reads only slices where it is to
use them, and among each other by name, as after a restart.
"""

_OF_ENDPOINT = (1, "")
_PROTOCOLS = frozenset({"TCP", "UDP", "SCTP"})
_NAMESPACE = LabelKey(K8S, NAMESPACE)
_NUMBER_OF_RESERVED: Mapping[LabelSet, int] = MappingProxyType(
    {reserved_labels(number): number for number in RESERVED.values()}
)


# In a transaction


def take(
    change: Change,
    member: Member,
    said: CiliumIdentity | CiliumEndpoint | CiliumEndpointSlice,
    *,
    present: bool,
) -> None:
    """One of the objects comes, changes or goes."""
    if isinstance(said, CiliumIdentity):
        _identity(change, member, said, present=present)
    elif isinstance(said, CiliumEndpoint):
        claims = {(said.namespace, said.name): said.endpoint} if present else {}
        _claims(change, member, said, _OF_ENDPOINT, claims)
    else:
        claims = {}
        if present and said.pod_namespace:
            claims = {(said.pod_namespace, each.pod): each for each in said.endpoints}
        _claims(change, member, said, (0, said.name), claims)


def _identity(change: Change, member: Member, said: CiliumIdentity, *, present: bool) -> None:
    """One without labels is none, as to Cilium."""
    store, number = change.store(member), said.number
    own = _own_number(change, member, number)
    topic = ("identity", said.key)
    change.trouble(member, topic, _foreign(member, said) if present and own is None else None)
    old = store.cilium_identities.get(number)
    new = _security_labels(said) if present and said.security_labels else None
    if old == new:
        return
    dirty = change.touch(member)
    dirty.relabelled.add(number)
    if old is not None:
        store.numbers_of.pop(old, number)
        store.cilium_identities.pop(number)
        dirty.renumbered.add(old)
        _withdraw_number(change, member, own)
    if new is not None:
        store.numbers_of.put(new, number, None)
        store.cilium_identities[number] = new
        dirty.renumbered.add(new)
        _declare_number(change, member, own)


def say_again(change: Change, member: Member) -> None:
    """Which addresses and numbers are taken, for a member that joins."""
    store = change.store(member)
    for endpoint in _claimed(store):
        declare(change, member, "pod", endpoint.addresses)
        _declare_number(change, member, _own_number(change, member, endpoint.identity))
    for number in list(store.cilium_identities):
        _declare_number(change, member, _own_number(change, member, number))


def take_back(change: Change, member: Member) -> None:
    """The opposite, for one that leaves."""
    for endpoint in _claimed(member._store):
        change.allocations.withdraw(member.name, "pod", endpoint.addresses)
        _withdraw_number(change, member, _own_number(change, member, endpoint.identity))
    for number in member._store.cilium_identities:
        _withdraw_number(change, member, _own_number(change, member, number))


def _claimed(store: Store) -> Iterator[PodEndpoint]:
    return (claims[0][1] for pods in store.claims.values() for claims in pods.values())


def _claims(
    change: Change,
    member: Member,
    said: CiliumEndpoint | CiliumEndpointSlice,
    claimant: tuple[int, str],
    new: Mapping[Name, PodEndpoint],
) -> None:
    """What an object says of pods now; of those of which it said something before, nothing any more."""
    store = change.store(member)
    old = store.claimed_by.get(said.key, ())
    for name in dict.fromkeys((*old, *new)):
        _claim(change, member, name, claimant, new.get(name))
    store.claimed_by.keep(said.key, tuple(new), present=bool(new))


def _claim(
    change: Change, member: Member, name: Name, claimant: tuple[int, str], endpoint: PodEndpoint | None
) -> None:
    store, dirty = change.store(member), change.touch(member)
    before = claim_of(store, name)
    others = [each for each in store.claims.group(name[0]).get(name[1], ()) if each[0] != claimant]
    claims = sorted([*others, (claimant, endpoint)] if endpoint is not None else others, key=_place)
    if claims:
        store.claims.put(*name, tuple(claims))
    else:
        store.claims.pop(*name)
    after = claim_of(store, name)
    if before == after:
        return
    dirty.claimed.add(name)
    if before is not None:
        change.allocations.withdraw(member.name, "pod", before.addresses)
        _withdraw_number(change, member, _own_number(change, member, before.identity))
    if after is not None:
        declare(change, member, "pod", after.addresses)
        _declare_number(change, member, _own_number(change, member, after.identity))


def _place(claim: Claim) -> tuple[int, str]:
    return claim[0]


def _declare_number(change: Change, member: Member, number: int | None) -> None:
    if number is not None:
        lose(change, change.allocations.declare_identity(member.name, number))


def _withdraw_number(change: Change, member: Member, number: int | None) -> None:
    if number is not None:
        change.allocations.withdraw_identity(member.name, number)


def _own_number(change: Change, member: Member, number: int) -> int | None:
    """The number within the cluster, of one that is of the member's range; else `None`."""
    within = number & ((1 << change.identity_bits) - 1)
    own = number >> change.identity_bits == member.cluster_id and within >= FIRST_OF_PODS
    return within if own else None


# What follows of it in the mesh


def claim_of(store: Store, name: Name) -> PodEndpoint | None:
    """What Cilium says of a pod, by namespace and name."""
    claims = store.claims.group(name[0]).get(name[1])
    return None if claims is None else claims[0][1]


def labels_of(store: Store, number: int) -> LabelSet:
    """What the identity of a number is known by."""
    if number < FIRST_OF_PODS:
        return reserved_labels(number)
    return store.cilium_identities.get(number) or unheard_labels(number)


def given_number(change: Change, member: Member, labels: LabelSet) -> tuple[int, bool] | None:
    """
    The number that labels are given, and whether it is one that all clusters have; else within the cluster.
    `None` where none of the member's range is. Of several the lowest, as any of them will do.
    """
    if labels in _NUMBER_OF_RESERVED:
        return _NUMBER_OF_RESERVED[labels], True
    if is_unheard(labels):
        numbers: Collection[int] = [int(labels.labels[0].key)]
        if min(numbers) < FIRST_OF_PODS:
            return min(numbers), True
    else:
        numbers = change.store(member).numbers_of.group(labels)
    within = [own for each in numbers if (own := _own_number(change, member, each)) is not None]
    return (min(within), False) if within else None


def relabelled(store: Store, numbers: Collection[int]) -> Iterator[Name]:
    """The pods whose identity has one of these numbers."""
    for namespace, pods in store.claims.items() if numbers else ():
        for pod, claims in pods.items():
            if claims[0][1].identity in numbers:
                yield (namespace, pod)


def as_claimed(store: Store, pod: Pod) -> Pod:
    """A pod with the addresses that Cilium knows of it, if it knows any."""
    claim = claim_of(store, (pod.namespace, pod.name))
    addresses = () if claim is None else _valid(claim.addresses)
    if claim is None or not addresses or pod.template.host_network:
        return pod
    return attrs.evolve(pod, addresses=addresses, host_address=claim.host_address or pod.host_address)


def stand_in(store: Store, name: Name) -> Pod | None:
    """A pod that no manifest has, but Cilium knows with an address."""
    claim = claim_of(store, name)
    addresses = () if claim is None else _valid(claim.addresses)
    if claim is None or not addresses:
        return None
    ports = (
        ContainerPort(name=port, container_port=number, protocol=cast("Protocol", protocol))
        for port, number, protocol in claim.named_ports
        if protocol in _PROTOCOLS and number
    )
    account = claim.service_account or "default"
    return Pod(
        namespace=name[0],
        name=name[1],
        template=PodTemplate(service_account=account, ports=tuple(ports)),
        addresses=addresses,
        host_address=claim.host_address,
    )


def stand_in_node(store: Store, name: str) -> Node | None:
    """A node that no manifest has, but Cilium."""
    node = store.cilium_nodes.get(name)
    return None if node is None else _as_node(node)


def _as_node(node: CiliumNode) -> Node:
    return Node(
        name=node.name,
        labels=node.labels,
        annotations=node.annotations,
        addresses=node.addresses,
        pod_cidrs=node.pod_cidrs,
        origin=node.origin,
    )


def _valid(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text for each in addresses if (text := _address(each)))


def _address(text: str) -> str:
    """As Go's net.IP prints it: an IPv4 address within IPv6 is the IPv4 address. "" for what is none."""
    found = canonical(text) or ""
    return found.removeprefix("::ffff:") if "." in found else found


# What others hear of it


def node_records(member: MemberView) -> Iterator[NodeRecord]:
    """Of every CiliumNode (Cilium pkg/k8s/node.go, `ParseCiliumNode`)."""
    for name in sorted(member._store.cilium_nodes):
        node = member._store.cilium_nodes[name]
        (health4, health6), (ingress4, ingress6) = (
            [_address(text) for text in pair] for pair in (node.health_addresses, node.ingress_addresses)
        )
        yield attrs.evolve(
            node_record(member.name, member.cluster_id, _as_node(node)),
            ipv4_health_ip=health4,
            ipv6_health_ip=health6,
            ipv4_ingress_ip=ingress4,
            ipv6_ingress_ip=ingress6,
            encryption_key=node.encryption_key,
            boot_id=node.boot_id,
        )


def published_identities(member: MemberView) -> Iterator[tuple[int, LabelSet]]:
    """CiliumIdentities of which others hear."""
    for number in sorted(member._store.cilium_identities):
        labels = published_identity(member, number)
        if labels is not None:
            yield number, labels


def published_identity(member: MemberView, number: int) -> LabelSet | None:
    """
    The labels of a CiliumIdentity of a namespace that is global; one of no namespace is passed over, as by
    Cilium.
    """
    labels = None if member.drained else member._store.cilium_identities.get(number)
    namespace = "" if labels is None else labels.lookup(_NAMESPACE)
    return labels if namespace and namespace_global(member, namespace) else None


def claimed_ips(member: MemberView, name: Name, claim: PodEndpoint) -> Iterator[IpRecord]:
    """Of each address of a pod that Cilium knows, as it says; the namespace gate is not looked at here."""
    for address in _valid(claim.addresses):
        yield IpRecord(
            cluster=member.name,
            cluster_id=member.cluster_id,
            address=address,
            host=_address(claim.host_address),
            identity=claim.identity,
            namespace=name[0],
            pod=name[1],
            service_account=claim.service_account,
            encryption_key=claim.encryption_key,
            named_ports=claim.named_ports,
        )


def _security_labels(identity: CiliumIdentity) -> LabelSet:
    """Its labels (Cilium pkg/labels, `NewLabel`)."""
    return LabelSet.of(_label(key, value) for key, value in identity.security_labels.items())


def _label(key: str, value: str) -> Label:
    if key.startswith("$"):
        return Label("reserved", key[1:], value)
    source, colon, rest = key.partition(":")
    if not colon:
        return Label("unspec", key, value)
    if source == "reserved" and not rest:
        return Label(source, value, "")
    return Label(source or "unspec", rest, value)


def _foreign(member: Member, identity: CiliumIdentity) -> Finding:
    return finding(
        "identity-of-other-cluster",
        identity.subject,
        f"its number is none of cluster {member.cluster_id} ({member.name}): other clusters refuse it",
        where=identity.origin,
    )

"""
Who may reach whom in a mesh: each end judges by the policies of its own cluster.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any
from weakref import ref

import attrs

from fleetmesh.errors import NotFoundError
from fleetmesh.findings import Finding, finding
from fleetmesh.policy import KINDS, Reading, Refused, Rule, read_policy
from fleetmesh.policy.decision import Decision, End, Side, worst
from fleetmesh.policy.judge import RESERVED, Conflict, Flow, Identity, Options, PolicyJudge
from fleetmesh.policy.labels import K8S, Label, LabelSet, Network, named_ports, pod_labels, reserved
from fleetmesh.policy.matching import Request
from fleetmesh.policy.rule import PROTOCOL_NUMBERS, Direction
from fleetmesh.policy.selectors import group_labels
from fleetmesh.resources.model import Pod, PolicyObject
from fleetmesh.services.global_service import Backend

if TYPE_CHECKING:
    from fleetmesh.mesh.mesh import Mesh
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint

Address = IPv4Address | IPv6Address

PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP", "ICMPv6")
_FIRST_IDENTITY = 256
IDENTITY_SHIFT = 16
"""Bits of an identity's number below its cluster's id; in a mesh of 511 members one less."""


@attrs.define
class LearntNames(MutableMapping[str, list[str]]):
    """
    What names have resolved to, as FQDN rules have learnt it: name -> addresses.

    Raises ValueError if something is set that is no list of addresses.
    """

    version: int = attrs.field(default=0, init=False)
    _names: dict[str, list[str]] = attrs.field(factory=dict)

    def __getitem__(self, name: str) -> list[str]:
        return list(self._names[name])

    def __setitem__(self, name: str, addresses: Iterable[str]) -> None:
        if isinstance(addresses, str):
            raise ValueError(f"addresses of {name!r} are a string; expected a list of addresses")
        self._names[name] = [str(ip_address(each)) for each in addresses]
        self.version += 1

    def __delitem__(self, name: str) -> None:
        del self._names[name]
        self.version += 1

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def parsed(self) -> dict[str, list[Address]]:
        return {name: list(map(ip_address, addresses)) for name, addresses in self._names.items()}

    def copy(self) -> LearntNames:
        return LearntNames({name: list(addresses) for name, addresses in self._names.items()})


@attrs.frozen
class ReadPolicies:
    """The rules of a member, in the order in which Cilium takes them, and what it would refuse."""

    rules: tuple[Rule, ...]
    refused: tuple[tuple[PolicyObject, Refused], ...]


def read_policies(member: MemberView, *, strict: bool = False) -> ReadPolicies:
    """All policies that a member has."""
    store, settings = member._store, member.settings
    services = tuple(service for by_name in store.services.values() for service in by_name.values())
    reading = Reading(
        member.name,
        settings.policy_default_local_cluster,
        not settings.disable_non_default_deny,
        strict,
        services,
    )
    policies = [each for each in store.policies.values() if each.kind in KINDS]
    policies.sort(key=lambda each: (KINDS.index(each.kind), each.namespace, each.name))
    rules: list[Rule] = []
    refused = []
    for policy in policies:
        found = _read(policy, reading)
        if isinstance(found, Refused):
            refused.append((policy, found))
        else:
            rules += found
    return ReadPolicies(tuple(rules), tuple(refused))


def _read(policy: PolicyObject, reading: Reading) -> tuple[Rule, ...] | Refused:
    """A policy is read once as long as it lives, but for one whose rules hang on the services there are."""
    key = attrs.evolve(reading, services=())
    known = _KNOWN.get(id(policy))
    if known is not None and known[0]() is policy and known[1] == key:
        return known[2]
    try:
        found: tuple[Rule, ...] | Refused = read_policy(policy, reading)
    except Refused as why:
        found = why
    if "toServices" not in str(policy.document):
        number = id(policy)
        _KNOWN[number] = (ref(policy, lambda _: _KNOWN.pop(number, None)), key, found)
    return found


_KNOWN: dict[int, tuple[ref[PolicyObject], Reading, tuple[Rule, ...] | Refused]] = {}


def conflicts(view: Viewpoint, member: MemberView, read: ReadPolicies, shift: int) -> Iterator[Finding]:
    """
    Rules that can't all be carried out for some pod. There are none unless two rules ask for something
    besides passing.
    """
    asking = [rule for rule in read.rules if rule.authentication or any(each.parser for each in rule.ports)]
    if len(asking) < 2:
        return
    judge = PolicyJudge(_options(view, member, shift), read.rules, (), {})
    hit: dict[Conflict, list[str]] = {}
    known: dict[LabelSet, Conflict | None] = {}
    for pod, labels in _labelled(member):
        if labels not in known:
            known[labels] = judge.conflict(Identity(0, labels, named_ports(pod.template)))
        found = known[labels]
        if found is not None:
            hit.setdefault(found, []).append(f"{pod.namespace}/{pod.name}")
    for found, pods in hit.items():
        yield finding(
            "policy-conflict",
            found.other.subject,
            f"for {pods[0]}{f' and {len(pods) - 1} more' if len(pods) > 1 else ''} rules {found.words}",
            pods,
            where=found.other.origin,
        )


def _options(view: Viewpoint, member: MemberView, shift: int) -> Options:
    settings = member.settings
    return Options(
        member.cluster_id,
        settings.policy_enforcement,
        settings.allow_localhost == "always",
        settings.enable_host_firewall,
        settings.enable_ipv6,
        settings.policy_cidr_match_mode,
        shift,
        view.strict,
    )


def _labelled(member: MemberView) -> Iterator[tuple[Pod, LabelSet]]:
    """The pods of a member with their identity's labels."""
    store = member._store
    for namespace, pods in store.pods.items():
        declared = store.namespaces.get(namespace)
        own = {} if declared is None else declared.labels
        for pod in pods.values():
            yield pod, pod_labels(pod.template, namespace, own, member.name)


@attrs.frozen
class _Pod:
    """A pod, as policies see it."""

    cluster: str
    name: str
    identity: Identity
    addresses: tuple[Address, ...]
    on_host: bool


@attrs.define(eq=False)
class Deciding:
    """What decides in one state of a mesh, made when it is first asked."""

    view: Viewpoint
    shift: int
    dns: Mapping[str, Sequence[Address]]
    _pods: dict[str, _Pod] = attrs.field(init=False)
    _by_address: dict[Address, list[_Pod]] = attrs.field(init=False)
    _nodes: dict[Address, str] = attrs.field(init=False)
    _judges: dict[str, PolicyJudge] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        pods = [pod for member in self.view.members.values() for pod in self._pods_of(member)]
        self._pods = {f"{pod.cluster}/{pod.name}": pod for pod in pods}
        self._by_address = {}
        for pod in pods:
            for address in pod.addresses if not pod.on_host else ():
                self._by_address.setdefault(address, []).append(pod)
        self._nodes = {
            ip_address(address): member.name
            for member in self.view.members.values()
            for node in member._store.nodes.values()
            for kind, address in node.addresses
            if kind in {"InternalIP", "ExternalIP"} and _is_address(address)
        }

    def _pods_of(self, member: MemberView) -> Iterator[_Pod]:
        found = list(_labelled(member))
        numbers = identity_numbers((labels for _, labels in found), member.cluster_id, self.shift)
        for pod, labels in found:
            yield _Pod(
                member.name,
                f"{pod.namespace}/{pod.name}",
                Identity(numbers[labels], labels, named_ports(pod.template)),
                tuple(map(ip_address, pod.addresses)),
                pod.template.host_network,
            )

    def judge(self, cluster: str) -> PolicyJudge:
        """That of a cluster, which knows the pods of all that it hears."""
        if cluster not in self._judges:
            member = self.view.members[cluster]
            judge = PolicyJudge(
                _options(self.view, member, self.shift),
                read_policies(member, strict=self.view.strict).rules,
                tuple(_groups(member)),
                self.dns,
            )
            for pod in self._pods.values():
                if not pod.on_host and self._hears(cluster, pod.cluster):
                    judge.know(pod.identity)
            self._judges[cluster] = judge
        return self._judges[cluster]

    def _hears(self, cluster: str, other: str) -> bool:
        return cluster == other or self.view.hears(cluster, other)

    # Flows

    def decide(self, source: str, destination: str, flow: Flow) -> Decision:
        """Both sides of a flow between two ends that are no service."""
        for end in (source, destination):
            self.check(end)
        egress = self._side(source, destination, flow, "egress")
        ingress = self._side(destination, source, flow, "ingress")
        sides = [each.verdict for each in (egress, ingress) if each is not None]
        return Decision(
            worst(sides),
            egress,
            ingress,
            self._seen(source, self._cluster(destination) or self._cluster(source)),
            self._seen(destination, self._cluster(source) or self._cluster(destination)),
        )

    def _side(self, own: str, other: str, flow: Flow, direction: Direction) -> Side | None:
        cluster = self._cluster(own)
        if cluster is None or own == other:
            return None
        judge = self.judge(cluster)
        subject, on_host = self._subject(own)
        peer, _ = self._peer(other, cluster)
        return judge.decide(subject, peer, flow, direction, on_host=on_host)

    def check(self, end: str) -> None:
        """
        Raises:
            NotFoundError: There is no such end; names the nearest.
            ValueError: It is written like none.
        """
        kind, colon, name = end.partition(":")
        if colon and kind == "host":
            if name not in self.view.members:
                raise NotFoundError("member", name, self.view.members)
        elif colon and kind == "entity":
            if name not in RESERVED or name.startswith("aggregate"):
                known = [each for each in RESERVED if not each.startswith("aggregate")]
                raise NotFoundError("entity", name, known)
        elif colon and kind == "ip":
            ip_address(name)
        elif end.count("/") != 2:
            raise ValueError(
                f"end {end!r}; expected cluster/namespace/pod, host:cluster, ip:ADDRESS, entity:NAME or, "
                "as a destination, service:namespace/name"
            )
        elif end not in self._pods:
            raise NotFoundError("pod", end, self._pods)

    def pod_at(self, address: str, cluster: str) -> str | None:
        """The end of that address in a cluster, if it is a pod's."""
        for pod in self._by_address.get(ip_address(address), ()):
            if pod.cluster == cluster:
                return f"{pod.cluster}/{pod.name}"
        return None

    def cluster_of(self, end: str) -> str | None:
        """The member that an end is in."""
        self.check(end)
        return self._cluster(end)

    def _cluster(self, end: str) -> str | None:
        kind, _, name = end.partition(":")
        if kind == "host":
            return name
        pod = self._pods.get(end)
        return None if pod is None else pod.cluster

    def _subject(self, end: str) -> tuple[Identity, bool]:
        pod = self._pods.get(end)
        if pod is not None and not pod.on_host:
            return pod.identity, False
        member = self.view.members[self._cluster(end) or ""]
        node = next(iter(member._store.nodes.values()), None)
        labels = [] if node is None else [Label(K8S, *each) for each in node.labels.items()]
        return Identity(RESERVED["host"], LabelSet.of([*labels, reserved("host")])), True

    def _peer(self, end: str, cluster: str) -> tuple[Identity, str]:
        """Whom the nodes of a cluster take an end for, and why, if that is not what one would think."""
        kind, _, name = end.partition(":")
        if kind == "ip":
            address = ip_address(name)
            for pod in self._by_address.get(address, ()):
                if self._hears(cluster, pod.cluster):
                    return pod.identity, ""
            node = self._nodes.get(address)
            if node is not None and self._hears(cluster, node):
                return _reserved("host" if node == cluster else "remote-node"), ""
            return self.judge(cluster).of_address(address), ""
        if kind == "entity":
            return _reserved(name), ""
        if kind == "host":
            if not self._hears(cluster, name):
                return self._unheard(cluster, name, ())
            return _reserved("host" if name == cluster else "remote-node"), ""
        pod = self._pods[end]
        if not self._hears(cluster, pod.cluster):
            return self._unheard(cluster, pod.cluster, pod.addresses)
        if pod.on_host:
            node = "host" if pod.cluster == cluster else "remote-node"
            return _reserved(node), "it is on its node's network"
        return pod.identity, ""

    def _unheard(self, cluster: str, other: str, addresses: Sequence[Address]) -> tuple[Identity, str]:
        because = f"world because {cluster} does not hear {other}, so that it has no ip record of it"
        judge = self.judge(cluster)
        return (judge.of_address(addresses[0]) if addresses else judge.world(4)), because

    def _seen(self, end: str, cluster: str | None) -> End:
        if cluster is None:
            return End(end, 0, LabelSet(()), "no cluster of the mesh judges it")
        identity, because = self._peer(end, cluster)
        return End(end, identity.number, identity.labels, because)


def decide(mesh: Mesh, source: str, destination: str, flow: Flow) -> Decision:
    """`Mesh.decide`, of a checked flow."""
    deciding = mesh._deciding()
    kind, _, name = destination.partition(":")
    if kind != "service":
        return deciding.decide(source, destination, flow)
    cluster = deciding.cluster_of(source)
    if cluster is None:
        raise ValueError(f"source {source!r} is in no cluster of the mesh, so that it has no {destination!r}")
    namespace, slash, service = name.partition("/")
    if not slash:
        raise ValueError(f"destination {destination!r}; expected service:namespace/name")
    found = []
    for backend in _backends(mesh, cluster, namespace, service, flow):
        end = deciding.pod_at(backend.address, backend.cluster) or f"ip:{backend.address}"
        found.append(deciding.decide(source, end, attrs.evolve(flow, port=backend.port)))
    nobody = End(destination, 0, LabelSet(()), "" if found else "it has no backend for that port")
    verdict = worst([each.verdict for each in found]) if found else "deny"
    return Decision(verdict, None, None, deciding._seen(source, cluster), nobody, tuple(found))


def _backends(mesh: Mesh, cluster: str, namespace: str, name: str, flow: Flow) -> Iterator[Backend]:
    """Those in use for the port that is asked for, each once."""
    if (namespace, name) not in mesh.services(cluster):
        known = ["/".join(each) for each in mesh.services(cluster)]
        raise NotFoundError(f"service in {cluster!r}", f"{namespace}/{name}", known)
    frontends = [
        each
        for each in mesh.service(namespace, name).frontends(cluster)
        if PROTOCOL_NUMBERS[each.protocol] == flow.protocol and each.port == (flow.port or each.port)
    ]
    ports = {each.port for each in frontends}
    if not flow.port and len(ports) > 1:
        raise ValueError(
            f"service {namespace}/{name} has the ports {', '.join(map(str, sorted(ports)))}; name one"
        )
    seen = {
        (each.cluster, each.address, each.port): each
        for frontend in frontends
        for each in frontend.backends[: frontend.in_use]
    }
    yield from seen.values()


def flow_of(
    protocol: str, port: int, http: Mapping[str, Any] | None = None, dns_query: str | None = None
) -> Flow:
    """
    Raises:
        ValueError: There is no such protocol, port or field of a request.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    if type(port) is not int or not 0 <= port <= 65535:
        raise ValueError(f"port {port!r}; expected 0 to 65535")
    number = PROTOCOL_NUMBERS[protocol.upper()]
    return Flow(number, port, None if http is None else Request.of(http), dns_query)


def identity_numbers(labels: Iterable[LabelSet], cluster_id: int, shift: int) -> dict[LabelSet, int]:
    """
    A number for each set of labels of a cluster: the first free one from its hash, in order of the labels.
    """
    span = (1 << shift) - _FIRST_IDENTITY
    numbers: dict[LabelSet, int] = {}
    taken: set[int] = set()
    for each in sorted(set(labels), key=str):
        at = zlib.crc32(str(each).encode()) % span
        while at in taken:
            at = (at + 1) % span
        taken.add(at)
        numbers[each] = cluster_id << shift | (_FIRST_IDENTITY + at)
    return numbers


def _groups(member: MemberView) -> Iterator[tuple[Network, tuple[Label, ...]]]:
    for policy in member._store.policies.values():
        if policy.kind != "CiliumCIDRGroup":
            continue
        labels = tuple(group_labels(policy.name, policy.labels))
        for cidr in (policy.document.get("spec") or {}).get("externalCIDRs") or ():
            yield ip_network(cidr, strict=False), labels


@lru_cache
def _reserved(name: str) -> Identity:
    return Identity(RESERVED[name], LabelSet.of([reserved(name)]))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True

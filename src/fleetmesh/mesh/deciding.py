"""
Who may reach whom in a mesh: each end judges by the policies of its own cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

import attrs

from fleetmesh.errors import NotFoundError
from fleetmesh.mesh.identities import UNNUMBERED
from fleetmesh.mesh.policies import options_of, read_policies
from fleetmesh.policy import Rule
from fleetmesh.policy.decision import Decision, End, Side, worst
from fleetmesh.policy.judge import RESERVED, Flow, Identity, PolicyJudge
from fleetmesh.policy.labels import K8S, Label, LabelSet, Network, named_ports, reserved
from fleetmesh.policy.matching import Request
from fleetmesh.policy.rule import PROTOCOL_NUMBERS, Direction
from fleetmesh.policy.selectors import group_labels
from fleetmesh.services.global_service import Backend

if TYPE_CHECKING:
    from fleetmesh.mesh.mesh import Mesh
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint

Address = IPv4Address | IPv6Address

PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP", "ICMPv6")


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
    dns: Mapping[str, Sequence[Address]]
    _pods: dict[str, _Pod] = attrs.field(init=False)
    _by_address: dict[Address, list[_Pod]] = attrs.field(init=False)
    _nodes: dict[Address, str] = attrs.field(init=False)
    _judges: dict[str, PolicyJudge] = attrs.field(factory=dict, init=False)
    _held_judges: dict[tuple[str, LabelSet], PolicyJudge] = attrs.field(factory=dict, init=False)

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
        store, own = member._store, member.cluster_id << self.view.identity_bits
        for namespace, pods in store.pods.items():
            labels_of = store.identity_of.group(namespace)
            for pod in pods.values():
                labels = labels_of.get(pod.name)
                number = UNNUMBERED if labels is None else store.identities[labels].number
                identity = (
                    _reserved("host" if labels is None else "init")
                    if labels is None or number == UNNUMBERED
                    else Identity(own | number, labels, named_ports(pod.template))
                )
                yield _Pod(
                    member.name,
                    f"{pod.namespace}/{pod.name}",
                    identity,
                    tuple(map(ip_address, pod.addresses)),
                    pod.template.host_network,
                )

    def judge(self, cluster: str) -> PolicyJudge:
        """That of a cluster, which knows the pods of all that it hears."""
        if cluster not in self._judges:
            rules = read_policies(self.view, self.view.members[cluster]).rules
            self._judges[cluster] = self._judge_by(cluster, rules)
        return self._judges[cluster]

    def _judge_by(self, cluster: str, rules: tuple[Rule, ...]) -> PolicyJudge:
        member = self.view.members[cluster]
        judge = PolicyJudge(options_of(self.view, member), rules, tuple(_groups(member)), self.dns)
        for pod in self._pods.values():
            if not pod.on_host and self._hears(cluster, pod.cluster):
                judge.know(pod.identity)
        return judge

    def _held_judge(self, cluster: str, labels: LabelSet) -> PolicyJudge | None:
        """By what is still in force for an identity whose rules are in conflict, if anything was before."""
        rules = self.view.members[cluster]._store.held.get(labels)
        if rules is None:
            return None
        key = (cluster, labels)
        if key not in self._held_judges:
            self._held_judges[key] = self._judge_by(cluster, rules)
        return self._held_judges[key]

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
        conflict = judge.conflict(subject, on_host=on_host)
        held = None if conflict is None else self._held_judge(cluster, subject.labels)
        if conflict is None or held is None:
            peer, _ = self._peer(other, cluster, judge)
            return judge.decide(subject, peer, flow, direction, on_host=on_host)
        peer, _ = self._peer(other, cluster, held)
        side = held.decide(subject, peer, flow, direction, on_host=on_host)
        return attrs.evolve(
            side, advice=f"what was in force before stays, since rules {conflict.words}; {side.advice}"
        )

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

    def _peer(self, end: str, cluster: str, judge: PolicyJudge) -> tuple[Identity, str]:
        """
        Whom the nodes of a cluster take an end for, in the numbers of one of its judges, and why, if that
        is not what one would think.
        """
        kind, _, name = end.partition(":")
        if kind == "ip":
            address = ip_address(name)
            for pod in self._by_address.get(address, ()):
                if self._hears(cluster, pod.cluster):
                    return self._pod_peer(pod, cluster, judge), ""
            node = self._nodes.get(address)
            if node is not None and self._hears(cluster, node):
                return _reserved("host" if node == cluster else "remote-node"), ""
            return judge.of_address(address), ""
        if kind == "entity":
            return _reserved(name), ""
        if kind == "host":
            if not self._hears(cluster, name):
                return self._unheard(cluster, name, (), judge)
            return _reserved("host" if name == cluster else "remote-node"), ""
        pod = self._pods[end]
        if not self._hears(cluster, pod.cluster):
            return self._unheard(cluster, pod.cluster, pod.addresses, judge)
        if pod.on_host:
            node = "host" if pod.cluster == cluster else "remote-node"
            return _reserved(node), "it is on its node's network"
        return self._pod_peer(pod, cluster, judge), ""

    def _pod_peer(self, pod: _Pod, cluster: str, judge: PolicyJudge) -> Identity:
        """Where networks select pods, its labels say which it is in: in Cilium those of its own cluster."""
        by = judge if self.view.strict or cluster == pod.cluster else self.judge(pod.cluster)
        return judge.labelled(pod.identity, by.networks_of_pod(pod.addresses))

    @staticmethod
    def _unheard(
        cluster: str, other: str, addresses: Sequence[Address], judge: PolicyJudge
    ) -> tuple[Identity, str]:
        because = f"world because {cluster} does not hear {other}, so that it has no ip record of it"
        return (judge.of_address(addresses[0]) if addresses else judge.world(4)), because

    def _seen(self, end: str, cluster: str | None) -> End:
        if cluster is None:
            return End(end, 0, LabelSet(()), "no cluster of the mesh judges it")
        identity, because = self._peer(end, cluster, self.judge(cluster))
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

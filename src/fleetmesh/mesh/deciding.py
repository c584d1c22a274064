"""
Who may reach whom in a mesh: each end judges by the policies of its own cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import attrs

from fleetmesh.errors import NotFoundError
from fleetmesh.mesh.heard import is_unheard
from fleetmesh.mesh.identities import UNNUMBERED
from fleetmesh.mesh.judging import follow, follow_services, held_judge_of, judge_of
from fleetmesh.mesh.policy_change import PolicyChange
from fleetmesh.mesh.policy_tables import ClusterTables
from fleetmesh.mesh.population import Counted, JudgedPopulation, population_of
from fleetmesh.mesh.whereabouts import Address, PodName, Whereabouts, Whom
from fleetmesh.policy.decision import Decision, End, FlowVerdict, Side, worst
from fleetmesh.policy.judge import Conflict, Flow, PolicyJudge
from fleetmesh.policy.labels import K8S, Label, LabelSet, ports_of, reserved
from fleetmesh.policy.matching import Request
from fleetmesh.policy.registry import FIRST_OF_PODS, RESERVED, Identity, IdentityRegistry, labels_of_reserved
from fleetmesh.policy.rule import PROTOCOL_NUMBERS, Direction
from fleetmesh.policy.selectors import LabelSelector
from fleetmesh.services.global_service import Backend

if TYPE_CHECKING:
    from fleetmesh._core import EndpointPolicy, PolicyTables
    from fleetmesh.mesh.mesh import Mesh
    from fleetmesh.mesh.store import Key
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint

PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP", "ICMPv6")


@attrs.frozen
class _Pod:
    """A pod, as policies see it."""

    cluster: str
    name: str
    identity: Identity
    texts: tuple[str, ...]
    on_host: bool

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(map(ip_address, self.texts))


@attrs.frozen
class _Case:
    """
    One side of a flow, before it is judged.

    Attributes:
        kept_since: The conflict for which what was in force before stays, if it does.
    """

    judge: PolicyJudge
    subject: Identity
    peer: Identity
    on_host: bool
    kept_since: Conflict | None


@attrs.define(eq=False)
class Deciding:
    """
    What decides in a mesh, brought up to date by what changed. It meets a member, and makes its judge, when a
    question first needs it. Of one thread at a time.

    Attributes:
        whereabouts: Who is at an address, of the members that have been met.
        revision: Another number whenever something has changed that may decide.
    """

    view: Viewpoint
    dns: Mapping[str, Sequence[Address]]
    registry: IdentityRegistry = attrs.field(factory=IdentityRegistry)
    whereabouts: Whereabouts = attrs.field(init=False)
    revision: int = attrs.field(default=0, init=False)
    _met: set[str] = attrs.field(factory=set, init=False)
    _judges: dict[str, PolicyJudge] = attrs.field(factory=dict, init=False)
    _held_judges: dict[tuple[str, LabelSet], PolicyJudge] = attrs.field(factory=dict, init=False)
    _population: JudgedPopulation | None = attrs.field(default=None, init=False)
    _counted: dict[str, Counted] = attrs.field(factory=dict, init=False)
    _tables: dict[str, ClusterTables] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.whereabouts = Whereabouts(self._number_of)

    # Following the mesh

    def advance(self, view: Viewpoint, changes: Iterable[PolicyChange]) -> None:
        """To a newer state, which these changes led to."""
        batch = list(changes)
        self._population = None
        old, self.view = self.view, view
        for name in {each for change in batch for each in change.left}:
            self._leave(old, name)
        renumbered = [
            each for each in {each for change in batch for each in change.identities} if each[0] in self._met
        ]
        # What one gives back another may have been given.
        for name, labels in renumbered:
            self._forget(old.members[name], labels)
        for name, labels in renumbered:
            self._know(name, labels)
        for cluster, namespace, pod in {each for change in batch for each in change.pods}:
            if cluster in self._met:
                self.whereabouts.move(old.members[cluster], view.members[cluster], namespace, pod)
        for name in {each for change in batch for each in change.nodes} & self._met:
            self.whereabouts.settle_nodes(view.members[name])
        self._have_judges_follow(batch)
        self._held_judges.clear()
        if any(batch):
            self.revision += 1

    def _have_judges_follow(self, batch: Sequence[PolicyChange]) -> None:
        policies: dict[str, set[Key]] = {}
        for name, key in (each for change in batch for each in change.policies):
            policies.setdefault(name, set()).add(key)
        hearing = any(change.hearing for change in batch)
        services = any(change.services for change in batch)
        for name, judge in self._judges.items():
            if hearing:
                judge.hear(self.heard_by(name))
            follow(judge, self.view, self.view.members[name], policies.get(name, ()))
            if services and follow_services(judge, self.view, self.view.members[name]):
                self.revision += 1

    def learn(self, dns: Mapping[str, Sequence[Address]]) -> None:
        """What names have resolved to."""
        self.dns = dns
        self._population = None
        self.revision += 1
        for judge in (*self._judges.values(), *self._held_judges.values()):
            judge.dns = dns

    def meet(self, name: str) -> None:
        """Take in a member's identities and addresses, once."""
        if name in self._met:
            return
        self._met.add(name)
        self.revision += 1
        member = self.view.members[name]
        for labels in member._store.identities:
            self._know(name, labels)
        self.whereabouts.settle_all(member)

    def meet_all(self) -> None:
        """Take in all members, as whoever asks by addresses has to."""
        if len(self._met) < len(self.view.members):
            for name in self.view.members:
                self.meet(name)

    def _leave(self, old: Viewpoint, name: str) -> None:
        self._judges.pop(name, None)
        self._tables.pop(name, None)
        self._counted.pop(name, None)
        if name not in self._met:
            return
        self._met.remove(name)
        member = old.members[name]
        for labels in member._store.identities:
            self._forget(member, labels)
        for namespace, pods in member._store.pods.items():
            for pod in pods:
                self.whereabouts.unsettle(member, namespace, pod)
        self.whereabouts.unsettle_nodes(name)

    def _know(self, name: str, labels: LabelSet) -> None:
        member = self.view.members[name]
        if is_unheard(labels):
            return  # no selector selects it
        if labels in member._store.identities:
            self.registry.know(self.identity(member, labels))
        elif name in self._judges:
            self._judges[name].forget(labels)

    def _forget(self, member: MemberView, labels: LabelSet) -> None:
        numbered = member._store.identities.get(labels)
        if numbered is not None and numbered.number != UNNUMBERED and not numbered.reserved:
            self.registry.forget(self.identity(member, labels).number)

    # Who is there

    def identity(self, member: MemberView, labels: LabelSet) -> Identity:
        """That of a member's pods with these labels."""
        number = self._number(member, labels)
        known = self.registry.numbered(number)
        if number < FIRST_OF_PODS:
            return known or Identity(number, labels)
        if known is not None and known.labels == labels:
            return known
        return Identity(number, labels, ports_of(labels))

    def _number(self, member: MemberView, labels: LabelSet) -> int:
        numbered = member._store.identities[labels]
        if numbered.number == UNNUMBERED:
            return RESERVED["init"]
        if numbered.reserved:
            return numbered.number
        return numbered.number | member.cluster_id << self.view.identity_bits

    def _pod(self, end: str) -> _Pod | None:
        cluster, _, rest = end.partition("/")
        namespace, _, name = rest.partition("/")
        member = self.view.members.get(cluster)
        pod = None if member is None else member._store.pods.group(namespace).get(name)
        if member is None or pod is None:
            return None
        self.meet(cluster)
        labels = member._store.labels_of(namespace, name)
        identity = _reserved("host") if labels is None else self.identity(member, labels)
        return _Pod(cluster, f"{namespace}/{name}", identity, pod.addresses, pod.template.host_network)

    def _known_pod(self, end: str) -> _Pod:
        pod = self._pod(end)
        assert pod is not None, "ends are checked first"
        return pod

    def _number_of(self, name: PodName) -> Whom:
        """Of a pod's identity, and of its cluster; zeros where it goes with its cluster, or at all."""
        cluster, namespace, pod = name
        member = self.view.members.get(cluster)
        labels = None if member is None else member._store.labels_of(namespace, pod)
        if member is None or labels is None:
            return 0, 0
        return self._number(member, labels), member.cluster_id

    def heard_pods_at(self, address: Address, cluster: str) -> Iterator[_Pod]:
        """Those of an address that a cluster knows."""
        self.meet_all()
        for each in self.whereabouts.pods_at(address):
            pod = self._pod("/".join(each))
            if pod is not None and self._hears(cluster, pod.cluster):
                yield pod

    def judge(self, cluster: str) -> PolicyJudge:
        """That of a cluster, which knows the pods of all that it hears, as far as they have been met."""
        if cluster not in self._judges:
            judge = judge_of(self.view, self.view.members[cluster], self.registry, self.dns)
            judge.hear(self.heard_by(cluster))
            self._judges[cluster] = judge
        return self._judges[cluster]

    def spread(self, cluster: str, selector: LabelSelector) -> Mapping[int, int]:
        """Cluster id -> how many of its identities a selector of a cluster's policies selects."""
        self.meet_all()
        return self.judge(cluster).spread(selector)

    def heard_by(self, cluster: str) -> list[int]:
        """The ids of the members that it knows of, its own among them."""
        others = self.view.members.values()
        return [each.cluster_id for each in others if self._hears(cluster, each.name)]

    def _held_judge(self, cluster: str, labels: LabelSet) -> PolicyJudge | None:
        """By what is still in force for an identity whose rules are in conflict, if anything was before."""
        member, key = self.view.members[cluster], (cluster, labels)
        if labels not in member._store.held:
            return None
        if key not in self._held_judges:
            judge = held_judge_of(self.view, member, labels, self.registry, self.dns)
            judge.hear(self.heard_by(cluster))
            self._held_judges[key] = judge
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
        case = self._case(own, other)
        if case is None:
            return None
        side = case.judge.decide(case.subject, case.peer, flow, direction, on_host=case.on_host)
        if case.kept_since is None:
            return side
        words = case.kept_since.words
        return attrs.evolve(
            side, advice=f"what was in force before stays, since rules {words}; {side.advice}"
        )

    def verdict(self, own: str, other: str, flow: Flow, direction: Direction) -> FlowVerdict | None:
        """What one side decides on a connection, without the reason; `None` where it does not judge."""
        case = self._case(own, other)
        if case is None:
            return None
        return case.judge.verdict(case.subject, case.peer, flow, direction, on_host=case.on_host)

    def _case(self, own: str, other: str) -> _Case | None:
        """Who judges an endpoint: by what was in force before, where its rules are in conflict."""
        cluster = self._cluster(own)
        if cluster is None or own == other or self.view.members[cluster].outside:
            return None
        subject, on_host = self.subject(own)
        judge, kept_since = self.judge_of(cluster, subject, on_host=on_host)
        return _Case(judge, subject, self.peer(other, cluster, judge)[0], on_host, kept_since)

    def judge_of(
        self, cluster: str, subject: Identity, *, on_host: bool
    ) -> tuple[PolicyJudge, Conflict | None]:
        """Who judges an endpoint of a cluster, and the conflict for which that is not the newest judge."""
        judge = self.judge(cluster)
        conflict = judge.conflict(subject, on_host=on_host)
        held = None if conflict is None else self._held_judge(cluster, subject.labels)
        return (judge, None) if held is None else (held, conflict)

    def judged_by(
        self, member: MemberView, labels: LabelSet | None
    ) -> tuple[EndpointPolicy | None, PolicyJudge]:
        """
        What a member's pods with these labels are judged by, or with `None` its nodes; `None` where rules
        can't be carried out, so that all is refused.
        """
        subject, on_host = self.subject_of(member, labels), labels is None
        judge, _ = self.judge_of(member.name, subject, on_host=on_host)
        policy = judge.policy(subject, on_host=on_host)
        return (None if policy.conflict else policy), judge

    # For data paths

    def tables(self, cluster: str) -> PolicyTables:
        """What its nodes decide with."""
        if cluster not in self._tables:
            self._tables[cluster] = ClusterTables(self, cluster)
        return self._tables[cluster].newest()

    def policy_of(self, cluster: str, subject: Identity, *, on_host: bool = False) -> EndpointPolicy:
        """By what an endpoint is judged; where its rules are in conflict, by what was in force before."""
        judge, _ = self.judge_of(cluster, subject, on_host=on_host)
        return judge.policy(subject, on_host=on_host)

    def told_by_address(self, cluster: str) -> Iterator[tuple[_Pod, Identity]]:
        """Pods that are somebody else to a cluster than at home, since networks select pods."""
        judge = self.judge(cluster)
        for member in self.view.members.values():
            if self._told_by_labels(member.name, cluster) or not self._hears(cluster, member.name):
                continue
            for namespace, pods in member._store.pods.items():
                for name in pods:
                    pod = self._known_pod(f"{member.name}/{namespace}/{name}")
                    seen = pod.identity if pod.on_host else self._pod_peer(pod, cluster, judge)
                    if seen != pod.identity:
                        yield pod, seen

    def pods(self) -> list[str]:
        """All pods, as ends."""
        return [
            f"{member.name}/{namespace}/{name}"
            for member in self.view.members.values()
            for namespace, pods in member._store.pods.items()
            for name in pods
        ]

    def population(self, *, knowing: int = 0) -> JudgedPopulation:
        """
        All pods, and who takes them for whom.

        Args:
            knowing: The number of an identity that has to be among those that are judged.
        """
        self.meet_all()
        if self._population is None or self._population.next_of_address <= knowing:
            self._population = population_of(self, self._counted)
        return self._population

    def _told_by_labels(self, name: str, viewer: str) -> bool:
        """Whether addresses don't matter to whom a viewer takes a member's pods for."""
        # Of one that another process runs no policies are known, so that no network of its own selects pods.
        inside = [each for each in (viewer, name) if not self.view.members[each].outside]
        judges = (self.judge(each) for each in inside)
        return self._hears(viewer, name) and not any(judge.selects_by_address for judge in judges)

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
            try:
                ip_address(name)
            except ValueError:
                raise ValueError(f"end {end!r}: {name!r} is no address; expected ip:ADDRESS") from None
        elif end.count("/") != 2:
            raise ValueError(
                f"end {end!r}; expected cluster/namespace/pod, host:cluster, ip:ADDRESS, entity:NAME or, "
                "as a destination, service:namespace/name"
            )
        elif self._pod(end) is None:
            raise NotFoundError("pod", end, self.pods())

    def pod_at(self, address: str, cluster: str) -> str | None:
        """The end of that address in a cluster, if it is a pod's."""
        self.meet(cluster)
        for name, namespace, pod in self.whereabouts.pods_at(ip_address(address)):
            if name == cluster:
                return f"{name}/{namespace}/{pod}"
        return None

    def cluster_of(self, end: str) -> str | None:
        """The member that an end is in."""
        self.check(end)
        return self._cluster(end)

    def _cluster(self, end: str) -> str | None:
        kind, _, name = end.partition(":")
        if kind == "host":
            return name
        cluster, slash, _ = end.partition("/")
        return cluster if slash else None

    def subject(self, end: str) -> tuple[Identity, bool]:
        """Who an end is to its own cluster's policies, and whether that is the node."""
        pod = self._pod(end)
        if pod is not None and not pod.on_host:
            return pod.identity, False
        return self.subject_of(self.view.members[self._cluster(end) or ""], None), True

    def subject_of(self, member: MemberView, labels: LabelSet | None) -> Identity:
        """Whom a member's policies are about: pods with these labels; `None`: its nodes."""
        if labels is not None:
            return self.identity(member, labels)
        node = next(iter(member._store.nodes.values()), None)
        on_node = [] if node is None else [Label(K8S, *each) for each in node.labels.items()]
        return Identity(RESERVED["host"], LabelSet.of([*on_node, reserved("host")]))

    def peer(self, end: str, cluster: str, judge: PolicyJudge) -> tuple[Identity, str]:
        """
        Whom the nodes of a cluster take an end for, in the numbers of one of its judges, and why, if that
        is not what one would think.
        """
        kind, _, name = end.partition(":")
        if kind == "ip":
            address = ip_address(name)
            for pod in self.heard_pods_at(address, cluster):
                return self._pod_peer(pod, cluster, judge), ""
            node = self.whereabouts.node_at(address)
            if node is not None and self._hears(cluster, node):
                return _reserved("host" if node == cluster else "remote-node"), ""
            return judge.of_address(address), ""
        if kind == "entity":
            return _reserved(name), ""
        if kind == "host":
            if not self._hears(cluster, name):
                return self._unheard(cluster, name, (), judge)
            return _reserved("host" if name == cluster else "remote-node"), ""
        pod = self._known_pod(end)
        if not self._hears(cluster, pod.cluster):
            return self._unheard(cluster, pod.cluster, pod.addresses, judge)
        if pod.on_host:
            node = "host" if pod.cluster == cluster else "remote-node"
            return _reserved(node), "it is on its node's network"
        return self._pod_peer(pod, cluster, judge), ""

    def _pod_peer(self, pod: _Pod, cluster: str, judge: PolicyJudge) -> Identity:
        """Where networks select pods, its labels say which it is in: in Cilium those of its own cluster."""
        by = judge if self.view.strict or cluster == pod.cluster else self.judge(pod.cluster)
        if not by.selects_by_address:
            return pod.identity
        return self.registry.labelled(
            pod.identity, by.networks_of_pod(pod.addresses), self.view.identity_bits
        )

    @staticmethod
    def _unheard(
        cluster: str, other: str, addresses: Sequence[Address], judge: PolicyJudge
    ) -> tuple[Identity, str]:
        because = f"world because {cluster} does not hear {other}, so that it has no ip record of it"
        if len(addresses) > 1:
            because += f"; of its addresses this is about {addresses[0]}"
        return (judge.of_address(addresses[0]) if addresses else judge.world(4)), because

    def _seen(self, end: str, cluster: str | None) -> End:
        if cluster is None:
            return End(end, 0, LabelSet(()), "no cluster of the mesh judges it")
        identity, because = self.peer(end, cluster, self.judge(cluster))
        return End(end, identity.number, identity.labels, because)


def decide(mesh: Mesh, deciding: Deciding, source: str, destination: str, flow: Flow) -> Decision:
    """`Mesh.decide`, of a checked flow."""
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


@lru_cache
def _reserved(name: str) -> Identity:
    return Identity(RESERVED[name], labels_of_reserved(name))

"""
What a cluster's policies decide, flow by flow, so that it shows whether a rule makes any difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from itertools import product
from typing import Any, Literal

import attrs

import fleetmesh as fm
from doubles.policy_fleets import ADDRESSES
from fleetmesh.mesh.deciding import Deciding
from fleetmesh.mesh.ends import Ends
from fleetmesh.mesh.lint import known_of
from fleetmesh.mesh.policies import options_of, read_policies
from fleetmesh.policy.judge import Flow, PolicyJudge
from fleetmesh.policy.labels import Label, LabelSet, ports_of, reserved
from fleetmesh.policy.lint import Known
from fleetmesh.policy.matching import Request
from fleetmesh.policy.registry import RESERVED, Identity
from fleetmesh.policy.rule import PROTOCOL_NUMBERS, Direction, Rule

REQUESTS = (
    Request("GET", "/public", "h", {}),
    Request("POST", "/public/x", "h", {"x-token": "1"}),
    Request("DELETE", "/a", "h", {"x-any": "2"}),
)
NAMES = ("api.example.com", "a.b.example.org", "other.net")
L7_PORTS = (53, 80, 8080)
Mode = Literal["cilium", "strict"]
MODES: tuple[Mode, ...] = ("cilium", "strict")
DENY, ALLOW = 255, 1
DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress")


def mesh_of(case: Mapping[str, Any], mode: Mode = "cilium") -> fm.Mesh:
    """Of a case as golden/policy.json has them."""
    mesh = fm.Mesh("random", mode=mode)
    for name, declared in case["clusters"].items():
        settings = fm.ClusterSettings(**declared["config"])
        mesh.join(name, cluster_id=declared["id"], settings=settings).apply(declared["manifests"])
    for name, addresses in case["dns"].items():
        mesh.dns[name] = addresses
    return mesh


@attrs.define
class Cluster:
    """One cluster, which can be judged by other rules than it has."""

    mesh: fm.Mesh
    name: str
    deciding: Deciding = attrs.field(init=False)
    rules: tuple[Rule, ...] = attrs.field(init=False)
    known: Known = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        view = self.mesh.viewpoint()
        member = view.members[self.name]
        read = read_policies(view, member)
        self.deciding = Deciding(view, self.mesh.dns.parsed())
        self.rules = read.rules
        self.known = known_of(view, member, read, self.deciding, Ends(view))

    def decisions(self, rules: Sequence[Rule]) -> list[Any]:
        """Of every flow that may be told from another, in one order."""
        judge = self._judge(rules)
        flows, peers = list(dict.fromkeys(self._flows())), list(self._peers(judge))
        found: list[Any] = []
        for subject, on_host in self._subjects():
            policy = judge.policy(subject, on_host=on_host)
            if policy.conflict is not None:
                found.append(policy.conflict[2])
                continue
            for direction, peer, flow in product(DIRECTIONS, peers, flows):
                known, precedence, auth, explicit, _ = policy.lookup(
                    direction == "ingress", peer.number, flow.protocol, flow.port
                )
                rank = precedence & 255
                if not known or rank == DENY:
                    found.append("deny")
                    continue
                found.append((rank, auth, explicit))
                if rank != ALLOW and flow.port in L7_PORTS:
                    found += self._asked(judge, subject, peer, flow, direction, on_host=on_host)
        return found

    def _judge(self, rules: Sequence[Rule]) -> PolicyJudge:
        view, usual = self.mesh.viewpoint(), self.deciding.judge(self.name)
        options = options_of(view, view.members[self.name])
        judge = PolicyJudge(self.deciding.registry, options, usual.dns)
        judge.groups.update(usual.groups)
        judge.set_rules("", tuple(rules))
        judge.hear(each.cluster_id for each in view.members.values())
        return judge

    @staticmethod
    def _asked(
        judge: PolicyJudge,
        subject: Identity,
        peer: Identity,
        flow: Flow,
        direction: Direction,
        *,
        on_host: bool,
    ) -> Iterator[Any]:
        """What a proxy says of requests."""
        asked = [*(attrs.evolve(flow, http=each) for each in REQUESTS)]
        asked += (attrs.evolve(flow, dns_query=each) for each in NAMES)
        for each in asked:
            yield judge.decide(subject, peer, each, direction, on_host=on_host).l7_allow

    def _subjects(self) -> Iterator[tuple[Identity, bool]]:
        for labels in self.mesh.viewpoint().members[self.name]._store.identities:
            yield Identity(0, labels, ports_of(labels)), False
        yield Identity(1, LabelSet.of([Label("k8s", "role", "worker"), reserved("host")])), True

    def _peers(self, judge: PolicyJudge) -> Iterator[Identity]:
        for pod in self.deciding.pods():
            yield self.deciding.peer(pod, self.name, judge)[0]
        for name, number in RESERVED.items():
            if not name.startswith("aggregate"):
                yield Identity(number, LabelSet.of([reserved(name)]))
        for address in ADDRESSES:
            yield judge.of_address(ip_address(address))

    def _flows(self) -> Iterator[Flow]:
        """At every port where some rule begins or ends, and past it."""
        for protocol in ("TCP", "UDP", "SCTP"):
            for port in (1, *L7_PORTS, 8081):
                yield Flow(PROTOCOL_NUMBERS[protocol], port)
        for kind in (3, 5, 8):
            yield Flow(PROTOCOL_NUMBERS["ICMP"], kind)
        for rule in self.rules:
            for ends in (ends for each in rule.ports for ends in each.ports):
                for number in (ends.first, ends.last + 1):
                    if ends.protocol and 0 < number < 65536:
                        yield Flow(ends.protocol, number)


def without(rules: Sequence[Rule], numbers: Mapping[int, bool]) -> list[Rule]:
    """Without these rules; where the number says so what isolates stays of them."""
    return [
        attrs.evolve(rule, peers=None, ports=(), authentication="") if numbers.get(number) else rule
        for number, rule in enumerate(rules)
        if number not in numbers or numbers[number]
    ]

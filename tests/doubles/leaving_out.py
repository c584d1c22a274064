"""
What a cluster's policies decide, flow by flow, so that it shows whether a rule makes any difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import attrs

import fleetmesh as fm
from doubles.policy_fleets import ADDRESSES
from fleetmesh.mesh.deciding import Deciding
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
DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress")


def mesh_of(case: Mapping[str, Any], mode: str = "cilium") -> fm.Mesh:
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
        self.known = known_of(view, member, read, self.deciding)

    def decisions(self, rules: Sequence[Rule]) -> list[Any]:
        """Of every flow that may be told from another, in one order."""
        judge = self._judge(rules)
        flows = list(dict.fromkeys(self._flows()))
        return [
            self._said(judge, subject, peer, flow, direction, on_host=on_host)
            for subject, on_host in self._subjects()
            for peer in self._peers(judge)
            for flow in flows
            for direction in DIRECTIONS
        ]

    def _judge(self, rules: Sequence[Rule]) -> PolicyJudge:
        view, usual = self.mesh.viewpoint(), self.deciding.judge(self.name)
        options = options_of(view, view.members[self.name])
        judge = PolicyJudge(self.deciding.registry, options, rules, usual.groups, usual.dns)
        judge.hear(each.cluster_id for each in view.members.values())
        return judge

    def _said(
        self,
        judge: PolicyJudge,
        subject: Identity,
        peer: Identity,
        flow: Flow,
        direction: Direction,
        *,
        on_host: bool,
    ) -> Any:
        verdict = judge.verdict(subject, peer, flow, direction, on_host=on_host)
        if verdict == "deny":
            return verdict
        asked = [flow]
        if verdict == "redirect":
            asked = [*(attrs.evolve(flow, http=each) for each in REQUESTS)]
            asked += (attrs.evolve(flow, dns_query=each) for each in NAMES)
        sides = (judge.decide(subject, peer, each, direction, on_host=on_host) for each in asked)
        return [(side.verdict, side.l7, side.auth, side.l7_allow) for side in sides]

    def _subjects(self) -> Iterator[tuple[Identity, bool]]:
        for labels in self.mesh.viewpoint().members[self.name]._store.identities:
            yield Identity(0, labels, ports_of(labels)), False
        yield Identity(1, LabelSet.of([Label("k8s", "role", "worker"), reserved("host")])), True

    def _peers(self, judge: PolicyJudge) -> Iterator[Identity]:
        for pod in self.deciding.pods():
            yield self.deciding.seen(pod, f"host:{self.name}")
        for name, number in RESERVED.items():
            if not name.startswith("aggregate"):
                yield Identity(number, LabelSet.of([reserved(name)]))
        for address in ADDRESSES:
            yield judge.of_address(ip_address(address))

    def _flows(self) -> Iterator[Flow]:
        """At every port where some rule begins or ends, and past it."""
        for protocol in ("TCP", "UDP", "SCTP"):
            for port in (1, 53, 80, 8080, 8081):
                yield Flow(PROTOCOL_NUMBERS[protocol], port)
        for kind in (3, 5, 8):
            yield Flow(PROTOCOL_NUMBERS["ICMP"], kind)
        for rule in self.rules:
            for port in (port for each in rule.ports for port in each.ports):
                for number in (port.first, port.last + 1):
                    if port.protocol and 0 < number < 65536:
                        yield Flow(port.protocol, number)


def without(rules: Sequence[Rule], numbers: Mapping[int, bool]) -> list[Rule]:
    """Without these rules; where the number says so what isolates stays of them."""
    return [
        attrs.evolve(rule, peers=None, ports=(), authentication="") if numbers.get(number) else rule
        for number, rule in enumerate(rules)
        if number not in numbers or numbers[number]
    ]

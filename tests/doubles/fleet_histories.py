"""
Random histories of fleets with policies, as hypothesis draws and shrinks them: what each cluster begins
with, and what changes after that.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import attrs
from hypothesis import strategies as st

from doubles.policy_fleets import (
    ADDRESSES,
    CLUSTERS,
    DNS,
    PODS,
    PORTS,
    SPACES,
    cilium_policies,
    cluster_policies,
    configs,
    group,
    namespace,
    network_policies,
    node,
    pod,
    population,
    service,
)
from doubles.policy_oddities import odd_objects, odd_policies
from doubles.policy_variants import at_all_ports, of_everybody

Document = dict[str, Any]

NAMES = (*DNS, "a.b.example.org", "later.example.com")
ENTITIES = ("world", "kube-apiserver", "remote-node", "health")


@attrs.frozen
class Step:
    """
    Attributes:
        what: `apply` or `delete` an object; `policy`, a new one, or in the place of one that is there;
            `withdraw` a policy; `leave`; `join`, as the member that left, or as another of its name;
            `fail` or `restore`; `learn` what a name resolves to; `fork`; `ask`.
        cluster: Where; "" is everywhere.
        given: The object, the policy, the addresses, whether to go on with the fork, or the seed of the flows
            to ask about. Of another that joins its id, its settings, and the places of the objects it lacks.
        place: Which policy, counted over those there are; `None` is a new one.
        name: That resolves.
    """

    what: str
    cluster: str = ""
    given: Any = None
    place: int | None = None
    name: str = ""


@attrs.frozen
class Start:
    """
    Attributes:
        joined: Whether it is a member from the beginning.
    """

    number: int
    config: dict[str, Any]
    documents: tuple[Document, ...]
    joined: bool


@attrs.frozen
class History:
    clusters: dict[str, Start]
    steps: tuple[Step, ...]


@attrs.frozen
class Scope:
    """
    What histories are drawn of.

    Attributes:
        auth: Whether policies ask for authentication. Cilium has no pass beside it.
        oddities: Whether there is what the oracle and the double don't know: networks that select pods,
            pods and nodes by their addresses, workloads, Services without selectors, members that fail,
            AdminNetworkPolicy, selectors of what must not be, and objects that are refused.
    """

    clusters: tuple[str, ...] = CLUSTERS
    auth: bool = False
    oddities: bool = False

    @property
    def kinds_of_steps(self) -> list[str]:
        known = ["apply"] * 4 + ["delete"] + ["policy"] * 5 + ["withdraw", "learn", "leave"]
        known += ["join"] * 3 + ["fork"] + ["ask"] * 4
        return [*known, "fail", "restore"] if self.oddities else known

    def settings(self) -> st.SearchStrategy[dict[str, Any]]:
        """Pods have no labels of their addresses in the oracle, which Cilium gives them at their node."""
        if self.oddities:
            return configs
        return configs.map(lambda each: each | {"policy_cidr_match_mode": _nodes_only(each)})

    def policies(self, name: str) -> st.SearchStrategy[Document]:
        kinds = [cilium_policies(name, auth=self.auth)] * 2 + [network_policies(name)]
        if not self.auth:
            kinds.append(cluster_policies(name))
        if self.oddities:
            kinds.append(odd_policies(name))
        return st.one_of(kinds).flatmap(_often_of_everybody)

    def objects(self, number: int) -> st.SearchStrategy[Document]:
        """All but policies."""
        kinds = [pods(number), pods(number), namespaces, nodes, services, groups]
        if self.oddities:
            kinds += [odd_objects(number)] * 2
        return st.one_of(kinds)


def _often_of_everybody(policy: Document) -> st.SearchStrategy[Document]:
    """So that most ends have a policy, and more than one speaks about a flow."""
    return st.sampled_from([policy, of_everybody(policy), at_all_ports(of_everybody(policy))])


def _nodes_only(config: dict[str, Any]) -> list[str]:
    return [each for each in config.get("policy_cidr_match_mode") or () if each == "nodes"]


def pods(number: int) -> st.SearchStrategy[Document]:
    """As they are at first, with other labels, or with other ports."""
    others = [{"app": "web"}, {"app": "api", "tier": "front"}, {"tier": "back"}, {}]
    ports = [(), (("http", "TCP", 80),), (("http", "TCP", 8081), ("dns", "UDP", 53))]

    def made(place: int, labels: dict[str, str] | None, port: Any) -> Document:
        _, _, own, usual = PODS[place]
        return pod(number, place, own if labels is None else labels, usual if port is None else port)

    places = st.integers(0, len(PODS) - 1)
    return st.builds(made, places, st.sampled_from([None, *others]), st.sampled_from([None, None, *ports]))


namespaces = st.builds(
    namespace,
    st.sampled_from(list(SPACES)),
    st.sampled_from([{}, {"env": "prod"}, {"env": "dev"}, {"env": "dev", "team": "a"}]),
)
nodes = st.builds(node, st.sampled_from([{}, {"role": "worker"}, {"role": "edge"}]))
services = st.builds(service, st.sampled_from([{"app": "api"}, {"app": "web"}, {"tier": "front"}]))
groups = st.builds(
    group,
    st.sampled_from(["office", "lab"]),
    st.sampled_from([["203.0.113.128/25"], ["203.0.113.0/24", "192.0.2.0/24"], ["198.51.100.0/24"]]),
    st.sampled_from([{}, {"site": "emea"}, {"site": "apac"}]),
)


@st.composite
def steps(draw: st.DrawFn, scope: Scope, starts: dict[str, Start]) -> Step:
    what = draw(st.sampled_from(scope.kinds_of_steps))
    cluster = draw(st.sampled_from(scope.clusters))
    number = starts[cluster].number
    match what:
        case "apply" | "delete":
            return Step(what, cluster, draw(scope.objects(number)))
        case "policy":
            place = draw(st.sampled_from([None, 0, 1, 2]))
            return Step(what, cluster, draw(scope.policies(draw(st.sampled_from("pqr")))), place)
        case "withdraw":
            return Step(what, cluster, place=draw(st.integers(0, 3)))
        case "learn":
            addresses = draw(st.lists(st.sampled_from(ADDRESSES), max_size=2))
            return Step(what, given=addresses, name=draw(st.sampled_from(NAMES)))
        case "join":
            again = draw(st.sampled_from([number, number, number + 10])), draw(scope.settings())
            lost = draw(st.sets(st.integers(0, 20), max_size=8))
            return Step(what, cluster, draw(st.sampled_from([None, (*again, lost)])))
        case "fork":
            return Step(what, given=draw(st.booleans()))
        case "ask":
            return Step(what, given=draw(st.integers(0, 999)))
        case _:
            return Step(what, cluster)


@st.composite
def histories(
    draw: st.DrawFn, *, clusters: Sequence[str] = CLUSTERS, oddities: bool = False, most: int = 10
) -> History:
    """
    Args:
        most: Steps.
    """
    scope = Scope(tuple(clusters), draw(st.booleans()), oddities)
    starts = {}
    for number, name in enumerate(clusters, 1):
        policies = [draw(scope.policies(f"p{at}")) for at in range(draw(st.integers(1, 3)))]
        joined = number == 1 or draw(st.sampled_from([True, True, False]))
        starts[name] = Start(number, draw(scope.settings()), (*population(number), *policies), joined)
    return History(starts, tuple(draw(st.lists(steps(scope, starts), min_size=most // 2, max_size=most))))


def some_flows(seed: int, judged: Sequence[str], others: Sequence[str], count: int) -> list[dict[str, Any]]:
    """
    Flows as golden/policy.json has them, each with an end that judges.

    Args:
        judged: Pods and nodes.
        others: Ends that are no more than a peer.
    """
    drawn = random.Random(seed)
    return [_flow(drawn, judged, others) | {"id": f"q{number}"} for number in range(count if judged else 0)]


def _flow(drawn: random.Random, judged: Sequence[str], others: Sequence[str]) -> dict[str, Any]:
    one = drawn.choice(judged)
    other = drawn.choice([each for each in (*judged, *others) if each != one])
    source, to = (one, other) if drawn.random() < 0.5 else (other, one)
    protocol = drawn.choice(["TCP", "TCP", "TCP", "UDP", "SCTP", "ICMP"])
    port = drawn.choice((8, 3, 5) if protocol == "ICMP" else (*PORTS, 80, 80, 53))
    flow: dict[str, Any] = {"from": source, "to": to, "proto": protocol, "port": port}
    if protocol == "TCP":
        flow["http"] = {
            "method": drawn.choice(["GET", "POST", "DELETE"]),
            "path": drawn.choice(["/public", "/public/x", "/a", "/"]),
            "host": "h",
            "headers": {"x-token": "1"} if drawn.random() < 0.5 else {},
        }
    elif port == 53:
        flow["dns_query"] = drawn.choice(NAMES)
    return flow

"""
Random histories of packets to services, and of what happens to their mesh meanwhile.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import TypeAlias

import attrs
from hypothesis import strategies as st

import fleetmesh as fm
from doubles.datapath import ACK, FIN, RST, SECOND, SYN, Packet, Place, Walk
from doubles.datapath_mesh import PROTOCOLS
from doubles.packet_hash import Address
from doubles.two_clusters import (
    EAST,
    IDS,
    NUMBERS,
    PORTS,
    SPACE,
    WEST,
    manifest,
    new_mesh,
    pod,
    pod_manifest,
    service,
    slices,
    vip,
)

Decide = Callable[[Packet], Walk]

FLAGS = (SYN, SYN, SYN, ACK, ACK, ACK, ACK, SYN | ACK, FIN | ACK, RST, SYN | FIN, 0)
# Times come to lie right on the end of every time-out, and on either side of it.
STEPS = (0,) * 30 + (1, SECOND, 5 * SECOND - 1, 5 * SECOND, 10 * SECOND - 1, 10 * SECOND, 50 * SECOND)
LEAPS = (60 * SECOND - 1, 60 * SECOND, 21600 * SECOND - 1, 21600 * SECOND)
PODS = (1, 2, 3, 9)
CLIENT_PORTS = (1000, 1000, 1001, 8080)
AFFINITY = 5
ICMP = {False: 1, True: 58}
KINDS = {
    "ask": 2,  # a service
    "talk": 2,  # open a connection to one, as far as its third packet
    "answer": 3,  # what was before
    "again": 3,  # another packet of what was before
    "further": 10,  # another packet to a service that was asked before
    "beside": 4,  # a connection to the same service, maybe from another port
    "through": 2,  # the same ports through another service
    "close": 4,  # what was before, from both sides
    "direct": 1,  # to a backend
    "any": 1,
}
CHANGES = {
    "hit": 6,  # the newest packet's backend is gone, or terminates
    "set": 4,  # the backends of all services in both clusters
    "slices": 4,  # those of one service in one cluster
    "empty": 1,
    "delete": 1,  # a service
    "service": 1,  # it is back, without affinity
    "affinity": 1,
    "fail": 1,  # the other cluster, or it is back
    "policy": 6,  # comes, or goes if it is there
    "relabel": 2,  # a pod has other labels
    "name": 1,  # resolves to the address from outside, or not any more
}
TCP_8080 = {"ports": [{"port": "8080", "protocol": "TCP"}]}
ANYWHERE = {"matchExpressions": [{"key": "io.cilium.k8s.policy.cluster", "operator": "Exists"}]}
POLICIES: dict[str, dict[str, object]] = {
    "from-clients": {"ingress": [{"fromEndpoints": [{"matchLabels": {"app": "p9"}}]}]},
    "from-everywhere": {"ingress": [{"fromEndpoints": [ANYWHERE], "toPorts": [TCP_8080]}]},
    "from-outside": {
        "ingress": [{"fromCIDR": ["203.0.113.0/24", "2001:db8:1::/48"]}, {"fromEntities": ["remote-node"]}]
    },
    "range": {"ingress": [{"toPorts": [{"ports": [{"port": "5000", "endPort": 9000, "protocol": "ANY"}]}]}]},
    "http": {
        "ingress": [{"toPorts": [TCP_8080 | {"rules": {"http": [{"path": "/"}]}}]}],
        "egress": [{"toEndpoints": [ANYWHERE], "toPorts": [TCP_8080 | {"rules": {"http": [{}]}}]}],
    },
    "refused": {
        "enableDefaultDeny": {"ingress": False, "egress": False},
        "ingressDeny": [{"fromEndpoints": [ANYWHERE], "toPorts": [{"ports": [{"port": "5353"}]}]}],
        "egressDeny": [{"toCIDR": ["203.0.113.9/32"]}],
    },
    "names": {
        "egress": [
            {"toFQDNs": [{"matchName": "out.example"}]},
            {"toPorts": [{"ports": [{"port": "http"}]}]},
            {"toPorts": [{"ports": [{"port": "5353", "protocol": "UDP"}], "rules": {"dns": [{}]}}]},
        ]
    },
    "ping": {"ingress": [{"icmps": [{"fields": [{"type": 8}]}]}], "egress": [{"toEntities": ["cluster"]}]},
}


@attrs.frozen
class Recipe:
    """
    How the next packets are made of what there was.

    Attributes:
        kind: One of `KINDS`.
        client: Who, of a few, asks; some are backends too.
        which: Which service and port.
        before: Which packet, counted from the last.
    """

    kind: str
    client: int
    port: int
    which: int
    before: int
    protocol: int
    flags: int
    step: int


@attrs.frozen
class Change:
    """What happens between two calls."""

    kind: str
    cluster: str
    name: str
    states: tuple[str, str, str]
    policy: str
    pod: int


recipes = st.builds(
    Recipe,
    kind=st.sampled_from([kind for kind, times in KINDS.items() for _ in range(times)]),
    client=st.sampled_from([0, 1, 2, 2, 2, 2, 3, 4]),
    port=st.sampled_from(CLIENT_PORTS),
    which=st.integers(0, 7),
    before=st.sampled_from([0, 0, 0, 1, 1, 2, 3]),
    protocol=st.sampled_from([0] * 16 + [1, 1, 1, 2, 2, 3, 4]),
    flags=st.sampled_from(FLAGS),
    step=st.sampled_from(STEPS + LEAPS),
)
changes = st.builds(
    Change,
    kind=st.sampled_from([kind for kind, times in CHANGES.items() for _ in range(times)]),
    cluster=st.sampled_from([EAST, WEST]),
    name=st.sampled_from(sorted(NUMBERS)),
    states=st.tuples(*[st.sampled_from(["ready", "terminating", "ready", "gone"])] * 3),
    policy=st.sampled_from(sorted(POLICIES)),
    pod=st.sampled_from(PODS),
)
rounds = st.lists(
    st.tuples(st.lists(changes, max_size=2), st.lists(recipes, min_size=4, max_size=14)),
    min_size=4,
    max_size=9,
)
Rounds: TypeAlias = Sequence[tuple[Sequence[Change], Sequence[Recipe]]]


def first_mesh() -> fm.Mesh:
    """Of both clusters; all services have the same backends, and clients are among them."""
    mesh = new_mesh()
    for cluster in IDS:
        for name in NUMBERS:
            mesh.members[cluster].apply(
                [service(cluster, name, affinity=AFFINITY if name == "sticky" else 0)]
            )
            mesh.members[cluster].apply(slices(cluster, name, {1: "ready"}))
        for number in PODS:
            mesh.members[cluster].apply(pod_manifest(cluster, number, app=f"p{number}"))
    return mesh


def policy_of(change: Change) -> str:
    """About one pod, or about all."""
    labels = {"app": f"p{change.pod}"} if change.states[0] == "ready" else {}
    spec = {"endpointSelector": {"matchLabels": labels}} | POLICIES[change.policy]
    return manifest("CiliumNetworkPolicy", change.policy, spec=spec)


def take(mesh: fm.Mesh, change: Change, newest: Place | None) -> None:
    member = mesh.members[change.cluster]
    if change.kind == "slices":
        member.apply(slices(change.cluster, change.name, dict(enumerate(change.states, 1))))
    elif change.kind in {"set", "empty"}:
        states = dict(enumerate(change.states, 1)) if change.kind == "set" else {}
        for cluster, name in itertools.product(IDS, NUMBERS):
            mesh.members[cluster].apply(slices(cluster, name, states))
    elif change.kind == "hit" and newest is not None:
        hit(mesh, newest, "gone" if change.states[0] == "gone" else "terminating")
    elif change.kind == "delete":
        if any(each.kind == "Service" and each.name == change.name for each in member.resources.values()):
            member.delete([service(change.cluster, change.name)])
    elif change.kind in {"service", "affinity"}:
        affinity = AFFINITY if change.kind == "affinity" else 0
        member.apply([service(change.cluster, change.name, affinity=affinity)])
    elif change.kind == "policy":
        key = ("CiliumNetworkPolicy", SPACE, change.policy)
        there = key in member.resources
        (member.delete if there else member.apply)(fm.load_manifests(policy_of(change)))
    elif change.kind == "relabel":
        app = f"p{PODS[len(change.name) % len(PODS)]}"
        member.apply(pod_manifest(change.cluster, change.pod, app=app))
    elif change.kind == "name":
        if change.cluster == EAST:
            mesh.dns["out.example"] = ["203.0.113.9", "2001:db8:1::9"]
        else:
            mesh.dns.pop("out.example", None)
    elif change.kind == "fail" and change.cluster == WEST:
        if member.failed:
            member.restore()
        else:
            member.fail()


def hit(mesh: fm.Mesh, backend: Place, state: str) -> None:
    """One backend changes for all services, the others of its cluster are ready."""
    for cluster, number in itertools.product(IDS, (1, 2, 3)):
        if backend[0] in {ip_address(pod(cluster, number, v6=v6)) for v6 in (False, True)}:
            states = {other: state if other == number else "ready" for other in (1, 2, 3)}
            for name in NUMBERS:
                mesh.members[cluster].apply(slices(cluster, name, states))


class Kitchen:
    """Makes packets of recipes; answers go to what the double did with earlier packets."""

    def __init__(self, *, v6: bool) -> None:
        self._v6 = v6
        self._time = 1000 * SECOND
        self._past: list[tuple[Packet, Walk]] = []
        outside = ip_address("2001:db8:1::9" if v6 else "203.0.113.9")
        self._clients = [
            *(ip_address(pod(EAST, number, v6=v6)) for number in (1, 2, 9)),
            ip_address(pod(WEST, 9, v6=v6)),
            outside,
        ]
        self._services = [
            *(ip_address(vip(EAST, name, v6=v6)) for name in ("alt", "scoped", "sticky", "sticky", "web")),
            *(ip_address(vip(EAST, name, v6=v6, external=True)) for name in ("web", "scoped")),
            ip_address(vip(WEST, "web", v6=v6)),
        ]

    @property
    def newest(self) -> Place | None:
        """The backend of the newest packet that had one."""
        return next((walk.backend for _, walk in reversed(self._past) if walk.backend is not None), None)

    def serve(self, recipes: Sequence[Recipe], decide: Decide) -> Iterator[tuple[Packet, Walk]]:
        for recipe in recipes:
            self._time += recipe.step
            for packet in self._make(recipe):
                walk = decide(packet)
                self._past.append((packet, walk))
                yield packet, walk

    def _make(self, recipe: Recipe) -> Iterator[Packet]:
        if not self._past or recipe.kind in {"ask", "talk", "direct", "any"}:
            first = self._ask(recipe)
            yield first
            if recipe.kind == "talk":
                yield self._answer(*self._past[-1], SYN | ACK)
                yield attrs.evolve(first, flags=ACK)
            return
        asked = [each for each in self._past if each[1].asked is not None]
        past = asked if asked and recipe.kind in {"further", "beside", "through", "close"} else self._past
        packet, walk = past[-1 - recipe.before % len(past)]
        if recipe.kind == "answer":
            yield self._answer(packet, walk, recipe.flags)
        elif recipe.kind in {"again", "further"}:
            yield attrs.evolve(packet, flags=recipe.flags, time=self._time)
        elif recipe.kind == "beside":
            yield attrs.evolve(packet, source_port=recipe.port, flags=SYN, time=self._time)
        elif recipe.kind == "through":
            address = self._services[recipe.which]
            yield attrs.evolve(packet, destination=address, flags=recipe.flags, time=self._time)
        elif recipe.kind == "close":
            yield attrs.evolve(packet, flags=FIN | ACK, time=self._time)
            yield self._answer(packet, walk, FIN | ACK)

    def _answer(self, asked: Packet, walk: Walk, flags: int) -> Packet:
        ends = (walk.destination, walk.destination_port, asked.source, asked.source_port)
        return Packet(*ends, walk.protocol, flags, self._time)

    def _ask(self, recipe: Recipe) -> Packet:
        client = self._clients[recipe.client]
        protocol, port, target = self._port(recipe.protocol)
        there: tuple[Address, int] = (self._services[recipe.which], port)
        if recipe.kind == "direct":
            cluster, number = (EAST, WEST)[recipe.which % 2], 1 + recipe.which % 3
            there = (ip_address(pod(cluster, number, v6=self._v6)), target)
        elif recipe.kind == "any":
            there = (self._clients[recipe.which % len(self._clients)], port)
        flags = SYN if recipe.kind == "talk" else recipe.flags
        return Packet(client, recipe.port, *there, protocol, flags, self._time)

    def _port(self, which: int) -> tuple[int, int, int]:
        """Protocol, port of services, port of backends."""
        if which < len(PORTS):
            _, name, port, target = PORTS[which]
            return PROTOCOLS[name], port, target
        return (ICMP[self._v6], 0, 0) if which == len(PORTS) else (47, 0, 0)

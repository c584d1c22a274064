"""
The programs in the kernel decide as the double does, which the core is compared with elsewhere.
"""

from __future__ import annotations

from base64 import b64decode

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpf import packets as frames
from bpf.node import ACTIVE, AFFINITY, DROP, EXTERNAL, INTERNAL, PASS, TERMINATING, TWO_SCOPES, Node
from doubles import datapath as double
from doubles.datapath import DENY, Packet, Walk
from doubles.datapath_mesh import view_of
from doubles.effort import examples
from doubles.packet_histories import PODS, Kitchen, Recipe, Rounds, first_mesh, rounds, take
from doubles.two_clusters import EAST, IDS, pod
from fleetmesh._core import PolicyTables

pytestmark = pytest.mark.kernel

SCTP, ICMP = 2, 3  # of recipes
REPLY, REDIRECT = 2, 3
WORLD = 9
TO_PROXY = 0x0200  # Cilium's mark
OUTSIDE = ("203.0.113.9", "2001:db8:1::9")
ADDRESSES = [*OUTSIDE, *(pod(name, number, v6=v6) for name in IDS for number in PODS for v6 in (False, True))]


def network_order(port: int) -> int:
    return int.from_bytes(port.to_bytes(2, "big"), "little")


class Agent:
    """Writes what a viewer decides with into the kernel's tables; numbers stay with what has them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._backends: dict[double.Place, int] = {}
        self._frontends: dict[double.FrontendKey, int] = {}

    def write(self, view: double.View, policy: PolicyTables) -> None:
        self._write_services(view)
        self._node.forget_policies()
        endpoints, entries = policy.entries()
        for identity, number, *lengths, enforced in endpoints:
            self._node.put_endpoint(identity, number, (lengths[0], lengths[1]), enforced)
        for endpoint, direction, identity, protocol, port, length, precedence, proxy, *auth, _ in entries:
            self._node.put_policy(
                endpoint,
                direction,
                identity,
                protocol=protocol,
                port=port,
                length=length,
                precedence=precedence,
                proxy_port=proxy,
                authentication=auth[0],
                explicit=bool(auth[1]),
            )
        for address in ADDRESSES:
            identity, cluster = policy.find(address) or (0, 0)
            self._node.locate(address, cluster=cluster, identity=identity)

    def _write_services(self, view: double.View) -> None:
        node = self._node
        node.forget_services()
        seed = b64decode(view.maglev_seed)
        node.configure(seed4=int.from_bytes(seed[4:8], "big"), seed6=int.from_bytes(seed[8:12], "big"))
        for network, cluster in view.ranges:
            node.locate(str(network), cluster=IDS[cluster], identity=WORLD)
        for place in {each.place for frontend in view.frontends.values() for each in frontend.backends}:
            best = view.backend(place)
            assert best is not None
            state = ACTIVE if best.state == "active" else TERMINATING
            address, port, protocol = place
            node.put_backend(self._number(place), str(address), port, protocol=protocol, state=state)
        for key, frontend in view.frontends.items():
            address, port, protocol, scope = key
            ids = [self._number(each.place) for each in frontend.backends[: frontend.in_use]]
            twin = scope == "external" and (address, port, protocol, "internal") in view.frontends
            node.put_service(
                str(address),
                port,
                node.put_table(ids, frontend.table),
                protocol=protocol,
                number=self._frontends.setdefault(key, len(self._frontends) + 1),
                scope=INTERNAL if scope == "internal" else EXTERNAL,
                flags=(AFFINITY if frontend.affinity else 0) | (TWO_SCOPES if twin else 0),
                affinity_seconds=frontend.affinity,
            )

    def _number(self, place: double.Place) -> int:
        return self._backends.setdefault(place, len(self._backends) + 1)


def framed(packet: Packet | Walk) -> bytes:
    ends = (str(packet.source), str(packet.destination), packet.source_port, packet.destination_port)
    return frames.Packet(*ends, packet.protocol, packet.flags).frame()


class Both:
    """Takes each packet through the kernel's programs and the double, side after side."""

    def __init__(self, node: Node, slow: double.Datapath) -> None:
        self._node = node
        self._slow = slow

    def process(self, packet: Packet) -> Walk:
        walk = double.begin(packet)
        goes_on = self._slow.leave(walk)
        outcome = self._node.from_pod(framed(packet))
        marks = [outcome.mark]
        assert outcome.code == (PASS if goes_on else DROP), (packet, walk)
        if not goes_on:
            return walk
        assert outcome.frame == framed(walk), (packet, walk)

        state, tracked = walk.state, self._slow.is_tracked(walk)
        if not tracked or state == REPLY or self._slow.is_here(walk.destination):
            self._slow.arrive(walk)
            arrived = self._node.to_pod(outcome.frame)
            assert arrived.code == (DROP if walk.verdict == DENY else PASS), (packet, walk)
            assert walk.verdict == DENY or arrived.frame == framed(walk), (packet, walk)
            marks = [each.mark for each in (outcome, arrived)]
            walk.state = state if tracked else walk.state
        wanted = TO_PROXY | network_order(walk.proxy_port) << 16 if walk.verdict == REDIRECT else 0
        assert walk.verdict == DENY or next(filter(None, marks), 0) == wanted, (packet, walk)
        return walk


def for_the_kernel(recipe: Recipe) -> Recipe:
    """
    Its clock goes its own way. It can't change the ports of SCTP, whose checksum covers them, and an echo has
    none.
    """
    return attrs.evolve(recipe, step=0, protocol=0 if recipe.protocol in {SCTP, ICMP} else recipe.protocol)


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rounds, st.booleans())
def test_the_kernel_s_programs_decide_as_the_double(node: Node, taken: Rounds, v6: bool) -> None:
    node.clear()
    mesh = first_mesh()
    slow = double.Datapath(view_of(mesh, EAST))
    agent, kitchen = Agent(node), Kitchen(v6=v6)
    both = Both(node, slow)
    for steps, recipes in taken:
        for change in steps:
            take(mesh, change, kitchen.newest)
        slow.view = view_of(mesh, EAST)
        with mesh.judged() as deciding:
            agent.write(slow.view, deciding.tables(EAST))
        for _ in kitchen.serve([for_the_kernel(each) for each in recipes], both.process):
            pass

"""
What policies say of packets, asked of everything that decides made anew, one flow at a time.
"""

from __future__ import annotations

from functools import cached_property

import fleetmesh as fm
from doubles.datapath import ALLOW, DENY, REDIRECT, Side
from doubles.packet_hash import Address
from fleetmesh.mesh.deciding import Deciding
from fleetmesh.policy.judge import Flow
from fleetmesh.policy.proxies import PROXY_PORTS

POLICY, POLICY_DENY = 133, 181
VERDICTS = {"allow": ALLOW, "deny": DENY, "redirect": REDIRECT}
LOCAL = 1 << 24


def everywhere_known(identity: int) -> int:
    """Identities of networks have numbers of a cluster's own, in the order in which they came: here one."""
    return min(identity, LOCAL)


class Judging:
    """One cluster of a mesh as it is now."""

    def __init__(self, mesh: fm.Mesh, cluster: str) -> None:
        self._view, self._dns, self._cluster = mesh.viewpoint(), mesh.dns.parsed(), cluster
        self._identities: dict[Address, int] = {}
        self._sides: dict[tuple[str, Address, Address, int, int], Side | None] = {}

    @cached_property
    def _deciding(self) -> Deciding:
        return Deciding(self._view, self._dns)

    def identity(self, address: Address) -> int:
        if address not in self._identities:
            judge = self._deciding.judge(self._cluster)
            number = self._deciding.peer(f"ip:{address}", self._cluster, judge)[0].number
            self._identities[address] = everywhere_known(number)
        return self._identities[address]

    def judge(self, direction: str, own: Address, other: Address, protocol: int, port: int) -> Side | None:
        asked = (direction, own, other, protocol, port)
        if asked not in self._sides:
            self._sides[asked] = self._judge(*asked)
        return self._sides[asked]

    def _judge(self, direction: str, own: Address, other: Address, protocol: int, port: int) -> Side | None:
        ends = [self._end(each) for each in (own, other)]
        if not ends[0].startswith(f"{self._cluster}/"):
            return None
        flow: tuple[str, str, Flow, str] = (ends[0], ends[1], Flow(protocol, port), direction)
        if self._deciding.verdict(*flow) == "allow":  # type: ignore[arg-type]
            return Side(ALLOW)
        side = self._deciding._side(*flow)  # type: ignore[arg-type]
        if side is None:
            return None
        reason = 0 if side.verdict != "deny" else POLICY_DENY if side.matched else POLICY
        proxy = PROXY_PORTS[side.l7, direction] if side.l7 else 0  # type: ignore[index]
        return Side(VERDICTS[side.verdict], reason, proxy)

    def _end(self, address: Address) -> str:
        pods = self._deciding.heard_pods_at(address, self._cluster)
        return next((f"{pod.cluster}/{pod.name}" for pod in pods), f"ip:{address}")

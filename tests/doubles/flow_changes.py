"""
Which flows are another in another state of a mesh, the slow and obvious way: every pair of ends is asked
about at every port at which anything could turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any, TypeAlias

import fleetmesh as fm
from fleetmesh.errors import NotFoundError
from fleetmesh.mesh.impact import FlowChange
from fleetmesh.mesh.policies import read_policies
from fleetmesh.policy.labels import ports_of
from fleetmesh.policy.rule import PROTOCOL_NUMBERS
from fleetmesh.policy.selectors import CidrSelector, FqdnSelector

Asked: TypeAlias = tuple[str, str, str, int]
Verdicts: TypeAlias = tuple[str | None, str | None]

LAST = {"TCP": 65535, "UDP": 65535, "SCTP": 65535, "ICMP": 255, "ICMPv6": 255}


def ports_to_ask(*meshes: fm.Mesh) -> set[tuple[str, int]]:
    """Where a rule begins or ends, on either side of it; and the first and the last port."""
    names = {PROTOCOL_NUMBERS[name.upper()]: name for name in LAST}
    found = {(name, port) for name, last in LAST.items() for port in (1, last)} | {("ICMP", 0), ("ICMPv6", 0)}
    for mesh in meshes:
        view = mesh.viewpoint()
        for member in view.members.values():
            for rule in read_policies(view, member).rules:
                for ports in (each for of in rule.ports for each in of.ports):
                    name = names.get(ports.protocol)
                    if name is not None:
                        around = (ports.first - 1, ports.first, ports.last, ports.last + 1)
                        found |= {(name, each) for each in around if 0 < each <= LAST[name]}
            for labels in member._store.identities:
                for named in ports_of(labels).values():
                    found |= {(named.protocol, each) for each in (named.number, named.number + 1)}
    return found


def inside_of(mesh: fm.Mesh) -> set[str]:
    """All pods and nodes."""
    pods = {
        f"{member.name}/{space}/{name}"
        for member in mesh.viewpoint().members.values()
        for space, pods in member._store.pods.items()
        for name in pods
    }
    return pods | {f"host:{name}" for name in mesh.members}


def turned(before: fm.Mesh, after: fm.Mesh, asked: Iterable[tuple[str, int]]) -> dict[Asked, Verdicts]:
    """Source, destination, protocol and port -> the verdicts, `None` where an end is not there."""
    ends = inside_of(before) | inside_of(after)
    pairs = ((source, destination) for source in ends for destination in ends - {source})
    return {
        (*pair, protocol, port): verdicts
        for pair in pairs
        for protocol, port in asked
        if (verdicts := turn(before, after, pair, protocol, port)) is not None
    }


def turned_outside(
    before: fm.Mesh, after: fm.Mesh, asked: Iterable[tuple[str, int]], addresses: Iterable[str]
) -> dict[Asked, Verdicts | None]:
    """The same for all pods and nodes with addresses, called as `expanded` calls them; where none, too."""
    found: dict[Asked, Verdicts | None] = {}
    for end in inside_of(before) | inside_of(after):
        cluster = end.partition("/")[0].removeprefix("host:")
        for address in addresses:
            name = region(address, cluster, before, after)
            for protocol, port in asked:
                to = turn(before, after, (end, f"ip:{address}"), protocol, port)
                source = turn(before, after, (f"ip:{address}", end), protocol, port)
                assert found.setdefault((end, name, protocol, port), to) == to
                assert found.setdefault((name, end, protocol, port), source) == source
    return found


def turn(before: fm.Mesh, after: fm.Mesh, pair: tuple[str, str], protocol: str, port: int) -> Verdicts | None:
    """To refuse is no other than not to be there."""
    had, has = (verdict(mesh, *pair, protocol, port) for mesh in (before, after))
    return None if had == has or {had, has} <= {None, "deny"} else (had, has)


def verdict(mesh: fm.Mesh, source: str, destination: str, protocol: str, port: int) -> str | None:
    try:
        return mesh.decide(source, destination, protocol=protocol, port=port).verdict
    except NotFoundError:
        return None


def region(address: str, cluster: str, *meshes: fm.Mesh) -> str:
    """The narrowest network that a cluster's policies name in any of the states; else the world."""
    at = ip_address(address)
    named: set[Any] = set()
    stacks = set()
    for mesh in meshes:
        view = mesh.viewpoint()
        member = view.members.get(cluster)
        if member is None:
            continue
        stacks.add(member.settings.enable_ipv6)
        peers = [peer for rule in read_policies(view, member).rules for peer in rule.peers or ()]
        named |= {each for peer in peers if isinstance(peer, CidrSelector) for each in peer.networks}
        if any(isinstance(peer, FqdnSelector) for peer in peers):
            named |= {ip_network(each) for found in mesh.dns.values() for each in found}
        for policy in member._store.policies.values():
            if policy.kind == "CiliumCIDRGroup":
                named |= {ip_network(each) for each in policy.document["spec"]["externalCIDRs"]}
    inside = [each for each in named if at in each and each.prefixlen]
    if inside:
        return str(max(inside, key=lambda each: each.prefixlen))
    return "world" if stacks == {False} else f"world-ipv{at.version}"


def expanded(
    changes: Iterable[FlowChange], asked: Iterable[tuple[str, int]]
) -> Iterator[tuple[Asked, Verdicts]]:
    """What changes stand for, at these ports; networks and the world by their names."""
    ports = list(asked)
    for change in changes:
        outside = {
            end: ends.name
            for ends in (*change.sources, *change.destinations)
            for end in ends.members
            if ends.kind in ("world", "network")
        }
        for protocol, port in ports:
            if any(each.protocol == protocol and each.first <= port <= each.last for each in change.ports):
                for source, destination in change.each_pair():
                    ends = (outside.get(source, source), outside.get(destination, destination))
                    yield (*ends, protocol, port), (change.before, change.after)

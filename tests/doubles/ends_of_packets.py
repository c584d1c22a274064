"""
Flows as `Mesh.decide` is asked about them, sent as packets.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fleetmesh as fm
from fleetmesh.policy.rule import PROTOCOL_NUMBERS

Address = IPv4Address | IPv6Address
VERDICTS = {"allow": 1, "deny": 2, "redirect": 3}
SYN = 2


def addresses_of(mesh: fm.Mesh, end: str) -> list[Address]:
    """Of a pod, a node or an address; nothing of an entity, or where none is known."""
    kind, colon, name = end.partition(":")
    view = mesh.viewpoint()
    if kind == "ip" and colon:
        return [ip_address(name)]
    if kind == "host" and colon:
        nodes = view.members[name]._store.nodes.values()
        return [ip_address(text) for node in nodes for kind, text in node.addresses if kind == "InternalIP"]
    if colon and kind == "entity":
        return []
    cluster, namespace, pod = end.split("/")
    found = view.members[cluster]._store.pods.group(namespace)[pod]
    return [ip_address(each) for each in found.addresses]


def _column(address: Address) -> NDArray[Any]:
    if address.version == 4:
        return np.array([int(address)], np.uint32)
    return np.frombuffer(address.packed, np.uint8).reshape(1, 16)


def packet(
    mesh: fm.Mesh, source: str, destination: str, protocol: str, port: int, source_port: int
) -> fm.Packets | None:
    """The first of a connection; `None` where the ends have no addresses of one family."""
    for near in addresses_of(mesh, source):
        for far in addresses_of(mesh, destination):
            if near.version == far.version:
                number = PROTOCOL_NUMBERS[protocol.upper()]
                make = fm.Packets.v4 if near.version == 4 else fm.Packets.v6
                return make(_column(near), _column(far), source_port, port, number, SYN)
    return None


def processed(
    mesh: fm.Mesh, source: str, destination: str, protocol: str, port: int, source_port: int
) -> tuple[int, int, int] | None:
    """Verdict, of the source's side, of the destination's; 0 where a side does not judge."""
    sent = packet(mesh, source, destination, protocol, port, source_port)
    if sent is None:
        return None
    found = mesh.process(sent)
    assert (found.proxy_port[0] != 0) == (found.verdict[0] == VERDICTS["redirect"])
    return int(found.verdict[0]), int(found.egress[0]), int(found.ingress[0])

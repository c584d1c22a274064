"""
Where the proxies of a node listen, which take over connections that L7 rules are about.
"""

from __future__ import annotations

from collections.abc import Mapping

from fleetmesh.policy.rule import Direction, Parser

PROXY_PORTS: Mapping[tuple[Parser, Direction], int] = {
    ("http", "egress"): 10000,
    ("http", "ingress"): 10001,
    ("dns", "egress"): 10002,
    ("tls", "egress"): 10003,
    ("tls", "ingress"): 10004,
}
"""Cilium takes any of its range, from 10000 to 20000, one for each kind (pkg/proxy/proxyports)."""

_FIRST_OF_LISTENERS = 10005


def proxy_port(parser: Parser, direction: Direction, listener: int) -> int:
    """
    Args:
        listener: Of parser `crd` the number of its listener, from 1.
    """
    if parser == "crd":
        return _FIRST_OF_LISTENERS + listener
    return PROXY_PORTS[parser, direction]

"""
The one form that every dialect of policy is read into (Cilium pkg/policy/types PolicyEntry).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from fleetmesh.policy.selectors import LabelSelector, Selector
from fleetmesh.resources.model import Origin

Direction: TypeAlias = Literal["ingress", "egress"]
Verdict: TypeAlias = Literal["allow", "deny", "pass"]
Tier: TypeAlias = Literal["admin", "normal", "baseline", "default"]
TIERS: tuple[Tier, ...] = ("admin", "normal", "baseline", "default")
"""In the order in which they decide."""

Parser: TypeAlias = Literal["http", "dns", "tls", "crd"]

ANY_PROTOCOL = 0
PROTOCOL_NUMBERS = {
    "ICMP": 1,
    "IGMP": 2,
    "IPIP": 4,
    "TCP": 6,
    "UDP": 17,
    "IPV6": 41,
    "GRE": 47,
    "ESP": 50,
    "AH": 51,
    "ICMPV6": 58,
    "VRRP": 112,
    "SCTP": 132,
}
WITH_PORTS = tuple(PROTOCOL_NUMBERS[name] for name in ("TCP", "UDP", "SCTP"))


@attrs.frozen
class PortRange:
    """
    Ports of one protocol, or ICMP types.

    Attributes:
        protocol: IANA's number; `ANY_PROTOCOL` with port 0 is everything, ICMP included.
        first: 0 is every port of the protocol, or a named one.
        last: Inclusive; `first` for a single one.
        name: "" for a number.
    """

    protocol: int
    first: int = 0
    last: int = 0
    name: str = ""

    def __str__(self) -> str:
        if self.protocol == ANY_PROTOCOL:
            return "everything"
        protocol = next(name for name, number in PROTOCOL_NUMBERS.items() if number == self.protocol)
        if self.name:
            return f"{self.name}/{protocol}"
        if not self.first:
            return protocol
        return (
            f"{self.first}-{self.last}/{protocol}" if self.last > self.first else f"{self.first}/{protocol}"
        )


EVERYTHING = PortRange(ANY_PROTOCOL)


@attrs.frozen
class HeaderMatch:
    """
    Attributes:
        value: `None` asks for the header's presence only.
        secret: Whether the value is in a Secret, which is not read.
        refuses: Whether a request without it is refused, and not only logged or mended.
    """

    name: str
    value: str | None = None
    secret: bool = False
    refuses: bool = True


@attrs.frozen
class HttpRule:
    """Regular expressions in RE2's syntax, which have to match as a whole; "" matches all."""

    path: str = ""
    method: str = ""
    host: str = ""
    headers: tuple[HeaderMatch, ...] = ()


@attrs.frozen
class DnsRule:
    name: str = ""
    pattern: str = ""


L7Rule: TypeAlias = HttpRule | DnsRule


@attrs.frozen
class PortRule:
    """
    Attributes:
        ports: None of them is none: such a rule selects nothing.
        parser: What takes over the connection; `None` where nothing does.
        l7: What of it is allowed; empty where all is.
        listener: Of a `crd` parser: name and priority.
    """

    ports: tuple[PortRange, ...]
    parser: Parser | None = None
    l7: tuple[L7Rule, ...] = ()
    server_names: tuple[str, ...] = ()
    listener: tuple[str, int] = ("", 0)
    terminates_tls: bool = False


@attrs.frozen
class Source:
    """
    Where a rule stands.

    Attributes:
        subject: Such as `CiliumNetworkPolicy prod/api`.
        path: Of the rule in its object: `spec.ingress[0]`.
    """

    subject: str
    path: str
    origin: Origin | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Rule:
    """
    Attributes:
        priority: Within the tier; a lower one decides first.
        subject: Whose packets are judged; `on_host` says that it is the nodes'.
        peers: Who the other end may be, any one of these; `None` is nobody. Without any, with ports, it is
            everybody; without any and without ports, nobody.
        ports: Without any, all of them.
        authentication: `"required"`, `"disabled"` or "".
        of_services: Whether its peers are those behind Services, of which there may be none.
        default_deny: Whether the rule makes its subject refuse what no rule allows.
    """

    direction: Direction
    verdict: Verdict
    subject: LabelSelector
    peers: tuple[Selector, ...] | None
    source: Source
    tier: Tier = "normal"
    priority: float = 0.0
    ports: tuple[PortRule, ...] = ()
    authentication: str = ""
    of_services: bool = False
    default_deny: bool = True
    on_host: bool = False

    @property
    def level(self) -> tuple[int, float]:
        """Rules of a lower one decide first."""
        return TIERS.index(self.tier), self.priority

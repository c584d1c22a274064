"""
Ports and ICMP types of rules, as Cilium's policies write them (pkg/policy/api l4.go, icmp.go,
rule_validation.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from fleetmesh.policy.labels import is_service_name
from fleetmesh.policy.reading import Field
from fleetmesh.policy.rule import PROTOCOL_NUMBERS, WITH_PORTS, PortRange

MOST = 40
"""Ports of one rule, and ICMP types of one."""

_WITHOUT_PORTS = ("VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH")
_PROTOCOLS = ("TCP", "UDP", "SCTP", "ANY")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]*|0[bB][01_]+|[1-9][0-9_]*")

ICMP_TYPES: Mapping[str, int] = {
    "EchoReply": 0,
    "DestinationUnreachable": 3,
    "Redirect": 5,
    "Echo": 8,
    "EchoRequest": 8,
    "RouterAdvertisement": 9,
    "RouterSelection": 10,
    "TimeExceeded": 11,
    "ParameterProblem": 12,
    "Timestamp": 13,
    "TimestampReply": 14,
    "Photuris": 40,
    "ExtendedEchoRequest": 42,
    "ExtendedEchoReply": 43,
}
ICMPV6_TYPES: Mapping[str, int] = {
    "DestinationUnreachable": 1,
    "PacketTooBig": 2,
    "TimeExceeded": 3,
    "ParameterProblem": 4,
    "EchoRequest": 128,
    "EchoReply": 129,
    "MulticastListenerQuery": 130,
    "MulticastListenerReport": 131,
    "MulticastListenerDone": 132,
    "RouterSolicitation": 133,
    "RouterAdvertisement": 134,
    "NeighborSolicitation": 135,
    "NeighborAdvertisement": 136,
    "RedirectMessage": 137,
    "RouterRenumbering": 138,
    "ICMPNodeInformationQuery": 139,
    "ICMPNodeInformationResponse": 140,
    "InverseNeighborDiscoverySolicitation": 141,
    "InverseNeighborDiscoveryAdvertisement": 142,
    "HomeAgentAddressDiscoveryRequest": 144,
    "HomeAgentAddressDiscoveryReply": 145,
    "MobilePrefixSolicitation": 146,
    "MobilePrefixAdvertisement": 147,
    "DuplicateAddressRequestCodeSuffix": 157,
    "DuplicateAddressConfirmationCodeSuffix": 158,
    "ExtendedEchoRequest": 160,
    "ExtendedEchoReply": 161,
}


def read_port(field: Field) -> tuple[PortRange, ...]:
    """
    One entry of `ports`: a port, a range or a name, for one protocol or for TCP, UDP and SCTP.
    """
    field.object(("port", "endPort", "protocol"))
    text = _port_text(field["port"])
    protocols = _protocols(field["protocol"], field["port"])
    if is_service_name(text):
        return tuple(PortRange(protocol, name=text.lower()) for protocol in protocols)
    first = _number(field["port"], text)
    last = field["endPort"].number()
    if not 0 <= last <= 65535:
        raise field["endPort"].refuse(f"is {last}; expected 0 to 65535")
    return tuple(port_range(protocol, first, last) for protocol in protocols)


def port_range(protocol: int, first: int, last: int) -> PortRange:
    """
    Port 0 is every port, whatever the end; a range that ends before it begins is the first port alone
    (pkg/policy keysForRange).
    """
    return PortRange(protocol, first, max(first, last) if first else 0)


def read_icmp(field: Field) -> tuple[PortRange, ...]:
    """One entry of `icmps`: all of its types."""
    field.object(("fields",))
    fields = tuple(field["fields"].items())
    if len(fields) > MOST:
        raise field["fields"].refuse(f"has {len(fields)} types; at most {MOST} are allowed")
    return tuple(_icmp_types(fields))


def _icmp_types(fields: tuple[Field, ...]) -> Iterator[PortRange]:
    for each in fields:
        each.object(("family", "type"))
        family = each["family"].text()
        if family not in {"", "IPv4", "IPv6"}:
            raise each["family"].refuse(f"is {family!r}; expected IPv4 or IPv6")
        names, protocol = (ICMPV6_TYPES, "ICMPV6") if family == "IPv6" else (ICMP_TYPES, "ICMP")
        given = each["type"].value
        if isinstance(given, str):
            number = names.get(given, int(given) if given.isdecimal() else -1)
            if number < 0:
                raise each["type"].refuse(f"is {given!r}, which is no type of {family or 'IPv4'}")
        else:
            number = each["type"].number(-1)
        if not 0 <= number <= 255:
            raise each["type"].refuse(f"is {given!r}; expected 0 to 255 or a name")
        yield port_range(PROTOCOL_NUMBERS[protocol], number, number)


def _port_text(field: Field) -> str:
    text = field.text()
    if not text:
        raise field.refuse(
            "is missing; expected a port's number or name (protocols without ports may leave it out under "
            "the flag enable-extended-ip-protocols, which fleetmesh does not know)"
        )
    return text


def _number(field: Field, text: str) -> int:
    """As Go's ParseUint with base 0 and 16 bits reads it."""
    if not _NUMBER.fullmatch(text):
        raise field.refuse(f"is {text!r}; expected a number from 0 to 65535 or an IANA service name")
    digits = text if text == "0" or text[1:2].isalpha() or text[0] != "0" else f"0o{text[1:]}"
    number = int(digits, 0)
    if number > 65535:
        raise field.refuse(f"is {text}; expected a number from 0 to 65535 or an IANA service name")
    return number


def _protocols(field: Field, port: Field) -> tuple[int, ...]:
    name = (field.text() or "ANY").upper()
    if name in _WITHOUT_PORTS:
        if port.text() != "0":
            raise port.refuse(f"is {port.text()!r}; {name} has no ports, so that it must be 0")
    elif name not in _PROTOCOLS:
        known = ", ".join((*_PROTOCOLS, *_WITHOUT_PORTS))
        raise field.refuse(f"is {name!r}; expected one of {known}")
    return WITH_PORTS if name == "ANY" else (PROTOCOL_NUMBERS[name],)

"""
Ports of a protocol, and what to call them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

LIMITS = {"TCP": (1, 65535), "UDP": (1, 65535), "SCTP": (1, 65535), "ICMP": (0, 255), "ICMPv6": (0, 255)}
"""The first and the last port, or type, of each protocol that `Mesh.decide` takes."""

_USUAL = (("TCP", 80), ("TCP", 443), ("TCP", 8080), ("UDP", 53))


@attrs.frozen
class Ports:
    """
    Attributes:
        protocol: `TCP`, `UDP`, `SCTP`, `ICMP` or `ICMPv6`.
        first, last: Ports, or types of ICMP; both belong to it.
    """

    protocol: str
    first: int
    last: int

    @property
    def whole(self) -> bool:
        """Whether it is all of its protocol."""
        return (self.first, self.last) == LIMITS[self.protocol]

    def __str__(self) -> str:
        if self.whole:
            return self.protocol
        return f"{self.protocol} {self.first}" + (f"-{self.last}" if self.last > self.first else "")


def as_ports(keys: Iterable[tuple[int, int]], protocols: Mapping[int, str]) -> Iterator[Ports]:
    """
    The ports of ranges of protocol << 16 | port, sorted by protocol and port.

    Args:
        keys: From and to (exclusive) each, sorted; neighbours are joined.
        protocols: Number -> name.
    """
    ranges = list(_joined_keys(keys))
    numbers = {name: number for number, name in protocols.items()}
    for name, (low, high) in LIMITS.items():
        number = numbers[name] << 16
        for start, end in ranges:
            first, last = max(start, number | low), min(end - 1, number | high)
            if first <= last:
                yield Ports(name, first & 0xFFFF, last & 0xFFFF)


def union(one: Iterable[Ports], other: Iterable[Ports]) -> tuple[Ports, ...]:
    """All ports of both, which have none in common."""
    order = list(LIMITS)
    found: list[Ports] = []
    for each in sorted([*one, *other], key=lambda each: (order.index(each.protocol), each.first)):
        if found and (found[-1].protocol, found[-1].last + 1) == (each.protocol, each.first):
            found[-1] = attrs.evolve(found[-1], last=each.last)
        else:
            found.append(each)
    return tuple(found)


def telling_port(spans: Sequence[Ports]) -> tuple[str, int]:
    """Protocol and port of one that a person would name: a single one, else a usual one, else the first."""
    for each in spans:
        if each.first == each.last:
            return each.protocol, each.first
    for protocol, port in _USUAL:
        if any(each.protocol == protocol and each.first <= port <= each.last for each in spans):
            return protocol, port
    return spans[0].protocol, spans[0].first


def _joined_keys(keys: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    last: tuple[int, int] | None = None
    for start, end in keys:
        if last is not None and last[1] == start:
            last = (last[0], end)
            continue
        if last is not None:
            yield last
        last = (start, end)
    if last is not None:
        yield last


def ports_in_words(spans: Sequence[Ports]) -> str:
    """Such as `TCP 80, UDP 53`, `all ports`, or `all ports but TCP 5432` where that is shorter."""
    rest = _rest(spans)
    if not rest:
        return "all ports"
    if len(rest) < len(spans):
        return f"all ports but {_joined(rest)}"
    return _joined(spans)


def _rest(spans: Sequence[Ports]) -> list[Ports]:
    """What is lacking to all ports."""
    found = []
    for protocol, (first, last) in LIMITS.items():
        at = first
        for each in spans:
            if each.protocol == protocol:
                if each.first > at:
                    found.append(Ports(protocol, at, each.first - 1))
                at = each.last + 1
        if at <= last:
            found.append(Ports(protocol, at, last))
    return found


def _joined(spans: Sequence[Ports]) -> str:
    """Each protocol once."""
    by_protocol: dict[str, list[str]] = {}
    for each in spans:
        parts = by_protocol.setdefault(each.protocol, [])
        if not each.whole:
            parts.append(f"{each.first}-{each.last}" if each.last > each.first else str(each.first))
    return ", ".join(" ".join([name, ",".join(parts)]).rstrip() for name, parts in by_protocol.items())

"""
Frames, with every checksum computed from the start: what a rewritten packet is compared with.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address, ip_address

from attrs import evolve, frozen

ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
FIN, SYN, RST, ACK = 1, 2, 4, 16
IPV4, IPV6 = 0x0800, 0x86DD
MACS = bytes.fromhex("020000000002020000000001")


def checksum(data: bytes) -> int:
    """
    RFC 1071.
    """
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@frozen
class Packet:
    source: str
    destination: str
    source_port: int
    destination_port: int
    protocol: int = TCP
    flags: int = ACK
    payload: bytes = b"hello"
    checked: bool = True
    """Whether a UDP packet has a checksum."""

    @property
    def v6(self) -> bool:
        return isinstance(ip_address(self.source), IPv6Address)

    def _transport(self, pseudo: bytes) -> bytes:
        ports = struct.pack(">HH", self.source_port, self.destination_port)
        if self.protocol == TCP:
            head = struct.pack(">IIBBHHH", 7, 9, 5 << 4, self.flags, 4096, 0, 0)
            whole = ports + head + self.payload
            place = 16
        elif self.protocol == UDP:
            whole = ports + struct.pack(">HH", 8 + len(self.payload), 0) + self.payload
            place = 6
        elif self.protocol == SCTP:
            # A CRC over header and data, which nothing on the way looks at.
            return ports + struct.pack(">II", 11, 0x01020304) + self.payload
        elif self.protocol in {ICMP, ICMPV6}:
            # An echo: its kind stands for the source's port, its number for the destination's.
            whole = struct.pack(">BBHHH", self.source_port, 0, 0, self.destination_port, 1) + self.payload
            place = 2
        else:
            return self.payload
        if not self.checked:
            return whole
        covered = (
            whole if self.protocol == ICMP else pseudo + struct.pack(">IHH", len(whole), 0, self.protocol)
        )
        value = checksum(covered + (b"" if self.protocol == ICMP else whole))
        if self.protocol == UDP:
            value = value or 0xFFFF
        return whole[:place] + struct.pack(">H", value) + whole[place + 2 :]

    def frame(self, *, fragment: int = 0, options: bytes = b"") -> bytes:
        """
        From the Ethernet header on; `fragment` is the field of that name, `options` are IPv4's.
        """
        ends = ip_address(self.source).packed + ip_address(self.destination).packed
        body = self._transport(ends)
        if self.v6:
            head = struct.pack(">IHBB", 6 << 28 | 5, len(body), self.protocol, 64)
            return MACS + struct.pack(">H", IPV6) + head + ends + body
        words = 5 + len(options) // 4
        size = words * 4 + len(body)
        head = (
            struct.pack(">BBHHHBBH", 4 << 4 | words, 0, size, 77, fragment, 64, self.protocol, 0)
            + ends
            + options
        )
        head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
        return MACS + struct.pack(">H", IPV4) + head + body

    def to(self, address: str, port: int) -> Packet:
        return evolve(self, destination=address, destination_port=port)

    def answer(self, *, flags: int = ACK, payload: bytes = b"welcome") -> Packet:
        """
        The packet that goes the other way.
        """
        return evolve(
            self,
            source=self.destination,
            destination=self.source,
            source_port=self.destination_port,
            destination_port=self.source_port,
            flags=flags,
            payload=payload,
        )


def destination_of(frame: bytes) -> tuple[str, int]:
    """
    The address and port that a frame goes to.
    """
    if frame[12:14] == struct.pack(">H", IPV6):
        return str(ip_address(frame[38:54])), int.from_bytes(frame[56:58], "big")
    return str(ip_address(frame[30:34])), int.from_bytes(frame[36:38], "big")

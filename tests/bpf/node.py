"""
The loaded programs with their tables: what a node's agent would write, a method for each table.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from attrs import define, field, frozen

from bpf.elf import ObjectFile
from bpf.kernel import MAP_ARRAY, MAP_PERCPU_ARRAY, Loaded, Outcome
from bpf.packets import TCP, Packet

ABI = 2
PASS, DROP = 0, 2
EXTERNAL, INTERNAL = 0, 1
AFFINITY, TWO_SCOPES, WIDE = 1, 2, 4
ACTIVE, TERMINATING = 0, 1
OUT, IN, SERVICE = 0, 1, 2
INVALID, UNKNOWN_PROTOCOL, CHECKSUM, FRAGMENT, NO_BACKEND = 134, 137, 154, 157, 158
PAGE = 4096
POLICY, POLICY_DENY, AUTH_REQUIRED = 133, 181, 189
LEVEL = 0xFFFFFF00
ALLOWED, DENIED, REDIRECTED = LEVEL | 1, LEVEL | 255, LEVEL | 153
CLUSTER = 1
IDENTITY_BITS = 16

# What the tests need; the file's own sizes are a node's.
ENTRIES = {"ranks": 64, "ids": 64, "policies": 8192}
FEW = 1024


def family(address: str) -> str:
    return str(ip_address(address).version)


def packed(address: str) -> bytes:
    return ip_address(address).packed


def network_order(port: int) -> bytes:
    return struct.pack(">H", port)


def entries_of(file: ObjectFile) -> dict[str, int]:
    return {name: ENTRIES.get(name, min(spec.entries, FEW)) for name, spec in file.maps.items()}


@frozen
class Table:
    """Where a table stands in the pools."""

    ranks_at: int
    size: int
    ids_at: int
    ids: tuple[int, ...]


@define
class Node:
    loaded: Loaded
    _ranks: int = field(default=0, init=False)
    """Places of the pool of ranks that are taken."""
    _ids: int = field(default=0, init=False)

    def configure(self, *, abi: int = ABI, seed4: int = 0x46D21AA1, seed6: int = 0x79F1A5C3) -> None:
        self.loaded.maps["config"].put(
            struct.pack("<I", 0), struct.pack("<IIIHBB", abi, seed4, seed6, CLUSTER, IDENTITY_BITS, 0)
        )

    def clear(self) -> None:
        """
        As if loaded anew, which takes longer.
        """
        for name, table in self.loaded.maps.items():
            if table.spec.type not in {MAP_ARRAY, MAP_PERCPU_ARRAY}:
                for key in list(table.keys()):
                    table.remove(key)
            elif name == "drops":
                for reason in range(table.spec.entries):
                    table.put(struct.pack("<I", reason), bytes(table.size))
        self._ranks = self._ids = 0
        self.configure()

    def _fill(self, pool: str, at: int, data: bytes) -> None:
        """
        Writes bytes into a pool, across its pages.
        """
        pages = self.loaded.maps[pool]
        while data:
            page, offset = divmod(at, PAGE)
            key = struct.pack("<I", page)
            old = pages.get(key)
            assert old is not None, f"the pool {pool} has no page {page}"
            piece = data[: PAGE - offset]
            pages.put(key, old[:offset] + piece + old[offset + len(piece) :])
            at += len(piece)
            data = data[len(piece) :]

    def put_table(self, ids: Sequence[int], table: Sequence[int], *, wide: bool = False) -> Table:
        """
        A table of ranks and the ids of its backends, where nothing was before.
        """
        width = 4 if wide else 2
        self._ranks += self._ranks % 2
        placed = Table(self._ranks, len(table), self._ids, tuple(ids))
        self._fill("ranks", self._ranks * 2, b"".join(rank.to_bytes(width, "little") for rank in table))
        self._fill("ids", self._ids * 4, struct.pack(f"<{len(ids)}I", *ids))
        self._ranks += len(table) * width // 2
        self._ids += len(ids)
        return placed

    def put_service(
        self,
        address: str,
        port: int,
        table: Table,
        *,
        protocol: int = TCP,
        number: int = 1,
        scope: int = EXTERNAL,
        flags: int = 0,
        affinity_seconds: int = 0,
    ) -> None:
        """
        A frontend, as it is from now on.
        """
        members = self.loaded.maps[f"members{family(address)}"]
        for member in list(members.keys()):
            if member[:4] == struct.pack("<I", number):
                members.remove(member)
        for identifier in table.ids if affinity_seconds else ():
            members.put(struct.pack("<II", number, identifier), b"\1")
        value = struct.pack(
            "<IIIIIIHHI",
            table.ranks_at,
            table.size,
            table.ids_at,
            len(table.ids),
            number,
            affinity_seconds,
            flags,
            0,
            0,
        )
        key = packed(address) + network_order(port) + bytes([protocol, scope])
        self.loaded.maps[f"services{family(address)}"].put(key, value)

    def forget_services(self) -> None:
        """
        No service and no backend, but what is known of connections stays.
        """
        for version in "46":
            for name in ("services", "members", "backends"):
                table = self.loaded.maps[name + version]
                for key in list(table.keys()):
                    table.remove(key)
        self._ranks = self._ids = 0

    def put_backend(
        self, identifier: int, address: str, port: int, *, protocol: int = TCP, state: int = ACTIVE
    ) -> None:
        value = packed(address) + network_order(port) + struct.pack("<BBHH", protocol, state, CLUSTER, 0)
        self.loaded.maps[f"backends{family(address)}"].put(struct.pack("<I", identifier), value)

    def remove_backend(self, identifier: int, version: str = "4") -> None:
        self.loaded.maps[f"backends{version}"].remove(struct.pack("<I", identifier))

    def locate(self, network: str, *, cluster: int, identity: int = 100) -> None:
        """
        What is known of an address, or of a prefix.
        """
        wanted = ip_network(network)
        value = struct.pack("<IHH", identity, cluster, 0)
        start = wanted.network_address.packed
        if wanted.prefixlen == wanted.max_prefixlen:
            self.loaded.maps[f"addresses{wanted.version}"].put(start, value)
        else:
            key = struct.pack("<I", wanted.prefixlen) + start
            self.loaded.maps[f"prefixes{wanted.version}"].put(key, value)

    def put_endpoint(self, identity: int, number: int, lengths: tuple[int, int], enforced: int) -> None:
        """
        Whom policies are about; lengths are bits of the prefix lengths in use, at egress and at ingress.
        """
        port_bits = [max(0, each.bit_length() - 1 - 8) for each in lengths]
        value = struct.pack("<IIIBBBB", number, *lengths, *port_bits, enforced, 0)
        self.loaded.maps["endpoints"].put(struct.pack("<I", identity), value)

    def put_policy(
        self,
        endpoint: int,
        direction: int,
        identity: int,
        *,
        protocol: int = 0,
        port: int = 0,
        length: int = 0,
        precedence: int = ALLOWED,
        proxy_port: int = 0,
        authentication: int = 0,
        explicit: bool = False,
    ) -> None:
        """
        An entry of an endpoint.
        """
        key = struct.pack("<II", endpoint, identity) + network_order(port)
        key += struct.pack("<BBBBH", direction, protocol, length, 0, 0)
        value = struct.pack("<IHBBI", precedence, proxy_port, authentication, explicit, 0)
        self.loaded.maps["policies"].put(key, value)

    def forget_policies(self) -> None:
        for name in ("endpoints", "policies"):
            table = self.loaded.maps[name]
            for key in list(table.keys()):
                table.remove(key)

    def from_pod(self, frame: bytes) -> Outcome:
        return self.loaded.programs["from_pod"].run(frame)

    def to_pod(self, frame: bytes) -> Outcome:
        return self.loaded.programs["to_pod"].run(frame)

    def _key(self, packet: Packet, direction: int) -> tuple[str, bytes]:
        table = ("tcp" if packet.protocol == TCP else "other") + family(packet.source)
        ends = packed(packet.source) + packed(packet.destination)
        ports = network_order(packet.source_port) + network_order(packet.destination_port)
        return table, ends + ports + struct.pack("<BBH", packet.protocol, direction, 0)

    def knows(self, packet: Packet, direction: int) -> bool:
        """
        Whether there is an entry for the connection, as this packet goes.
        """
        table, key = self._key(packet, direction)
        return self.loaded.maps[table].get(key) is not None

    def expire(self, packet: Packet, direction: int) -> None:
        """
        As if its connection's time were over.
        """
        table, key = self._key(packet, direction)
        value = self.loaded.maps[table].get(key)
        assert value is not None
        self.loaded.maps[table].put(key, struct.pack("<Q", 1) + value[8:])

    def age_affinities(self, version: str) -> None:
        """
        As if every client of that family had last been seen when the machine began.
        """
        affinities = self.loaded.maps[f"affinities{version}"]
        for key in list(affinities.keys()):
            affinities.put(key, bytes(8) + (affinities.get(key) or b"")[8:])

    def drops(self) -> dict[int, int]:
        """
        Packets dropped, by reason.
        """
        counts: dict[int, int] = {}
        for reason in range(self.loaded.maps["drops"].spec.entries):
            values = self.loaded.maps["drops"].get(struct.pack("<I", reason)) or b""
            if any(values):
                counts[reason] = sum(struct.unpack(f"<{len(values) // 8}Q", values))
        return counts

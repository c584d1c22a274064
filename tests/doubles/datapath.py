"""
A data path that takes one packet at a time and looks everything up in dictionaries.

After Cilium 1.20: bpf/bpf_lxc.c (what is asked in which order), lb4_local of bpf/lib/lb.h, __ct_lookup and
ct_create4 of bpf/lib/conntrack.h. Backends and frontends are told by what they are, not by numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

import attrs

from doubles.bounded import Bounded, Held
from doubles.packet_hash import Address, packet_hash

Place: TypeAlias = tuple[Address, int, int]  # address, port, protocol
FrontendKey: TypeAlias = tuple[Address, int, int, str]  # address, port, protocol, scope
ServiceName: TypeAlias = tuple[str, str]

SECOND = 10**9
TCP_LIFETIME = 21600 * SECOND
OTHER_LIFETIME = 60 * SECOND
SYN_LIFETIME = 60 * SECOND
CLOSE_LIFETIME = 10 * SECOND

ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
UNKNOWN, ALLOW, DENY, REDIRECT = 0, 1, 2, 3
UNKNOWN_PROTOCOL, NO_BACKEND = 137, 158
NEW, ESTABLISHED, REPLY = 0, 1, 2
STATES = ("active", "terminating", "terminating-not-serving", "quarantined", "maintenance")


@attrs.frozen
class Packet:
    source: Address
    source_port: int
    destination: Address
    destination_port: int
    protocol: int
    flags: int
    time: int


@attrs.frozen
class Backend:
    place: Place
    state: str
    cluster: str


@attrs.frozen
class Frontend:
    """
    Attributes:
        backends: First those that take new connections, `in_use` of them, in the order of the table.
        table: Ranks of them by slot.
        affinity: Seconds; 0: none.
    """

    service: ServiceName
    backends: tuple[Backend, ...]
    in_use: int
    table: Sequence[int]
    affinity: int


@attrs.frozen
class Side:
    """
    What policy says of a connection.

    Attributes:
        reason: Why it is denied; else 0.
        proxy_port: Of whoever takes it over; else 0.
    """

    verdict: int
    reason: int = 0
    proxy_port: int = 0


def nobody(_address: Address) -> int:
    return 0


def not_judged(_direction: str, _own: Address, _other: Address, _protocol: int, _port: int) -> Side | None:
    return None


@attrs.frozen
class View:
    """
    What one viewer decides with.

    Attributes:
        ranges: Where the clusters are that it hears.
        identity: Of whoever has an address.
        judge: What the viewer's policies say of `egress` or `ingress` of one of its own addresses, another
            end, protocol and port of the destination; `None` where they are not about it.
    """

    cluster: str
    frontends: Mapping[FrontendKey, Frontend]
    ranges: Sequence[tuple[IPv4Network | IPv6Network, str]]
    maglev_seed: str
    identity: Callable[[Address], int] = nobody
    judge: Callable[[str, Address, Address, int, int], Side | None] = not_judged

    def cluster_of(self, address: Address) -> str | None:
        inside = [(net.prefixlen, name) for net, name in self.ranges if address in net]
        return max(inside)[1] if inside else None

    def backend(self, place: Place) -> Backend | None:
        """A backend of several services is in the best state that one of them says."""
        known = [each for f in self.frontends.values() for each in f.backends if each.place == place]
        return min(known, key=lambda each: STATES.index(each.state), default=None)


@attrs.define
class Entry:
    """
    One connection, as one of its observers knows it.

    Attributes:
        service: The frontend that it went to.
        backend: What the frontend gave it; of service entries only.
    """

    service: FrontendKey | None = None
    backend: Place | None = None
    tx_closing: bool = False
    rx_closing: bool = False
    seen_non_syn: bool = False
    tx_flags: int = 0
    rx_flags: int = 0

    @property
    def alive(self) -> bool:
        return not (self.tx_closing and self.rx_closing)


@attrs.define
class Walk:
    """A packet on its way, and what is found out."""

    time: int
    source: Address
    source_port: int
    destination: Address
    destination_port: int
    protocol: int
    flags: int
    verdict: int = ALLOW
    reason: int = 0
    state: int = NEW
    backend: Place | None = None
    service: FrontendKey | None = None
    asked: FrontendKey | None = None  # the service that the packet was for
    opened: bool = False
    egress: int = UNKNOWN
    ingress: int = UNKNOWN
    source_identity: int = 0
    destination_identity: int = 0
    proxy_port: int = 0

    def drop(self, reason: int) -> bool:
        self.verdict, self.reason, self.proxy_port = DENY, reason, 0
        return False


class Datapath:
    """That of one viewer."""

    def __init__(self, view: View, *, tcp: int = 2**30, other: int = 2**30, affinities: int = 2**30) -> None:
        self.view = view
        self.counters: Counter[tuple[ServiceName, str | None, str]] = Counter()
        self._connections: dict[tuple[bool, int], Bounded[object, Entry]] = {
            (is_tcp, version): Bounded(tcp if is_tcp else other)
            for is_tcp in (True, False)
            for version in (4, 6)
        }
        self._affinity: dict[int, Bounded[tuple[Address, FrontendKey], tuple[int, Place]]] = {
            version: Bounded(affinities) for version in (4, 6)
        }

    @property
    def connections(self) -> tuple[int, int, int]:
        """Entries of TCP, of others, and how many were evicted."""
        tcp = [table for (is_tcp, _), table in self._connections.items() if is_tcp]
        other = [table for (is_tcp, _), table in self._connections.items() if not is_tcp]
        return sum(map(len, tcp)), sum(map(len, other)), sum(each.evicted for each in tcp + other)

    def process(self, packet: Packet) -> Walk:
        """A packet at this cluster: out of an endpoint here, into one, or both."""
        walk = begin(packet)
        if self.leave(walk):
            here = self.is_here(walk.destination)
            tracked, state = self.is_tracked(walk), walk.state
            if not tracked or state == REPLY or here:
                self.arrive(walk)
                if tracked:
                    walk.state = state
        return walk

    def leave(self, walk: Walk) -> bool:
        """What the source's node does with it. Whether it goes on."""
        goes_on = known_protocol(walk)
        if goes_on:
            walk.source_identity = self.view.identity(walk.source)
            goes_on = self._balance(walk)
        self._count(walk)
        if not goes_on:
            return False
        opens = self.is_tracked(walk) and self._track_out(walk)
        walk.destination_identity = self.view.identity(walk.destination)
        if not self._passes(walk, "egress"):
            return False
        if opens:
            self._create(walk, "out", Entry(service=walk.service))
        return True

    def arrive(self, walk: Walk) -> None:
        """What the destination's node does with it."""
        walk.state = NEW
        walk.source_identity = self.view.identity(walk.source)
        known = self._find(walk, "out", backwards=True)
        if known is not None and self._take(known, walk, "in"):
            walk.state = REPLY
            walk.service = known.value.service
            if walk.service is not None:
                walk.source, walk.source_port = walk.service[:2]
            return
        if not self.is_here(walk.destination):
            return
        known = self._find(walk, "in")
        if known is not None and self._take(known, walk, "in"):
            walk.state = ESTABLISHED
        if self._passes(walk, "ingress") and walk.state == NEW:
            self._create(walk, "in", Entry())

    # Policy

    def _passes(self, walk: Walk, direction: str) -> bool:
        """One side's verdict; answers pass by their connection, and whoever talks to itself."""
        ends = (walk.source, walk.destination)
        own, other = ends if direction == "egress" else reversed(ends)
        if walk.state == REPLY or own == other or not self.is_here(own):
            return True
        side = self.view.judge(direction, own, other, walk.protocol, walk.destination_port)
        if side is None:
            return True
        setattr(walk, direction, side.verdict)
        if side.verdict == DENY:
            return walk.drop(side.reason)
        if side.verdict == REDIRECT:
            walk.verdict = REDIRECT
            walk.proxy_port = walk.proxy_port or side.proxy_port
        return True

    # Services

    def _balance(self, walk: Walk) -> bool:
        key = self._frontend(walk)
        if key is None:
            return True
        frontend = self.view.frontends[key]
        walk.asked = walk.service = key
        known = self._find(walk, "service")
        # What another service of that address left behind does not count.
        if known is not None and known.value.service == key and self._take(known, walk, "service"):
            backend = self._keep(known.value, walk, frontend)
        else:
            backend = self._open(walk, frontend)
        if backend is None:
            return walk.drop(NO_BACKEND)
        walk.backend = backend
        if frontend.affinity:
            self._affinity[walk.source.version].put((walk.source, key), (walk.time, backend), walk.time)
        walk.destination, walk.destination_port = backend[:2]
        return True

    def _frontend(self, walk: Walk) -> FrontendKey | None:
        external = (walk.destination, walk.destination_port, walk.protocol, "external")
        internal = (*external[:3], "internal")
        if external not in self.view.frontends:
            return None
        return internal if internal in self.view.frontends and self.is_here(walk.source) else external

    def _keep(self, entry: Entry, walk: Walk, frontend: Frontend) -> Place | None:
        """The connection's own backend, while it is there; one that is leaving is given up for a SYN only."""
        assert entry.backend is not None
        backend = self.view.backend(entry.backend)
        syn = walk.protocol == TCP and walk.flags & SYN
        if backend is None or (backend.state != "active" and syn):
            walk.opened = True
            chosen = self._choose(walk, frontend)
            if chosen is None:
                return None
            entry.backend = chosen
        return entry.backend

    def _open(self, walk: Walk, frontend: Frontend) -> Place | None:
        if not frontend.in_use:
            return None
        walk.opened = True
        backend = self._favourite(walk, frontend) or self._choose(walk, frontend)
        assert backend is not None
        self._create(walk, "service", Entry(service=walk.asked, backend=backend))
        return backend

    def _choose(self, walk: Walk, frontend: Frontend) -> Place | None:
        if not frontend.in_use:
            return None
        slot = packet_hash(
            walk.source,
            0 if frontend.affinity else walk.source_port,
            walk.destination_port,
            walk.protocol,
            maglev_seed=self.view.maglev_seed,
        )
        return frontend.backends[frontend.table[slot % len(frontend.table)]].place

    def _favourite(self, walk: Walk, frontend: Frontend) -> Place | None:
        """The backend that this client had not long ago, if it still takes new connections."""
        assert walk.asked is not None
        if not frontend.affinity:
            return None
        table, key = self._affinity[walk.source.version], (walk.source, walk.asked)
        known = table.find(key, walk.time)
        if known is None:
            return None
        last_used, backend = known.value
        if last_used + frontend.affinity * SECOND <= walk.time or backend not in {
            each.place for each in frontend.backends[: frontend.in_use]
        }:
            table.remove(key)
            return None
        return backend

    def _count(self, walk: Walk) -> None:
        if walk.asked is None:
            return
        backend = self.view.backend(walk.backend) if walk.backend is not None else None
        service = self.view.frontends[walk.asked].service
        cluster = backend.cluster if backend is not None else None
        self.counters[service, cluster, "packets"] += 1
        self.counters[service, cluster, "connections"] += walk.opened and backend is not None

    # Connections

    def _track_out(self, walk: Walk) -> bool:
        """Whether the connection is still to be noted."""
        known = self._find(walk, "in", backwards=True)
        if known is not None and self._take(known, walk, "out"):
            walk.state = REPLY
            return False
        known = self._find(walk, "out")
        if known is not None and self._take(known, walk, "out"):
            walk.state = ESTABLISHED
            return known.value.service != walk.service
        return True

    def is_here(self, address: Address) -> bool:
        return self.view.cluster_of(address) == self.view.cluster

    def is_tracked(self, walk: Walk) -> bool:
        return walk.asked is not None or self.is_here(walk.source)

    def _table(self, walk: Walk) -> Bounded[object, Entry]:
        return self._connections[walk.protocol == TCP, walk.source.version]

    def _find(self, walk: Walk, kind: str, *, backwards: bool = False) -> Held[Entry] | None:
        return self._table(walk).find(connection(walk, kind, backwards=backwards), walk.time)

    def _create(self, walk: Walk, kind: str, entry: Entry) -> None:
        """Lives as one that has seen a SYN, whatever the packet."""
        fresh = Held(entry, 0)
        update_timeout(fresh, walk, "in" if kind == "in" else "out", SYN)
        self._table(walk).put(connection(walk, kind), entry, walk.time, fresh.expires)

    def _take(self, held: Held[Entry], walk: Walk, seen: str) -> bool:
        """
        Take a packet into an entry, as one that this observer has `seen` go by; `False`: it opens it anew.
        """
        entry = held.value
        flags = walk.flags if walk.protocol == TCP else 0
        if entry.alive:
            update_timeout(held, walk, seen, flags)
        if flags & (FIN | RST):
            both_syns = entry.tx_flags & entry.rx_flags & SYN
            if seen == "service" or (flags & RST and not both_syns):
                entry.tx_closing = entry.rx_closing = True
            elif seen == "in":
                entry.rx_closing = True
            else:
                entry.tx_closing = True
            if not entry.alive:
                note(held, seen, flags, walk.time + CLOSE_LIFETIME)
        elif flags & SYN and not flags & ACK and (entry.tx_closing or entry.rx_closing):
            entry.tx_closing = entry.rx_closing = entry.seen_non_syn = False
            entry.tx_flags = entry.rx_flags = 0
            update_timeout(held, walk, seen, flags)
            return False
        return True


def connection(walk: Walk, kind: str, *, backwards: bool = False) -> object:
    """Where it stands, by its ends in the direction in which it was opened."""
    ends = [(walk.source, walk.source_port), (walk.destination, walk.destination_port)]
    return (kind, walk.protocol, *(reversed(ends) if backwards else ends))


def note(held: Held[Entry], seen: str, flags: int, expires: int) -> None:
    held.expires = expires
    if seen == "in":
        held.value.rx_flags |= flags
    else:
        held.value.tx_flags |= flags


def update_timeout(held: Held[Entry], walk: Walk, seen: str, flags: int) -> None:
    lifetime = OTHER_LIFETIME
    if walk.protocol == TCP:
        held.value.seen_non_syn |= not flags & SYN
        lifetime = TCP_LIFETIME if held.value.seen_non_syn else SYN_LIFETIME
    note(held, seen, flags, walk.time + lifetime)


def begin(packet: Packet) -> Walk:
    return Walk(
        packet.time,
        packet.source,
        packet.source_port,
        packet.destination,
        packet.destination_port,
        packet.protocol,
        packet.flags,
    )


def known_protocol(walk: Walk) -> bool:
    return walk.protocol in {ICMP, TCP, UDP, ICMPV6, SCTP} or walk.drop(UNKNOWN_PROTOCOL)


def through_both_ends(
    paths: Mapping[str, Datapath],
    everywhere: Sequence[tuple[IPv4Network | IPv6Network, str]],
    packet: Packet,
) -> Walk:
    """Out through the data path of the source's cluster, then in through that of the destination's."""
    whole = View("", {}, everywhere, "")
    walk = begin(packet)
    sender = paths.get(whole.cluster_of(walk.source) or "")
    if sender is None:
        known_protocol(walk)
    elif not sender.leave(walk):
        return walk
    receiver = paths.get(whole.cluster_of(walk.destination) or "")
    if receiver is not None and walk.verdict != DENY:
        state = walk.state
        if sender is None:
            walk.destination_identity = receiver.view.identity(walk.destination)
        receiver.arrive(walk)
        if sender is not None:
            walk.state = state
    return walk

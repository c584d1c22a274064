"""
Columns of packets, and of what was decided on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PACKETS = 2**32 - 1
"""Of one call."""

Column: TypeAlias = "NDArray[Any] | int"


@attrs.frozen(eq=False, repr=False)
class Packets:
    """
    Packets as columns of one length, in order of time. Made by `v4` and `v6`.

    Attributes:
        source: uint32 of shape (n,) for IPv4, the plain number: 10.0.0.1 is 0x0A000001; uint8 of (n, 16)
            for IPv6.
        destination: Likewise.
        source_port: uint16, plain numbers. Of ICMP what tells conversations apart, such as the
            identifier of an echo.
        destination_port: Likewise; of ICMP the type of the message, as policies ask for it. What answers
            has the two the other way round.
        protocol: uint8, IANA's number.
        tcp_flags: uint8; looked at for TCP only.
        time: uint64, nanoseconds from any beginning; never less than the time of the packet before.
    """

    source: NDArray[Any]
    destination: NDArray[Any]
    source_port: NDArray[np.uint16]
    destination_port: NDArray[np.uint16]
    protocol: NDArray[np.uint8]
    tcp_flags: NDArray[np.uint8]
    time: NDArray[np.uint64]

    @classmethod
    def v4(
        cls,
        source: NDArray[np.uint32],
        destination: NDArray[np.uint32],
        source_port: Column,
        destination_port: Column,
        protocol: Column = 6,
        tcp_flags: Column = 0,
        time: Column = 0,
    ) -> Packets:
        """
        IPv4 packets. Every column but the addresses may be one number for all packets.

        Raises:
            TypeError: A column has the wrong type.
            ValueError: A column has the wrong length, shape or family, or there are 2^32 packets or more.
        """
        return cls._checked(4, source, destination, source_port, destination_port, protocol, tcp_flags, time)

    @classmethod
    def v6(
        cls,
        source: NDArray[np.uint8],
        destination: NDArray[np.uint8],
        source_port: Column,
        destination_port: Column,
        protocol: Column = 6,
        tcp_flags: Column = 0,
        time: Column = 0,
    ) -> Packets:
        """
        IPv6 packets. Every column but the addresses may be one number for all packets.

        Raises:
            TypeError: A column has the wrong type.
            ValueError: A column has the wrong length, shape or family, or there are 2^32 packets or more.
        """
        return cls._checked(6, source, destination, source_port, destination_port, protocol, tcp_flags, time)

    @classmethod
    def _checked(
        cls,
        family: int,
        source: object,
        destination: object,
        source_port: object,
        destination_port: object,
        protocol: object,
        tcp_flags: object,
        time: object,
    ) -> Packets:
        count = len(source) if isinstance(source, np.ndarray) and source.ndim else 0
        if count > MOST_PACKETS:
            raise ValueError(f"column source: {count} packets; expected fewer than 2^32 in one call")
        return cls(
            _addresses("source", source, family, count),
            _addresses("destination", destination, family, count),
            _numbers("source_port", source_port, np.uint16, count),
            _numbers("destination_port", destination_port, np.uint16, count),
            _numbers("protocol", protocol, np.uint8, count),
            _numbers("tcp_flags", tcp_flags, np.uint8, count),
            _numbers("time", time, np.uint64, count),
        )

    @property
    def is_v6(self) -> bool:
        """Whether the addresses are IPv6's."""
        return self.source.ndim == 2

    def __len__(self) -> int:
        return len(self.source)

    def __repr__(self) -> str:
        return f"<Packets: {len(self)} of IPv{6 if self.is_v6 else 4}>"


@attrs.frozen(eq=False, repr=False)
class Decisions:
    """
    What was decided, packet by packet, in columns of the packets' length and the same way round.

    Attributes:
        verdict: uint8, a `Verdict`.
        egress: uint8, the `Verdict` of the source's side; `UNKNOWN` where it was not judged.
        ingress: uint8, that of the destination's side.
        reason: uint8, a `Reason`; `NO_BACKEND` where the address is a service's and nothing serves it.
        state: uint8, a `ConnectionState`.
        source: The source as the packet arrives: of an answer, the address of the service that was asked.
        destination: The destination as the packet arrives: of a packet to a service, its backend.
        source_port: uint16.
        destination_port: uint16.
        backend: uint32, a number that `Datapath.backend` knows; 0 without a backend.
        service: uint32, a number that `Datapath.frontend` knows: the service that the packet went to, or else
            that it answers for; 0 where no service is concerned.
        source_identity: uint32, whom the data path's cluster takes the source for, in `Mesh.process` the
            destination's; 0 where the packet was not looked at so far.
        destination_identity: uint32, likewise the destination; in `Mesh.process` as the source's cluster
            sees it.
        proxy_port: uint16, of the L7 proxy that takes over; else 0.
    """

    verdict: NDArray[np.uint8]
    egress: NDArray[np.uint8]
    ingress: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    state: NDArray[np.uint8]
    source: NDArray[Any]
    destination: NDArray[Any]
    source_port: NDArray[np.uint16]
    destination_port: NDArray[np.uint16]
    backend: NDArray[np.uint32]
    service: NDArray[np.uint32]
    source_identity: NDArray[np.uint32]
    destination_identity: NDArray[np.uint32]
    proxy_port: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.verdict)

    def __repr__(self) -> str:
        return f"<Decisions: {len(self)}>"


def _addresses(name: str, column: object, family: int, count: int) -> NDArray[Any]:
    if not isinstance(column, np.ndarray):
        raise TypeError(f"column {name} is {type(column).__name__}; expected a numpy array")
    expected = "uint8 of shape (n, 16), IPv6" if family == 6 else "uint32 of shape (n,), IPv4"
    fits = column.ndim == 2 and column.shape[1] == 16 if family == 6 else column.ndim == 1
    if not fits:
        raise ValueError(f"column {name} has the shape {column.shape}; expected {expected}")
    if column.dtype != (np.uint8 if family == 6 else np.uint32):
        raise TypeError(f"column {name} is of {column.dtype}; expected {expected}")
    _same_length(name, len(column), count)
    return np.ascontiguousarray(column)


def _numbers(name: str, column: object, dtype: type[np.unsignedinteger[Any]], count: int) -> NDArray[Any]:
    expected = np.dtype(dtype)
    if isinstance(column, (int, np.integer)) and not isinstance(column, bool):
        most = int(np.iinfo(expected).max)
        if not 0 <= column <= most:
            raise ValueError(f"column {name} is {column}; expected 0 to {most}")
        return np.full(1 if name == "time" else count, column, expected)
    if not isinstance(column, np.ndarray):
        raise TypeError(f"column {name} is {type(column).__name__}; expected a numpy array of {expected}")
    if column.dtype != expected:
        raise TypeError(f"column {name} is of {column.dtype}; expected {expected}")
    if column.ndim != 1:
        raise ValueError(f"column {name} has the shape {column.shape}; expected (n,)")
    _same_length(name, len(column), count)
    return np.ascontiguousarray(column)


def _same_length(name: str, length: int, count: int) -> None:
    if length != count:
        raise ValueError(f"column {name} has {length} values; column source has {count}")

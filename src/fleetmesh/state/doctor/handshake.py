"""
TLS as a server speaks it to a client: whether it is trusted, and what it shows of itself even where it isn't.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator

import attrs

from fleetmesh.state.doctor.x509 import Certificate, read_certificate, read_name

MOST_BYTES = 1 << 20
"""That a server may send before its part of a handshake is done."""

_HANDSHAKE, _CERTIFICATE, _CERTIFICATE_REQUEST, _HELLO_DONE = 22, 11, 13, 14


@attrs.frozen(kw_only=True)
class Shown:
    """
    What a server shows to whoever asks.

    Attributes:
        chain: Its certificates, its own first; only that one where it speaks nothing older than TLS 1.3.
        asks: Whether it asks for a certificate of the client; `None` where it doesn't tell before TLS 1.3.
        acceptable: Distinguished names of the authorities whose certificates it takes.
    """

    chain: tuple[Certificate, ...] = ()
    asks: bool | None = None
    acceptable: tuple[str, ...] = ()


def shown_by(address: tuple[str, int], name: str, timeout: float) -> Shown:
    """
    Ask a server for its certificates, whoever has signed them.

    TLS 1.2 has them in the clear, the whole chain with the authorities that the server accepts.

    Raises:
        OSError: There is no connection.
        ValueError: What it sends is no TLS.
    """
    context = _trusting_anybody()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(address, timeout) as connection:
        messages = [*_messages(_flight(connection, context, name, time.monotonic() + timeout))]
    if any(kind == _CERTIFICATE for kind, _ in messages):
        chain: tuple[Certificate, ...] = ()
        acceptable: tuple[str, ...] = ()
        for kind, content in messages:
            if kind == _CERTIFICATE:
                chain = tuple(map(read_certificate, _listed(_after(content, 0, 3), 3)))
            elif kind == _CERTIFICATE_REQUEST:
                acceptable = tuple(map(read_name, _acceptable(content)))
        asks = any(kind == _CERTIFICATE_REQUEST for kind, _ in messages)
        return Shown(chain=chain, asks=asks, acceptable=acceptable)
    with (
        socket.create_connection(address, timeout) as connection,
        _trusting_anybody().wrap_socket(connection, server_hostname=name) as encrypted,
    ):
        der = encrypted.getpeercert(binary_form=True)
    return Shown(chain=() if der is None else (read_certificate(der),))


def _trusting_anybody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent but a greeting
    return context


def _flight(connection: socket.socket, context: ssl.SSLContext, name: str, end: float) -> bytes:
    """All that the server sends until its part is done, or it or this side gives up."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    heard = b""
    while len(heard) <= MOST_BYTES and time.monotonic() < end:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            return heard
        else:
            return heard
        if outgoing.pending:
            connection.sendall(outgoing.read())
        news = connection.recv(1 << 14)
        if not news:
            return heard
        heard += news
        incoming.write(news)
    raise ValueError(f"its greeting is longer than {MOST_BYTES} bytes, or does not end")


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of the handshake that are in the clear (RFC 5246, 6.2.1 and 7.4)."""
    stream, at = b"", 0
    while at + 5 <= len(data) and data[at] == _HANDSHAKE:
        length = int.from_bytes(data[at + 3 : at + 5], "big")
        stream += data[at + 5 : at + 5 + length]
        at += 5 + length
    at = 0
    while at + 4 <= len(stream):
        kind, length = stream[at], int.from_bytes(stream[at + 1 : at + 4], "big")
        if at + 4 + length > len(stream):
            return
        yield kind, stream[at + 4 : at + 4 + length]
        if kind == _HELLO_DONE:
            return
        at += 4 + length


def _acceptable(content: bytes) -> Iterator[bytes]:
    """The names of a CertificateRequest (RFC 5246, 7.4.4)."""
    at = 1 + len(_after(content, 0, 1))
    at += 2 + len(_after(content, at, 2))
    return _listed(_after(content, at, 2), 2)


def _after(content: bytes, at: int, size: int) -> bytes:
    """What follows a length of that size."""
    length = int.from_bytes(content[at : at + size], "big")
    found = content[at + size : at + size + length]
    if len(found) != length:
        raise ValueError("a message of its greeting is cut off")
    return found


def _listed(content: bytes, size: int) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        found = _after(content, at, size)
        yield found
        at += size + len(found)

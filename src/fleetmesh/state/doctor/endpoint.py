"""
Checks of the way to one server, by plain sockets: what etcd's client only sums up as not available.

They are those of `cilium-dbg troubleshoot clustermesh` (Cilium pkg/kvstore etcd_debug.go), in its order. All
of it waits, so it belongs into a thread.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from urllib.parse import urlsplit

from fleetmesh.state.connection_file import EtcdConnection
from fleetmesh.state.doctor.checks import Check, error, ok, skipped, warning
from fleetmesh.state.doctor.credentials import told_of_dates
from fleetmesh.state.doctor.handshake import Shown, shown_by
from fleetmesh.state.doctor.x509 import Certificate
from fleetmesh.state.etcd.endpoints import DEFAULT_PORT

TIMEOUT = 5.0
"""Seconds that a server has for each answer."""

_MOST_BYTES = 1 << 16  # of an answer to GET /version

# Reasons of OpenSSL with which a server refuses a client's certificate, or that there is none.
_REFUSALS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE", "DECRYPT_ERROR")


class _FailedError(Exception):
    """What was seen ends the checks of this server."""

    def __init__(self, check: Check) -> None:
        self.check = check
        super().__init__(check.seen)


def check_endpoint(url: str, connection: EtcdConnection, now: datetime) -> Iterator[Check]:
    """
    Find its address, connect, speak TLS, and ask which version it is.

    Args:
        url: One of the connection's endpoints.
        now: By which certificates are in date.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or DEFAULT_PORT
    later = ["endpoint-tcp", "endpoint-tls", "endpoint-client-auth", "endpoint-version"]
    if parts.scheme == "http":
        later = ["endpoint-tcp", "endpoint-version"]
    try:
        for check in _checks(url, host, port, connection, now):
            yield check
            later = [name for name in later if name != check.name]
    except _FailedError as failed:
        yield failed.check
        for name in later:
            if name != failed.check.name:
                yield skipped(name, url, f"{failed.check.name} failed")


def _checks(url: str, host: str, port: int, connection: EtcdConnection, now: datetime) -> Iterator[Check]:
    address = host
    if host in connection.host_aliases:
        address = connection.host_aliases[host][0]
        yield ok("endpoint-name", url, f"{host} is {address} by cilium-host-aliases")
    elif _is_address(host):
        yield ok("endpoint-name", url, "it is an address")
    else:
        yield _resolved(url, host, port)
    with closing(_connected(url, address, port)) as tcp:
        yield ok("endpoint-tcp", url, f"{_place(address, port)} takes connections")
        if urlsplit(url).scheme == "http":
            yield from _version(url, tcp, host)
            return
        try:
            shown: Shown | str = shown_by((address, port), host, TIMEOUT)
        except (OSError, ValueError) as problem:
            shown = _reason(problem)
        try:
            context = _context(connection)
        except OSError as problem:
            seen = f"the files that are given can't be used: {_reason(problem)}"
            raise _FailedError(error("endpoint-tls", url, seen, certificates=_chain(shown))) from None
        try:
            encrypted = context.wrap_socket(tcp, server_hostname=host)
        except (OSError, ValueError) as problem:
            raise _FailedError(_not_encrypted(url, problem, shown)) from None
        with encrypted:
            yield _encrypted(url, encrypted, shown, now)
            yield from _version(url, encrypted, host, shown)


def _resolved(url: str, host: str, port: int) -> Check:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
        raise _FailedError(error("endpoint-name", url, f"{host} has no address: {why.lower()}")) from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    more = f" and {len(addresses) - 4} more" if len(addresses) > 4 else ""
    return ok("endpoint-name", url, f"{host} is {', '.join(addresses[:4])}{more}")


def _connected(url: str, address: str, port: int) -> socket.socket:
    try:
        return socket.create_connection((address, port), TIMEOUT)
    except OSError as problem:
        seen = f"no connection to {_place(address, port)}: {_reason(problem)}"
        raise _FailedError(error("endpoint-tcp", url, seen)) from None


def _context(connection: EtcdConnection) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=connection.ca or None)
    if connection.cert:
        context.load_cert_chain(connection.cert, connection.key)
    return context


def _chain(shown: Shown | str) -> tuple[Certificate, ...]:
    return () if isinstance(shown, str) else shown.chain


def _encrypted(url: str, encrypted: ssl.SSLSocket, shown: Shown | str, now: datetime) -> Check:
    cipher = encrypted.cipher()
    seen = f"{encrypted.version()}, {cipher[0] if cipher else 'no cipher'}, its certificate is trusted"
    if isinstance(shown, str) or not shown.chain:
        return ok("endpoint-tls", url, seen)
    flaw = told_of_dates(shown.chain[0], now)
    if flaw:
        return warning("endpoint-tls", url, f"{seen}; {flaw}", certificates=shown.chain)
    return ok("endpoint-tls", url, seen, certificates=shown.chain)


def _not_encrypted(url: str, problem: OSError | ValueError, shown: Shown | str) -> Check:
    chain = _chain(shown)
    if isinstance(problem, ssl.SSLCertVerificationError):
        seen = f"its certificate is not trusted: {problem.verify_message.lower()}"
        return error("endpoint-tls", url, seen, certificates=chain)
    if _is_refusal(problem) and chain:
        return _refused(url, problem, shown)
    return error("endpoint-tls", url, f"no TLS: {_reason(problem)}", certificates=chain)


def _refused(url: str, problem: Exception, shown: Shown | str) -> Check:
    acceptable = () if isinstance(shown, str) else shown.acceptable
    return error(
        "endpoint-client-auth",
        url,
        f"it refuses the client: {_reason(problem)}",
        details=[f"acceptable CA: {each}" for each in acceptable],
    )


def _version(
    url: str, connection: socket.socket, host: str, shown: Shown | str | None = None
) -> Iterator[Check]:
    """
    With TLS 1.3 a server says whether it takes the client's certificate only with the first answer.
    """
    name = f"[{host}]" if ":" in host else host
    try:
        connection.settimeout(TIMEOUT)
        connection.sendall(f"GET /version HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = _all_of(connection)
    except OSError as problem:
        if shown is not None and _is_refusal(problem):
            raise _FailedError(_refused(url, problem, shown)) from None
        if isinstance(shown, Shown) and shown.asks is False:
            yield ok("endpoint-client-auth", url, _asked(shown))
        elif shown is not None:
            yield warning("endpoint-client-auth", url, f"it may refuse the client: {_reason(problem)}")
        yield warning("endpoint-version", url, f"no answer to GET /version: {_reason(problem)}")
        return
    if shown is not None:
        yield ok("endpoint-client-auth", url, _asked(shown))
    version = _told(answer)
    if version:
        yield ok("endpoint-version", url, f"etcd {version}")
    else:
        line = answer.split(b"\r\n", 1)[0][:80].decode("ascii", errors="replace")
        shortened = "".join(each if each.isprintable() else "?" for each in line)
        yield warning("endpoint-version", url, f"GET /version is not answered as by etcd: {shortened!r}")


def _asked(shown: Shown | str) -> str:
    if isinstance(shown, str) or shown.asks is None:
        return "it takes the client as it is"
    return "it takes the client's certificate" if shown.asks else "it asks for no certificate"


def _all_of(connection: socket.socket) -> bytes:
    """What it says until it ends the connection; one that goes on for ever is not listened to for longer."""
    heard, end = b"", time.monotonic() + TIMEOUT
    while len(heard) < _MOST_BYTES and time.monotonic() < end:
        news = connection.recv(1 << 12)
        if not news:
            break
        heard += news
    if not heard:
        raise ConnectionError("it ends the connection")
    return heard


def _told(answer: bytes) -> str:
    """The version in an answer of etcd, "" in one of somebody else."""
    _, _, body = answer.partition(b"\r\n\r\n")
    begin, end = body.find(b"{"), body.rfind(b"}")
    try:
        told = json.loads(body[begin : end + 1])
    except (ValueError, RecursionError):
        return ""
    version = told.get("etcdserver") if isinstance(told, dict) else None
    return version[:32] if isinstance(version, str) and version.isprintable() else ""


def _is_refusal(problem: BaseException) -> bool:
    if not isinstance(problem, ssl.SSLError) or isinstance(problem, ssl.SSLCertVerificationError):
        return False
    reason = problem.reason or ""
    return "ALERT" in reason and any(each in reason for each in _REFUSALS)


def _reason(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLError):
        return (problem.reason or str(problem)).replace("_", " ").lower()
    if isinstance(problem, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror.lower()
    return str(problem) or type(problem).__name__


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

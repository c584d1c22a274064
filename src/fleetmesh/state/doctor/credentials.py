"""
Checks of what this side brings: the CA, the client's certificate with its key, and the user.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from fleetmesh.state.connection_file import EtcdConnection
from fleetmesh.state.doctor.checks import Check, error, ok, skipped, warning
from fleetmesh.state.doctor.x509 import Certificate, read_pem

SOON = timedelta(days=14)
"""How long before its end a certificate should have been renewed."""


def check_credentials(connection: EtcdConnection, now: datetime) -> Iterator[Check]:
    """
    Read the files, without asking any server.

    Args:
        now: By which certificates are in date.
    """
    if any(url.startswith("https:") for url in connection.endpoints):
        yield _authorities(connection, now)
        yield _certificate(connection, now)
    if connection.username:
        subject = f"User {connection.username}"
        if connection.password:
            yield ok("user", subject, "it comes with a password")
        else:
            yield error("user", subject, "it comes without a password")


def told_of_dates(certificate: Certificate, now: datetime) -> str:
    """What is wrong with the time at which a certificate is used, "" for nothing."""
    if now < certificate.not_before:
        return f"it is valid from {certificate.not_before:%Y-%m-%d %H:%M} UTC on"
    if now > certificate.not_after:
        return f"it ran out at {certificate.not_after:%Y-%m-%d %H:%M} UTC"
    if certificate.not_after - now < SOON:
        return f"it runs out at {certificate.not_after:%Y-%m-%d %H:%M} UTC"
    return ""


def _authorities(connection: EtcdConnection, now: datetime) -> Check:
    name, path = "authorities", connection.ca
    if not path:
        return warning(name, "CA", "none is given: those of this machine count")
    try:
        found = read_pem(Path(path).read_bytes())
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as problem:
        return error(name, path, f"it can't be used: {_why(problem)}")
    flaws = [flaw for each in found if (flaw := told_of_dates(each, now))]
    if all(now > each.not_after for each in found):
        return error(name, path, flaws[0], certificates=found)
    if flaws:
        return warning(name, path, flaws[0], certificates=found)
    return ok(name, path, f"{len(found)} of them" if len(found) > 1 else "it can be read", certificates=found)


def _certificate(connection: EtcdConnection, now: datetime) -> Check:
    name, path = "client-certificate", connection.cert
    if not path:
        return skipped(name, "Client", "none is given: servers that ask for one refuse the client")
    try:
        found = read_pem(Path(path).read_bytes())
        refused = _refusal(connection)
    except (OSError, ValueError) as problem:
        return error(name, path, f"it can't be used: {_why(problem)}")
    flaw = told_of_dates(found[0], now)
    if flaw and not found[0].not_before <= now <= found[0].not_after:
        return error(name, path, flaw, certificates=found)
    if refused:
        # Not always a mistake: servers may have another CA for clients (etcd_debug.go warns of it too).
        return warning(name, path, f"the CA does not vouch for it: {refused}", certificates=found)
    if flaw:
        return warning(name, path, flaw, certificates=found)
    return ok(name, path, "it belongs to its key and is of the CA", certificates=found)


def _refusal(connection: EtcdConnection) -> str:
    """
    Why a server that trusts the CA would refuse the client's certificate, "" if it wouldn't; found out by a
    handshake between two ends in this process.

    Raises:
        OSError: The files can't be used.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(connection.cert, connection.key)
    server.verify_mode = ssl.CERT_REQUIRED
    if connection.ca:
        server.load_verify_locations(connection.ca)
    else:
        server.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE  # the other end is this process
    client.load_cert_chain(connection.cert, connection.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for end in ends:
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as problem:
                return problem.verify_message.lower()
    return ""


def _why(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLError):
        return (problem.reason or str(problem)).replace("_", " ").lower()
    if isinstance(problem, OSError):
        return (problem.strerror or str(problem)).lower()
    return str(problem)

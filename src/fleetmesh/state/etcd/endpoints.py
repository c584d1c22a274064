"""
Where etcd's servers are, and what proves who is who: read and checked before anything is connected.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import attrs

# Of etcd's clients (https://etcd.io/docs, --listen-client-urls).
DEFAULT_PORT = 2379

# A path, or what a file would have.
Pem: TypeAlias = str | Path | bytes

_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----(.+?)-----END \1-----", re.DOTALL)
_SEQUENCE = b"\x30"  # with which every key begins in DER


@attrs.frozen
class Endpoint:
    """
    Attributes:
        url: As it was given.
        target: `host:port`, as gRPC has it.
        tls: Whether the connection is encrypted and the server's name verified.
    """

    url: str
    target: str
    tls: bool


def read_endpoints(urls: Sequence[str]) -> tuple[Endpoint, ...]:
    """
    Raises:
        ValueError: None are given, one is no URL of a server, one stands twice, or only some are encrypted.
    """
    if isinstance(urls, str):
        raise ValueError(f"endpoints are a list of URLs, not one text: [{urls!r}]")  # also for others
    if not urls:
        raise ValueError("no endpoints; give at least one, such as https://etcd.example.com:2379")
    endpoints = tuple(_read(url) for url in urls)
    if len({each.tls for each in endpoints}) > 1:
        raise ValueError(
            f"endpoints mix http:// and https://: {', '.join(urls)}; all servers of a store are one kind"
        )
    targets = [each.target for each in endpoints]
    for each in endpoints:
        if targets.count(each.target) > 1:
            raise ValueError(f"endpoint {each.url!r} stands twice")
    return endpoints


def _read(url: str) -> Endpoint:
    if "@" in url:
        shown = url.rpartition("@")[2]
        raise ValueError(f"endpoint of {shown!r}: user and password are arguments, not part of the URL")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"endpoint {url!r}: {error}") from None
    if parts.scheme not in {"http", "https"} or "://" not in url:
        raise ValueError(f"endpoint {url!r}: write http://HOST:PORT, or https://HOST:PORT for TLS")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError(f"endpoint {url!r}: nothing may follow host and port")
    if not parts.hostname or port == 0:
        raise ValueError(f"endpoint {url!r}: a host and a port from 1 to 65535 are needed")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Endpoint(url, f"{host}:{port or DEFAULT_PORT}", parts.scheme == "https")


@attrs.frozen
class Material:
    """
    What TLS needs, as it was read. All `None` without TLS.
    """

    ca: bytes | None = attrs.field(default=None, repr=False)
    cert: bytes | None = attrs.field(default=None, repr=False)
    key: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Security:
    """
    Attributes:
        tls: Whether connections are encrypted.
        ca: Who may have signed the server's certificate; `None`: whom gRPC trusts.
        cert: Of the client, where the server asks for one, with `key`.
        server_name: What the server's certificate must be for; "" for the host of its URL.
    """

    tls: bool
    ca: Pem | None = attrs.field(default=None, repr=False)
    cert: Pem | None = attrs.field(default=None, repr=False)
    key: Pem | None = attrs.field(default=None, repr=False)
    server_name: str = ""

    def __attrs_post_init__(self) -> None:
        given = [name for name in ("ca", "cert", "key", "server_name") if getattr(self, name)]
        if given and not self.tls:
            raise ValueError(f"{' and '.join(given)} given, but the endpoints are http://; write https://")
        if (self.cert is None) != (self.key is None):
            raise ValueError("a client certificate needs cert and key, and only one is given")

    def read(self) -> Material:
        """
        The files as they are now, since whoever issues certificates renews them.

        Raises:
            OSError: One can't be read.
        """
        return Material(_bytes(self.ca), _bytes(self.cert), _bytes(self.key))

    def check(self, material: Material) -> None:
        """
        Whether gRPC can be given what was read: an empty `ca` would mean to it whom it trusts by itself, and
        an empty `cert` would end the process.

        Raises:
            ValueError: One is not PEM of what it should be, as a file is while it is written.
        """
        for name, given, found in (("ca", self.ca, material.ca), ("cert", self.cert, material.cert)):
            if found is not None and not _has_certificates(found):
                raise ValueError(f"{_shown(name, given)} has no certificates that can be read")
        if material.key is not None and not _has_key(material.key):
            raise ValueError(f"{_shown('key', self.key)} has no private key that can be read")


def _has_certificates(pem: bytes) -> bool:
    """Comments in it may be in any language."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        return False
    return True


def _has_key(pem: bytes) -> bool:
    found = _KEY.search(pem)
    try:
        return found is not None and base64.b64decode(found[2]).startswith(_SEQUENCE)
    except ValueError:
        return False


def _shown(name: str, pem: Pem | None) -> str:
    return f"the {name} that was given" if isinstance(pem, bytes) else str(pem)


def _bytes(pem: Pem | None) -> bytes | None:
    if pem is None or isinstance(pem, bytes):
        return pem
    return Path(pem).read_bytes()

"""
One file that says how a cluster's etcd is reached: etcd's client configuration in YAML, as Cilium reads it
(go.etcd.io/etcd client/v3/yaml config.go; Cilium pkg/clustermesh/common config.go, `ParseCiliumConfig`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from fleetmesh.resources.documents import Flaw
from fleetmesh.resources.yaml_documents import read_yaml

if TYPE_CHECKING:
    from fleetmesh.state.etcd import EtcdStore

MOST_BYTES = 1 << 20
"""Of a file; Kubernetes' Secrets and ConfigMaps have no more."""

MARK = b"endpoints:"
"""A file without it is no connection, such as a certificate (pkg/clustermesh/common config.go)."""

_FILES = ("trusted-ca-file", "cert-file", "key-file")
_TEXTS = (*_FILES, "username", "password")
_FLAGS = ("insecure-transport", "insecure-skip-tls-verify")
_ALIASES = "cilium-host-aliases"
_WITHOUT_EFFECT = frozenset(
    {
        "auto-sync-interval",
        "backoff-jitter-fraction",
        "backoff-wait-between",
        "ca-file",
        "dial-keep-alive-time",
        "dial-keep-alive-timeout",
        "dial-timeout",
        "max-unary-retries",
        "permit-without-stream",
        "reject-old-cluster",
    }
)
_KNOWN = frozenset({"endpoints", _ALIASES, *_TEXTS, *_FLAGS}) | _WITHOUT_EFFECT
_SCHEMES = ("http", "https")


@attrs.frozen(kw_only=True)
class EtcdConnection:
    """
    How to reach the etcd of a cluster.

    Attributes:
        endpoints: URLs; one that had no scheme is `https`, unless the file says `insecure-transport`.
        ca, cert, key: Paths of PEM files, "" without. The machine's authorities count where no CA is named.
        username, password: "" without.
        host_aliases: Host name -> addresses that it is reached at without asking the DNS (since Cilium 1.20).
        digest: SHA-256 of the file and of the PEM files: another one is another connection.
    """

    endpoints: tuple[str, ...]
    ca: str = ""
    cert: str = ""
    key: str = ""
    username: str = ""
    password: str = attrs.field(default="", repr=False)
    host_aliases: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    digest: str = attrs.field(default="", repr=False)

    def store(self) -> EtcdStore:
        """A client of that etcd; nothing is connected before it is used, and whoever asks closes it."""
        from fleetmesh.state.etcd import EtcdStore  # noqa: PLC0415  # gRPC is loaded where it is needed

        endpoints, server_name = self.servers()
        encrypted = endpoints[0].startswith("https:")
        return EtcdStore(
            endpoints=endpoints,
            ca=(self.ca or None) if encrypted else None,
            cert=(self.cert or None) if encrypted else None,
            key=(self.key or None) if encrypted else None,
            user=self.username or None,
            password=self.password if self.username else None,
            server_name=server_name,
        )

    def servers(self) -> tuple[tuple[str, ...], str]:
        """
        URLs of the servers, with host names replaced by the addresses that the file gives for them, and the
        name that the servers' certificates are for where that replaced it.
        """
        hosts = _hosts(self.endpoints)
        encrypted = self.endpoints[0].startswith("https:")
        if not hosts & self.host_aliases.keys() or (encrypted and len(hosts) > 1):
            return self.endpoints, ""
        found: list[str] = []
        for url in self.endpoints:
            parts = urlsplit(url)
            for address in self.host_aliases.get(parts.hostname or "", ()):
                host = f"[{address}]" if ":" in address else address
                found.append(f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else ""))
            if parts.hostname not in self.host_aliases:
                found.append(url)
        return tuple(dict.fromkeys(found)), (hosts.pop() or "") if encrypted else ""


@attrs.frozen
class Flawed:
    """
    What is wrong with a file.

    Attributes:
        code: Of a finding.
        in_force: Whether the rest counts.
    """

    code: str
    message: str
    in_force: bool = False


@attrs.frozen
class ConnectionFile:
    """
    Attributes:
        connection: `None` where the file can't be followed.
        counts: Whether it looks like a connection at all.
    """

    connection: EtcdConnection | None
    flaws: tuple[Flawed, ...]
    counts: bool = True


def read_connection(path: Path) -> ConnectionFile:
    """Read a file; what is wrong with it is told, not raised."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        return ConnectionFile(None, (_problem(f"it can't be read: {_why(error)}"),))
    digest = sha256(content)
    if MARK not in content:
        return ConnectionFile(None, (), counts=False)
    if len(content) > MOST_BYTES:
        return ConnectionFile(None, (_problem(f"it is larger than {MOST_BYTES} bytes"),))
    reading = _Reading()
    connection = reading.connection(content)
    for name in filter(None, reading.files.values()):
        digest.update(reading.pem(name))
    flaws = tuple(reading.flaws)
    if connection is None or not all(each.in_force for each in flaws):
        return ConnectionFile(None, flaws)
    return ConnectionFile(attrs.evolve(connection, digest=digest.hexdigest()), flaws)


@attrs.define
class _Reading:
    flaws: list[Flawed] = attrs.field(factory=list)
    files: dict[str, str] = attrs.field(factory=dict)

    def connection(self, content: bytes) -> EtcdConnection | None:
        fields = self.mapping(content)
        if fields is None:
            return None
        for name in sorted(fields.keys() - _KNOWN):
            self.ignored(f"the field {name[:64]!r} is not known; it has no effect")
        texts = {name: self.typed(fields, name, str, "a text") or "" for name in _TEXTS}
        flags = {name: bool(self.typed(fields, name, bool, "true or false")) for name in _FLAGS}
        endpoints = tuple(
            dict.fromkeys(self.endpoints(fields.get("endpoints"), plain=flags["insecure-transport"]))
        )
        if len({url.partition("://")[0] for url in endpoints}) > 1:
            self.flaws.append(
                _problem("endpoints has http:// and https:// mixed; all servers of a store are one kind")
            )
        aliases = MappingProxyType(dict(self.aliases(fields.get(_ALIASES))))
        if aliases and any(url.startswith("https:") for url in endpoints) and len(_hosts(endpoints)) > 1:
            self.ignored(f"{_ALIASES} has no effect where several hosts are reached by TLS")
        if flags["insecure-skip-tls-verify"]:
            self.ignored("insecure-skip-tls-verify has no effect: the servers' certificates are verified")
        if flags["insecure-transport"]:
            texts.update(dict.fromkeys(_FILES, ""))
        if bool(texts["cert-file"]) != bool(texts["key-file"]):
            self.ignored("cert-file and key-file have an effect only together")
            texts.update({"cert-file": "", "key-file": ""})
        self.files = {name: texts[name] for name in _FILES}
        return EtcdConnection(
            endpoints=endpoints,
            ca=texts["trusted-ca-file"],
            cert=texts["cert-file"],
            key=texts["key-file"],
            username=texts["username"],
            password=texts["password"],
            host_aliases=aliases,
        )

    def mapping(self, content: bytes) -> dict[str, Any] | None:
        """The fields by their names in small letters, as Go's JSON reads them."""
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            self.flaws.append(_problem(f"it is no UTF-8 at byte {error.start}"))
            return None
        document = next(iter(read_yaml(text)), None)
        if isinstance(document, Flaw):
            self.flaws.append(_problem(f"line {document.line}: {document.message}"))
            return None
        if document is None or not isinstance(document.value, dict):
            self.flaws.append(_problem("it is no mapping of fields"))
            return None
        return {str(name).lower(): value for name, value in document.value.items()}

    def typed(self, fields: Mapping[str, Any], name: str, kind: type, expected: str) -> Any:
        value = fields.get(name)
        if value is None or isinstance(value, kind):
            return value
        self.flaws.append(_problem(f"{name} has to be {expected}"))  # without the value, which may be secret
        return None

    def endpoints(self, value: Any, *, plain: bool) -> Iterator[str]:
        if not value:
            self.flaws.append(Flawed("connection-without-endpoints", "endpoints names no server"))
            return
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(value, list) or not isinstance(each, str):
                self.flaws.append(_problem("endpoints has to be a list of texts"))
                return
            url = each if "://" in each else f"{'http' if plain else 'https'}://{each}"
            if _is_server(url):
                yield url
            else:
                self.flaws.append(
                    _problem(
                        f"the endpoint {_without_user(each)!r} is no http://HOST:PORT and no https://HOST:PORT"
                    )
                )

    def aliases(self, value: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
        if value is not None and not isinstance(value, list):
            self.flaws.append(_problem(f"{_ALIASES} has to be a list"))
            return
        seen: set[str] = set()
        for each in value or ():
            host = each.get("hostname") if isinstance(each, dict) else None
            addresses = each.get("ips") if isinstance(each, dict) else None
            if not isinstance(host, str) or not host:
                self.flaws.append(_problem(f"an entry of {_ALIASES} has no hostname"))
            elif host in seen:
                self.flaws.append(_problem(f"{_ALIASES} has {host[:64]!r} twice"))
            elif not isinstance(addresses, list) or not addresses or not all(map(_is_address, addresses)):
                self.flaws.append(_problem(f"{_ALIASES}: the ips of {host[:64]!r} are no list of addresses"))
            else:
                seen.add(host)
                yield host, tuple(addresses)

    def pem(self, name: str) -> bytes:
        """The digest of a file with a key or certificates; what is wrong with it is noted."""
        try:
            with Path(name).open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            why = _why(error) if isinstance(error, OSError) else "it is no path"
            self.flaws.append(Flawed("connection-credentials-missing", f"{name[:256]} can't be read: {why}"))
            return b"missing"
        if b"-----BEGIN " not in content or len(content) > MOST_BYTES:
            self.flaws.append(Flawed("connection-credentials-missing", f"{name[:256]} is no PEM file"))
        return sha256(content).digest()

    def ignored(self, message: str) -> None:
        self.flaws.append(Flawed("connection-field-ignored", message, in_force=True))


def _problem(message: str) -> Flawed:
    return Flawed("connection-file-problem", message)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _hosts(urls: Iterable[str]) -> set[str | None]:
    return {urlsplit(url).hostname for url in urls}


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0 and parts.username is None
        )
    except ValueError:
        return False


def _without_user(url: str) -> str:
    """A password in a URL is shown to nobody."""
    return url.rpartition("@")[2][:128]


def _is_address(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True

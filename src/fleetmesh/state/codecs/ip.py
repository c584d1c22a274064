"""
Addresses and whose they are (Cilium pkg/identity/identity.go, `IPIdentityPair`; pkg/ipcache/kvstore.go).
"""

from __future__ import annotations

from functools import lru_cache
from sys import intern
from typing import Any

import msgspec

from fleetmesh.errors import WireError
from fleetmesh.records import IpRecord
from fleetmesh.state.codecs import gojson
from fleetmesh.state.codecs.addresses import bits_of, canonical_host, canonical_ip, why_not
from fleetmesh.state.codecs.exporter import Exporter
from fleetmesh.state.codecs.fields import UInt8, UInt16, UInt32
from fleetmesh.state.codecs.masks import Mask, length, write_mask
from fleetmesh.state.codecs.words import shown

_HOST, _REMOTE_NODE = 1, 6
_RESERVED = 256
"""Numbers below it mean the same in each cluster."""

_MOST_KEPT = 1024
"""Bytes of a value whose named ports are kept to be found again; a longer one nobody else has."""


class _NamedPort(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True):
    name: str | None = None
    port: UInt16 | None = None
    protocol: str | None = None


class _Pair(
    msgspec.Struct,
    forbid_unknown_fields=True,
    rename={
        "ip": "IP",
        "mask": "Mask",
        "host": "HostIP",
        "number": "ID",
        "key": "Key",
        "metadata": "Metadata",
        "namespace": "K8sNamespace",
        "pod": "K8sPodName",
        "service_account": "K8sServiceAccount",
        "named_ports": "NamedPorts",
    },
):
    ip: str | None = None
    mask: Mask | None = None
    host: str | None = None
    number: UInt32 | None = None
    key: UInt8 | None = None
    metadata: str | None = None
    namespace: str | None = None
    pod: str | None = None
    service_account: str | None = None
    named_ports: tuple[_NamedPort | None, ...] | None = None


_READER = gojson.Reader(_Pair)


def encode(record: IpRecord) -> bytes:
    """The JSON of `ip/v1`."""
    address, slash, bits = record.address.partition("/")
    value: dict[str, Any] = {
        "IP": address,
        "Mask": write_mask(int(bits), address) if slash else None,
        "HostIP": record.host,
        "ID": record.identity,
        "Key": record.encryption_key,
        "Metadata": record.metadata,
    }
    of_pod = {
        "K8sNamespace": record.namespace,
        "K8sPodName": record.pod,
        "K8sServiceAccount": record.service_account,
    }
    value |= {name: text for name, text in of_pod.items() if text}
    if record.named_ports:
        value["NamedPorts"] = [
            {"Name": name, "Port": port, "Protocol": protocol} for name, port, protocol in record.named_ports
        ]
    return gojson.write(value)


def decode(name: str, value: bytes, exporter: Exporter) -> IpRecord:
    """
    An address said to be the `host` is that of a remote node to whoever reads it.

    Raises:
        WireError: It is no address, or not that of the key, or its identity is another cluster's. Stricter
            than Cilium: a mask that is none, which counts as one of all addresses there.
    """
    read = _READER.read(value)
    text = read.ip or ""
    address = canonical_ip(text)
    if address is None:
        raise WireError("IP", why_not(text) if text else "is unset")
    if read.mask is not None:
        address = f"{address}/{length(read.mask, bits_of(address), 'Mask')}"
    if address != name:
        raise WireError("IP", f"is {address!r}, expected {shown(name)} as in the key")
    number = read.number or 0
    if number >= _RESERVED and number not in exporter.identities:
        raise WireError(
            "ID", f"{number} is none of cluster {exporter.cluster_id}'s, {exporter.of_identities}"
        )
    host = canonical_host(read.host) if read.host else ""
    if host is None:
        raise WireError("HostIP", why_not(read.host or ""))
    return IpRecord(
        cluster=exporter.cluster,
        cluster_id=exporter.cluster_id,
        address=name,
        host=host,
        identity=_REMOTE_NODE if number == _HOST else number,
        namespace=intern(read.namespace) if read.namespace else "",
        pod=read.pod or "",
        service_account=intern(read.service_account) if read.service_account else "",
        encryption_key=read.key or 0,
        metadata=read.metadata or "",
        named_ports=_ports(read.named_ports, value) if read.named_ports else (),
    )


def _ports(found: tuple[_NamedPort | None, ...], value: bytes) -> tuple[tuple[str, int, str], ...]:
    return (_known_ports if len(value) <= _MOST_KEPT else _named_ports)(found)


def _named_ports(found: tuple[_NamedPort | None, ...]) -> tuple[tuple[str, int, str], ...]:
    """Null is a port without a name and number, which nobody asks for."""
    return tuple(
        (intern(each.name or ""), each.port or 0, intern(each.protocol or ""))
        for each in found
        if each is not None
    )


_known_ports = lru_cache(maxsize=4096)(_named_ports)
"""All pods of a workload have the same, and share what they have."""

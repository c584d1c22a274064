"""
Nodes (Cilium pkg/node/types/node.go; pkg/node/store/store.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fleetmesh.errors import WireError
from fleetmesh.records import NodeRecord
from fleetmesh.state.codecs import gojson
from fleetmesh.state.codecs.addresses import bits_of, canonical_ip, why_not
from fleetmesh.state.codecs.exporter import Exporter
from fleetmesh.state.codecs.fields import UInt8, UInt32, check_cluster, check_cluster_id, texts
from fleetmesh.state.codecs.masks import Mask, length, write_mask
from fleetmesh.state.codecs.words import shown


class _Address(msgspec.Struct, forbid_unknown_fields=True, rename={"type_": "Type", "ip": "IP"}):
    type_: str | None = None
    ip: str | None = None


class _Cidr(msgspec.Struct, forbid_unknown_fields=True, rename={"ip": "IP", "mask": "Mask"}):
    ip: str | None = None
    mask: Mask | None = None


class _Node(
    msgspec.Struct,
    forbid_unknown_fields=True,
    rename={
        "name": "Name",
        "cluster": "Cluster",
        "ip_addresses": "IPAddresses",
        "ipv4_alloc_cidr": "IPv4AllocCIDR",
        "ipv4_secondary_alloc_cidrs": "IPv4SecondaryAllocCIDRs",
        "ipv6_alloc_cidr": "IPv6AllocCIDR",
        "ipv6_secondary_alloc_cidrs": "IPv6SecondaryAllocCIDRs",
        "ipv4_health_ip": "IPv4HealthIP",
        "ipv6_health_ip": "IPv6HealthIP",
        "ipv4_ingress_ip": "IPv4IngressIP",
        "ipv6_ingress_ip": "IPv6IngressIP",
        "cluster_id": "ClusterID",
        "source": "Source",
        "encryption_key": "EncryptionKey",
        "labels": "Labels",
        "annotations": "Annotations",
        "wireguard_pub_key": "WireguardPubKey",
        "boot_id": "BootID",
    },
):
    name: str | None = None
    cluster: str | None = None
    ip_addresses: list[_Address | None] | None = None
    ipv4_alloc_cidr: _Cidr | None = None
    ipv4_secondary_alloc_cidrs: list[_Cidr | None] | None = None
    ipv6_alloc_cidr: _Cidr | None = None
    ipv6_secondary_alloc_cidrs: list[_Cidr | None] | None = None
    ipv4_health_ip: str | None = None
    ipv6_health_ip: str | None = None
    ipv4_ingress_ip: str | None = None
    ipv6_ingress_ip: str | None = None
    cluster_id: UInt32 | None = None
    source: str | None = None
    encryption_key: UInt8 | None = None
    labels: dict[str, str | None] | None = None
    annotations: dict[str, str | None] | None = None
    wireguard_pub_key: str | None = None
    boot_id: str | None = None


_READER = gojson.Reader(_Node)


def encode(record: NodeRecord) -> bytes:
    """The JSON of `nodes/v1`; null where there is no range, no label or no annotation."""
    return gojson.write(
        {
            "Name": record.name,
            "Cluster": record.cluster,
            "IPAddresses": [{"Type": kind, "IP": text} for kind, text in record.ip_addresses] or None,
            "IPv4AllocCIDR": _write_cidr(record.ipv4_alloc_cidr),
            "IPv4SecondaryAllocCIDRs": list(map(_write_cidr, record.ipv4_secondary_alloc_cidrs)) or None,
            "IPv6AllocCIDR": _write_cidr(record.ipv6_alloc_cidr),
            "IPv6SecondaryAllocCIDRs": list(map(_write_cidr, record.ipv6_secondary_alloc_cidrs)) or None,
            "IPv4HealthIP": record.ipv4_health_ip,
            "IPv6HealthIP": record.ipv6_health_ip,
            "IPv4IngressIP": record.ipv4_ingress_ip,
            "IPv6IngressIP": record.ipv6_ingress_ip,
            "ClusterID": record.cluster_id,
            "Source": record.source,
            "EncryptionKey": record.encryption_key,
            "Labels": gojson.by_key(record.labels) or None,
            "Annotations": gojson.by_key(record.annotations) or None,
            "WireguardPubKey": record.wireguard_pub_key,
            "BootID": record.boot_id,
        }
    )


def decode(name: str, value: bytes, exporter: Exporter) -> NodeRecord:
    """
    Raises:
        WireError: It is no node, or not that of the key, or an address in it can't be read. Stricter than
            Cilium: a mask that is none.
    """
    read = _READER.read(value)
    check_cluster(read.cluster or "", exporter, "Cluster")
    if not read.name or read.name != name:
        found = f"is {shown(read.name)}, expected {shown(name)} as in the key" if read.name else "is unset"
        raise WireError("Name", found)
    check_cluster_id(read.cluster_id or 0, exporter, "ClusterID")
    return NodeRecord(
        name=name,
        cluster=exporter.cluster,
        cluster_id=exporter.cluster_id,
        ip_addresses=tuple(
            (each.type_ or "", address)
            for number, each in enumerate(read.ip_addresses or ())
            if each is not None and (address := _ip(each.ip, f"IPAddresses[{number}].IP"))
        ),
        ipv4_alloc_cidr=_cidr(read.ipv4_alloc_cidr, "IPv4AllocCIDR"),
        ipv4_secondary_alloc_cidrs=_cidrs(read.ipv4_secondary_alloc_cidrs, "IPv4SecondaryAllocCIDRs"),
        ipv6_alloc_cidr=_cidr(read.ipv6_alloc_cidr, "IPv6AllocCIDR"),
        ipv6_secondary_alloc_cidrs=_cidrs(read.ipv6_secondary_alloc_cidrs, "IPv6SecondaryAllocCIDRs"),
        ipv4_health_ip=_ip(read.ipv4_health_ip, "IPv4HealthIP"),
        ipv6_health_ip=_ip(read.ipv6_health_ip, "IPv6HealthIP"),
        ipv4_ingress_ip=_ip(read.ipv4_ingress_ip, "IPv4IngressIP"),
        ipv6_ingress_ip=_ip(read.ipv6_ingress_ip, "IPv6IngressIP"),
        source=read.source or "",
        encryption_key=read.encryption_key or 0,
        labels=texts(read.labels),
        annotations=texts(read.annotations),
        wireguard_pub_key=read.wireguard_pub_key or "",
        boot_id=read.boot_id or "",
    )


def _write_cidr(text: str) -> Mapping[str, Any] | None:
    address, _, bits = text.partition("/")
    return {"IP": address, "Mask": write_mask(int(bits), address)} if text else None


def _ip(text: str | None, field: str) -> str:
    """An address; "" where there is none."""
    if not text:
        return ""
    address = canonical_ip(text)
    if address is None:
        raise WireError(field, why_not(text))
    return address


def _cidr(found: _Cidr | None, field: str) -> str:
    """A network; "" where there is none."""
    address = "" if found is None else _ip(found.ip, f"{field}.IP")
    if found is None or not address:
        return ""
    return f"{address}/{length(found.mask or '', bits_of(address), f'{field}.Mask')}"


def _cidrs(found: list[_Cidr | None] | None, field: str) -> tuple[str, ...]:
    read = (_cidr(each, f"{field}[{number}]") for number, each in enumerate(found or ()))
    return tuple(filter(None, read))

"""
Values of a store: what real Cilium wrote, and records drawn at random.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import attrs
from hypothesis import strategies as st

from fleetmesh.records import (
    EndpointsRecord,
    ExportRecord,
    IdentityRecord,
    IpRecord,
    NodeRecord,
    Record,
    ServiceRecord,
)
from fleetmesh.resources.model import Endpoint, EndpointPort, ServicePort
from fleetmesh.state import keys
from fleetmesh.state.codecs import Exporter
from fleetmesh.state.keys import Kind

CORPUS = Path(__file__).parents[1] / "golden" / "kvstore.json"

CLUSTERS: Mapping[str, Exporter] = {
    name: Exporter(name, number) for number, name in enumerate(("alpha", "beta", "gamma", "delta"), 1)
}
"""Of the corpus. A mesh of 255: gamma's identities, written by hand, are of one."""


@attrs.frozen
class Golden:
    """
    A value that real Cilium wrote.

    Attributes:
        store: The cluster whose etcd it was in.
        value: As it was there.
        message: Of a slice, what is in the frame.
    """

    store: str
    key: str
    value: bytes
    message: bytes | None


@attrs.frozen
class Placed:
    """Where a key of a record says that it stands."""

    kind: Kind
    name: str
    cached: bool
    exporter: Exporter


def golden() -> list[Golden]:
    """All of the corpus."""
    return [
        Golden(
            each["store"],
            each["key"],
            each["value"].encode() if "value" in each else base64.b64decode(each["frame"]),
            base64.b64decode(each["message"]) if "message" in each else None,
        )
        for each in json.loads(CORPUS.read_text())["entries"]
    ]


def placed(value: Golden) -> Placed | None:
    """Of a record's; `None` of other keys. What has no cluster in its key is of the store's own."""
    for cached in (False, True):
        for name, exporter in CLUSTERS.items():
            for kind in keys.KINDS:
                prefix = keys.prefix(kind, name, cached=cached)
                own = cached or kind not in ("ip", "identities") or name == value.store
                if own and value.key.startswith(prefix):
                    return Placed(kind, value.key.removeprefix(prefix), cached, exporter)
    return None


EAST = Exporter("east", 3)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", "http", "<a&b>", "\u2028\u2029", "\x00\x1f\x7f", '"\\', "\U0001f600", "k8s.io/x"]
)
NAMES = st.sampled_from(["web", "shop", "a<b", "é", "default"])
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=4)
PORT = st.integers(0, 0xFFFF)
PROTOCOLS = st.sampled_from(["TCP", "UDP", "SCTP"])

_ODD = ["::", "::1", "::2", "::1:0", "::1.2.3.4", "1::", "1:0:0:2::", "::ffff:0:1.2.3.4"]


def _as_go(text: str) -> str:
    """As net/netip prints an address, by another way than the codecs'."""
    address = ip_address(text)
    if address.version == 4:
        return str(address)
    mapped = address.ipv4_mapped
    return f"::ffff:{mapped}" if mapped is not None else address.compressed


V4 = (st.integers(0, (1 << 32) - 1) | st.integers(10 << 24, (10 << 24) + 300)).map(
    lambda n: str(IPv4Address(n))
)
_LOW = st.integers(0, (1 << 128) - 1) | st.integers(0, (1 << 34) - 1)
_SPARSE = st.integers(0, 255).map(lambda n: sum(0xA0 << 16 * bit for bit in range(8) if n >> bit & 1))
V6 = (_LOW | _SPARSE).map(lambda n: _as_go(str(IPv6Address(n)))) | st.sampled_from(_ODD).map(_as_go)
ADDRESSES = V4 | V6
MAPPED = V4.map(lambda each: f"::ffff:{each}")
NETWORKS = st.builds(
    lambda text, bits: str(ip_network((text, bits % (129 if ":" in text else 33)), strict=False)),
    ADDRESSES,
    st.integers(0, 128),
)
PORTS = st.dictionaries(TEXTS, st.tuples(PROTOCOLS, PORT), max_size=3)
ZONES = st.tuples(TEXTS, st.lists(TEXTS, max_size=3).map(tuple))

NODES = st.builds(
    NodeRecord,
    name=NAMES,
    cluster=st.just(EAST.cluster),
    cluster_id=st.just(EAST.cluster_id),
    ip_addresses=st.lists(st.tuples(TEXTS, ADDRESSES), max_size=3).map(tuple),
    ipv4_alloc_cidr=st.just("") | NETWORKS,
    ipv4_secondary_alloc_cidrs=st.lists(NETWORKS, max_size=2).map(tuple),
    ipv6_alloc_cidr=st.just("") | NETWORKS,
    ipv6_secondary_alloc_cidrs=st.lists(NETWORKS, max_size=2).map(tuple),
    ipv4_health_ip=st.just("") | ADDRESSES,
    ipv6_health_ip=st.just("") | ADDRESSES,
    ipv4_ingress_ip=st.just("") | ADDRESSES,
    ipv6_ingress_ip=st.just("") | ADDRESSES,
    source=TEXTS,
    encryption_key=st.integers(0, 255),
    labels=MAPS,
    annotations=MAPS,
    wireguard_pub_key=TEXTS,
    boot_id=TEXTS,
)
SERVICES = st.builds(
    ServiceRecord,
    cluster=st.just(EAST.cluster),
    cluster_id=st.just(EAST.cluster_id),
    namespace=NAMES,
    name=NAMES,
    frontends=st.dictionaries(ADDRESSES | MAPPED, PORTS, max_size=2),
    backends=st.dictionaries(ADDRESSES | MAPPED, PORTS, max_size=4),
    hostnames=st.dictionaries(ADDRESSES, TEXTS, max_size=2),
    zones=st.dictionaries(ADDRESSES, ZONES, max_size=2),
    labels=MAPS,
    selector=MAPS,
    include_external=st.booleans(),
    shared=st.booleans(),
)
CONDITION = st.none() | st.booleans()


@st.composite
def slices(draw: st.DrawFn) -> EndpointsRecord:
    """Of one family each."""
    family = draw(st.sampled_from(["IPv4", "IPv6"]))
    endpoint = st.builds(
        Endpoint,
        addresses=st.lists(V4 if family == "IPv4" else V6 | MAPPED, max_size=3).map(tuple),
        ready=CONDITION,
        serving=CONDITION,
        terminating=CONDITION,
        hostname=TEXTS,
        node_name=TEXTS,
        zone=TEXTS,
        for_zones=st.lists(TEXTS, max_size=2).map(tuple),
    )
    port = st.builds(
        EndpointPort,
        port=st.none() | st.integers(-(1 << 31), (1 << 31) - 1),
        name=TEXTS,
        protocol=PROTOCOLS,
        app_protocol=TEXTS,
    )
    return EndpointsRecord(
        cluster=EAST.cluster,
        cluster_id=EAST.cluster_id,
        namespace=draw(NAMES),
        name=draw(NAMES),
        labels=draw(MAPS),
        annotations=draw(MAPS),
        address_type=family,
        endpoints=tuple(draw(st.lists(endpoint, max_size=4))),
        ports=tuple(draw(st.lists(port, max_size=3))),
    )


EXPORTS = st.builds(
    ExportRecord,
    cluster=st.just(EAST.cluster),
    namespace=NAMES,
    name=NAMES,
    annotations=MAPS,
    labels=MAPS,
    created=st.datetimes().map(lambda each: f"{each.year:04}-{each:%m-%dT%H:%M:%SZ}"),
    ports=st.lists(
        st.builds(
            ServicePort,
            port=st.integers(-(1 << 31), (1 << 31) - 1),
            name=TEXTS,
            protocol=PROTOCOLS,
            app_protocol=TEXTS,
        ),
        max_size=3,
    ).map(tuple),
    type=st.sampled_from(["ClusterSetIP", "Headless"]),
    session_affinity_seconds=st.integers(0, (1 << 31) - 1),
    ip_families=st.lists(st.sampled_from(["IPv4", "IPv6"]), max_size=2).map(tuple),
    internal_traffic_policy=st.sampled_from(["", "Cluster", "Local"]),
    traffic_distribution=st.sampled_from(["", "PreferClose", "PreferSameZone", "PreferSameNode"]),
).filter(lambda each: each.created not in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"))
IPS = st.builds(
    IpRecord,
    cluster=st.just(EAST.cluster),
    cluster_id=st.just(EAST.cluster_id),
    address=(ADDRESSES | NETWORKS).filter(lambda each: not each.startswith("::ffff:")),
    host=st.just("") | ADDRESSES.filter(lambda each: not each.startswith("::ffff:")),
    identity=(st.integers(EAST.identities.start, EAST.identities.stop - 1) | st.integers(0, 255)).map(
        lambda number: 6 if number == 1 else number
    ),
    namespace=TEXTS,
    pod=TEXTS,
    service_account=TEXTS,
    encryption_key=st.integers(0, 255),
    metadata=TEXTS,
    named_ports=st.lists(st.tuples(TEXTS, PORT, TEXTS), max_size=3).map(tuple),
)


@st.composite
def identities(draw: st.DrawFn) -> IdentityRecord:
    """With labels of several sources, and the one that names the cluster."""
    part = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters=";:=$"), min_size=1, max_size=6
    )
    labels = draw(
        st.dictionaries(part, st.tuples(st.sampled_from(["k8s", "generated", "any"]), part), max_size=3)
    )
    labels["io.cilium.k8s.policy.cluster"] = ("k8s", EAST.cluster)
    return IdentityRecord(
        cluster=EAST.cluster,
        cluster_id=EAST.cluster_id,
        number=draw(st.integers(EAST.identities.start, EAST.identities.stop - 1)),
        labels="".join(f"{labels[key][0]}:{key}={labels[key][1]};" for key in sorted(labels)),
    )


RECORDS: Mapping[Kind, st.SearchStrategy[Record]] = {
    "nodes": NODES,
    "services": SERVICES,
    "endpointslices": slices(),
    "serviceexports": EXPORTS,
    "ip": IPS,
    "identities": identities(),
}

"""
Values that Cilium's readers refuse are refused for the same reason, and what they take is taken.
"""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from fleetmesh.errors import WireError
from fleetmesh.records import ExportRecord, IpRecord, NodeRecord, Record, ServiceRecord
from fleetmesh.resources.model import ServicePort
from fleetmesh.state import keys
from fleetmesh.state.codecs import MOST_BYTES, Exporter, decode, encode
from fleetmesh.state.keys import Kind

EAST = Exporter("east", 3)
NODE = NodeRecord(
    name="n1",
    cluster="east",
    cluster_id=3,
    ip_addresses=(("InternalIP", "192.0.2.1"),),
    ipv4_alloc_cidr="10.1.0.0/16",
    ipv6_secondary_alloc_cidrs=("fd00::/64",),
    ipv4_health_ip="10.1.0.1",
    labels={"a": "b"},
)
SERVICE = ServiceRecord(
    cluster="east",
    cluster_id=3,
    namespace="shop",
    name="web",
    frontends={"10.96.0.1": {"http": ("TCP", 80)}},
    backends={"10.1.0.4": {"http": ("TCP", 8080)}, "fd00::4": {"": ("UDP", 53)}},
    hostnames={"10.1.0.4": "h-0"},
    zones={"10.1.0.4": ("az-1", ("az-1", "az-2"))},
    labels={"a": "b"},
    selector={"app": "web"},
)
EXPORT = ExportRecord(
    cluster="east",
    namespace="shop",
    name="web",
    labels={"team": "a"},
    created="2026-11-23T00:51:18Z",
    ports=(ServicePort(port=80, name="http"),),
    session_affinity_seconds=60,
    ip_families=("IPv4",),
)
IP = IpRecord(
    cluster="east",
    cluster_id=3,
    address="10.1.0.4",
    host="192.0.2.1",
    identity=3 << 16,
    namespace="shop",
    pod="web-0",
    named_ports=(("http", 8080, "TCP"),),
)
JSON_RECORDS: list[Record] = [NODE, SERVICE, EXPORT, IP]
OF_JSON = pytest.mark.parametrize("record", JSON_RECORDS, ids=keys.kind_of)
DELETED = object()


def changed(record: Record, path: str, value: object) -> bytes:
    """The value of a record with another one at a path such as `zones/10.1.0.4/zone`."""
    read = json.loads(encode(record))
    *outer, last = path.split("/")
    place: Any = read
    for each in outer:
        place = place[int(each) if isinstance(place, list) else each]
    if value is DELETED:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(read).encode()


def read_again(record: Record, value: bytes | None = None, exporter: Exporter = EAST) -> Record:
    kind, name = keys.name_of(record)
    return decode(kind, name, encode(record) if value is None else value, exporter)


REFUSED: list[tuple[Record, str, object, str]] = [
    (NODE, "Cluster", "west", "Cluster: is 'west', expected 'east'"),
    (NODE, "Cluster", DELETED, "Cluster: is unset"),
    (NODE, "Name", "n2", "Name: is 'n2', expected 'n1' as in the key"),
    (NODE, "Name", None, "Name: is unset"),
    (NODE, "ClusterID", 4, "ClusterID: is 4, expected 3"),
    (NODE, "ClusterID", DELETED, "ClusterID: is 0, expected 3"),
    (NODE, "ClusterID", -1, "ClusterID: Expected int >= 0"),
    (NODE, "EncryptionKey", 256, "EncryptionKey: Expected int <= 255"),
    (NODE, "EncryptionKey", 1.0, "EncryptionKey: Expected int, got float"),
    (NODE, "IPAddresses/0/IP", "192.0.2.256", "IPAddresses[0].IP: '192.0.2.256' is no IP address"),
    (NODE, "IPAddresses/0/IP", "192.0.2.01", "IPAddresses[0].IP: '192.0.2.01' is no IP address"),
    (NODE, "IPv4HealthIP", "fe80::1%e", "IPv4HealthIP: unsupported IPv6 zone in address 'fe80::1%e'"),
    (NODE, "IPv4AllocCIDR/IP", "x", "IPv4AllocCIDR.IP: 'x' is no IP address"),
    (NODE, "IPv4AllocCIDR/Mask", "/wD/AA==", "IPv4AllocCIDR.Mask: ff00ff00 is no mask of 32 bits"),
    (NODE, "IPv4AllocCIDR/Mask", "////", "IPv4AllocCIDR.Mask: ffffff is no mask of 32 bits"),
    (NODE, "IPv4AllocCIDR/Mask", "*", "IPv4AllocCIDR.Mask: '*' is not base64"),
    (NODE, "IPv4AllocCIDR/Mask", None, "IPv4AllocCIDR.Mask: nothing is no mask of 32 bits"),
    (NODE, "IPv6SecondaryAllocCIDRs/0/IP", "z", "IPv6SecondaryAllocCIDRs[0].IP: 'z' is no IP address"),
    (NODE, "Labels", [], "Labels: Expected object, got array"),
    (SERVICE, "cluster", "west", "cluster: is 'west', expected 'east'"),
    (SERVICE, "cluster", "", "cluster: is unset"),
    (SERVICE, "namespace", "", "namespace: is unset"),
    (SERVICE, "name", DELETED, "name: is unset"),
    (SERVICE, "name", "web2", "name: is 'shop/web2', expected 'shop/web' as in the key"),
    (SERVICE, "clusterID", 2, "clusterID: is 2, expected 3"),
    (SERVICE, "clusterID", 1 << 32, "clusterID: Expected int <= 4294967295"),
    (SERVICE, "backends/10.1.0.400", {}, "backends['10.1.0.400']: '10.1.0.400' is no IP address"),
    (SERVICE, "backends/fe80::1%eth0", {}, "backends['fe80::1%eth0']: unsupported IPv6 zone in address"),
    (SERVICE, "frontends/", {}, "frontends['']: '' is no IP address"),
    (SERVICE, "backends/10.1.0.4/http", None, "backends['10.1.0.4']['http']: is null"),
    (SERVICE, "backends/10.1.0.4/http/Port", 65536, "backends['10.1.0.4'][...].Port: Expected int <= 65535"),
    (SERVICE, "backends/10.1.0.4/http/Port", "80", "backends['10.1.0.4'][...].Port: Expected int, got str"),
    (SERVICE, "backends/10.1.0.4", [], "backends['10.1.0.4']: Expected object, got array"),
    (SERVICE, "shared", "true", "shared: Expected bool, got str"),
    (SERVICE, "zones/10.1.0.4/forZones", "az-1", "zones['10.1.0.4'].forZones: Expected array, got str"),
    (EXPORT, "cluster", "west", "cluster: is 'west', expected 'east'"),
    (EXPORT, "name", "other", "name: is 'shop/other', expected 'shop/web' as in the key"),
    (EXPORT, "exportCreationTimestamp", None, "exportCreationTimestamp: is unset"),
    (EXPORT, "exportCreationTimestamp", DELETED, "exportCreationTimestamp: is unset"),
    (EXPORT, "exportCreationTimestamp", "0001-01-01T00:00:00Z", "exportCreationTimestamp: is unset"),
    (EXPORT, "exportCreationTimestamp", "yesterday", "exportCreationTimestamp: 'yesterday' is no time"),
    (EXPORT, "exportCreationTimestamp", "2026-02-30T00:00:00Z", "'2026-02-30T00:00:00Z' is no time"),
    (EXPORT, "type", "ClusterIP", "type: is 'ClusterIP', expected ClusterSetIP or Headless"),
    (EXPORT, "type", DELETED, "type: is unset"),
    (EXPORT, "sessionAffinity", "Cookie", "sessionAffinity: is 'Cookie', expected ClientIP or None"),
    (EXPORT, "sessionAffinity", "", "sessionAffinity: is unset"),
    (EXPORT, "internalTrafficPolicy", "Zone", "internalTrafficPolicy: is 'Zone', expected Cluster or Local"),
    (EXPORT, "internalTrafficPolicy", "", "internalTrafficPolicy: is unset"),
    (EXPORT, "trafficDistribution", "Far", "trafficDistribution: is 'Far', expected PreferClose or"),
    (EXPORT, "ports/0/protocol", "QUIC", "ports[0].protocol: is 'QUIC', expected TCP or UDP or SCTP"),
    (EXPORT, "ports/0/port", 1 << 31, "ports[0].port: Expected int <= 2147483647"),
    (EXPORT, "ipFamilies/0", "IPX", "ipFamilies[0]: is 'IPX', expected IPv4 or IPv6"),
    (IP, "IP", "10.1.0.5", "IP: is '10.1.0.5', expected '10.1.0.4' as in the key"),
    (IP, "IP", "", "IP: is unset"),
    (IP, "IP", None, "IP: is unset"),
    (IP, "IP", "10.1.0", "IP: '10.1.0' is no IP address"),
    (IP, "HostIP", "here", "HostIP: 'here' is no IP address"),
    (IP, "ID", 2 << 16, "ID: 131072 is none of cluster 3's, which has 196608 to 262143"),
    (IP, "ID", 256, "ID: 256 is none of cluster 3's, which has 196608 to 262143"),
    (IP, "ID", "6", "ID: Expected int, got str"),
    (IP, "Mask", "////AA==", "IP: is '10.1.0.4/24', expected '10.1.0.4' as in the key"),
    (IP, "Mask", "", "Mask: nothing is no mask of 32 bits"),
    (IP, "Mask", [255, 0, 255, 0], "Mask: ff00ff00 is no mask of 32 bits"),
    (IP, "NamedPorts/0/Port", -1, "NamedPorts[0].Port: Expected int >= 0"),
]


@pytest.mark.parametrize(
    ("record", "path", "value", "reason"),
    REFUSED,
)
def test_a_value_is_refused_with_the_place_and_the_reason(
    record: Record, path: str, value: object, reason: str
) -> None:
    with pytest.raises(WireError) as raised:
        read_again(record, changed(record, path, value))

    assert reason in str(raised.value)


TAKEN: list[tuple[Record, str, object, Callable[[Any], Any]]] = [
    (NODE, "Labels", None, lambda record: attrs.evolve(record, labels={})),
    (NODE, "IPAddresses/0/IP", "", lambda record: attrs.evolve(record, ip_addresses=())),
    (NODE, "IPAddresses/0", None, lambda record: attrs.evolve(record, ip_addresses=())),
    (NODE, "IPv4AllocCIDR", {}, lambda record: attrs.evolve(record, ipv4_alloc_cidr="")),
    (
        NODE,
        "IPv4AllocCIDR/Mask",
        [255, 255, 255, None],
        lambda record: attrs.evolve(record, ipv4_alloc_cidr="10.1.0.0/24"),
    ),
    (NODE, "IPv4AllocCIDR/Mask", "//8A\nAA==", lambda record: record),
    (NODE, "IPv4HealthIP", "::ffff:10.1.0.1", lambda record: record),
    (NODE, "BootID", None, lambda record: record),
    (NODE, "NewField", {"x": [1]}, lambda record: record),
    (SERVICE, "backends", None, lambda record: attrs.evolve(record, backends={})),
    (SERVICE, "hostnames", None, lambda record: attrs.evolve(record, hostnames={})),
    (SERVICE, "zones", DELETED, lambda record: attrs.evolve(record, zones={})),
    (
        SERVICE,
        "zones/10.1.0.4/forZones",
        None,
        lambda record: attrs.evolve(record, zones={"10.1.0.4": ("az-1", ())}),
    ),
    (
        SERVICE,
        "frontends/10.96.0.1/http",
        None,
        lambda record: attrs.evolve(record, frontends={"10.96.0.1": {}}),
    ),
    (SERVICE, "zones/10.1.0.4", None, lambda record: attrs.evolve(record, zones={"10.1.0.4": ("", ())})),
    (SERVICE, "newField", [{"x": None}], lambda record: record),
    (SERVICE, "zones/10.1.0.4/newField", 1, lambda record: record),
    (SERVICE, "backends/10.1.0.4/http/NewField", {"x": 1}, lambda record: record),
    (EXPORT, "ports/0/newField", 1.5, lambda record: record),
    (IP, "NewField", 10**30, lambda record: record),
    (IP, "NamedPorts/0/NewField", "x", lambda record: record),
    (IP, "NamedPorts/0/port", 81, lambda record: attrs.evolve(record, named_ports=(("http", 81, "TCP"),))),
    (SERVICE, "shared", False, lambda record: attrs.evolve(record, shared=False)),
    (SERVICE, "shared", DELETED, lambda record: attrs.evolve(record, shared=False)),
    (
        SERVICE,
        "backends/fd00::4",
        None,
        lambda record: attrs.evolve(record, backends=record.backends | {"fd00::4": {}}),
    ),
    (
        SERVICE,
        "backends/10.1.0.4/http/protocol",
        "SCTP",
        lambda record: attrs.evolve(
            record, backends=record.backends | {"10.1.0.4": {"http": ("SCTP", 8080)}}
        ),
    ),
    (SERVICE, "SELECTOR", {"x": "y"}, lambda record: attrs.evolve(record, selector={"x": "y"})),
    (SERVICE, "labels/a", None, lambda record: attrs.evolve(record, labels={"a": ""})),
    (EXPORT, "labels", DELETED, lambda record: record),
    (EXPORT, "Labels", DELETED, lambda record: record),
    (EXPORT, "ports", None, lambda record: attrs.evolve(record, ports=())),
    (
        EXPORT,
        "sessionAffinityConfig",
        DELETED,
        lambda record: attrs.evolve(record, session_affinity_seconds=10800),
    ),
    (EXPORT, "sessionAffinity", "None", lambda record: attrs.evolve(record, session_affinity_seconds=0)),
    (
        EXPORT,
        "internalTrafficPolicy",
        DELETED,
        lambda record: attrs.evolve(record, internal_traffic_policy=""),
    ),
    (EXPORT, "exportCreationTimestamp", "2026-11-23T02:51:18.75+02:00", lambda record: record),
    (IP, "HostIP", "", lambda record: attrs.evolve(record, host="")),
    (IP, "HostIP", "::ffff:192.0.2.1", lambda record: record),
    (IP, "ID", 1, lambda record: attrs.evolve(record, identity=6)),
    (IP, "ID", 255, lambda record: attrs.evolve(record, identity=255)),
    (IP, "K8sServiceAccount", "web", lambda record: attrs.evolve(record, service_account="web")),
    (IP, "NamedPorts/0", None, lambda record: attrs.evolve(record, named_ports=())),
    (IP, "k8sPODname", "web-1", lambda record: attrs.evolve(record, pod="web-1")),
    (IP, "\u212aey", 7, lambda record: attrs.evolve(record, encryption_key=7)),
]


@pytest.mark.parametrize(
    ("record", "path", "value", "expected"),
    TAKEN,
)
def test_a_value_is_taken_as_cilium_takes_it(
    record: Record, path: str, value: object, expected: Callable[[Any], Any]
) -> None:
    assert read_again(record, changed(record, path, value)) == expected(record)


@OF_JSON
def test_a_record_is_written_and_read_again(record: Record) -> None:
    assert read_again(record) == record


@OF_JSON
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"{",
        b"{}x",
        b'{"a":01}',
        b"\xef\xbb\xbf{}",
        b"NaN",
        b'{"a":Infinity}',
    ],
)
def test_what_is_no_object_is_refused(record: Record, value: bytes) -> None:
    with pytest.raises(WireError):
        read_again(record, value)


@OF_JSON
def test_a_value_of_more_than_16_mib_is_refused(record: Record) -> None:
    padding = b" " * (MOST_BYTES - len(encode(record)))
    assert read_again(record, encode(record) + padding) == record

    with pytest.raises(WireError, match="is of 16777217 bytes, expected 16777216 at most"):
        read_again(record, encode(record) + padding + b" ")


@OF_JSON
@pytest.mark.parametrize("levels", [100_000, 5_000_000])
def test_a_value_nested_too_deeply_is_refused(record: Record, levels: int) -> None:
    value = b'{"x":' + b"[" * levels + b"]" * levels + b"," + encode(record)[1:]

    with pytest.raises(WireError, match="nested too deeply"):
        read_again(record, value)


def test_a_value_of_10_mb_is_read() -> None:
    backends = {f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}": {"http": ("TCP", 8080)} for n in range(200_000)}
    record = attrs.evolve(SERVICE, backends=backends)
    value = encode(record)
    assert len(value) > 10_000_000

    assert read_again(record, value) == record
    assert read_again(record, value[:-1] + b',"unknown":1}') == record


def test_bytes_that_are_no_utf_8_are_replaced_one_by_one() -> None:
    value = encode(attrs.evolve(IP, metadata="XYZ")).replace(b"XYZ", b"a\xe2\x82\xed\xa0\x80b\xff")

    assert read_again(IP, value) == attrs.evolve(IP, metadata="a\ufffd\ufffd\ufffd\ufffd\ufffdb\ufffd")


def test_a_lone_half_of_a_surrogate_is_replaced() -> None:
    value = encode(attrs.evolve(IP, metadata="XYZ")).replace(b"XYZ", rb"\ud800\ud83d\ude00\udc00")

    assert read_again(IP, value) == attrs.evolve(IP, metadata="\ufffd\U0001f600\ufffd")


def test_texts_are_escaped_as_go_escapes_them() -> None:
    value = encode(attrs.evolve(IP, metadata='<&>\u2028\u2029\x00\b\f\n\r\t\x1f\x7f"\\/é\ud800'))

    assert (
        rb'"Metadata":"\u003c\u0026\u003e\u2028\u2029\u0000\b\f\n\r\t\u001f'
        b"\x7f"
        rb"\"\\/" + "é".encode() + rb'\ufffd"'
    ) in value


def test_maps_are_written_by_the_bytes_of_their_keys() -> None:
    labels = {"b": "1", "\U00010000": "2", "\uffff": "3", "B": "4", "a": "5"}
    value = encode(attrs.evolve(SERVICE, labels=labels))

    written = json.loads(value)["labels"]
    assert list(written) == ["B", "a", "b", "\uffff", "\U00010000"]
    assert [name.encode() for name in written] == sorted(name.encode() for name in labels)


def test_the_shape_of_an_empty_service_is_that_of_ciliums() -> None:
    record = ServiceRecord(
        cluster="east", cluster_id=3, namespace="shop", name="web", frontends={}, backends={}
    )

    assert encode(record) == (
        b'{"cluster":"east","namespace":"shop","name":"web","frontends":{},"backends":{},"labels":{},"selector":{},'
        b'"includeExternal":true,"shared":true,"clusterID":3}'
    )


def test_a_service_of_1_18_is_read() -> None:
    """Which wrote `hostnames` always, and knew no zones."""
    value = (
        b'{"cluster":"east","namespace":"shop","name":"web","frontends":{},"backends":{},"hostnames":%s,"labels":{},'
        b'"selector":{},"includeExternal":true,"shared":true,"clusterID":3}'
    )
    bare = attrs.evolve(SERVICE, frontends={}, backends={}, hostnames={}, zones={}, labels={}, selector={})
    for hostnames in (b"{}", b"null"):
        assert decode("services", "shop/web", value % hostnames, EAST) == bare


def test_of_a_name_that_stands_twice_the_last_value_counts() -> None:
    value = encode(IP)[:-1] + b',"HostIP":"192.0.2.9"}'

    assert read_again(IP, value) == attrs.evolve(IP, host="192.0.2.9")


@pytest.mark.parametrize(
    ("key", "ip", "mask"),
    [
        ("10.1.0.0/16", "10.1.0.0", "//8AAA=="),
        ("fd00::1/64", "fd00::1", "//////////8AAAAAAAAAAA=="),
        ("0.0.0.0/0", "0.0.0.0", "AAAAAA=="),
    ],
)
def test_a_network_has_its_length_in_the_key(key: str, ip: str, mask: str) -> None:
    record = attrs.evolve(IP, address=key)

    written = json.loads(encode(record))
    assert (written["IP"], written["Mask"]) == (ip, mask)
    assert read_again(record) == record


@pytest.mark.parametrize("text", ["FD00::4", "fd00:0:0::4", "fd00::0.0.0.4"])
def test_an_address_is_that_of_the_key_however_it_is_written(text: str) -> None:
    record = attrs.evolve(IP, address="fd00::4")

    assert read_again(record, changed(record, "IP", text)) == record
    with pytest.raises(WireError, match="expected 'FD00::4' as in the key"):
        decode("ip", "FD00::4", changed(record, "IP", text), EAST)


def test_the_addresses_of_a_service_are_as_cilium_prints_them() -> None:
    record = read_again(
        SERVICE, changed(SERVICE, "backends", {"FD00:0::A": {}, "::ffff:10.0.0.1": {}, "0:0::1.2.3.4": {}})
    )

    assert isinstance(record, ServiceRecord)
    assert list(record.backends) == ["fd00::a", "::ffff:10.0.0.1", "::102:304"]


IDENTITY = b"k8s:app=web;k8s:io.cilium.k8s.policy.cluster=east;"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("131072", IDENTITY, "131072 is none of cluster 3's, which has 196608 to 262143"),
        ("262144", IDENTITY, "262144 is none of cluster 3's"),
        ("6", IDENTITY, "6 is none of cluster 3's"),
        ("0196608", IDENTITY, "the key ends in '0196608', expected the number of an identity"),
        ("-196608", IDENTITY, "expected the number of an identity"),
        ("\u0661\u0669\u0666\u0666\u0660\u0668", IDENTITY, "expected the number of an identity"),
        ("", IDENTITY, "expected the number of an identity"),
        ("196608/x", IDENTITY, "expected the number of an identity"),
        ("9" * 5000, IDENTITY, "expected the number of an identity"),
        ("196608", b"", "no labels"),
        ("196608", b"k8s:app=web;", "io.cilium.k8s.policy.cluster: is no label of it"),
        ("196608", b"k8s:io.cilium.k8s.policy.cluster=west;", "is 'west', expected 'east'"),
        ("196608", b"any:io.cilium.k8s.policy.cluster=east;", "is a label of source 'any', expected k8s"),
        ("196608", b"io.cilium.k8s.policy.cluster=east;", "is a label of source 'unspec', expected k8s"),
    ],
)
def test_an_identity_is_refused_with_the_reason(name: str, value: bytes, reason: str) -> None:
    with pytest.raises(WireError) as raised:
        decode("identities", name, value, EAST)

    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        (IDENTITY, IDENTITY.decode()),
        (IDENTITY[:-1], IDENTITY.decode()),
        (b"k8s:io.cilium.k8s.policy.cluster=east;;k8s:app=old;k8s:app=web", IDENTITY.decode()),
        (
            b"$x;:y=1;plain;" + IDENTITY,
            "k8s:app=web;" + IDENTITY.decode()[12:] + "unspec:plain=;reserved:x=;unspec:y=1;",
        ),
        (
            b"k8s:a=b=c;k8s:io.cilium.k8s.policy.cluster=east;",
            "k8s:a=b=c;k8s:io.cilium.k8s.policy.cluster=east;",
        ),
        (
            b"k8s:a=\xff;k8s:io.cilium.k8s.policy.cluster=east;",
            "k8s:a=\ufffd;k8s:io.cilium.k8s.policy.cluster=east;",
        ),
    ],
)
def test_the_labels_of_an_identity_are_read_as_cilium_reads_them(value: bytes, labels: str) -> None:
    record = decode("identities", "196608", value, EAST)

    assert (record.number, record.labels) == (196608, labels)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("cluster_id", "most", "first", "last"),
    [
        (1, 255, 65536, 131071),
        (255, 255, 16711680, 16777215),
        (1, 511, 32768, 65535),
        (511, 511, 16744448, 16777215),
        (0, 255, 256, 65535),
        (0, 511, 256, 32767),
    ],
)
def test_the_identities_of_a_cluster_have_its_id_in_their_bits(
    cluster_id: int, most: int, first: int, last: int
) -> None:
    identities = Exporter("east", cluster_id, most).identities

    assert (identities.start, identities.stop - 1) == (first, last)


KINDS: list[Kind] = list(keys.KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_short_whatever_a_peer_sends(kind: Kind) -> None:
    """They go into findings and logs."""
    long = "x" * 1_000_000
    values = [
        json.dumps(dict.fromkeys(("cluster", "Cluster", "IP", "name", "Name", "namespace"), long)).encode(),
        json.dumps({"cluster": "east", "name": long, "namespace": long}).encode(),
        json.dumps(
            {
                "cluster": "east",
                "Cluster": "east",
                "name": "web",
                "namespace": "shop",
                "Name": "web",
                "clusterID": 3,
                "ClusterID": 3,
                "IPv4HealthIP": long,
                "backends": {long: {}},
                "type": long,
                "sessionAffinity": long,
            }
        ).encode(),
        f"k8s:io.cilium.k8s.policy.cluster={long};".encode(),
    ]
    for value in values:
        for name in ("shop/web", "web", "196608"):
            with pytest.raises(WireError) as raised:
                decode(kind, name, value, EAST)
            assert len(str(raised.value)) < 1000


LONG: list[tuple[Record, str, object]] = [
    (NODE, "IPv4HealthIP", "{}"),
    (SERVICE, "backends/10.1.0.4", {"{}": {"Protocol": "TCP", "Port": 1}}),
    (SERVICE, "zones/10.1.0.4/zone", "{}"),
    (SERVICE, "selector", {"{}": "x"}),
    (EXPORT, "ports/0/name", "{}"),
    (IP, "HostIP", "{}"),
    (IP, "NamedPorts/0/Name", "{}"),
    (IP, "K8sNamespace", "{}"),
]


@pytest.mark.parametrize(("record", "path", "value"), LONG)
def test_nothing_long_is_kept_of_what_a_peer_sent(record: Record, path: str, value: object) -> None:
    """What many values have in common is kept, to be found again."""
    kind, name = keys.name_of(record)
    tracemalloc.start()
    try:
        for number in range(60):
            text = f"{number}" + "x" * 100_000
            sent = changed(record, path, value).replace(b"{}", text.encode(), 1)
            with contextlib.suppress(WireError):
                decode(kind, name, sent, EAST)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 2_000_000

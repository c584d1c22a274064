"""
The core makes the records of what Cilium writes, shares what they have in common, and leaves all else.
"""

from __future__ import annotations

import json
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import attrs
import pytest

from doubles.wire_shapes import READER, plainly, reader, shape, taken
from fleetmesh.errors import WireError
from fleetmesh.records import IpRecord, Record, ServiceRecord
from fleetmesh.resources.model import EMPTY
from fleetmesh.state import keys
from fleetmesh.state.codecs import MOST_BYTES, Exporter, decode, decode_all, encode
from fleetmesh.state.keys import Kind

EAST = Exporter("east", 3)
PORTS = {"http": ("TCP", 8080), "metrics": ("TCP", 9090)}
IP = IpRecord(
    cluster="east",
    cluster_id=3,
    address="10.1.0.4",
    host="192.0.2.1",
    identity=(3 << 16) + 77,
    namespace="shop",
    pod="web-0",
    service_account="web",
    named_ports=(("http", 8080, "TCP"),),
)
SERVICE = ServiceRecord(
    cluster="east",
    cluster_id=3,
    namespace="shop",
    name="web",
    frontends={"10.96.0.1": {"http": ("TCP", 80)}},
    backends={"10.1.0.4": PORTS, "10.1.0.5": PORTS, "fd00::4": {"": ("UDP", 53)}},
    hostnames={"10.1.0.5": "h-1"},
    zones={"10.1.0.4": ("az-1", ("az-1", "az-2")), "10.1.0.5": ("az-1", ("az-1", "az-2"))},
    labels={"app": "web"},
    selector={"app": "web"},
)
OF_BOTH = pytest.mark.parametrize("record", [IP, SERVICE], ids=keys.kind_of)


def read(record: Record, value: bytes | None = None, exporter: Exporter = EAST) -> Any:
    """What the core makes of the value of a record."""
    kind, name = keys.name_of(record)
    return taken(READER, kind, name, encode(record) if value is None else value, exporter)


@OF_BOTH
def test_a_record_is_the_one_of_the_slow_reader(record: Record) -> None:
    kind, name = keys.name_of(record)

    assert shape(read(record)) == shape(decode(kind, name, encode(record), EAST))


def test_the_maps_of_a_service_without_any_are_those_of_the_slow_reader() -> None:
    bare = attrs.evolve(SERVICE, frontends={}, backends={}, hostnames={}, zones={}, labels={}, selector={})
    value = encode(bare)
    nulls = value.replace(b"{}", b"null")
    kind, name = keys.name_of(bare)

    for each in (value, nulls, value.replace(b',"labels"', b',"hostnames":null,"zones":{},"labels"')):
        found = read(bare, each)

        assert shape(found) == shape(decode(kind, name, each, EAST))
        assert found.labels is found.hostnames is EMPTY
    assert read(bare).zones is not read(bare).zones  # a dict, which somebody may write to


LEFT: list[tuple[Record, Callable[[bytes], bytes]]] = [
    (IP, lambda value: b" " + value),
    (IP, lambda value: value + b"\n"),
    (IP, lambda value: json.dumps(json.loads(value)).encode()),
    (IP, lambda value: value.replace(b'"web-0"', rb'"web-\u0030"')),
    (IP, lambda value: value.replace(b'"web-0"', b'"web-\xff"')),
    (IP, lambda value: value.replace(b'"10.1.0.4"', b'"::ffff:10.1.0.4"')),
    (IP, lambda value: value.replace(b'"10.1.0.4"', b'"10.1.0.5"')),
    (IP, lambda value: value.replace(b'"Mask":null', b'"Mask":"/////w=="')),
    (IP, lambda value: value.replace(b'"ID":196685', b'"ID":131149')),
    (IP, lambda value: value.replace(b'"ID":196685', b'"ID":262144')),
    (IP, lambda value: value.replace(b'"ID":196685', b'"ID":256')),
    (IP, lambda value: value.replace(b"}]}", b'}],"New":1}')),
    (IP, lambda value: value[:-1]),
    (SERVICE, lambda value: b" " + value),
    (SERVICE, lambda value: value + b"\n"),
    (SERVICE, lambda value: value.replace(b'"east"', b'"west"')),
    (SERVICE, lambda value: value.replace(b'"clusterID":3', b'"clusterID":4')),
    (SERVICE, lambda value: value.replace(b'"shop"', b'"shop/web"')),
    (SERVICE, lambda value: value.replace(b'"shop"', b'""')),
    (SERVICE, lambda value: value.replace(b'"name":"web"', b'"name":""')),
    (SERVICE, lambda value: value.replace(b'"name":"web"', b'"name":"web2"')),
    (SERVICE, lambda value: value.replace(b'"name":"web"', b'"name":"eb"')),
    (SERVICE, lambda value: value.replace(b'"fd00::4"', b'"FD00::4"')),
    (SERVICE, lambda value: value.replace(b'"hostnames":{"10.1.0.5"', b'"hostnames":{"10.1.0.6"')),
    (SERVICE, lambda value: value.replace(b'"zones":{"10.1.0.4"', b'"zones":{"10.1.0.3"')),
    (SERVICE, lambda value: value[:-1] + b',"new":1}'),
    (SERVICE, lambda value: value[:-1]),
]


@pytest.mark.parametrize(("record", "change"), LEFT)
def test_what_is_written_otherwise_is_left_to_the_slow_reader(
    record: Record, change: Callable[[bytes], bytes]
) -> None:
    kind, name = keys.name_of(record)
    value = change(encode(record))
    assert value != encode(record)

    assert read(record, value) is None
    (found,) = decode_all(kind, [name], [value], EAST)
    assert shape(found) == shape(plainly(kind, name, value, EAST))


def test_a_key_says_whose_value_it_is() -> None:
    for name in ("10.1.0.40", "10.1.0", "", "\u0661", "10.1.0.4\0"):
        assert taken(READER, "ip", name, encode(IP), EAST) is None
    for name in ("shop/web/", "shop/we", "hop/web", "shopxweb", "shop/xeb", "", "shop/", "é/web", "\ud800"):
        assert taken(READER, "services", name, encode(SERVICE), EAST) is None
    for text in ("shop", "web", "/"):
        slashed = attrs.evolve(SERVICE, namespace=f"a/{text}")
        assert taken(READER, "services", f"a/{text}/web", encode(slashed), EAST) is None


def test_identities_are_those_of_the_exporter_or_reserved() -> None:
    first, last = EAST.identities.start, EAST.identities.stop - 1
    for number, known in ((0, 0), (1, 6), (6, 6), (255, 255), (first, first), (last, last)):
        found = read(IP, encode(attrs.evolve(IP, identity=number)))
        assert (found.identity, type(found.identity)) == (known, int)
    for number in (256, first - 1, last + 1, (1 << 32) - 1):
        assert read(IP, encode(attrs.evolve(IP, identity=number))) is None


def test_the_id_of_an_exporter_may_be_any_that_a_peer_says() -> None:
    for number in (0, 1 << 32, (1 << 32) - 1, -1):
        exporter = Exporter("east", number)
        assert read(IP, exporter=exporter) is None
        assert read(SERVICE, exporter=exporter) is None


def test_values_are_read_or_refused_each_for_itself() -> None:
    names = ["10.1.0.4", "10.1.0.4", "10.1.0.5", "10.1.0.4"]
    values = [encode(IP), b"{", encode(IP), encode(IP) + b" "]

    good, no_json, other, spaced = decode_all("ip", names, values, EAST)

    assert good == spaced == IP
    assert isinstance(no_json, WireError)
    assert "no JSON" in no_json.reason
    assert isinstance(other, WireError)
    assert str(other) == "IP: is '10.1.0.4', expected '10.1.0.5' as in the key"


@pytest.mark.parametrize("kind", list(keys.KINDS))
def test_nothing_is_read_of_nothing(kind: Kind) -> None:
    assert decode_all(kind, [], [], EAST) == []


@pytest.mark.parametrize("kind", ["nodes", "identities"])
def test_other_kinds_are_read_one_by_one(kind: Kind) -> None:
    assert [type(each) for each in decode_all(kind, ["x", "y"], [b"", b""], EAST)] == [WireError, WireError]


@pytest.mark.parametrize(
    ("kind", "name", "padded"),
    [
        ("ip", IP.address, lambda text: attrs.evolve(IP, metadata=text)),
        ("services", "shop/web", lambda text: attrs.evolve(SERVICE, labels={"a": text})),
    ],
)
def test_a_value_of_more_than_16_mib_is_refused(
    kind: Kind, name: str, padded: Callable[[str], Record]
) -> None:
    left = MOST_BYTES - len(encode(padded("")))
    fits, longer = padded("x" * left), padded("x" * (left + 1))

    assert read(fits) == fits
    assert read(longer) is None
    (found,) = decode_all(kind, [name], [encode(longer)], EAST)
    assert isinstance(found, WireError)
    assert found.reason == "is of 16777217 bytes, expected 16777216 at most"


def test_an_address_is_the_text_of_its_key() -> None:
    name = sys.intern("10.1.0." + str(len("four")))

    (found,) = decode_all("ip", [name], [encode(IP)], EAST)

    assert isinstance(found, IpRecord)
    assert found.address is name
    assert found.cluster is EAST.cluster


def test_what_addresses_have_in_common_is_there_once() -> None:
    one = read(IP)
    two = read(attrs.evolve(IP, address="10.1.0.5", pod="web-1"))

    assert one.namespace is two.namespace is sys.intern("shop")
    assert one.service_account is two.service_account is sys.intern("web")
    assert one.host is two.host
    assert one.identity is two.identity
    assert one.named_ports is two.named_ports
    assert one.named_ports[0][0] is sys.intern("http")
    assert one.named_ports[0][2] is sys.intern("TCP")
    assert one.pod != two.pod


def test_what_services_have_in_common_is_there_once() -> None:
    one = read(SERVICE)
    two = read(attrs.evolve(SERVICE, name="other"))

    ports = one.backends["10.1.0.4"]
    assert type(ports) is MappingProxyType
    assert ports is one.backends["10.1.0.5"] is two.backends["10.1.0.4"]
    assert ports is not one.backends["fd00::4"]
    assert one.zones["10.1.0.4"] is one.zones["10.1.0.5"] is two.zones["10.1.0.4"]
    assert one.namespace is two.namespace is sys.intern("shop")
    assert next(iter(ports)) is sys.intern("http")
    assert ports["http"][0] is sys.intern("TCP")
    assert one.labels is one.selector
    assert list(map(id, one.zones)) == list(map(id, list(one.backends)[:2]))
    assert next(iter(one.hostnames)) is list(one.backends)[1]


def test_more_than_is_kept_is_read_all_the_same() -> None:
    by = reader()
    records = [
        attrs.evolve(
            IP, namespace=f"n-{each}", host=f"10.{each >> 8}.0.{each & 255}", identity=(3 << 16) + each
        )
        for each in range(40_000)
    ]
    for _ in range(2):
        numbers = EAST.identities
        values = list(map(encode, records))
        names = [IP.address] * len(records)
        assert by.ips(names, values, "east", 3, numbers.start, numbers.stop) == records


@OF_BOTH
def test_nothing_long_and_not_much_else_is_kept(record: Record) -> None:
    """Of what a peer may send to fill the memory."""
    kind, _ = keys.name_of(record)
    by = reader()

    def send(number: int, padding: str) -> None:
        text = f"{number}{padding}"
        if isinstance(record, IpRecord):
            sent: Record = attrs.evolve(
                record, namespace=text, service_account=text, metadata=text, named_ports=((text, 1, text),)
            )
        else:
            assert isinstance(record, ServiceRecord)
            sent = attrs.evolve(
                record,
                namespace=text,
                backends={"10.1.0.4": {text: (text, 1)}},
                hostnames={},
                zones={"10.1.0.4": (text, (text,))},
                labels={text: text},
            )
        assert taken(by, kind, keys.name_of(sent)[1], encode(sent), EAST) is not None

    tracemalloc.start()
    try:
        for number in range(60):
            send(number, "x" * 100_000)
        long, _ = tracemalloc.get_traced_memory()
        for number in range(30_000):
            send(number, "x" * 20)
        many, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert long < 1_000_000
    assert many < 8_000_000


@OF_BOTH
def test_nothing_is_left_of_records_that_are_let_go(record: Record) -> None:
    value = encode(record)
    assert read(record, value) == record
    before = sys.getallocatedblocks()

    for _ in range(1_000):
        read(record, value)
        read(record, value[:-1])

    assert sys.getallocatedblocks() - before < 500


def test_several_threads_read_the_same() -> None:
    by = reader()
    records = [
        attrs.evolve(
            SERVICE,
            name=f"s-{each}",
            backends={"10.1.0.4": {f"p-{each}": ("TCP", each)}},
            zones={},
            hostnames={},
        )
        for each in range(6_000)
    ]
    names = [keys.name_of(record)[1] for record in records]
    values = list(map(encode, records))
    found: list[list[Any]] = []

    def work() -> None:
        pieces = (slice(at, at + 100) for at in range(0, len(names), 100))
        found.extend(by.services(names[piece], values[piece], "east", 3) for piece in pieces)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    known = {record.name: record for record in records}
    assert Counter(each.name for piece in found for each in piece) == dict.fromkeys(known, 4)
    assert all(each == known[each.name] for piece in found for each in piece)


def test_arguments_that_do_not_fit_are_refused() -> None:
    numbers = EAST.identities
    with pytest.raises(ValueError, match="not as many names as values"):
        READER.ips(["10.1.0.4"], [], "east", 3, numbers.start, numbers.stop)
    with pytest.raises(TypeError, match="a value is no bytes"):
        READER.services(["shop/web"], ["{}"], "east", 3)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="a name is no str"):
        READER.services([b"shop/web"], [b"{}"], "east", 3)  # type: ignore[list-item]

"""
Slices of endpoints: the message is Cilium's byte for byte, and no frame costs more than it may.
"""

from __future__ import annotations

import tracemalloc

import attrs
import pytest
import zstandard

from fleetmesh.errors import WireError
from fleetmesh.records import EndpointsRecord
from fleetmesh.resources.model import Endpoint, EndpointPort
from fleetmesh.state.codecs import Exporter, decode, encode, zstd
from fleetmesh.state.codecs.endpointslices import read_message, write_message
from fleetmesh.state.codecs.protobuf import of_bytes, of_number, of_text, varint

EAST = Exporter("east", 3)
RECORD = EndpointsRecord(
    cluster="east",
    cluster_id=3,
    namespace="shop",
    name="web-a",
    labels={"kubernetes.io/service-name": "web", "a": ""},
    annotations={"service.cilium.io/weight": "0"},
    endpoints=(
        Endpoint(addresses=("10.1.0.4",), ready=True, serving=True, terminating=False, node_name="n1"),
        Endpoint(addresses=("10.1.0.5", "10.1.0.6"), hostname="h", zone="az-1", for_zones=("az-1", "az-2")),
        Endpoint(addresses=()),
    ),
    ports=(EndpointPort(port=8080, name="http"), EndpointPort(port=None, protocol="UDP", app_protocol="dns")),
)
MESSAGE = write_message(RECORD)


def read(message: bytes, name: str = "shop/web-a") -> EndpointsRecord:
    return read_message(name, message, EAST)


def test_a_slice_is_written_and_read_again() -> None:
    assert decode("endpointslices", "shop/web-a", encode(RECORD), EAST) == RECORD


def test_the_message_has_empty_fields_where_cilium_writes_them() -> None:
    bare = EndpointsRecord(cluster="east", cluster_id=3, namespace="shop", name="x", address_type="")

    assert write_message(bare) == b"\x0a\x04east\x10\x03\x1a\x04shop\x22\x01x\x3a\x00"


def test_maps_are_written_in_order() -> None:
    """Cilium's readers take any order; its writers sort, and an equal value is not written anew."""
    turned = attrs.evolve(RECORD, labels=dict(reversed(list(RECORD.labels.items()))))

    assert write_message(turned) == MESSAGE
    assert MESSAGE.index(b"\x0a\x01a") < MESSAGE.index(b"kubernetes.io")


WRONG = [
    (attrs.evolve(RECORD, cluster="west"), "cluster: is 'west', expected 'east'"),
    (attrs.evolve(RECORD, cluster=""), "cluster: is unset"),
    (attrs.evolve(RECORD, namespace=""), "namespace: is unset"),
    (attrs.evolve(RECORD, name=""), "name: is unset"),
    (attrs.evolve(RECORD, name="other"), "name: is 'shop/other', expected 'shop/web-a' as in the key"),
    (attrs.evolve(RECORD, cluster_id=4), "clusterID: is 4, expected 3"),
    (attrs.evolve(RECORD, address_type="FQDN"), "addressType: is 'FQDN', expected IPv4 or IPv6"),
    (attrs.evolve(RECORD, address_type="IPv6"), "endpoints[0].addresses: 10.1.0.4 is no IPv6 address"),
    (
        attrs.evolve(RECORD, endpoints=(Endpoint(addresses=("fd00::1",)),)),
        "endpoints[0].addresses: fd00::1 is no IPv4 address",
    ),
    (
        attrs.evolve(RECORD, endpoints=(Endpoint(addresses=("10.0.0.1", "web")),)),
        "endpoints[0].addresses: 'web' is no IP address",
    ),
    (
        attrs.evolve(RECORD, address_type="IPv6", endpoints=(Endpoint(addresses=("fe80::1%e",)),)),
        "endpoints[0].addresses: unsupported IPv6 zone in address 'fe80::1%e'",
    ),
]


@pytest.mark.parametrize(("record", "reason"), WRONG)
def test_a_slice_is_refused_with_the_place_and_the_reason(record: EndpointsRecord, reason: str) -> None:
    with pytest.raises(WireError) as raised:
        read(write_message(record))

    assert str(raised.value) == reason


BROKEN = [
    (of_number(1, 5), "cluster: has wire type 0"),
    (of_text(2, "3"), "clusterID: has wire type 2"),
    (b"\x150123", "clusterID: has wire type 5"),
    (b"\x0901234567", "cluster: has wire type 1"),
    (b"\x4b\x4c", "ports: has wire type 3"),
    (of_bytes(8, b"\x0d0123"), "endpoints[3]: has wire type 5"),
    (of_bytes(9, b"\x1d0123"), "ports[2]: has wire type 5"),
    (of_number(8, 1), "endpoints: has wire type 0"),
    (of_bytes(8, of_number(1, 1)), "endpoints[3]: has wire type 0"),
    (of_bytes(8, of_bytes(2, of_text(1, "yes"))), "endpoints[3].conditions: has wire type 2"),
    (of_bytes(8, of_bytes(8, of_number(1, 1))), "endpoints[3].hints.forZones: has wire type 0"),
    (of_bytes(8, of_text(1, "10.0.0.1") + b"\x12\x05x"), "endpoints[3]: is cut off"),
    (of_bytes(8, b"\x0a"), "endpoints[3]: is cut off"),
    (of_bytes(9, of_text(3, "80")), "ports[2]: has wire type 2"),
    (of_bytes(5, of_number(1, 1)), "labels: has wire type 0"),
    (of_bytes(5, b"\x0a\x05x"), "labels: is cut off"),
    (b"\x0c", "illegal tag 12"),
    (b"\x00\x00", "illegal tag 0"),
    (b"\x82\x80\x80\x80\x80\x02x", "illegal tag"),
    (b"\xff" * 11, "a number of more than 64 bits"),
    (b"\x0a" + b"\xff" * 9 + b"\x01", "is cut off"),
    (b"\x0a\x7f", "is cut off"),
    (b"\x7f", "illegal wire type 7"),
    (b"\x7d\x00", "is cut off"),
    (b"\x79\x00", "is cut off"),
    (b"\x7b", "is cut off"),
    (b"\x7b\x0a\x7f", "is cut off"),
    (b"\x7b\x0e\x7c", "illegal wire type 6"),
]


@pytest.mark.parametrize(("added", "reason"), BROKEN)
def test_what_is_no_message_is_refused(added: bytes, reason: str) -> None:
    with pytest.raises(WireError) as raised:
        read(MESSAGE + added)

    assert reason in str(raised.value)


@pytest.mark.parametrize(
    "added",
    [
        of_number(15, 1 << 63),
        of_text(15, "new"),
        b"\x7d0123",
        b"\x7901234567",
        b"\x7b\x08\x01\x13\x0a\x01x\x14\x7c",
        varint(1000 << 3) + b"\x01",
    ],
)
def test_fields_that_nobody_knows_are_passed_over(added: bytes) -> None:
    assert read(added + MESSAGE) == read(MESSAGE + added) == RECORD


def test_groups_within_groups_are_passed_over_without_recursion() -> None:
    assert read(MESSAGE + b"\x7b" * 200_000 + b"\x7c" * 200_000) == RECORD


def test_fields_of_an_endpoint_that_nobody_knows_are_passed_over() -> None:
    """And the topology of old, which Cilium reads and nobody asks for."""
    endpoint = of_text(4, "new") + of_text(1, "10.0.0.9") + of_bytes(5, of_text(1, "zone") + of_text(2, "a"))

    assert read(MESSAGE + of_bytes(8, endpoint)).endpoints[-1] == Endpoint(addresses=("10.0.0.9",))


def test_of_a_field_that_stands_twice_the_last_counts_and_messages_become_one() -> None:
    endpoint = (
        of_text(1, "10.0.0.9")
        + of_bytes(2, of_number(1, 1))
        + of_bytes(2, of_number(2, 0))
        + of_text(6, "n1")
        + of_text(6, "n2")
        + of_bytes(8, of_bytes(1, of_text(1, "a")))
        + of_bytes(8, of_bytes(1, b""))
        + of_text(1, "10.0.0.10")
    )
    record = read(MESSAGE + of_bytes(8, endpoint) + of_bytes(5, of_text(1, "a") + of_text(2, "z")))

    assert record.labels == {**RECORD.labels, "a": "z"}
    assert record.endpoints[-1] == Endpoint(
        addresses=("10.0.0.9", "10.0.0.10"), ready=True, serving=False, node_name="n2", for_zones=("a", "")
    )


def test_a_message_of_many_small_parts_is_read_in_time() -> None:
    """What is put together of parts is not copied for each of them."""
    conditions = of_bytes(2, of_number(1, 1)) * 300_000

    record = read(MESSAGE + of_bytes(8, of_text(1, "10.0.0.9") + conditions))

    assert record.endpoints[-1].ready is True


def test_a_slice_of_more_parts_than_anybody_has_is_refused() -> None:
    """Each costs two bytes, and an object."""
    assert len(read(MESSAGE + of_bytes(8, b"") * 65_531).endpoints) == 65_534

    with pytest.raises(WireError, match="more than 65536 endpoints and ports"):
        read(MESSAGE + of_bytes(8, b"") * 65_532)


def frame(content: bytes, **options: bool) -> bytes:
    return bytes(zstandard.ZstdCompressor(**options).compress(content))  # type: ignore[arg-type]


SKIPPED = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"


@pytest.mark.parametrize(
    "value",
    [
        frame(MESSAGE),
        frame(MESSAGE, write_content_size=False),
        frame(MESSAGE, write_checksum=True),
        frame(MESSAGE[:40]) + frame(MESSAGE[40:]),
        SKIPPED + frame(MESSAGE) + SKIPPED,
        frame(b"") + frame(MESSAGE),
    ],
)
def test_frames_are_read_as_they_come(value: bytes) -> None:
    assert decode("endpointslices", "shop/web-a", value, EAST) == RECORD


WHOLE = frame(MESSAGE, write_checksum=True)


@pytest.mark.parametrize("size", range(1, len(WHOLE)))
def test_a_frame_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(WireError):
        zstd.decompress(WHOLE[:size])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "cluster: is unset"),
        (b"{}", "no zstd frame"),
        (WHOLE + b"x", "something that is no zstd frame behind a frame"),
        (WHOLE + b"(\xb5/", "something that is no zstd frame behind a frame"),
        (WHOLE[:-1] + b"x", "zstd: "),
        (WHOLE[:4] + bytes([WHOLE[4] | 8]) + WHOLE[5:], "zstd: a reserved bit is set"),
        (SKIPPED[:-1], "cut off"),
        (b"\x50\x2a\x4d\x18\xff\xff\xff\xff", "cut off"),
        (b"(\xb5/\xfd\x21\x07\x05", "zstd: needs a dictionary"),
        (b"(\xb5/\xfd\x00\x00\x07\x00\x00", "zstd: "),
        (b"(\xb5/\xfd\x00\x00\x09\x00\x00", "cut off"),
        (b"(\xb5/\xfd\x00\x00" + b"\x00\x00\x00" * 100_000, "more than 65536 blocks and frames"),
        (b"(\xb5/\xfd\x00\x00\x01\x00\x00" * 50_000, "more than 65536 blocks and frames"),
        (b"(\xb5/\xfd\x00\x00\x06\x00\x00", "zstd: "),
    ],
)
def test_what_is_no_frame_is_refused_with_the_reason(value: bytes, reason: str) -> None:
    with pytest.raises(WireError) as raised:
        decode("endpointslices", "shop/web-a", value, EAST)

    assert reason in str(raised.value)


BOMBS = {
    "a frame that says how much it is": frame(bytes(zstd.LIMIT + 1)),
    "a frame that doesn't": frame(bytes(zstd.LIMIT + 1), write_content_size=False),
    "much more": frame(bytes(40 * zstd.LIMIT), write_content_size=False),
    "two frames": frame(bytes(zstd.LIMIT)) + frame(b"x"),
    "a great window": b"(\xb5/\xfd\x00\xff\x01\x00\x00",
    "a great size said": b"(\xb5/\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00",
    # Blocks of three bytes and one, that each stand for 2 MiB.
    "runs": b"(\xb5/\xfd\x00\x58" + (2 << 21 << 3 | 2).to_bytes(4, "little")[:3].join([b"a"] * 400_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_unfolds_to_more_than_16_mib_is_refused_before_room_is_made(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            zstd.decompress(BOMBS[name])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 2 * zstd.LIMIT


def test_a_frame_of_small_blocks_is_read() -> None:
    """As who flushes often writes it; each block could be of 128 KiB."""
    writer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    parts = [
        writer.compress(b"a%d" % n) + writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for n in range(1000)
    ]

    assert zstd.decompress(b"".join(parts) + writer.flush()) == b"".join(b"a%d" % n for n in range(1000))


def test_what_unfolds_to_16_mib_is_read() -> None:
    assert zstd.decompress(frame(bytes(zstd.LIMIT))) == bytes(zstd.LIMIT)
    assert zstd.decompress(frame(bytes(zstd.LIMIT), write_content_size=False)) == bytes(zstd.LIMIT)


def test_a_frame_may_be_written_without_compressing() -> None:
    """As RFC 8878 has it: raw blocks, and runs of one byte."""
    raw = (len(MESSAGE) << 3 | 1).to_bytes(3, "little") + MESSAGE

    assert zstd.decompress(b"(\xb5/\xfd\x00\x58" + raw) == MESSAGE
    assert zstd.decompress(b"(\xb5/\xfd\x00\x58" + (9 << 3 | 3).to_bytes(3, "little") + b"a") == b"a" * 9


@pytest.mark.parametrize("size", [0, 1, 255, (128 << 10) - 1, 128 << 10, (128 << 10) + 1, 300_000])
def test_a_frame_that_stores_its_content_is_one(size: int) -> None:
    content = bytes(number % 251 for number in range(size))

    assert zstd.decompress(zstd.stored(content)) == content

"""
Whatever stands in a store, reading it gives a record or a `WireError`, and a record can be written again.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.effort import examples
from doubles.kvstore_values import EAST, RECORDS, Placed, golden, placed
from doubles.wire_mutations import bytes_gone_wrong, json_gone_wrong, message_gone_wrong
from fleetmesh.errors import WireError
from fleetmesh.records import EndpointsRecord, Record
from fleetmesh.state import keys
from fleetmesh.state.codecs import decode, decode_config, encode, encode_config
from fleetmesh.state.codecs.endpointslices import read_message, write_message
from fleetmesh.state.keys import Kind

GOLDEN = [(where, value) for value in golden() if (where := placed(value)) is not None]
CONFIGS = [value.value for value in golden() if value.key.startswith(keys.CONFIG_PREFIX)]
FUZZ = settings(
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
KINDS: list[Kind] = list(keys.KINDS)
T = TypeVar("T")


def read_or_refused(read: Callable[[], T]) -> T | None:
    """None where it is refused, with an error that is fit for a log."""
    try:
        return read()
    except WireError as error:
        said = str(error)
    assert 0 < len(said) < 1000
    return None


def check(where: Placed, value: bytes) -> None:
    """It is refused, or gives a record that is the same once it was written and read."""
    record = read_or_refused(lambda: decode(where.kind, where.name, value, where.exporter))
    if record is None:
        return
    assert keys.name_of(record) == (where.kind, where.name)
    assert record.cluster == where.exporter.cluster
    again = encode(record)
    assert decode(where.kind, where.name, again, where.exporter) == record
    assert encode(decode(where.kind, where.name, again, where.exporter)) == again


@pytest.mark.parametrize("kind", KINDS)
@FUZZ
@given(data=st.data())
def test_a_record_is_the_same_once_written_and_read(kind: Kind, data: st.DataObject) -> None:
    record: Record = data.draw(RECORDS[kind])
    _, name = keys.name_of(record)

    assert decode(kind, name, encode(record), EAST) == record
    if isinstance(record, EndpointsRecord):
        assert read_message(name, write_message(record), EAST) == record


@FUZZ
@given(
    st.sampled_from(KINDS),
    st.binary(max_size=200),
    st.sampled_from(["web", "shop/web", "196608", "10.0.0.1"]),
)
def test_random_bytes_are_refused_or_read(kind: Kind, value: bytes, name: str) -> None:
    check(Placed(kind, name, False, EAST), value)


@FUZZ
@given(st.data())
def test_values_of_which_bytes_went_wrong_are_refused_or_read(data: st.DataObject) -> None:
    where, value = data.draw(st.sampled_from(GOLDEN))
    check(where, data.draw(bytes_gone_wrong(value.value)))


@FUZZ
@given(st.data())
def test_values_of_which_json_went_wrong_are_refused_or_read(data: st.DataObject) -> None:
    where, value = data.draw(st.sampled_from([each for each in GOLDEN if each[1].value[:1] == b"{"]))
    check(where, data.draw(json_gone_wrong(value.value)))


@FUZZ
@given(st.data())
def test_messages_of_which_bytes_went_wrong_are_refused_or_read(data: st.DataObject) -> None:
    """Within the frame, whose checksum finds most mistakes."""
    where, value = data.draw(st.sampled_from([each for each in GOLDEN if each[1].message is not None]))
    assert value.message is not None
    message = data.draw(message_gone_wrong(value.message))
    record = read_or_refused(lambda: read_message(where.name, message, where.exporter))
    if record is not None:
        assert read_message(where.name, write_message(record), where.exporter) == record


@FUZZ
@given(st.data())
def test_configurations_that_went_wrong_are_refused_or_read(data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(CONFIGS))
    value = data.draw(bytes_gone_wrong(value) | json_gone_wrong(value))
    config = read_or_refused(lambda: decode_config(value))
    if config is not None:
        assert decode_config(encode_config(config)) == config


@settings(max_examples=examples(15), deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(
        [b"[", b"{", b'{"a":', b'"', b"null,", b"1", b'{"backends":{"10.0.0.1":{}},', b"B\x00", b"\x0a", b";"]
    ),
    st.sampled_from([b"", b'{"backends":', b'{"NamedPorts":[', b"k8s:"]),
)
def test_what_a_peer_repeats_costs_no_more_than_a_value_may(kind: Kind, piece: bytes, before: bytes) -> None:
    value = before + piece * (1_000_000 // len(piece))
    tracemalloc.start()
    try:
        check(Placed(kind, "shop/web", False, EAST), value)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 100 * len(value)

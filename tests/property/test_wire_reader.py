"""
Whatever stands in a store, the core reads it as the reader that knows all of JSON does, or leaves it to that.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.effort import examples
from doubles.kvstore_values import EAST, RECORDS, Placed, golden, placed
from doubles.wire_mutations import bytes_gone_wrong, json_gone_wrong
from doubles.wire_shapes import PLAIN_RECORDS, READER, plainly, shape, taken
from fleetmesh.records import Record
from fleetmesh.state import keys
from fleetmesh.state.codecs import Exporter, decode_all, encode
from fleetmesh.state.keys import Kind

KINDS: list[Kind] = ["ip", "services"]
GOLDEN = [
    (where, value.value) for value in golden() if (where := placed(value)) is not None and where.kind in KINDS
]
FUZZ = settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def values(draw: st.DrawFn, kind: Kind) -> tuple[Placed, bytes]:
    """That are in the form of the core, or nearly."""
    if draw(st.booleans()):
        return draw(st.sampled_from([each for each in GOLDEN if each[0].kind == kind]))
    record: Record = draw(PLAIN_RECORDS[kind] | RECORDS[kind])
    return Placed(kind, keys.name_of(record)[1], False, EAST), encode(record)


@st.composite
def in_another_order(draw: st.DrawFn, value: bytes) -> bytes:
    """With the fields of one object put otherwise."""
    read = json.loads(value)
    objects = [each for each in _objects(read) if len(each) > 1]
    if objects:
        chosen = draw(st.sampled_from(objects))
        entries = draw(st.permutations(list(chosen.items())))
        chosen.clear()
        chosen.update(entries)
    return json.dumps(read, separators=(",", ":"), ensure_ascii=False).encode()


def _objects(value: Any) -> Any:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from _objects(each)


def check(where: Placed, value: bytes) -> None:
    """It comes out as from the slow reader."""
    slow = plainly(where.kind, where.name, value, where.exporter)

    (found,) = decode_all(where.kind, [where.name], [value], where.exporter)

    assert shape(found) == shape(slow)


@pytest.mark.parametrize("kind", KINDS)
@FUZZ
@given(data=st.data())
def test_what_is_plain_is_taken_by_the_core(kind: Kind, data: st.DataObject) -> None:
    record: Record = data.draw(PLAIN_RECORDS[kind])
    _, name = keys.name_of(record)
    value = encode(record)

    found = taken(READER, kind, name, value, EAST)

    assert found is not None
    assert shape(found) == shape(plainly(kind, name, value, EAST))


@pytest.mark.parametrize("kind", KINDS)
@FUZZ
@given(data=st.data())
def test_any_record_is_read_again(kind: Kind, data: st.DataObject) -> None:
    record: Record = data.draw(RECORDS[kind])
    _, name = keys.name_of(record)

    assert decode_all(kind, [name], [encode(record)], EAST) == [record]
    check(Placed(kind, name, False, EAST), encode(record))


@pytest.mark.parametrize("kind", KINDS)
@FUZZ
@given(data=st.data())
def test_values_that_went_wrong_are_judged_the_same(kind: Kind, data: st.DataObject) -> None:
    where, value = data.draw(values(kind))
    check(where, data.draw(bytes_gone_wrong(value) | json_gone_wrong(value) | in_another_order(value)))


@pytest.mark.parametrize("kind", KINDS)
@FUZZ
@given(data=st.data())
def test_values_that_end_early_are_judged_the_same(kind: Kind, data: st.DataObject) -> None:
    where, value = data.draw(values(kind))
    end = data.draw(st.integers(0, len(value)))
    check(where, value[:end])


@pytest.mark.parametrize("kind", KINDS)
@FUZZ
@given(data=st.data())
def test_values_of_others_are_judged_the_same(kind: Kind, data: st.DataObject) -> None:
    where, value = data.draw(values(kind))
    other, _ = data.draw(values(kind))
    name = data.draw(
        st.sampled_from([where.name, other.name, where.name + "/", "", "shop/", "é/x", "\ud800"])
    )
    exporter = data.draw(
        st.sampled_from([where.exporter, EAST, Exporter("east", 4), Exporter("west", 3, 511)])
    )
    check(Placed(kind, name, False, exporter), value)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_piece_is_read_as_its_values_are_one_by_one(kind: Kind, data: st.DataObject) -> None:
    records: list[Record] = data.draw(st.lists(PLAIN_RECORDS[kind] | RECORDS[kind], max_size=6))
    names = [keys.name_of(record)[1] for record in records]
    piece = [data.draw(st.just(encode(record)) | bytes_gone_wrong(encode(record))) for record in records]

    found = decode_all(kind, names, piece, EAST)

    assert list(map(shape, found)) == [
        shape(plainly(kind, name, value, EAST)) for name, value in zip(names, piece, strict=True)
    ]

"""
What real Cilium wrote of addresses and services is read by the core, and needs no slower reader.
"""

from __future__ import annotations

import pytest

from doubles.kvstore_values import Golden, Placed, golden, placed
from doubles.wire_shapes import READER, shape, taken
from fleetmesh.errors import WireError
from fleetmesh.state.codecs import decode, decode_all

PLACED = [
    (where, value)
    for value in golden()
    if (where := placed(value)) is not None and where.kind in ("ip", "services")
]


@pytest.mark.parametrize(("where", "value"), PLACED, ids=[f"{each.store}:{each.key}" for _, each in PLACED])
def test_the_core_takes_what_is_no_mistake(where: Placed, value: Golden) -> None:
    try:
        record = decode(where.kind, where.name, value.value, where.exporter)
    except WireError:
        assert taken(READER, where.kind, where.name, value.value, where.exporter) is None
        return

    found = taken(READER, where.kind, where.name, value.value, where.exporter)

    assert found is not None
    assert shape(found) == shape(record)


def test_those_of_one_store_are_read_together() -> None:
    for kind in ("ip", "services"):
        here = [
            (where, value)
            for where, value in PLACED
            if where.kind == kind and where.exporter.cluster == "beta"
        ]
        names, values = [where.name for where, _ in here], [value.value for _, value in here]

        found = decode_all(kind, names, values, here[0][0].exporter)

        assert len(found) == len(here) > 1
        for (where, value), each in zip(here, found, strict=True):
            if isinstance(each, WireError):
                with pytest.raises(WireError) as raised:
                    decode(where.kind, where.name, value.value, where.exporter)
                assert str(raised.value) == str(each)
            else:
                assert shape(each) == shape(decode(where.kind, where.name, value.value, where.exporter))

"""
Values of a store that went wrong: by bytes, and by what stands in their JSON.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from fleetmesh.state.codecs.protobuf import of_bytes, of_number, of_text

SCALARS = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        6,
        255,
        256,
        65535,
        65536,
        196608,
        4294967295,
        4294967296,
        -1,
        1.5,
        1e3,
        "",
        "x",
        "TCP",
        "10.0.0.1",
        "010.0.0.1",
        "10.0.0",
        "fd00::1",
        "FD00:0::1",
        "::ffff:10.0.0.1",
        "fe80::1%eth0",
        "1::2::3",
        "10.0.0.0/8",
        "////AA==",
        "//8A",
        "None",
        "ClientIP",
        "2026-11-23T00:51:18Z",
        "2026-11-23T0:51:18,5+24:00",
        "\ud800",
    ]
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["", "a", "10.0.0.1", "fd00::1%1", "Port", "name"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)


@st.composite
def json_gone_wrong(draw: st.DrawFn, value: bytes) -> bytes:
    """With one or two places of it put otherwise, each name only once."""
    read = json.loads(value)
    for _ in range(draw(st.integers(1, 2))):
        places = list(_places(read))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        act = draw(st.sampled_from(["put", "put", "delete", "add", "case"]))
        if act == "put":
            holder[key] = draw(JUNK)
        elif act == "delete":
            del holder[key]
        elif act == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["new", "", "10.0.0.2", "::2", "x"]))] = draw(JUNK)
        elif act == "case" and [str(each).lower() for each in holder].count(str(key).lower()) == 1:
            holder[key.swapcase()] = holder.pop(key)
    text = json.dumps(read, separators=(",", ":"), ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "replace")


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _places(inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield value, number
            yield from _places(inner)


@st.composite
def fields(draw: st.DrawFn, depth: int = 2) -> bytes:
    """A field of a message, of any type and with other fields within."""
    number = draw(st.integers(1, 11))
    shape = draw(st.sampled_from(["number", "text", "inner", "other"]))
    if shape == "number":
        return of_number(number, draw(st.sampled_from([0, 1, 300, 1 << 31, (1 << 64) - 1])))
    if shape == "text":
        texts = ["", "x", "10.0.0.1", "10.0.0.01", "fd00::1", "IPv4"]
        return of_text(number, draw(st.sampled_from(texts)))
    if shape == "inner" and depth:
        return of_bytes(number, b"".join(draw(st.lists(fields(depth - 1), max_size=2))))
    return bytes([number << 3 | draw(st.sampled_from([1, 3, 4, 5, 6]))]) + b"12345678"


@st.composite
def message_gone_wrong(draw: st.DrawFn, value: bytes) -> bytes:
    """With another field before or behind the rest, or bytes changed."""
    act = draw(st.sampled_from(["before", "behind", "behind", "bytes"]))
    if act == "bytes":
        return draw(bytes_gone_wrong(value))
    field = draw(fields())
    return field + value if act == "before" else value + field


@st.composite
def bytes_gone_wrong(draw: st.DrawFn, value: bytes) -> bytes:
    """With some of its bytes changed, left out, or put in."""
    found = bytearray(value)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(found)))
        act = draw(st.sampled_from(["set", "cut", "insert", "end", "repeat"]))
        if act == "set" and at < len(found):
            found[at] = draw(st.integers(0, 255))
        elif act == "cut":
            del found[at : at + draw(st.integers(1, 8))]
        elif act == "insert":
            found[at:at] = draw(st.binary(min_size=1, max_size=4))
        elif act == "end":
            del found[at:]
        else:
            found[at:at] = found[at : at + draw(st.integers(1, 16))]
    return bytes(found)

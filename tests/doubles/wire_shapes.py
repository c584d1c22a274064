"""
What tests of the core's reader of values compare records by, and values that are in its form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from hypothesis import strategies as st

from doubles.kvstore_values import ADDRESSES, EAST, MAPPED, PORT, PROTOCOLS
from fleetmesh import _core
from fleetmesh.errors import WireError
from fleetmesh.records import IpRecord, Record, ServiceRecord
from fleetmesh.resources.model import EMPTY
from fleetmesh.state.codecs import MOST_BYTES, Exporter, decode
from fleetmesh.state.keys import Kind


def reader() -> _core.WireReader:
    """One that has read nothing yet."""
    return _core.WireReader(IpRecord, ServiceRecord, EMPTY, MOST_BYTES)


READER = reader()


def taken(by: _core.WireReader, kind: Kind, name: str, value: bytes, exporter: Exporter) -> Any:
    """The record, or None if the core leaves the value to others."""
    if kind == "services":
        return by.services([name], [value], exporter.cluster, exporter.cluster_id)[0]
    assert kind == "ip"
    numbers = exporter.identities
    return by.ips([name], [value], exporter.cluster, exporter.cluster_id, numbers.start, numbers.stop)[0]


def plainly(kind: Kind, name: str, value: bytes, exporter: Exporter) -> Record | WireError:
    """As the reader that knows all of JSON says."""
    try:
        return decode(kind, name, value, exporter)
    except WireError as error:
        return error


def shape(value: Any) -> Any:
    """All of it with its types, and maps in their order."""
    if isinstance(value, WireError):
        return WireError, value.field, value.reason
    if attrs.has(type(value)):
        return type(value), [
            (each.name, shape(getattr(value, each.name))) for each in attrs.fields(type(value))
        ]
    if isinstance(value, Mapping):
        return type(value), [(shape(key), shape(each)) for key, each in value.items()]
    if isinstance(value, tuple):
        return tuple, [shape(each) for each in value]
    assert type(value) in (str, int, bool)
    return type(value), value


PLAIN = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\<>&\u2028\u2029'), max_size=12
)
"""What is written without escapes."""
LABELS = st.dictionaries(PLAIN, PLAIN, max_size=3)
PORTS = st.dictionaries(PLAIN, st.tuples(PROTOCOLS | PLAIN, PORT), max_size=2)
ZONES = st.tuples(PLAIN, st.lists(PLAIN, max_size=2).map(tuple))
_NAMES = st.text(
    st.characters(codec="ascii", categories=["L", "N"], include_characters="-."), min_size=1, max_size=9
)
_NO_MAPPED = ADDRESSES.filter(lambda each: not each.startswith("::ffff:"))
_IDENTITIES = st.integers(EAST.identities.start, EAST.identities.stop - 1) | st.integers(0, 255)

PLAIN_IPS = st.builds(
    IpRecord,
    cluster=st.just(EAST.cluster),
    cluster_id=st.just(EAST.cluster_id),
    address=_NO_MAPPED,
    host=st.just("") | _NO_MAPPED,
    identity=_IDENTITIES,
    namespace=PLAIN,
    pod=PLAIN,
    service_account=PLAIN,
    encryption_key=st.integers(0, 255),
    metadata=PLAIN,
    named_ports=st.lists(st.tuples(PLAIN, PORT, PLAIN), max_size=3).map(tuple),
)


@st.composite
def plain_services(draw: st.DrawFn) -> ServiceRecord:
    """With host names and zones of its backends only."""
    maps = draw(st.lists(PORTS, min_size=1, max_size=3))
    backends = draw(st.dictionaries(ADDRESSES | MAPPED, st.sampled_from(maps), max_size=5))
    some = st.sampled_from(sorted(backends) or [""])
    most = len(backends)
    return ServiceRecord(
        cluster=EAST.cluster,
        cluster_id=EAST.cluster_id,
        namespace=draw(_NAMES),
        name=draw(_NAMES),
        frontends=draw(st.dictionaries(ADDRESSES | MAPPED, st.sampled_from(maps), max_size=2)),
        backends=backends,
        hostnames=draw(st.dictionaries(some, PLAIN, max_size=min(most, 3))),
        zones=draw(st.dictionaries(some, ZONES, max_size=most)),
        labels=draw(LABELS),
        selector=draw(LABELS),
        include_external=draw(st.booleans()),
        shared=draw(st.booleans()),
    )


PLAIN_RECORDS: Mapping[Kind, st.SearchStrategy[Any]] = {"ip": PLAIN_IPS, "services": plain_services()}

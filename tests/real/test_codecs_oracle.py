"""
Cilium's own readers and writers of values: what they take is taken, what they refuse is refused, and what
they write for a value is what is written here.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from doubles.kvstore_values import EAST, RECORDS, Placed, golden, placed
from doubles.wire_mutations import bytes_gone_wrong, json_gone_wrong, message_gone_wrong
from fleetmesh.errors import WireError
from fleetmesh.records import EndpointsRecord, IpRecord, Record
from fleetmesh.state import keys
from fleetmesh.state.codecs import (
    ClusterConfig,
    decode,
    decode_config,
    encode,
    encode_config,
    validate_config,
    zstd,
)
from fleetmesh.state.codecs.endpointslices import read_message, write_message
from fleetmesh.state.keys import Kind
from real import servers

COUNT = int(os.environ.get("FLEETMESH_CODEC_VALUES", "300"))
SEED = int(os.environ.get("FLEETMESH_CODEC_SEED", "1"))
KINDS: list[Kind] = list(keys.KINDS)

STRICTER = re.compile(
    r"Mask: .* (is no mask|is not base64)"
    r"|ports\[\d+\]\.protocol: |ipFamilies\[\d+\]: "
    r"|the key ends in|nested too deeply"
    # Go reads an entry of a map, or what stands behind its end, whatever its wire type is.
    r"|^(labels|annotations): "
)
"""What is refused here alone, as the codecs say."""

pytestmark = [pytest.mark.real("kvstore"), pytest.mark.timeout(600)]


@attrs.frozen
class Answer:
    """
    What Cilium says of a value.

    Attributes:
        error: "" where it takes it.
        value: What it writes for what it has read; of slices the message.
        identity, host: Of an address, what its agents then know.
    """

    error: str
    value: bytes
    identity: int
    host: str


def ask(values: Iterable[tuple[str, bytes, str, int]], most: int = 255) -> list[Answer]:
    """Of keys and values, with the name and the id of the cluster whose they should be."""
    lines = [
        json.dumps(
            {"key": key, "value": base64.b64encode(value).decode(), "cluster": cluster, "clusterID": number}
        )
        for key, value, cluster, number in values
    ]
    done = subprocess.run(
        [servers.binary("kvstore"), f"-max={most}"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    answers: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert len(answers) == len(lines), done.stderr
    return [
        Answer(
            each["err"], base64.b64decode(each["value"] or ""), each.get("identity", 0), each.get("host", "")
        )
        for each in answers
    ]


def ask_placed(values: Iterable[tuple[Placed, bytes]]) -> list[Answer]:
    return ask(
        (
            keys.prefix(where.kind, where.exporter.cluster, cached=where.cached) + where.name,
            value,
            where.exporter.cluster,
            where.exporter.cluster_id,
        )
        for where, value in values
    )


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    found: list[Any] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @seed(SEED)
    @given(strategy)
    def draw(each: Any) -> None:
        found.append(each)

    draw()
    return found


def written(record: Record) -> bytes:
    """What of a value has to be the same: all, but for the frame around a message."""
    return write_message(record) if isinstance(record, EndpointsRecord) else encode(record)


def difference(where: Placed, value: bytes, answer: Answer) -> str:
    """Between what Cilium made of a value and what is made of it here; "" for none."""
    try:
        record = decode(where.kind, where.name, value, where.exporter)
    except WireError as error:
        return "" if answer.error or STRICTER.search(str(error)) else f"refused here alone: {error}"
    if answer.error:
        return f"refused by Cilium alone: {answer.error}"
    try:
        if isinstance(record, EndpointsRecord):
            theirs: Record = read_message(where.name, answer.value, where.exporter)
        else:
            theirs = decode(where.kind, where.name, answer.value, where.exporter)
    except WireError as error:
        return f"what Cilium makes of it is refused here: {error}"
    if theirs != record:
        return f"{record}\nCilium: {theirs}"
    if isinstance(record, IpRecord) and (record.identity, record.host) != (answer.identity, answer.host):
        return f"{record}\nCilium: identity {answer.identity} at {answer.host}"
    return ""


def all_differences(values: list[tuple[Placed, bytes]]) -> list[str]:
    answers = ask_placed(values)
    found = (
        (where, value, difference(where, value, answer))
        for (where, value), answer in zip(values, answers, strict=True)
    )
    return [f"{where.kind} {where.name} {value!r}: {said}" for where, value, said in found if said]


def test_golden_values_are_taken_and_refused_as_cilium_does() -> None:
    values = [(where, each.value) for each in golden() if (where := placed(each)) is not None]

    assert all_differences(values) == []
    for (where, value), answer in zip(values, ask_placed(values), strict=True):
        if not answer.error and where.kind != "endpointslices":
            assert answer.value == value


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_what_cilium_writes(kind: Kind) -> None:
    """Random records: Cilium reads each, and writes the same bytes."""
    records: list[Record] = drawn(RECORDS[kind], COUNT)
    values = [(Placed(kind, keys.name_of(each)[1], False, EAST), encode(each)) for each in records]

    different = [
        (record, answer.error or f"{written(record)!r}, Cilium {answer.value!r}")
        for record, answer in zip(records, ask_placed(values), strict=True)
        if answer.error or answer.value != written(record)
    ]

    assert different == []
    assert all_differences(values) == []


@st.composite
def gone_wrong(draw: st.DrawFn, kind: Kind) -> tuple[Placed, bytes]:
    """A random record's value, or a golden one, with a mistake."""
    good = [
        (where, each.value) for each in golden() if (where := placed(each)) is not None and where.kind == kind
    ]
    if draw(st.booleans()):
        where, value = draw(st.sampled_from(good))
    else:
        record = draw(RECORDS[kind])
        where, value = Placed(kind, keys.name_of(record)[1], False, EAST), encode(record)
    if kind == "endpointslices":
        return where, zstd.compress(draw(message_gone_wrong(zstd.decompress(value))))
    if kind == "identities":
        return where, draw(bytes_gone_wrong(value))
    return where, draw(json_gone_wrong(value))


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_went_wrong_are_taken_and_refused_as_cilium_does(kind: Kind) -> None:
    values = drawn(gone_wrong(kind), COUNT)

    assert all_differences(values) == []
    taken = Counter(not answer.error for answer in ask_placed(values))
    assert taken[True] > len(values) // 20, "hardly any is taken: the mistakes are too big to tell much"
    assert taken[False] > len(values) // 20, "hardly any is refused: the mistakes are too small to tell much"


@st.composite
def frames_gone_wrong(draw: st.DrawFn) -> tuple[Placed, bytes]:
    record = draw(RECORDS["endpointslices"])
    where = Placed("endpointslices", keys.name_of(record)[1], False, EAST)
    return where, draw(bytes_gone_wrong(encode(record)))


def test_frames_that_went_wrong_are_refused_as_cilium_does() -> None:
    assert all_differences(drawn(frames_gone_wrong(), COUNT)) == []


def test_values_of_which_bytes_went_wrong_are_refused_as_cilium_does() -> None:
    """Those of JSON that still have each name once: of one that stands twice the readers differ."""

    def once(value: bytes) -> bool:
        twice = False

        def look(members: list[tuple[str, Any]]) -> dict[str, Any]:
            nonlocal twice
            twice |= len({name.casefold() for name, _ in members}) < len(members)
            return dict(members)

        try:
            json.loads(value.decode("utf-8", "replace"), object_pairs_hook=look)
        except ValueError:
            return True
        return not twice

    good = [
        (where, each.value)
        for each in golden()
        if (where := placed(each)) is not None and where.kind not in ("endpointslices", "identities")
    ]
    strategy = st.sampled_from(good).flatmap(
        lambda pair: bytes_gone_wrong(pair[1]).map(lambda value: (pair[0], value))
    )
    values = [pair for pair in drawn(strategy, 2 * COUNT) if once(pair[1])]

    assert all_differences(values) == []


@pytest.mark.parametrize("most", [255, 511])
def test_configurations_are_taken_refused_and_written_as_cilium_does(most: int) -> None:
    good = [each.value for each in golden() if each.key.startswith(keys.CONFIG_PREFIX)]
    wrong = drawn(st.sampled_from(good).flatmap(json_gone_wrong), COUNT)
    values = [*good, b"{}", b'{"id":511,"capabilities":{"maxConnectedClusters":511}}', *wrong]

    answers = ask((("cilium/cluster-config/x", each, "x", 0) for each in values), most)
    for value, answer in zip(values, answers, strict=True):
        config = valid_config(value, most)
        assert (config is None) == bool(answer.error), f"{value!r}: {config}, Cilium {answer.error}"
        if config is not None:
            known = attrs.evolve(config, unknown={}, unknown_fields={})
            assert encode_config(known) == answer.value


def valid_config(value: bytes, most: int) -> ClusterConfig | None:
    try:
        config = decode_config(value)
        validate_config(config, max_connected_clusters=most)
    except WireError:
        return None
    return config


@pytest.mark.parametrize("most", [255, 511])
def test_the_numbers_of_identities_end_where_cilium_ends_them(most: int) -> None:
    for number in (1, 2, 127, 255, *((511,) if most == 511 else ())):
        exporter = attrs.evolve(EAST, cluster_id=number, max_connected_clusters=most)
        first, last = exporter.identities.start, exporter.identities.stop - 1
        value = b"k8s:io.cilium.k8s.policy.cluster=east;"
        prefix = keys.prefix("identities", "east", cached=True)
        edges = (first - 1, first, last, last + 1)
        asked = [(f"{prefix}{each}", value, "east", number) for each in edges]
        assert [not answer.error for answer in ask(asked, most)] == [False, True, True, False]
        assert [each in exporter.identities for each in edges] == [False, True, True, False]

"""
Random histories of a publisher and of what befalls it: at the end the store has what was given last, and on
    the way nothing was missing that was wanted all the time.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.effort import examples
from doubles.loops import in_loop
from doubles.publishing import CONFIG, MARKS, Publishing
from doubles.records import address, as_keys, content, identity, node, service
from fleetmesh.errors import NoSpaceError, StoreDeniedError, StoreUnavailableError
from fleetmesh.records import Record
from fleetmesh.state.codecs import decode_config
from fleetmesh.state.keys import HEARTBEAT, config_key

Step = tuple[str, tuple[Any, ...]]

RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(address, st.integers(100, 108), identity=st.integers(70_000, 70_002)),
    st.builds(identity, st.integers(100, 103), app=st.sampled_from(["a", "b"])),
    st.builds(node, st.sampled_from(["n1", "n2"])),
    st.builds(service, st.sampled_from(["cart", "web"]), backends=st.sampled_from([(), ("10.1.0.1",)])),
)
UNAVAILABLE = StoreUnavailableError("nobody answers")
REFUSALS = st.sampled_from([NoSpaceError("full"), StoreDeniedError("not allowed"), UNAVAILABLE])


def step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.tuples(*arguments))


CHANGES = st.one_of(
    step("put", RECORDS),
    step("put", RECORDS),
    step("withdraw", RECORDS),
    step("publish"),
    step("wait", st.integers(1, 12)),
)
TROUBLES = st.one_of(
    step("fail", st.just(UNAVAILABLE)),
    step("refuse", REFUSALS),
    step("heal"),
    step("swallow"),
    step("lose_lease", st.integers(0, 20)),
    step("restart"),
    step("compact"),
    step("settle"),
    step("pass_time", st.sampled_from([0.5, 20.0, 70.0, 310.0])),
)
RIVALRY = st.one_of(step("rival"), step("end_rivals"))


LONGEST_PAUSE = 31.0
"""Seconds until a publisher tries again, whatever happened; all keys are reviewed much later."""

LONGEST_PATIENCE = 850.0
"""Seconds until one that gave way takes over, if that happened a few times; leases last 900."""


async def equal_to_the_double(history: list[Step], rest: float) -> None:
    publishing = Publishing()
    await publishing.begin()
    for name, arguments in history:
        await getattr(publishing, name)(*arguments)
    await publishing.come_to_rest(rest)

    found = await content(publishing.data)
    wanted = as_keys(publishing.wanted.values())
    assert {key: value for key, value in found.items() if key.startswith("cilium/state/")} == wanted
    assert found.keys() == wanted.keys() | MARKS.keys() | {config_key("east"), HEARTBEAT}
    assert decode_config(found[config_key("east")]).cluster_id == CONFIG.cluster_id
    entries = (await publishing.data.list("cilium/")).entries
    assert all(publishing.writer.leases.has(entry.lease) for entry in entries)
    assert publishing.writer.publisher.status.phase == "written"
    assert publishing.judged.wrong == []
    await publishing.writer.end()


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.one_of(CHANGES, TROUBLES), max_size=30))
def test_whatever_befalls_a_publisher_the_store_has_what_was_given_last(history: list[Step]) -> None:
    in_loop(equal_to_the_double)(history, LONGEST_PAUSE)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.one_of(CHANGES, TROUBLES, RIVALRY), max_size=20))
def test_of_several_publishers_the_last_one_that_lives_is_heard(history: list[Step]) -> None:
    in_loop(equal_to_the_double)(history, LONGEST_PATIENCE)

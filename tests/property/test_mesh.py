"""
Whatever way led to a mesh, it is the one that its facts make.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.effort import examples
from doubles.mesh_histories import (
    NAMES,
    SPACE,
    TOPOLOGIES,
    answers,
    new_mesh,
    rebuilt,
    resources,
    steps,
    take,
    whole,
)
from fleetmesh.mesh import Mesh, Topology
from fleetmesh.resources import Endpoints, EndpointSlice, Pod, Resource, UnknownKind, Workload


@settings(max_examples=examples(60), deadline=None)
@given(st.sampled_from(TOPOLOGIES), st.lists(steps(strict=False), max_size=12))
def test_incremental_equals_rebuilt(topology: Topology, taken: list[tuple[str, str, Any]]) -> None:
    mesh = new_mesh(topology, "cilium")
    for step in taken:
        mesh = take(mesh, step)

    assert whole(mesh) == whole(rebuilt(mesh))


@settings(max_examples=examples(60), deadline=None)
@given(
    st.sampled_from(TOPOLOGIES), st.lists(steps(strict=True), max_size=12), st.randoms(use_true_random=False)
)
def test_in_strict_mode_the_order_of_changes_does_not_matter(
    topology: Topology, taken: list[tuple[str, str, Any]], random: Any
) -> None:
    mesh = new_mesh(topology, "strict")
    for step in taken:
        mesh = take(mesh, step)

    other = rebuilt(mesh, lambda found: random.sample(list(found), len(found)))

    assert whole(mesh) == whole(other)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(steps(strict=False), max_size=8), st.lists(steps(strict=False), min_size=1, max_size=5))
def test_a_fork_and_its_origin_do_not_see_each_other(
    before: list[tuple[str, str, Any]], after: list[tuple[str, str, Any]]
) -> None:
    mesh = new_mesh(Topology.full(), "cilium")
    for step in before:
        mesh = take(mesh, step)
    fork, kept = mesh.fork(), whole(mesh)
    for step in after:
        fork = take(fork, step)

    assert whole(mesh) == kept
    assert whole(fork) == whole(rebuilt(fork))
    there, back = mesh.compare(fork), fork.compare(mesh)
    assert [(row.viewer, row.namespace, row.name) for row in there] == [
        (row.viewer, row.namespace, row.name) for row in back
    ]
    assert [row.backends_in for row in there] == [row.backends_out for row in back]


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(steps(strict=False), max_size=10), st.lists(steps(strict=False), max_size=4))
def test_a_comparison_lacks_nothing_and_says_what_each_viewer_sees(
    before: list[tuple[str, str, Any]], after: list[tuple[str, str, Any]]
) -> None:
    mesh = new_mesh(Topology.full(), "cilium")
    for step in before:
        mesh = take(mesh, step)
    fork = mesh.fork()
    for step in after:
        fork = take(fork, step)

    def used(each: Mesh, viewer: str, key: tuple[str, str]) -> Any:
        if each.members[viewer].failed or key not in each.services(viewer):
            return None
        service = each.service(*key)
        frontends = service.frontends(viewer)
        return (
            service.backends(viewer),
            {(one.address, one.port, one.protocol, one.type, one.scope) for one in frontends},
        )

    keys = {(viewer, key) for each in (mesh, fork) for viewer in NAMES for key in each.services(viewer)}
    rows = mesh.compare(fork).rows
    told = {(row.viewer, (row.namespace, row.name)) for row in rows}
    moved = {(viewer, key) for viewer, key in keys if used(mesh, viewer, key) != used(fork, viewer, key)}

    assert moved <= told
    for row in rows:
        key = (row.namespace, row.name)
        seen = [(used(each, row.viewer, key) or ((), set()))[0] for each in (mesh, fork)]
        there, gone = ({(one.cluster, one.address, one.port) for one in found} for found in seen)
        assert {(one.cluster, one.address, one.port) for one in row.backends_out} == there - gone
        assert {(one.cluster, one.address, one.port) for one in row.backends_in} == gone - there


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(steps(strict=False), max_size=12), st.sampled_from(NAMES))
def test_draining_is_taking_away_what_serves(taken: list[tuple[str, str, Any]], drained: str) -> None:
    """A drained member is one whose pods, workloads and endpoints were deleted."""
    mesh = new_mesh(Topology.full(), "cilium")
    for step in taken:
        mesh = take(mesh, step)
    # Something else keeps the namespace in being.
    keeper = UnknownKind(kind="Secret", namespace=SPACE, name="keeper")
    mesh.members[drained].apply(keeper)
    fork, bare = mesh.fork(), mesh.fork()

    fork.members[drained].drain()
    serving = (Pod, Workload, EndpointSlice, Endpoints)
    bare.members[drained].delete(
        [each for each in mesh.members[drained].resources.values() if isinstance(each, serving)]
    )

    assert answers(fork) == answers(bare)
    assert fork.members[drained].pods == ()
    fork.members[drained].restore()
    fork.members[drained].restore()
    for name in NAMES:
        if mesh.members[name].failed or mesh.members[name].drained:
            return
    assert answers(fork) == answers(mesh)


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(steps(strict=False), max_size=12), st.sampled_from(NAMES))
def test_a_failed_member_is_one_that_has_left_to_the_others(
    taken: list[tuple[str, str, Any]], failed: str
) -> None:
    mesh = new_mesh(Topology.full(), "cilium")
    for step in taken:
        mesh = take(mesh, step)
    fork, without = mesh.fork(), mesh.fork()

    fork.members[failed].fail()
    without.leave(failed)

    others = [name for name in NAMES if name != failed]
    assert answers(fork, others) == answers(without, others)
    assert all(frontends == [(), ()] for frontends in answers(fork, [failed])[failed].values())


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(resources("east", strict=False), max_size=10))
def test_one_apply_is_its_documents_one_by_one(given_resources: list[Resource]) -> None:
    at_once, singly = new_mesh(Topology.full(), "cilium"), new_mesh(Topology.full(), "cilium")

    at_once.members["east"].apply(given_resources)
    for resource in given_resources:
        singly.members["east"].apply(resource)

    assert answers(at_once) == answers(singly)
    assert at_once.members["east"].resources == singly.members["east"].resources
    assert at_once.members["east"].pods == singly.members["east"].pods

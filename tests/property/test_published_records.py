"""What is published of a member is kept up with it, whatever happens to the mesh."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.effort import examples
from doubles.followed_records import FollowedRecords
from doubles.mesh_histories import TOPOLOGIES, new_mesh, steps, take
from fleetmesh.mesh import Topology


@settings(max_examples=examples(200), deadline=None)
@given(st.sampled_from(TOPOLOGIES), st.lists(st.tuples(steps(strict=False), st.booleans()), max_size=14))
def test_differences_add_up_to_all_records(
    topology: Topology, taken: list[tuple[tuple[str, str, Any], bool]]
) -> None:
    mesh, followed = new_mesh(topology, "cilium"), FollowedRecords()
    followed.look(mesh)
    for step, looked in taken:
        mesh = take(mesh, step)
        if looked:
            followed.look(mesh)
    followed.look(mesh)

"""
Backends in bulk: what is refused, and what a delta tells of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fleetmesh as fm
from fleetmesh import _core
from fleetmesh.mesh import ServiceDelta

ONE: dict[str, Any] = {
    "service": np.array([1], np.uint32),
    "cluster": np.array([1], np.uint16),
    "address": np.array([0x0A010001], np.uint32),
    "port": np.array([80], np.uint16),
}


@pytest.fixture
def mesh() -> fm.Mesh:
    mesh = fm.Mesh("shop")
    mesh.join("east", cluster_id=1)
    return mesh


@pytest.mark.parametrize("name", ["web", ("shop",), ("shop", 3), None])
def test_what_is_no_name_is_refused_with_its_place(mesh: fm.Mesh, name: Any) -> None:
    before = mesh.generation
    with pytest.raises(TypeError, match=r"services\[1\] is .*, not \(namespace, name\)"):
        mesh.load([("shop", "web"), name], **ONE)
    assert mesh.generation == before


def test_an_index_beyond_the_services_is_refused(mesh: fm.Mesh) -> None:
    before = mesh.generation
    with pytest.raises(ValueError, match="names service 1 of 1"):
        mesh.load([("shop", "web")], **ONE)
    assert mesh.generation == before


def test_a_delta_names_who_has_left() -> None:
    core = _core.Core()
    change = core.begin()
    for number, name in ((1, "east"), (2, "west")):
        change.join(number, name)
    for number in (1, 2):
        change.hear(number, [1, 2])
        spec = _core.ServiceSpec(is_global=True, frontends=[(0, False, "10.0.0.1", 80, 6, "")])
        change.set_service(number, "shop", "web", spec)
    change.commit()
    change = core.begin()
    change.leave(2)
    told = change.commit().services(ServiceDelta)
    assert {viewer for each in told for viewer in each.viewers} == {"east", "west"}
    assert {(each.namespace, each.name) for each in told} == {("shop", "web")}

"""
ServiceExports of members that other processes run: what is made of them here goes as they go.
"""

from __future__ import annotations

import pytest

import fleetmesh as fm
from fleetmesh.mesh.hearing import hear_all
from fleetmesh.records import ExportRecord
from fleetmesh.resources.model import Namespace, ServicePort


def exported(cluster: str) -> ExportRecord:
    return ExportRecord(
        cluster=cluster,
        namespace="shop",
        name="cart",
        created="2026-01-01T00:00:00Z",
        ports=(ServicePort(port=80, name="http"),),
    )


@pytest.mark.parametrize("mode", ["cilium", "strict"])
@pytest.mark.parametrize("how", ["one after the other", "at once", "leave"])
def test_an_import_goes_with_the_last_export_that_is_heard(mode: str, how: str) -> None:
    mesh = fm.Mesh("m", mode=mode)  # type: ignore[arg-type]
    mesh.join("east", cluster_id=1).apply(Namespace(name="shop"))
    others = [
        mesh.join(name, cluster_id=number, outside=True) for number, name in ((2, "west"), (3, "north"))
    ]
    for other in others:
        other.hear([exported(other.name)])
    imported = mesh.services("east")
    assert len(imported) == 1

    others[0].hear(withdrawn=[("export", "shop/cart")])
    assert mesh.services("east") == imported
    if how == "at once":
        others[0].hear([exported("west")])
        hear_all(mesh, [(each, (), [("export", "shop/cart")]) for each in others])
    elif how == "leave":
        mesh.leave("north")
    else:
        others[1].hear(withdrawn=[("export", "shop/cart")])

    assert mesh.services("east") == ()
    assert mesh.members["east"].records("service") == ()

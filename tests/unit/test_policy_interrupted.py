"""
What is interrupted or malformed leaves nothing wrong behind.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

import fleetmesh as fm
from doubles.datapath import SYN, Packet
from doubles.datapath_mesh import columns
from doubles.two_clusters import EAST, manifest, new_mesh, pod, pod_manifest
from fleetmesh.mesh.policy_tables import ClusterTables

FLOW = ("east/shop/p1", "east/shop/p2")


def policy(name: str, app: str, **spec: Any) -> str:
    return manifest(
        "CiliumNetworkPolicy", name, spec={"endpointSelector": {"matchLabels": {"app": app}}} | spec
    )


@pytest.fixture
def mesh() -> fm.Mesh:
    mesh = new_mesh()
    for number in (1, 2, 3):
        mesh.members[EAST].apply(pod_manifest(EAST, number, app=f"p{number}"))
    return mesh


def test_a_question_that_is_interrupted_does_not_spoil_the_next(
    mesh: fm.Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mesh.decide(*FLOW).verdict == "allow"
    mesh.members[EAST].apply(policy("closed", "p2", ingress=[{}]))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fleetmesh.mesh.deciding.follow", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mesh.decide(*FLOW)

    assert mesh.decide(*FLOW).verdict == "deny"


def test_tables_that_could_not_be_made_are_made_when_asked_for_again(
    mesh: fm.Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mesh.datapath(EAST)
    mesh.members[EAST].apply(policy("closed", "p2", ingress=[{}]))

    def failing(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(ClusterTables, "_set_endpoints", failing)
        with pytest.raises(MemoryError):
            path.catch_up()

    assert path.process(columns([opening()])).ingress[0] == fm.datapath.Verdict.DENY


def opening() -> Packet:
    source, destination = (ip_address(pod(EAST, number)) for number in (1, 2))
    return Packet(source, 1000, destination, 80, 6, SYN, 0)


def test_what_is_no_address_is_named(mesh: fm.Mesh) -> None:
    with pytest.raises(ValueError, match=r"end 'ip:999': '999' is no address; expected ip:ADDRESS"):
        mesh.decide("ip:999", "east/shop/p1")
    for wrong in (["abc"], 5):
        with pytest.raises(ValueError, match=r"addresses of 'x': .*; expected a list of addresses"):
            mesh.dns["x"] = wrong  # type: ignore[assignment]


def test_networks_are_worked_out_again_only_when_they_change(mesh: fm.Mesh) -> None:
    member = mesh.members[EAST]
    member.apply(
        policy("out", "p1", egress=[{"toCIDR": ["192.0.2.0/24"]}, {"toFQDNs": [{"matchName": "a.b"}]}])
    )

    def world() -> object:
        with mesh.judged() as deciding:
            return deciding.judge(EAST).networks_of_the_world()

    before = world()
    member.apply(pod_manifest(EAST, 4, app="p4"))
    assert world() is before
    member.apply(policy("more", "p1", egress=[{"toCIDR": ["198.51.100.0/24"]}]))
    assert world() is not before
    before = world()
    mesh.dns["a.b"] = ["203.0.113.1"]
    assert world() is not before

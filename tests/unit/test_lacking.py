"""Why a Service has no endpoint of its own: each reason once, and none where nothing is wrong."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from fleetmesh.mesh import Mesh
from fleetmesh.resources import (
    ContainerPort,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Pod,
    PodTemplate,
    Service,
    ServicePort,
)
from fleetmesh.services.lacking import Lack, lack_of

WEB = Service(
    namespace="shop", name="web", selector={"app": "web"}, ports=(ServicePort(port=80, target_port="http"),)
)
POD = Pod(
    namespace="shop",
    name="web-1",
    labels={"app": "web"},
    template=PodTemplate(ports=(ContainerPort(container_port=8080, name="http"),)),
    addresses=("10.1.0.1",),
)
SLICE = EndpointSlice(
    namespace="shop",
    name="web-1",
    endpoints=(Endpoint(addresses=("10.1.0.1",)),),
    ports=(EndpointPort(port=8080),),
)


def lacks(pods: Any = (), *, slices: Any = (), drained: bool = False, **changes: Any) -> Lack | None:
    return lack_of(attrs.evolve(WEB, **changes), pods, slices, drained=drained)


def test_nothing_is_lacking_where_a_pod_serves() -> None:
    assert lacks([POD]) is None


@pytest.mark.parametrize(
    "changes", [{"selector": None}, {"ports": ()}, {"type": "ExternalName", "external_name": "bank"}]
)
def test_a_service_that_ought_to_have_no_endpoint_lacks_none(changes: dict[str, Any]) -> None:
    assert lacks(**changes) is None


@pytest.mark.parametrize(
    "changes", [{"labels": {"app": "db"}}, {"namespace": "bank"}, {"phase": "Succeeded"}]
)
def test_no_pod_matches(changes: dict[str, Any]) -> None:
    assert lacks([attrs.evolve(POD, **changes)]) == Lack("no-pod")


def test_no_pod_that_matches_has_the_named_port() -> None:
    ports = (ServicePort(port=80, target_port="web"), ServicePort(port=90, target_port="grpc"))
    lack = lacks([POD], ports=ports)

    assert lack == Lack("no-port", ("web", "grpc"))
    assert lack.said("east") == (
        "no pod that its selector matches in east has a port named 'web' or 'grpc', as its targetPort"
    )


def test_no_pod_with_the_port_is_ready() -> None:
    other = attrs.evolve(POD, name="web-2", template=PodTemplate())

    assert lacks([attrs.evolve(POD, ready=False), other]) == Lack("unready")
    assert lacks([attrs.evolve(POD, ready=False)], publish_not_ready_addresses=True) is None


def test_no_pod_that_is_ready_has_an_address_of_the_family() -> None:
    assert lacks([attrs.evolve(POD, addresses=())]) == Lack("no-address")
    assert lacks([POD], ip_families=("IPv6",)) == Lack("no-address")


def test_declared_slices_stand_in_place_of_pods() -> None:
    unready = attrs.evolve(SLICE, endpoints=(Endpoint(addresses=("10.1.0.1",), ready=False),))

    assert lacks([], slices=[SLICE]) is None
    assert lacks([POD], slices=[attrs.evolve(SLICE, ports=())]) == Lack("empty-slices")
    assert lacks([POD], slices=[attrs.evolve(SLICE, endpoints=())]) == Lack("empty-slices")
    assert lacks([POD], slices=[unready]) == Lack("unready-slices")


def test_draining_is_told_only_where_nothing_else_is_lacking() -> None:
    assert lacks([POD], drained=True) == Lack("drained")
    assert lacks([], drained=True) == Lack("no-pod")


def told(mesh: Mesh) -> list[str]:
    return [one.message.partition(",")[0] for one in mesh.findings if one.code == "service-without-match"]


def test_the_reason_is_the_one_of_today_though_the_core_sees_no_change() -> None:
    mesh = Mesh("shop")
    east = mesh.join("east", cluster_id=1)
    east.apply(WEB)
    assert told(mesh) == ["its selector matches no pod in east"]

    east.apply(attrs.evolve(POD, template=PodTemplate()))
    assert told(mesh) == ["no pod that its selector matches in east has a port named 'http'"]

    east.apply(POD)
    assert told(mesh) == []

    east.drain()
    assert told(mesh) == ["its endpoints in east are drained"]

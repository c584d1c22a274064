"""EndpointSlices: as the core takes them, and as Kubernetes' controllers would write them."""

from __future__ import annotations

from typing import Any

import pytest

from fleetmesh.resources.model import (
    ContainerPort,
    Endpoint,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    Pod,
    PodTemplate,
    Service,
    ServicePort,
)
from fleetmesh.services.endpoints import derive_slices, mirror_endpoints, slice_arguments

APP = {"app": "cart"}
HTTP = ServicePort(port=80, name="http", target_port=8080)


def service(**fields: Any) -> Service:
    given: dict[str, Any] = {"selector": APP, "ports": (HTTP,), "ip_families": ("IPv4",)}
    return Service(namespace="shop", name="cart", **{**given, **fields})


def pod(name: str = "cart-1", address: str = "10.1.0.1", /, **fields: Any) -> Pod:
    of_template = ("ports", "node_name", "hostname", "subdomain")
    template = {key: fields.pop(key) for key in of_template if key in fields}
    given: dict[str, Any] = {"labels": APP, "addresses": (address,), "namespace": "shop"}
    return Pod(name=name, template=PodTemplate(**template), **{**given, **fields})


def derive(*pods: Pod, zones: dict[str, str] | None = None, **fields: Any) -> tuple[EndpointSlice, ...]:
    return derive_slices(service(**fields), pods, zones or {})


def only(*pods: Pod, zones: dict[str, str] | None = None, **fields: Any) -> Endpoint:
    ((endpoint,),) = [each.endpoints for each in derive(*pods, zones=zones, **fields)]
    return endpoint


class TestArguments:
    def of(self, **fields: Any) -> Any:
        return slice_arguments(EndpointSlice(namespace="shop", name="cart-1", **fields))

    @pytest.mark.parametrize(
        ("ready", "serving", "terminating", "bits"),
        [
            (None, None, None, 0b011),
            (True, True, False, 0b011),
            (False, None, None, 0b010),
            (None, False, None, 0b001),
            (False, False, True, 0b100),
            (False, True, True, 0b110),
            (True, None, True, 0b111),
        ],
    )
    def test_unset_conditions_are_ready_serving_and_not_terminating(
        self, ready: bool | None, serving: bool | None, terminating: bool | None, bits: int
    ) -> None:
        endpoint = Endpoint(addresses=("10.1.0.1",), ready=ready, serving=serving, terminating=terminating)
        endpoints, _, _ = self.of(endpoints=(endpoint,))
        assert endpoints == [(("10.1.0.1",), bits, "", "", "", ())]

    def test_everything_about_an_endpoint_is_passed_on(self) -> None:
        endpoint = Endpoint(
            addresses=("10.1.0.1", "bogus"), hostname="a", node_name="n", zone="z", for_zones=("z", "y")
        )
        assert self.of(endpoints=(endpoint,))[0] == [(("10.1.0.1", "bogus"), 3, "n", "a", "z", ("z", "y"))]

    def test_ports_without_number_or_of_unknown_protocol_are_left_out(self) -> None:
        ports = (
            EndpointPort(port=8080, name="http"),
            EndpointPort(port=None, name="all"),
            EndpointPort(port=53, name="dns", protocol="UDP"),
            EndpointPort(port=5, name="x", protocol="SCTP"),
            EndpointPort(port=6, name="y", protocol="ICMP"),
            EndpointPort(port=7, protocol="tcp"),
        )
        assert self.of(ports=ports)[1] == [("http", 6, 8080), ("dns", 17, 53), ("x", 132, 5)]

    @pytest.mark.parametrize(("value", "weight"), [("0", 0), ("7", 7), ("heavy", 100)])
    def test_the_weight_of_the_slice(self, value: str, weight: int) -> None:
        assert self.of(annotations={"service.cilium.io/weight": value})[2] == weight

    def test_a_slice_of_domain_names_has_nothing_for_the_core(self) -> None:
        assert self.of(address_type="FQDN") is None


class TestMembership:
    def test_pods_are_chosen_by_label_and_namespace(self) -> None:
        others = (
            pod("other-label", labels={"app": "web"}),
            pod("other-namespace", namespace="dev"),
            pod("more-labels", "10.1.0.2", labels={**APP, "tier": "back"}),
        )
        (found,) = derive(*others)
        assert [endpoint.target for endpoint in found.endpoints] == [("Pod", "more-labels")]

    @pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
    def test_pods_that_have_come_to_an_end_are_no_endpoints(self, phase: str) -> None:
        assert derive(pod(phase=phase)) == ()

    def test_pods_without_an_address_are_none_yet(self) -> None:
        assert derive(pod(addresses=(), phase="Pending")) == ()

    @pytest.mark.parametrize("fields", [{"selector": None}, {"selector": {}}, {"type": "ExternalName"}])
    def test_services_without_selector_and_external_names_get_none(self, fields: dict[str, Any]) -> None:
        assert derive(pod(), **fields) == ()


class TestConditions:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({}, (True, True, False)),
            ({"ready": False}, (False, False, False)),
            ({"phase": "Pending"}, (False, False, False)),
            ({"phase": "Pending", "ready": True}, (True, True, False)),
            ({"terminating": True}, (False, True, True)),
            ({"terminating": True, "ready": False}, (False, False, True)),
        ],
    )
    def test_readiness_of_a_pod(self, fields: dict[str, Any], expected: tuple[bool, bool, bool]) -> None:
        endpoint = only(pod(**fields))
        assert (endpoint.ready, endpoint.serving, endpoint.terminating) == expected

    def test_a_service_may_publish_what_is_not_ready(self) -> None:
        endpoint = only(pod(ready=False, terminating=True), publish_not_ready_addresses=True)
        assert (endpoint.ready, endpoint.serving, endpoint.terminating) == (True, False, True)


class TestPlace:
    def test_node_and_zone_of_the_pod(self) -> None:
        endpoint = only(pod(node_name="n1"), zones={"n1": "a", "n2": "b"})
        assert (endpoint.node_name, endpoint.zone, endpoint.for_zones) == ("n1", "a", ())

    def test_a_node_without_zone(self) -> None:
        assert only(pod(node_name="n3"), zones={"n1": "a"}).zone == ""

    @pytest.mark.parametrize("wish", ["PreferClose", "PreferSameZone", "PreferSameNode"])
    def test_traffic_distribution_gives_ready_endpoints_the_hint_of_their_own_zone(self, wish: str) -> None:
        zones = {"n1": "a"}
        assert only(pod(node_name="n1"), zones=zones, traffic_distribution=wish).for_zones == ("a",)
        assert only(pod(node_name="n1", ready=False), zones=zones, traffic_distribution=wish).for_zones == ()
        assert only(pod(node_name="n2"), zones=zones, traffic_distribution=wish).for_zones == ()

    @pytest.mark.parametrize(
        ("hostname", "subdomain", "expected"),
        [("cart-0", "cart", "cart-0"), ("cart-0", "other", ""), ("cart-0", "", ""), ("", "cart", "")],
    )
    def test_a_hostname_only_where_the_subdomain_is_the_service(
        self, hostname: str, subdomain: str, expected: str
    ) -> None:
        assert only(pod(hostname=hostname, subdomain=subdomain)).hostname == expected


class TestFamilies:
    def test_one_slice_for_each_family(self) -> None:
        both = pod(addresses=("10.1.0.1", "fd00::1"))
        found = {each.address_type: each for each in derive(both, ip_families=("IPv4", "IPv6"))}
        assert found["IPv4"].endpoints[0].addresses == ("10.1.0.1",)
        assert found["IPv6"].endpoints[0].addresses == ("fd00::1",)
        assert found["IPv4"].name != found["IPv6"].name

    def test_a_pod_without_an_address_of_the_family_is_left_out(self) -> None:
        assert derive(pod(), ip_families=("IPv6",)) == ()

    @pytest.mark.parametrize(
        ("fields", "families"),
        [
            ({"cluster_ip": "fd00:20::1"}, ["IPv6"]),
            ({"cluster_ip": "10.0.0.1"}, ["IPv4"]),
            ({"cluster_ip": "None"}, ["IPv4", "IPv6"]),
        ],
    )
    def test_families_that_are_not_named_follow_the_cluster_ips(
        self, fields: dict[str, Any], families: list[str]
    ) -> None:
        both = pod(addresses=("10.1.0.1", "fd00::1"))
        assert sorted(each.address_type for each in derive(both, ip_families=(), **fields)) == families

    def test_what_is_no_address_is_passed_over(self) -> None:
        assert derive(pod("cart-1", "10.1.0.300")) == ()


class TestPorts:
    def ports(self, target: int | str, *declared: ContainerPort, **fields: Any) -> list[int | None]:
        port = ServicePort(port=80, name="http", target_port=target, **fields)
        (found,) = derive(pod(ports=declared), ports=(port,))
        return [each.port for each in found.ports]

    def test_the_same_number_by_default(self) -> None:
        assert self.ports(0) == [80]

    def test_a_number_needs_no_container_port(self) -> None:
        assert self.ports(8080) == [8080]

    def test_a_name_is_looked_up_in_the_pod_with_its_protocol(self) -> None:
        declared = (
            ContainerPort(container_port=1, name="web", protocol="UDP"),
            ContainerPort(container_port=2, name="web"),
        )
        assert self.ports("web", *declared) == [2]
        assert self.ports("web", *declared, protocol="UDP") == [1]

    def test_a_pod_that_lacks_the_name_has_no_such_port(self) -> None:
        assert self.ports("web") == []

    def test_pods_with_different_numbers_are_in_different_slices(self) -> None:
        port = ServicePort(port=80, name="http", target_port="web")
        pods = [
            pod(f"cart-{n}", f"10.1.0.{n}", ports=(ContainerPort(container_port=number, name="web"),))
            for n, number in ((1, 8080), (2, 9090), (3, 8080))
        ]
        slices = derive(*pods, ports=(port,))
        assert len({each.name for each in slices}) == 2
        by_port = {each.ports[0].port: [name for _, name in map(target, each.endpoints)] for each in slices}
        assert by_port == {8080: ["cart-1", "cart-3"], 9090: ["cart-2"]}

    def test_name_protocol_and_application_protocol_are_those_of_the_service(self) -> None:
        port = ServicePort(port=53, name="dns", protocol="UDP", app_protocol="x")
        (found,) = derive(pod(), ports=(port,))
        assert found.ports == (EndpointPort(port=53, name="dns", protocol="UDP", app_protocol="x"),)

    def test_a_headless_service_without_ports_still_lists_its_pods(self) -> None:
        (found,) = derive(pod(), ports=(), cluster_ip="None")
        assert (len(found.endpoints), found.ports) == (1, ())
        assert found.labels["service.kubernetes.io/headless"] == ""


def target(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.target


class TestNames:
    def test_a_slice_belongs_to_its_service_and_keeps_its_name(self) -> None:
        (first,) = derive(pod())
        (later,) = derive(pod(), pod("cart-2", "10.1.0.2"))
        assert first.service == "cart"
        assert first.name.startswith("cart-")
        assert first.name == later.name
        assert first.namespace == "shop"


class TestMirror:
    subset = EndpointSubset(
        addresses=(("192.0.2.1", "a", "n1"), ("fd00::1", "", ""), ("bogus", "", "")),
        not_ready_addresses=(("192.0.2.2", "", ""),),
        ports=(EndpointPort(port=5432, name="db"),),
    )

    def mirror(self, of: Service | None = None, **fields: Any) -> tuple[EndpointSlice, ...]:
        given: dict[str, Any] = {"namespace": "shop", "name": "cart", "subsets": (self.subset,)}
        bare = service(selector=None) if of is None else of
        return mirror_endpoints(Endpoints(**{**given, **fields}), bare)

    def test_each_family_becomes_a_slice(self) -> None:
        found = {each.address_type: each for each in self.mirror()}
        assert found["IPv4"].endpoints == (
            Endpoint(addresses=("192.0.2.1",), ready=True, hostname="a", node_name="n1"),
            Endpoint(addresses=("192.0.2.2",), ready=False),
        )
        assert [endpoint.addresses for endpoint in found["IPv6"].endpoints] == [("fd00::1",)]
        assert {each.service for each in found.values()} == {"cart"}
        assert found["IPv4"].ports == self.subset.ports

    def test_a_not_ready_address_counts_as_serving_because_nobody_says_otherwise(self) -> None:
        found = next(each for each in self.mirror() if each.address_type == "IPv4")
        arguments = slice_arguments(found)
        assert arguments is not None
        assert [endpoint[1] for endpoint in arguments[0]] == [0b011, 0b010]

    def test_subsets_with_other_ports_are_other_slices(self) -> None:
        more = EndpointSubset(addresses=(("192.0.2.9", "", ""),), ports=(EndpointPort(port=1),))
        slices = self.mirror(subsets=(self.subset, more))
        assert len({each.name for each in slices}) == 3

    @pytest.mark.parametrize(
        "fields",
        [
            {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            {"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}},
            {"name": "other"},
            {"namespace": "dev"},
            {"of": service()},
        ],
    )
    def test_what_is_not_mirrored(self, fields: dict[str, Any]) -> None:
        assert self.mirror(**fields) == ()

    def test_endpoints_without_a_service_are_not(self) -> None:
        assert mirror_endpoints(Endpoints(namespace="shop", name="cart", subsets=(self.subset,)), None) == ()

    def test_the_label_to_skip_must_be_true(self) -> None:
        assert self.mirror(labels={"endpointslice.kubernetes.io/skip-mirror": "false"}) != ()

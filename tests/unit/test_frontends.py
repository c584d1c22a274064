"""Services as the core takes them: frontends, exposure, and what their records say."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from fleetmesh.resources.model import Node, Service, ServicePort
from fleetmesh.services.frontends import (
    CompiledService,
    canonical,
    compile_service,
    record_frontends,
)

HTTP = ServicePort(port=80, name="http", node_port=30080)
GLOBAL = {"service.cilium.io/global": "true"}


def service(**fields: Any) -> Service:
    given: dict[str, Any] = {"cluster_ip": "10.100.0.1", "cluster_ips": ("10.100.0.1",), "ports": (HTTP,)}
    return Service(namespace="shop", name="cart", **{**given, **fields})


def frontends(**fields: Any) -> list[tuple[int, bool, str, int]]:
    return [each[:4] for each in compile_service(service(**fields)).frontends]


class TestClusterIps:
    def test_one_frontend_for_each_port(self) -> None:
        dns = ServicePort(port=53, name="dns", protocol="UDP")
        sctp = ServicePort(port=53, name="signal", protocol="SCTP")
        assert compile_service(service(ports=(HTTP, dns, sctp))).frontends == (
            (0, False, "10.100.0.1", 53, 132, "signal"),
            (0, False, "10.100.0.1", 53, 17, "dns"),
            (0, False, "10.100.0.1", 80, 6, "http"),
        )

    def test_both_families_ipv4_first_unless_it_is_below(self) -> None:
        both = service(cluster_ips=("fd00::1", "10.100.0.1"), cluster_ip="fd00::1")
        assert [each[2] for each in compile_service(both).frontends] == ["10.100.0.1", "fd00::1"]
        assert [each[2] for each in compile_service(both, enable_ipv6=False).frontends] == ["10.100.0.1"]
        low = service(cluster_ips=("10.100.0.1", "::1"))
        assert [each[2] for each in compile_service(low).frontends] == ["::1", "10.100.0.1"]

    def test_the_single_address_counts_where_the_list_is_missing(self) -> None:
        assert frontends(cluster_ips=()) == [(0, False, "10.100.0.1", 80)]

    @pytest.mark.parametrize("text", ["", "None6", "10.100.0.300", "10.0.0.1@3", "fe80::1%eth0", "010.0.0.1"])
    def test_what_is_no_address_is_passed_over(self, text: str) -> None:
        assert frontends(cluster_ip=text, cluster_ips=(text,)) == []
        assert frontends(external_ips=(text,)) == [(0, False, "10.100.0.1", 80)]

    def test_addresses_are_written_in_one_way(self) -> None:
        assert frontends(cluster_ips=("FD00:0:0::A",)) == [(0, False, "fd00::a", 80)]
        assert canonical("::FFFF:10.0.0.1") == "::ffff:10.0.0.1"

    @pytest.mark.parametrize(
        "headless",
        [{"cluster_ip": "None"}, {"cluster_ip": "none"}, {"labels": {"service.kubernetes.io/headless": ""}}],
    )
    def test_a_headless_service_has_no_frontends_not_even_external_ones(
        self, headless: dict[str, Any]
    ) -> None:
        compiled = compile_service(service(external_ips=("192.0.2.1",), type="NodePort", **headless))
        assert compiled.headless
        assert compiled.frontends == ()

    def test_an_external_name_has_none(self) -> None:
        compiled = compile_service(service(type="ExternalName", cluster_ip="", cluster_ips=()))
        assert compiled.external_name
        assert compiled.frontends == ()


class TestOutside:
    def test_node_ports_stand_for_every_node_in_each_family(self) -> None:
        assert frontends(type="NodePort", ip_families=("IPv6", "IPv4")) == [
            (1, False, "::", 30080),
            (1, False, "0.0.0.0", 30080),
            (0, False, "10.100.0.1", 80),
        ]

    def test_families_that_are_not_named_are_those_of_the_cluster_ips(self) -> None:
        assert (1, False, "::", 30080) not in frontends(type="NodePort")
        assert (1, False, "::", 30080) in frontends(type="NodePort", cluster_ips=("10.100.0.1", "fd00::1"))
        assert frontends(type="NodePort", cluster_ip="", cluster_ips=("10.100.0.1",)) == [
            (0, False, "10.100.0.1", 80)
        ]

    def test_a_port_without_node_port_has_no_such_frontend(self) -> None:
        assert frontends(type="NodePort", ports=(ServicePort(port=80),)) == [(0, False, "10.100.0.1", 80)]

    def test_a_cluster_ip_service_with_a_node_port_has_none(self) -> None:
        assert frontends() == [(0, False, "10.100.0.1", 80)]

    def test_a_load_balancer_has_all_three_types(self) -> None:
        ingress = (("192.0.2.7", ""), ("192.0.2.8", "VIP"), ("192.0.2.9", "Proxy"))
        assert frontends(type="LoadBalancer", ingress=ingress) == [
            (1, False, "0.0.0.0", 30080),
            (0, False, "10.100.0.1", 80),
            (2, False, "192.0.2.7", 80),
            (2, False, "192.0.2.8", 80),
        ]

    def test_a_load_balancer_status_has_no_force_on_another_type(self) -> None:
        assert frontends(type="NodePort", ingress=(("192.0.2.7", ""),))[-1] == (0, False, "10.100.0.1", 80)

    def test_external_ips_exist_for_every_type(self) -> None:
        assert frontends(external_ips=("192.0.2.1",))[-1] == (3, False, "192.0.2.1", 80)

    @pytest.mark.parametrize("internal", ["Cluster", "Local"])
    @pytest.mark.parametrize("external", ["Cluster", "Local"])
    def test_two_scopes_where_exactly_one_policy_is_local(self, internal: str, external: str) -> None:
        compiled = compile_service(
            service(
                type="LoadBalancer",
                ingress=(("192.0.2.7", ""),),
                external_ips=("192.0.2.8",),
                internal_traffic_policy=internal,
                external_traffic_policy=external,
            )
        )
        scoped = {each[0] for each in compiled.frontends if each[1]}
        assert scoped == ({1, 2} if internal != external else set())
        assert (compiled.internal_local, compiled.external_local) == (
            internal == "Local",
            external == "Local",
        )

    @pytest.mark.parametrize(
        ("only", "types"),
        [("ClusterIP", {0, 3}), ("NodePort", {1, 3}), ("LoadBalancer", {2, 3}), ("Bogus", {0, 1, 2, 3})],
    )
    def test_one_type_may_be_exposed_alone_and_external_ips_stay(self, only: str, types: set[int]) -> None:
        compiled = compile_service(
            service(
                type="LoadBalancer",
                ingress=(("192.0.2.7", ""),),
                external_ips=("192.0.2.8",),
                annotations={"service.cilium.io/type": only},
            )
        )
        assert {each[0] for each in compiled.frontends} == types

    def test_of_two_at_one_place_the_later_type_is_in_force(self) -> None:
        same = {"type": "LoadBalancer", "ingress": (("192.0.2.7", ""),), "external_ips": ("192.0.2.7",)}
        assert (3, False, "192.0.2.7", 80) in frontends(**same)
        assert (2, False, "192.0.2.7", 80) not in frontends(**same)

    def test_of_two_ports_of_one_number_the_later_is_in_force(self) -> None:
        ports = (HTTP, ServicePort(port=80, name="web"))
        assert [each[5] for each in compile_service(service(ports=ports)).frontends] == ["web"]


class TestNodes:
    nodes = (
        Node(name="edge-1", labels={"service.cilium.io/node": "edge", "zone": "a"}),
        Node(name="core-1", labels={"zone": "a"}),
    )

    def on(self, **annotations: str) -> tuple[str, ...] | None:
        names = {f"service.cilium.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
        return compile_service(service(annotations=names), nodes=self.nodes).exposed_on

    def test_without_annotation_it_is_everywhere(self) -> None:
        assert self.on() is None

    def test_nodes_of_the_value(self) -> None:
        assert self.on(node="edge") == ("edge-1",)

    def test_nodes_of_the_selector(self) -> None:
        assert self.on(node_selector="!service.cilium.io/node") == ("core-1",)
        assert self.on(node_selector="zone=b") == ()

    def test_a_selector_that_all_declared_nodes_match_leaves_out_those_that_are_not_declared(self) -> None:
        assert self.on(node_selector="zone=a") == ("core-1", "edge-1")
        assert self.on(node_selector="zone!=b") is None

    def test_a_cluster_without_nodes_has_one_without_labels(self) -> None:
        named = service(annotations={"service.cilium.io/node": "edge"})
        assert compile_service(named).exposed_on == ()

    def test_an_unreadable_selector_is_everywhere(self) -> None:
        assert self.on(node_selector="zone in a") is None


class TestRecord:
    def test_every_cluster_ip_has_all_ports_by_name(self) -> None:
        both = service(
            cluster_ips=("10.100.0.1", "fd00::1"), ports=(HTTP, ServicePort(port=53, protocol="UDP"))
        )
        ports = {"http": {"Protocol": "TCP", "Port": 80}, "": {"Protocol": "UDP", "Port": 53}}
        assert record_frontends(both) == {"10.100.0.1": ports, "fd00::1": ports}

    def test_of_two_ports_of_one_name_the_last_counts(self) -> None:
        two = service(ports=(ServicePort(port=80), ServicePort(port=81)))
        assert record_frontends(two) == {"10.100.0.1": {"": {"Protocol": "TCP", "Port": 81}}}

    def test_a_headless_service_has_none_and_is_valid(self) -> None:
        headless = service(cluster_ip="None", cluster_ips=("None",))
        assert record_frontends(headless) == {}
        assert compile_service(headless).record_valid

    def test_without_a_cluster_ip_the_record_is_one_that_receivers_refuse(self) -> None:
        bare = service(type="ExternalName", cluster_ip="", cluster_ips=(), ports=())
        assert record_frontends(bare) == {"": {}}
        assert not compile_service(bare).record_valid

    @pytest.mark.parametrize("text", ["bogus", "fe80::1%eth0"])
    def test_one_unreadable_address_makes_it_invalid(self, text: str) -> None:
        assert not compile_service(service(cluster_ips=("10.100.0.1", text))).record_valid

    @pytest.mark.parametrize(
        "change",
        [
            {"labels": {"a": "b"}},
            {"selector": {"a": "b"}},
            {"cluster_ips": ("10.100.0.2",)},
            {"ports": (ServicePort(port=81, name="http"),)},
            {"cluster_ip": "None"},
        ],
    )
    def test_what_the_record_says_changes_its_digest(self, change: dict[str, Any]) -> None:
        assert compile_service(service(**change)).record_digest != compile_service(service()).record_digest

    @pytest.mark.parametrize(
        "change",
        [{"annotations": GLOBAL}, {"type": "NodePort"}, {"external_ips": ("192.0.2.1",)}, {"selector": {}}],
    )
    def test_what_it_does_not_say_leaves_the_digest(self, change: dict[str, Any]) -> None:
        assert compile_service(service(**change)).record_digest == compile_service(service()).record_digest

    def test_the_order_of_labels_has_no_part_in_it(self) -> None:
        one, other = ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})
        digests = {compile_service(service(labels=labels)).record_digest for labels in (one, other)}
        assert len(digests) == 1
        assert 0 < digests.pop() < 2**64


class TestSpec:
    def test_annotations_and_fields_arrive_as_numbers(self) -> None:
        compiled = compile_service(
            service(
                annotations={
                    **GLOBAL,
                    "service.cilium.io/affinity": "remote",
                    "service.cilium.io/shared": "no",
                },
                traffic_distribution="PreferSameNode",
                session_affinity_seconds=10800,
                creation_timestamp="2025-01-01T00:00:00Z",
            ),
            namespace_global=False,
        )
        assert compiled.is_global
        assert not compiled.shared
        assert not compiled.namespace_global
        assert (compiled.affinity, compiled.distribution, compiled.session_affinity_seconds) == (2, 2, 10800)
        assert compiled.created == "2025-01-01T00:00:00Z"

    @pytest.mark.parametrize(
        ("distribution", "number"),
        [("", 0), ("PreferClose", 1), ("PreferSameZone", 1), ("PreferSameNode", 2)],
    )
    def test_distributions(self, distribution: str, number: int) -> None:
        assert compile_service(service(traffic_distribution=distribution)).distribution == number

    def test_the_core_takes_every_field_by_its_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from doubles import core as double

        monkeypatch.setitem(sys.modules, "fleetmesh._core", double)
        compiled = compile_service(service(annotations=GLOBAL))
        spec = compiled.to_core()
        same: Callable[[str], bool] = lambda name: getattr(spec, name) == getattr(compiled, name)  # noqa: E731
        assert all(same(field.name) for field in attrs.fields(CompiledService))

"""What a cluster gives to nodes, pods and services that declare no address."""

from __future__ import annotations

from typing import Any

import pytest

from fleetmesh.errors import RangeExhaustedError
from fleetmesh.identity import Allocations
from fleetmesh.resources.model import Family, Node, Pod, PodTemplate, Service, ServicePort
from fleetmesh.services.addressing import (
    address_nodes,
    address_pods,
    address_services,
    missing_families,
    wanted_families,
)

V4: tuple[Family, ...] = ("IPv4",)
BOTH: tuple[Family, ...] = ("IPv4", "IPv6")


@pytest.fixture
def allocations() -> Allocations:
    made = Allocations()
    made.set_ranges("east", "pod", ["10.1.0.0/24", "fd00:1::/64"])
    made.set_ranges("east", "service", ["10.100.0.0/24", "fd00:2::/112"])
    made.set_ranges("east", "node", ["192.168.1.0/24", "fd00:3::/64"])
    return made


class TestNodes:
    def test_declared_internal_addresses_stay(self, allocations: Allocations) -> None:
        node = Node(name="n1", addresses=(("ExternalIP", "192.0.2.1"), ("InternalIP", "192.168.9.1")))
        assert address_nodes([node], "east", allocations, BOTH) == {"n1": ("192.168.9.1",)}

    def test_external_ones_count_where_there_are_no_internal_ones(self, allocations: Allocations) -> None:
        node = Node(name="n1", addresses=(("Hostname", "n1"), ("ExternalIP", "192.0.2.1")))
        assert address_nodes([node], "east", allocations, BOTH) == {"n1": ("192.0.2.1",)}

    def test_a_node_without_addresses_gets_one_of_each_family(self, allocations: Allocations) -> None:
        node = Node(name="n1", addresses=(("Hostname", "n1"), ("InternalIP", "bogus")))
        four, six = address_nodes([node], "east", allocations, BOTH)["n1"]
        assert four.startswith("192.168.1.")
        assert six.startswith("fd00:3::")


class TestPods:
    def give(
        self, allocations: Allocations, *pods: Pod, families: tuple[Family, ...] = V4
    ) -> tuple[Pod, ...]:
        return address_pods(pods, "east", allocations, families, {"n1": ("192.168.1.9",)})

    def pod(self, **fields: Any) -> Pod:
        template = PodTemplate(
            node_name=fields.pop("node_name", "n1"), host_network=fields.pop("host_network", False)
        )
        return Pod(**{"name": "cart", "namespace": "shop", "template": template, **fields})

    def test_a_pod_gets_an_address_and_that_of_its_node(self, allocations: Allocations) -> None:
        (pod,) = self.give(allocations, self.pod(), families=BOTH)
        four, six = pod.addresses
        assert four.startswith("10.1.0.")
        assert six.startswith("fd00:1:")
        assert pod.host_address == "192.168.1.9"

    def test_declared_addresses_stay(self, allocations: Allocations) -> None:
        pod = self.pod(addresses=("10.7.0.1",), host_address="192.168.7.7")
        assert self.give(allocations, pod) == (pod,)

    def test_a_pod_on_the_host_network_has_the_address_of_the_node(self, allocations: Allocations) -> None:
        (pod,) = self.give(allocations, self.pod(host_network=True))
        assert pod.addresses == ("192.168.1.9",)

    def test_a_node_that_nobody_declares_gets_an_address_when_it_is_needed(
        self, allocations: Allocations
    ) -> None:
        first, second = self.give(
            allocations,
            self.pod(host_network=True, node_name="n7"),
            self.pod(name="web", host_network=True, node_name="n7"),
        )
        assert first.addresses == second.addresses
        assert first.addresses[0].startswith("192.168.1.")

    @pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
    def test_pods_that_do_not_run_get_none(self, allocations: Allocations, phase: str) -> None:
        assert [pod.addresses for pod in self.give(allocations, self.pod(phase=phase))] == [()]
        assert allocations == Allocations()

    def test_the_order_of_a_batch_stays(self, allocations: Allocations) -> None:
        names = [pod.name for pod in self.give(allocations, *(self.pod(name=name) for name in "cab"))]
        assert names == ["c", "a", "b"]


class TestServices:
    def give(self, allocations: Allocations, families: tuple[Family, ...] = BOTH, **fields: Any) -> Service:
        (given,) = address_services([self.service(**fields)], "east", allocations, families)
        return given

    def service(self, **fields: Any) -> Service:
        return Service(**{"name": "cart", "namespace": "shop", "ports": (ServicePort(port=80),), **fields})

    def test_a_service_gets_a_cluster_ip_of_the_primary_family(self, allocations: Allocations) -> None:
        given = self.give(allocations)
        assert given.cluster_ip.startswith("10.100.0.")
        assert given.cluster_ips == (given.cluster_ip,)
        assert given.ip_families == V4
        assert self.give(allocations, ("IPv6", "IPv4")).cluster_ip.startswith("fd00:2::")

    def test_two_stacks_where_the_policy_asks_for_them(self, allocations: Allocations) -> None:
        given = self.give(allocations, ip_family_policy="PreferDualStack")
        assert [":" in address for address in given.cluster_ips] == [False, True]
        assert given.ip_families == BOTH
        assert self.give(allocations, V4, ip_family_policy="PreferDualStack").ip_families == V4

    def test_a_declared_address_stays_and_only_the_other_family_is_added(
        self, allocations: Allocations
    ) -> None:
        given = self.give(allocations, cluster_ip="10.7.0.1", ip_family_policy="RequireDualStack")
        assert given.cluster_ip == "10.7.0.1"
        assert given.cluster_ips[0] == "10.7.0.1"
        assert given.cluster_ips[1].startswith("fd00:2::")
        assert self.give(allocations, cluster_ip="10.7.0.1").cluster_ips == ()

    @pytest.mark.parametrize(
        "fields",
        [
            {"cluster_ip": "None"},
            {"cluster_ip": "None", "cluster_ips": ("None",)},
            {"type": "ExternalName"},
            {"cluster_ip": "bogus"},
        ],
    )
    def test_headless_external_and_invalid_ones_get_none(
        self, allocations: Allocations, fields: dict[str, Any]
    ) -> None:
        given = self.give(allocations, **fields)
        assert given.cluster_ip == fields.get("cluster_ip", "")
        assert given.cluster_ips == fields.get("cluster_ips", ())

    def test_a_headless_service_has_the_families_that_its_pods_may_have(
        self, allocations: Allocations
    ) -> None:
        assert self.give(allocations, cluster_ip="None").ip_families == V4
        assert (
            self.give(allocations, cluster_ip="None", ip_family_policy="PreferDualStack").ip_families == BOTH
        )

    def test_a_family_that_the_cluster_does_not_have_is_not_given(self) -> None:
        six = self.service(ip_families=("IPv6",))
        assert wanted_families(six, V4) == ("IPv6",)
        assert missing_families(six, V4) == ()

    def test_a_full_range_is_said(self) -> None:
        full = Allocations()
        full.set_ranges("east", "service", ["10.100.0.0/32"])
        full.declare("east", "service", ["10.100.0.0"])
        with pytest.raises(RangeExhaustedError, match="service IPv4 ranges of 'east'"):
            self.give(full)

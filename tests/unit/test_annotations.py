"""Annotations of Services, Namespaces and EndpointSlices, as Cilium reads them."""

from __future__ import annotations

import pytest

from fleetmesh.resources.model import EndpointSlice, Namespace, Origin, Service
from fleetmesh.services.annotations import (
    ServiceAnnotations,
    namespace_findings,
    namespace_is_global,
    slice_weight,
)

WHERE = Origin("shop.yaml", 2, 17)


def service(annotations: dict[str, str] | None = None, **fields: object) -> Service:
    return Service(namespace="shop", name="cart", annotations=annotations or {}, origin=WHERE, **fields)  # type: ignore[arg-type]


def read(annotations: dict[str, str] | None = None, **fields: object) -> ServiceAnnotations:
    return ServiceAnnotations.of(service(annotations, **fields))


class TestGlobal:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("true", True),
            ("True", True),
            ("TRUE", True),
            ("false", False),
            ("", False),
            ("yes", False),
            ("1", False),
        ],
    )
    def test_only_true_in_any_case_of_letters_is_true(self, value: str, expected: bool) -> None:
        assert read({"service.cilium.io/global": value}).is_global is expected
        assert read({"io.cilium/global-service": value}).is_global is expected

    def test_the_primary_name_wins_over_the_alias_whatever_it_says(self) -> None:
        both = {"service.cilium.io/global": "false", "io.cilium/global-service": "true"}
        assert not read(both).is_global
        assert not read({"service.cilium.io/global": "", "io.cilium/global-service": "true"}).is_global

    def test_a_service_without_annotations_is_neither_global_nor_shared(self) -> None:
        said = read()
        assert (said.is_global, said.shared, said.affinity, said.findings) == (False, False, "none", ())

    def test_a_word_that_is_no_flag_is_a_finding(self) -> None:
        (found,) = read({"io.cilium/global-service": "yes"}).findings
        assert (found.code, found.subject, found.where) == ("invalid-annotation", "Service shop/cart", WHERE)
        assert "io.cilium/global-service is 'yes'" in found.message

    @pytest.mark.parametrize("value", ["true", "FALSE", ""])
    def test_words_that_are_flags_are_none(self, value: str) -> None:
        assert read({"service.cilium.io/global": value, "service.cilium.io/shared": value}).findings == ()


class TestShared:
    @pytest.mark.parametrize(
        ("value", "expected"), [(None, True), ("true", True), ("TRUE", True), ("false", False), ("", False)]
    )
    def test_a_global_service_is_shared_unless_it_says_otherwise(
        self, value: str | None, expected: bool
    ) -> None:
        more = {} if value is None else {"service.cilium.io/shared": value}
        assert read({"service.cilium.io/global": "true", **more}).shared is expected

    def test_it_has_no_force_without_global(self) -> None:
        assert not read({"service.cilium.io/shared": "true"}).shared

    def test_the_alias_counts_where_the_primary_name_is_missing(self) -> None:
        both = {"service.cilium.io/global": "true", "io.cilium/shared-service": "false"}
        assert not read(both).shared
        assert read({**both, "service.cilium.io/shared": "true"}).shared


class TestAffinity:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [("local", "local"), ("Remote", "remote"), ("none", "none"), ("NONE", "none"), ("", "none")],
    )
    def test_values_in_any_case_of_letters(self, value: str, expected: str) -> None:
        said = read({"service.cilium.io/global": "true", "service.cilium.io/affinity": value})
        assert (said.affinity, said.findings) == (expected, ())

    def test_an_unknown_value_is_none_and_a_finding(self) -> None:
        said = read({"service.cilium.io/global": "true", "io.cilium/service-affinity": "nearest"})
        assert said.affinity == "none"
        (found,) = said.findings
        assert (found.code, found.evidence) == (
            "invalid-affinity",
            ("io.cilium/service-affinity: 'nearest'",),
        )

    def test_it_is_not_even_read_without_global(self) -> None:
        said = read({"service.cilium.io/affinity": "nearest"})
        assert (said.affinity, said.findings) == ("none", ())

    def test_an_empty_primary_value_hides_the_alias(self) -> None:
        said = read(
            {
                "service.cilium.io/global": "true",
                "service.cilium.io/affinity": "",
                "io.cilium/service-affinity": "local",
            }
        )
        assert said.affinity == "none"


class TestEndpointSliceSync:
    def test_headless_services_are_synced_by_default(self) -> None:
        assert read({"service.cilium.io/global": "true"}, cluster_ip="None").sync_endpoint_slices
        assert not read({"service.cilium.io/global": "true"}).sync_endpoint_slices

    def test_the_annotation_decides_where_it_is(self) -> None:
        name = "service.cilium.io/global-sync-endpoint-slices"
        assert read({"service.cilium.io/global": "true", name: "True"}).sync_endpoint_slices
        assert not read(
            {"service.cilium.io/global": "true", name: "no"}, cluster_ip="None"
        ).sync_endpoint_slices

    def test_the_alias_of_global_has_no_force_here(self) -> None:
        said = read({"io.cilium/global-service": "true"}, cluster_ip="None")
        assert said.is_global
        assert not said.sync_endpoint_slices


class TestHeadless:
    @pytest.mark.parametrize("cluster_ip", ["None", "none", "NONE"])
    def test_by_cluster_ip(self, cluster_ip: str) -> None:
        assert read(cluster_ip=cluster_ip).headless

    def test_by_label_even_with_an_empty_value(self) -> None:
        assert read(cluster_ip="10.0.0.1", labels={"service.kubernetes.io/headless": ""}).headless


class TestExposure:
    @pytest.mark.parametrize("value", ["ClusterIP", "NodePort", "LoadBalancer"])
    def test_one_type_may_be_chosen(self, value: str) -> None:
        assert read({"service.cilium.io/type": value}).exposed_type == value

    @pytest.mark.parametrize("value", ["clusterip", "ExternalName", ""])
    def test_any_other_type_is_passed_over_with_a_finding(self, value: str) -> None:
        said = read({"service.cilium.io/type": value})
        assert said.exposed_type is None
        assert [found.code for found in said.findings] == ["invalid-annotation"]

    def test_a_node_must_have_the_same_value(self) -> None:
        said = read({"service.cilium.io/node": "edge"})
        assert said.admits({"service.cilium.io/node": "edge"})
        assert not said.admits({"service.cilium.io/node": "core"})
        assert not said.admits({})

    def test_a_node_selector_comes_first(self) -> None:
        said = read({"service.cilium.io/node": "edge", "service.cilium.io/node-selector": "zone in (a, b)"})
        assert said.admits({"zone": "a"})
        assert not said.admits({"service.cilium.io/node": "edge"})

    def test_an_unreadable_selector_is_on_every_node_and_a_finding(self) -> None:
        said = read({"service.cilium.io/node": "edge", "service.cilium.io/node-selector": "zone in a"})
        assert said.admits({})
        assert "every node" in said.findings[0].message


class TestDistribution:
    @pytest.mark.parametrize(
        ("value", "zone", "node"),
        [
            ("PreferClose", True, False),
            ("PreferSameZone", True, False),
            ("PreferSameNode", False, True),
            ("", False, False),
            ("Elsewhere", False, False),
        ],
    )
    def test_the_field(self, value: str, zone: bool, node: bool) -> None:
        said = read(traffic_distribution=value)
        assert (said.same_zone, said.same_node) == (zone, node)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("Auto", True),
            ("auto", True),
            ("anything", True),
            ("", False),
            ("disabled", False),
            ("Disabled", False),
        ],
    )
    def test_the_annotation(self, value: str, expected: bool) -> None:
        assert read({"service.kubernetes.io/topology-mode": value}).same_zone is expected

    def test_the_deprecated_annotation_has_precedence_even_when_empty(self) -> None:
        old, new = "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"
        assert not read({old: "disabled", new: "Auto"}).same_zone
        assert not read({old: "", new: "Auto"}).same_zone
        assert read({old: "auto", new: "Disabled"}).same_zone

    def test_the_field_has_precedence_over_the_annotation(self) -> None:
        said = read({"service.kubernetes.io/topology-mode": "Auto"}, traffic_distribution="PreferSameNode")
        assert (said.same_zone, said.same_node) == (False, True)

    def test_an_unknown_field_leaves_it_to_the_annotation(self) -> None:
        assert read({"service.kubernetes.io/topology-mode": "Auto"}, traffic_distribution="Far").same_zone

    def test_internal_policy_local_puts_it_out_of_force(self) -> None:
        said = read(traffic_distribution="PreferClose", internal_traffic_policy="Local")
        assert not said.same_zone


class TestNamespace:
    @pytest.mark.parametrize("default", [True, False])
    def test_without_annotation_or_object_the_default_counts(self, default: bool) -> None:
        assert namespace_is_global(None, default) is default
        assert namespace_is_global(Namespace(name="shop"), default) is default

    @pytest.mark.parametrize(
        ("value", "expected"), [("true", True), ("True", True), ("false", False), ("", False), ("on", False)]
    )
    def test_the_annotation_counts_whatever_the_default(self, value: str, expected: bool) -> None:
        namespace = Namespace(name="shop", annotations={"clustermesh.cilium.io/global": value})
        assert namespace_is_global(namespace, True) is expected
        assert namespace_is_global(namespace, False) is expected

    def test_a_word_that_is_no_flag_is_a_finding(self) -> None:
        namespace = Namespace(name="shop", annotations={"clustermesh.cilium.io/global": "on"})
        assert [found.subject for found in namespace_findings(namespace)] == ["Namespace /shop"]
        assert namespace_findings(Namespace(name="shop")) == ()


class TestWeight:
    @pytest.mark.parametrize(
        ("value", "weight"), [("0", 0), ("1", 1), ("100", 100), ("65535", 65535), ("00000000007", 7)]
    )
    def test_whole_numbers_of_16_bits(self, value: str, weight: int) -> None:
        assert slice_weight(weighed(value)) == (weight, ())

    @pytest.mark.parametrize(
        "value", ["", "-1", "+1", " 1", "1_0", "0x10", "65536", "9" * 5000, "ten", "1.5", "\u0661"]
    )
    def test_anything_else_is_passed_over_with_a_finding(self, value: str) -> None:
        weight, findings = slice_weight(weighed(value))
        assert weight == 100
        assert [found.code for found in findings] == ["invalid-annotation"]

    def test_without_the_annotation_it_is_100(self) -> None:
        assert slice_weight(EndpointSlice(namespace="shop", name="cart-1")) == (100, ())


def weighed(value: str) -> EndpointSlice:
    return EndpointSlice(namespace="shop", name="cart-1", annotations={"service.cilium.io/weight": value})

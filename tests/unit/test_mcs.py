"""
MCS-API: exports of several clusters become one import, by age; and the derived Service that carries it.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from fleetmesh.records import ExportRecord, export_record
from fleetmesh.resources import load_manifests
from fleetmesh.resources.model import (
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Service,
    ServiceExport,
    ServicePort,
)
from fleetmesh.services.mcs import (
    ImportPlan,
    derived_name,
    derived_service,
    invalid_export,
    is_derived,
    merge_exports,
    mirrored_slices,
    plan_import,
    unimported,
)

HTTP = ServicePort(port=80, name="http")
OLD, NEW = "2024-01-01T00:00:00Z", "2024-06-01T00:00:00Z"


def export(cluster: str, created: str = OLD, **changes: Any) -> ExportRecord:
    facts = {"namespace": "shop", "name": "cart", "ports": (HTTP,), "ip_families": ("IPv4",), **changes}
    return ExportRecord(cluster=cluster, created=created, **facts)


SERVICE = Service(
    namespace="shop",
    name="cart",
    cluster_ip="10.100.0.1",
    cluster_ips=("10.100.0.1",),
    ports=(HTTP,),
    selector={"app": "cart"},
)
EXPORT = ServiceExport(namespace="shop", name="cart", creation_timestamp=OLD)
SLICE = EndpointSlice(
    namespace="shop",
    name="cart-x7k2p",
    labels={"kubernetes.io/service-name": "cart", "own": "label"},
    annotations={"own": "annotation"},
    endpoints=(Endpoint(addresses=("10.1.0.1",), ready=True),),
    ports=(EndpointPort(port=8080, name="http"),),
)


def plan(**changes: Any) -> ImportPlan:
    facts: dict[str, Any] = {"heard": [], "own_export": EXPORT, "own_service": SERVICE, "own_slices": [SLICE]}
    return plan_import("east", "shop", "cart", **{**facts, **changes})


@pytest.mark.parametrize(
    ("namespace", "name", "derived"),
    [("shop", "cart", "derived-bsqa4s8pq5"), ("default", "rebel-base-mcsapi", "derived-k5pqnfq741")],
)
def test_the_derived_name_is_the_one_that_cilium_gives(namespace: str, name: str, derived: str) -> None:
    """Both were computed by the Go standard library, as Cilium does."""
    assert derived_name(namespace, name) == derived
    assert is_derived(derived)


@pytest.mark.parametrize(
    "name", ["cart", "derived-", "derived-cart", "derived-0123456789a", "derived-012345678z"]
)
def test_a_name_that_is_not_derived(name: str) -> None:
    assert not is_derived(name)


# ---- the merge


def test_equal_exports_have_no_conflict() -> None:
    merged = merge_exports([export("west"), export("east")])

    assert (merged.clusters, merged.oldest) == (("east", "west"), "east")
    assert (merged.ports, merged.ip_families, merged.type) == ((HTTP,), ("IPv4",), "ClusterSetIP")
    assert (merged.reason, merged.conflict) == ("", "")


@pytest.mark.parametrize(
    ("east", "west", "oldest"),
    [
        (OLD, NEW, "east"),
        (NEW, OLD, "west"),
        (OLD, OLD, "east"),
        ("", OLD, "west"),
        ("", "", "east"),
        ("2024-01-01T01:00:00+01:00", "2023-12-31T23:30:00Z", "west"),
        ("yesterday", NEW, "west"),
    ],
    ids=["older", "newer", "same time", "one unknown", "both unknown", "other time zone", "unreadable"],
)
def test_the_oldest_export_decides_then_the_name_of_the_cluster(east: str, west: str, oldest: str) -> None:
    assert merge_exports([export("west", west), export("east", east)]).oldest == oldest


def test_nothing_to_merge_is_an_error() -> None:
    with pytest.raises(ValueError, match="there is no export to merge"):
        merge_exports([])


def test_ports_are_united_in_the_order_of_age() -> None:
    grpc = ServicePort(port=90, name="grpc")

    merged = merge_exports([export("west", NEW, ports=(grpc, HTTP)), export("east")])

    assert merged.ports == (HTTP, grpc)
    assert merged.reason == "PortConflict"
    assert (
        merged.conflict == "ports: those of east are not all, or not in the order, that the exports come to"
    )


def test_a_port_name_that_an_older_export_gave_to_another_port_is_dropped() -> None:
    other = ServicePort(port=8080, name="http")

    merged = merge_exports([export("west", NEW, ports=(other,)), export("east")])

    assert merged.ports == (HTTP,)
    assert "west gives the name 'http' to TCP 8080, which is TCP 80 in east" in merged.conflict


@pytest.mark.parametrize(
    "other",
    [ServicePort(port=80, name="web"), ServicePort(port=80, name="http", app_protocol="h2c")],
    ids=["name", "application protocol"],
)
def test_the_older_export_names_a_port_that_both_have(other: ServicePort) -> None:
    merged = merge_exports([export("west", NEW, ports=(other,)), export("east")])

    assert merged.ports == (HTTP,)
    assert (merged.reason, merged.conflict.split(",")[0]) == (
        "PortConflict",
        f"ports: west calls TCP 80 {other.name!r} ({other.app_protocol or 'no'} application protocol)",
    )


def test_the_same_number_with_another_protocol_is_another_port() -> None:
    dns = (ServicePort(port=53, name="dns"), ServicePort(port=53, name="dns-udp", protocol="UDP"))

    assert merge_exports([export("east", ports=dns), export("west", ports=dns)]).ports == dns


@pytest.mark.parametrize(
    ("families", "merged", "reason"),
    [
        ([("IPv4", "IPv6"), ("IPv6", "IPv4")], ("IPv4", "IPv6"), ""),
        ([("IPv4", "IPv6"), ("IPv6",)], ("IPv6",), ""),
        ([("IPv4",), ("IPv6",)], ("IPv4",), "IPFamilyConflict"),
        ([("IPv4", "IPv6"), ("IPv6",), ("IPv4",)], ("IPv6",), "IPFamilyConflict"),
        ([(), ("IPv6",)], ("IPv6",), ""),
        ([(), ()], (), ""),
    ],
)
def test_families_are_intersected_and_who_has_none_in_common_is_passed_over(
    families: list[Any], merged: Any, reason: str
) -> None:
    found = merge_exports([export(f"c{at}", ip_families=one) for at, one in enumerate(families)])

    assert (found.ip_families, found.reason) == (merged, reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "Headless"}, "TypeConflict"),
        ({"session_affinity_seconds": 60}, "SessionAffinityConflict"),
        ({"annotations": {"a": "b"}}, "AnnotationsConflict"),
        ({"labels": {"a": "b"}}, "LabelsConflict"),
        ({"internal_traffic_policy": "Local"}, "InternalTrafficPolicyConflict"),
        ({"traffic_distribution": "PreferClose"}, "TrafficDistributionConflict"),
        ({"type": "Headless", "labels": {"a": "b"}}, "TypeConflict"),
    ],
)
def test_the_first_field_that_differs_gives_the_reason_and_the_oldest_wins(
    changes: dict[str, Any], reason: str
) -> None:
    merged = merge_exports([export("east"), export("west", NEW, **changes), export("zoo", NEW, **changes)])

    assert merged.reason == reason
    assert "2 of 3 clusters disagree, west first" in merged.conflict
    assert (merged.type, merged.labels, merged.session_affinity_seconds) == ("ClusterSetIP", {}, 0)


def test_a_timeout_of_session_affinity_is_a_conflict_of_its_own() -> None:
    merged = merge_exports(
        [export("east", session_affinity_seconds=60), export("west", NEW, session_affinity_seconds=90)]
    )

    assert (merged.reason, merged.session_affinity_seconds) == ("SessionAffinityConfigConflict", 60)


def test_a_port_conflict_comes_before_all_others() -> None:
    west = export("west", NEW, ports=(), ip_families=("IPv6",), type="Headless")

    assert merge_exports([export("east"), west]).reason == "PortConflict"


# ---- the derived Service


def test_the_derived_service_is_global_without_selector_and_carries_the_exported_marks() -> None:
    record = export("east", annotations={"service.cilium.io/affinity": "local"}, labels={"team": "a"})

    service = derived_service(merge_exports([record]), ("IPv4",))

    assert (service.namespace, service.name, service.selector) == ("shop", "derived-bsqa4s8pq5", None)
    assert service.annotations == {
        "service.cilium.io/affinity": "local",
        "service.cilium.io/global": "true",
        "clustermesh.cilium.io/supported-ip-families": "IPv4",
        "multicluster.kubernetes.io/derived-service": "derived-bsqa4s8pq5",
    }
    assert service.labels == {"team": "a", "multicluster.kubernetes.io/service-name": "cart"}
    assert (service.ports, service.cluster_ip, service.ip_family_policy) == ((HTTP,), "", "PreferDualStack")


def test_a_headless_import_has_a_headless_derived_service() -> None:
    assert derived_service(merge_exports([export("east", type="Headless")]), ("IPv4",)).cluster_ip == "None"


def test_session_affinity_is_not_given_to_the_derived_service() -> None:
    merged = merge_exports([export("east", session_affinity_seconds=60)])

    assert derived_service(merged, ("IPv4",)).session_affinity_seconds == 0


# ---- mirrored slices


def mirror(piece: EndpointSlice, families: tuple[Any, ...] = ("IPv4",), **changes: Any) -> Any:
    derived = derived_service(merge_exports([export("east", **changes)]), families)
    return mirrored_slices("east", SERVICE, [piece], derived)


def test_a_mirrored_slice_belongs_to_the_derived_service_and_has_the_same_endpoints() -> None:
    (found,) = mirror(SLICE)

    assert (found.name, found.service) == ("derived-bsqa4s8pq5-x7k2p", "derived-bsqa4s8pq5")
    assert (found.endpoints, found.ports, found.annotations) == (SLICE.endpoints, SLICE.ports, {})
    assert found.labels["multicluster.kubernetes.io/source-cluster"] == "east"
    assert found.labels["multicluster.kubernetes.io/service-name"] == "cart"
    assert "own" not in found.labels


@pytest.mark.parametrize(
    ("name", "mirrored"),
    [
        ("cart", "derived-bsqa4s8pq5"),
        ("by-hand", "derived-bsqa4s8pq5-by-hand"),
        ("cart-" + "x" * 50, "derived-bsqa4s8pq5-" + "x" * 40),
    ],
)
def test_the_name_of_a_mirrored_slice_keeps_the_end_of_the_own_one(name: str, mirrored: str) -> None:
    assert mirror(attrs.evolve(SLICE, name=name))[0].name == mirrored


def test_a_slice_of_a_family_that_the_import_does_not_have_is_left_out() -> None:
    assert mirror(attrs.evolve(SLICE, address_type="IPv6")) == ()


def test_ports_on_which_service_and_import_disagree_are_left_out() -> None:
    (found,) = mirror(attrs.evolve(SLICE, ports=(*SLICE.ports, EndpointPort(port=9000, name="more"))))

    assert found.ports == SLICE.ports


def test_a_slice_none_of_whose_ports_is_agreed_is_not_mirrored() -> None:
    assert mirror(SLICE, ports=(ServicePort(port=8000, name="http"), ServicePort(port=1, name="more"))) == ()


# ---- the plan of a viewer


def test_a_viewer_that_exports_alone_imports_its_own_service() -> None:
    found = plan()

    assert found.merged is not None
    assert found.merged.clusters == ("east",)
    assert found.service is not None
    assert [piece.name for piece in found.slices] == ["derived-bsqa4s8pq5-x7k2p"]
    assert found.findings == ()


def test_a_viewer_that_only_hears_an_export_has_the_derived_service_without_slices() -> None:
    found = plan(heard=[export("west")], own_export=None)

    assert found.service is not None
    assert (found.service.name, found.slices) == ("derived-bsqa4s8pq5", ())


def test_the_own_export_is_one_of_those_that_are_merged() -> None:
    found = plan(heard=[export("west", NEW, ports=(ServicePort(port=81, name="http"),)), export("east")])

    assert found.merged is not None
    assert (found.merged.clusters, found.merged.oldest) == (("east", "west"), "east")
    assert [one.code for one in found.findings] == ["export-conflict"]
    assert found.findings[0].subject == "ServiceExport shop/cart"
    assert found.findings[0].message.endswith("(reason PortConflict)")


def test_a_conflict_is_told_to_exporters_only() -> None:
    heard = [export("west"), export("north", NEW, type="Headless")]

    assert plan(heard=heard, own_export=None).findings == ()


def test_nothing_is_imported_where_nothing_is_exported() -> None:
    assert plan(own_export=None) == ImportPlan()


def test_nothing_is_imported_into_a_namespace_that_is_not_there() -> None:
    assert plan(heard=[export("west")], own_export=None, namespace_exists=False) == ImportPlan()


def test_an_export_without_service_stops_the_import_of_the_others_too() -> None:
    found = plan(heard=[export("west")], own_service=None)

    assert (found.merged, found.service) == (None, None)
    assert [one.code for one in found.findings] == ["invalid-export"]
    assert "(reason NoService)" in found.findings[0].message


def test_an_external_name_cannot_be_exported() -> None:
    found = plan(own_service=attrs.evolve(SERVICE, type="ExternalName"))

    assert "(reason InvalidServiceType)" in found.findings[0].message
    assert found.service is None


def test_a_namespace_that_is_not_global_neither_exports_nor_imports() -> None:
    found = plan(heard=[export("west")], namespace_global=False)

    assert found.service is None
    assert found.merged is not None
    assert found.merged.clusters == ("west",)
    assert [one.code for one in found.findings] == ["invalid-export", "import-not-ready"]


def test_a_viewer_that_supports_none_of_the_families_makes_no_service() -> None:
    found = plan(heard=[export("west", ip_families=("IPv6",))], own_export=None, enable_ipv6=False)

    assert found.service is None
    assert "east supports none of its address families (IPv6)" in found.findings[0].message


@pytest.mark.parametrize(("enable_ipv6", "families"), [(True, "IPv4,IPv6"), (False, "IPv4")])
def test_unknown_families_are_those_of_the_viewer(enable_ipv6: bool, families: str) -> None:
    found = plan(heard=[export("west", ip_families=())], own_export=None, enable_ipv6=enable_ipv6)

    assert found.service is not None
    assert found.service.annotations["clustermesh.cilium.io/supported-ip-families"] == families


def test_a_valid_export_is_not_told_of() -> None:
    assert invalid_export("east", EXPORT, SERVICE, namespace_global=True) is None


def test_viewers_without_the_namespace_are_one_finding() -> None:
    found = unimported("shop", "cart", ["west", "east"], ["south", "north"])

    assert found is not None
    assert found.code == "unresolvable-name"
    assert "cart.shop.svc.clusterset.local doesn't resolve in north, south" in found.message
    assert found.evidence == ("exported by east", "exported by west")
    assert unimported("shop", "cart", ["west"], []) is None


def test_exports_from_manifests_are_merged_as_they_stand() -> None:
    text = """\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: None, ports: [{port: 80, name: http}]}
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {name: cart, namespace: shop}
"""
    service, marked = load_manifests(text)
    assert isinstance(service, Service)
    assert isinstance(marked, ServiceExport)

    merged = merge_exports([export_record("east", service, marked)])

    assert (merged.type, merged.ports, merged.oldest) == ("Headless", (HTTP,), "east")

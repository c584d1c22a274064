"""
Findings on services: each quirk and mistake once, naming the clusters it is about, and none without cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import pytest

from doubles.small_fleet import (
    CORES,
    NAME,
    NAMESPACE,
    ONLY_NOT_READY,
    TERMINATING,
    Member,
    Slice,
    build,
    cluster_ip,
    service,
)
from fleetmesh.findings import Finding
from fleetmesh.services.judge import RULES, Judge, frontend_conflicts, judge_service
from fleetmesh.services.lacking import Lack
from fleetmesh.services.mcs import derived_name

NO_POD = Lack("no-pod")
EAST = Member(service=service(1), slices=[Slice(["10.1.0.1"])])
WEST = Member(service=service(2), slices=[Slice(["10.2.0.1"])])
NORTH = Member(service=service(3), slices=[Slice(["10.3.0.1"])])


@pytest.fixture(params=CORES)
def cores(request: pytest.FixtureRequest) -> Any:
    return CORES[request.param]


def judged(
    cores: Any,
    members: Mapping[str, Member],
    *,
    links: Iterable[tuple[str, str]] | None = None,
    strict: bool = False,
    lack: Lack | None = NO_POD,
    synced: bool = False,
) -> tuple[Finding, ...]:
    snapshot, names = build(cores, members, links=links, strict=strict)
    zoned = frozenset(number for number, name in names.items() if members[name].topology)
    judge = Judge(snapshot, names, strict, zoned, lambda *_: lack, lambda *_: synced)
    return judge_service(judge, NAMESPACE, NAME)


def the(findings: Iterable[Finding], code: str) -> Finding:
    found = [one for one in findings if one.code == code]
    assert len(found) == 1, f"{code} is told {len(found)} times"
    return found[0]


def codes(findings: Iterable[Finding]) -> list[str]:
    return sorted(one.code for one in findings)


@pytest.mark.parametrize("strict", [False, True])
def test_two_clusters_that_share_a_service_as_they_should_are_not_told_of(cores: Any, strict: bool) -> None:
    assert judged(cores, {"east": EAST, "west": WEST}, strict=strict) == ()


def test_a_service_that_nobody_has_is_not_told_of(cores: Any) -> None:
    assert judged(cores, {"east": Member(), "west": Member()}) == ()


def test_each_rule_is_there_once() -> None:
    assert len(set(RULES)) == len(RULES) == 14


# ---- names and annotations that don't fit


def test_a_global_external_name(cores: Any) -> None:
    bank = Member(service={"is_global": True, "external_name": True, "record_valid": False})

    found = judged(cores, {"east": bank, "west": bank, "north": NORTH})

    assert "global in east, west:" in the(found, "external-name-global").message
    assert the(found, "external-name-global").subject == "Service shop/cart"


def test_an_external_name_that_is_not_global_is_not_told_of(cores: Any) -> None:
    assert judged(cores, {"east": Member(service={"external_name": True, "record_valid": False})}) == ()


def test_a_selector_that_matches_no_pod(cores: Any) -> None:
    alone = Member(service=service(1, is_global=False))

    found = the(judged(cores, {"east": alone, "west": alone}), "service-without-match")

    assert found.severity == "warning"
    assert found.message == (
        "its selector matches no pod in east, west, and no other cluster's endpoints stand in"
    )
    assert found.fix == NO_POD.fix


def test_a_selector_without_match_is_information_where_other_clusters_serve(cores: Any) -> None:
    found = the(judged(cores, {"east": attrs.evolve(EAST, slices=[]), "west": WEST}), "service-without-match")

    assert found.severity == "info"
    assert found.message == (
        "its selector matches no pod in east; endpoints of other clusters serve it there"
    )


def test_other_clusters_do_not_stand_in_where_none_of_their_backends_is_used(cores: Any) -> None:
    """What is heard has another port name, and so is never selected."""
    west = attrs.evolve(WEST, slices=[Slice(["10.2.0.1"], ports=[("web", 80)])])

    found = the(judged(cores, {"east": attrs.evolve(EAST, slices=[]), "west": west}), "service-without-match")

    assert (found.severity, "no other cluster's endpoints stand in" in found.message) == ("warning", True)


@pytest.mark.parametrize(("synced", "severity"), [(True, "info"), (False, "warning")])
def test_other_clusters_serve_a_headless_service_by_name_only(
    cores: Any, synced: bool, severity: str
) -> None:
    east = Member(service=service(1, frontends=[], headless=True))
    west = attrs.evolve(WEST, service=service(2, frontends=[], headless=True))

    found = judged(cores, {"east": east, "west": west}, synced=synced)

    assert the(found, "service-without-match").severity == severity


def test_endpoints_that_are_not_ready_are_none_that_serve(cores: Any) -> None:
    unready = Slice(["10.1.0.1"], conditions=(False, False, False))

    found = judged(cores, {"east": attrs.evolve(EAST, slices=[unready])}, lack=Lack("unready"))

    assert the(found, "service-without-match").message == (
        "no pod that its selector matches in east is ready, and no other cluster's endpoints stand in"
    )


def test_clusters_that_lack_the_same_are_told_of_together(cores: Any) -> None:
    lacks = {1: NO_POD, 2: Lack("drained"), 3: NO_POD}
    alone = Member(service=service(1, is_global=False))
    snapshot, names = build(cores, {"east": alone, "west": alone, "north": alone})
    judge = Judge(snapshot, names, lack=lambda cluster, *_: lacks[cluster])

    found = [one.message.partition(",")[0] for one in judge_service(judge, NAMESPACE, NAME)]

    assert found == ["its selector matches no pod in east", "its endpoints in west are drained"]


def test_other_clusters_do_not_stand_in_where_they_are_not_heard(cores: Any) -> None:
    found = judged(cores, {"east": attrs.evolve(EAST, slices=[]), "west": WEST}, links=[])

    assert the(found, "service-without-match").severity == "warning"


def test_a_global_service_without_selector_that_no_cluster_serves(cores: Any) -> None:
    idle = Member(service=service(1))

    found = the(judged(cores, {"east": idle, "west": idle}, lack=None), "service-without-match")

    assert found.message == "it is global in east, west, and no cluster has an endpoint of it"


def test_a_service_without_selector_that_is_served_elsewhere_is_not_told_of(cores: Any) -> None:
    assert judged(cores, {"east": attrs.evolve(EAST, slices=[]), "west": WEST}, lack=None) == ()


@pytest.mark.parametrize(("strict", "severity"), [(False, "warning"), (True, "error")])
def test_q2_a_remote_port_of_another_name(cores: Any, strict: bool, severity: str) -> None:
    west = attrs.evolve(
        WEST,
        service=service(2, frontends=cluster_ip(2, "web")),
        slices=[Slice(["10.2.0.1"], ports=[("web", 80)])],
    )

    found = judged(cores, {"east": EAST, "west": west}, strict=strict)

    assert [one.code for one in found] == ["port-name-unmatched"] * 2
    first = found[0]
    assert first.severity == severity
    assert first.message.startswith("port 'http' of east never uses endpoints of west")
    assert first.evidence == ("west offers web",)


def test_q2_is_told_once_for_viewers_that_are_alike(cores: Any) -> None:
    odd = attrs.evolve(
        NORTH,
        service=service(3, frontends=cluster_ip(3, "web")),
        slices=[Slice(["10.3.0.1"], ports=[("web", 80)])],
    )

    found = judged(cores, {"east": EAST, "west": WEST, "north": odd})

    assert sorted(one.message.split(":")[0] for one in found) == [
        "port 'http' of east, west never uses endpoints of north",
        "port 'web' of north never uses endpoints of east, west",
    ]


def test_a_named_port_that_no_own_endpoint_has(cores: Any) -> None:
    east = attrs.evolve(EAST, service=service(1, is_global=False, frontends=cluster_ip(1, "http", "metrics")))

    found = the(judged(cores, {"east": east}), "port-name-unmatched")

    assert found.message == "no endpoint in east has a port named 'metrics', which the Service has"


def test_a_port_name_does_not_matter_to_who_is_not_global(cores: Any) -> None:
    west = attrs.evolve(WEST, slices=[Slice(["10.2.0.1"], ports=[("web", 80)])])
    east = attrs.evolve(EAST, service=service(1, is_global=False))

    found = [one for one in judged(cores, {"east": east, "west": west}) if one.code == "port-name-unmatched"]

    assert [one.message.split(" has ")[0] for one in found] == ["no endpoint in west"]


def test_q3_an_unnamed_remote_port(cores: Any) -> None:
    west = attrs.evolve(
        WEST,
        service=service(2, frontends=cluster_ip(2, "")),
        slices=[Slice(["10.2.0.1"], ports=[("", 80)])],
    )

    found = judged(cores, {"east": EAST, "west": west})

    assert codes(found) == ["unnamed-remote-port"]
    assert "unnamed port of west is used, whatever its number, for each of the named ports of east" in (
        found[0].message
    )


def test_q3_in_strict_mode_is_told_only_where_the_service_has_several_ports(cores: Any) -> None:
    west = attrs.evolve(
        WEST,
        service=service(2, frontends=cluster_ip(2, "")),
        slices=[Slice(["10.2.0.1"], ports=[("", 80)])],
    )
    two = Member(
        service=service(1, frontends=cluster_ip(1, "http", "grpc")),
        slices=[Slice(["10.1.0.1"], ports=[("http", 80), ("grpc", 90)])],
    )

    assert judged(cores, {"east": EAST, "west": west}, strict=True) == ()
    found = the(judged(cores, {"east": two, "west": west}, strict=True), "unnamed-remote-port")
    assert "is used for none of the named ports of east" in found.message


def test_a_name_that_others_export_and_a_viewer_does_not_have(cores: Any) -> None:
    found = judged(cores, {"east": EAST, "north": Member(), "far": Member()}, links=[("east", "north")])

    assert codes(found) == ["unresolvable-name"]
    assert found[0].message.startswith("cart.shop.svc.cluster.local doesn't resolve in north:")
    assert found[0].evidence == ("exported by east",)


def test_a_derived_name_is_nothing_that_anybody_asks_for(cores: Any) -> None:
    core = cores.Core()
    name = derived_name(NAMESPACE, NAME)
    transaction = core.begin()
    for number, cluster in ((1, "east"), (2, "west")):
        transaction.join(number, cluster)
        transaction.hear(number, range(1, number))
    transaction.set_service(1, NAMESPACE, name, cores.ServiceSpec(**service(1)))
    transaction.set_slice(1, NAMESPACE, name, "a", [(("10.1.0.1",), 3, "", "", "", ())], [("http", 6, 80)])
    transaction.commit()

    assert judge_service(Judge(core.snapshot(), {1: "east", 2: "west"}), NAMESPACE, name) == ()


def test_a_service_that_is_global_on_one_side_only(cores: Any) -> None:
    east = attrs.evolve(EAST, service=service(1, is_global=False))

    found = judged(cores, {"east": east, "west": WEST, "north": NORTH})

    assert codes(found) == ["one-sided-global"]
    assert found[0].message.startswith("it is exported by west, north but not global in east")
    assert found[0].severity == "info"


def test_a_global_service_in_a_namespace_that_is_not(cores: Any) -> None:
    kept = attrs.evolve(EAST, service=service(1, namespace_global=False))

    found = the(judged(cores, {"east": kept, "west": WEST}), "namespace-not-global")

    assert found.severity == "warning"
    assert found.message == (
        "it is marked global, but its namespace shop is not in east: nothing of it is exported there"
    )
    assert 'clustermesh.cilium.io/global: "true"' in found.fix


@pytest.mark.parametrize("changes", [{"shared": False}, {"is_global": False}])
def test_a_service_that_would_not_be_exported_anyway_needs_no_global_namespace(
    cores: Any, changes: dict[str, bool]
) -> None:
    east = attrs.evolve(EAST, service=service(1, namespace_global=False, **changes))

    assert "namespace-not-global" not in codes(judged(cores, {"east": east, "west": WEST}))


def test_a_long_list_of_clusters_is_counted(cores: Any) -> None:
    members = {"east": EAST, **{f"c{number:02}": Member() for number in range(20)}}

    message = the(judged(cores, members), "unresolvable-name").message

    assert "c00, c01, c02, c03, c04, c05, c06, c07 and 12 more" in message


# ---- quirks


@pytest.mark.parametrize(("strict", "owner"), [(False, "the last to write"), (True, "the lowest cluster id")])
def test_q4_one_address_exported_by_two_clusters(cores: Any, strict: bool, owner: str) -> None:
    north = attrs.evolve(NORTH, slices=WEST.slices)

    found = judged(
        cores,
        {"east": EAST, "west": WEST, "north": north},
        links=[("east", "west"), ("east", "north")],
        strict=strict,
    )

    assert codes(found) == ["duplicate-backend"]
    assert found[0].message.startswith("west, north export the same address 10.2.0.1:8080/TCP")
    assert owner in found[0].message


@pytest.mark.parametrize(("strict", "severity"), [(False, "warning"), (True, "error")])
def test_q5_an_address_of_an_own_pod_that_another_cluster_exports(
    cores: Any, strict: bool, severity: str
) -> None:
    west = attrs.evolve(WEST, slices=EAST.slices)

    found = judged(cores, {"east": EAST, "west": west}, strict=strict)

    assert codes(found) == ["duplicate-local-backend"]
    assert (found[0].severity, found[0].evidence[0]) == (severity, "claimed by east, west")
    assert "address 10.1.0.1:8080/TCP of east, west also comes from other clusters" in found[0].message


def test_many_addresses_of_the_same_claimants_are_one_finding(cores: Any) -> None:
    addresses = [f"10.1.0.{number}" for number in range(1, 21)]
    members = {
        "east": attrs.evolve(EAST, slices=[Slice(addresses)]),
        "west": attrs.evolve(WEST, slices=[Slice(addresses)]),
    }

    found = judged(cores, members)

    assert codes(found) == ["duplicate-local-backend"]
    assert found[0].message.startswith("20 addresses of east, west")
    assert len(found[0].evidence) == 9


def test_an_address_twice_among_clusters_that_do_not_hear_each_other_is_nobodys_matter(cores: Any) -> None:
    west = attrs.evolve(WEST, slices=EAST.slices)

    assert judged(cores, {"east": EAST, "west": west}, links=[]) == ()


def test_q6_an_address_in_two_slices(cores: Any) -> None:
    east = attrs.evolve(EAST, slices=[Slice(["10.1.0.1", "10.1.0.2"]), Slice(["10.1.0.1"])])

    found = judged(cores, {"east": east, "west": WEST})

    assert codes(found) == ["slice-overlap"]
    assert found[0].message == "east has address 10.1.0.1 in several EndpointSlices"


def test_q6_an_address_in_two_slices_with_different_ports(cores: Any) -> None:
    east = attrs.evolve(EAST, slices=[Slice(["10.1.0.1"]), Slice(["10.1.0.1"], ports=[("http", 9090)])])

    found = judged(cores, {"east": east})

    assert codes(found) == ["slice-overlap"]
    assert found[0].evidence == ("10.1.0.1: a, b",)


def test_two_slices_of_different_addresses_do_not_overlap(cores: Any) -> None:
    east = attrs.evolve(EAST, slices=[Slice(["10.1.0.1"]), Slice(["10.1.0.2"])])

    assert judged(cores, {"east": east, "west": WEST}) == ()


def test_q7_a_slice_without_ports_keeps_the_address_out_of_the_record(cores: Any) -> None:
    east = attrs.evolve(EAST, slices=[Slice(["10.1.0.1", "10.1.0.2"]), Slice(["10.1.0.1"], ports=[])])

    found = the(judged(cores, {"east": east, "west": WEST}), "slice-overlap")

    assert found.message == "east has address 10.1.0.1 in several EndpointSlices"
    assert found.evidence == ("10.1.0.1: a, b",)


def test_a_refused_service_of_two_frontends_has_no_address_twice(cores: Any) -> None:
    """Each of its candidates has two verdicts, and no frontend tells them apart."""
    core = cores.Core()
    transaction = core.begin()
    transaction.join(1, "east")
    for number, name in ((1, "holder"), (2, NAME)):
        claims = [*cluster_ip(number, "http", "grpc"), (2, False, "192.0.2.1", 80, 6, "http")]
        transaction.set_service(1, NAMESPACE, name, cores.ServiceSpec(frontends=claims))
        endpoint = ((f"10.1.0.{number}",), 3, "", "", "", ())
        transaction.set_slice(1, NAMESPACE, name, "a", [endpoint], [("http", 6, 8080), ("grpc", 6, 9090)])
    transaction.commit()
    judge = Judge(core.snapshot(), {1: "east"})

    assert core.snapshot().frontends(1, NAMESPACE, NAME) == []
    assert judge_service(judge, NAMESPACE, NAME) == ()


LOAD_BALANCER = [*cluster_ip(1), (2, False, "192.0.2.1", 80, 6, "http")]


@pytest.mark.parametrize(
    ("changes", "policies"),
    [
        ({"internal_local": True}, ["internalTrafficPolicy"]),
        ({"external_local": True}, []),
        ({"external_local": True, "frontends": LOAD_BALANCER}, ["externalTrafficPolicy"]),
        (
            {"internal_local": True, "external_local": True, "frontends": LOAD_BALANCER},
            ["internalTrafficPolicy", "externalTrafficPolicy"],
        ),
    ],
    ids=["internal", "external without such a frontend", "external", "both"],
)
def test_q1_a_local_policy_keeps_other_clusters_backends(
    cores: Any, changes: dict[str, Any], policies: list[str]
) -> None:
    east = attrs.evolve(EAST, service=service(1, **changes))

    found = judged(cores, {"east": east, "west": WEST})

    assert [one.message.split(" is ")[0] for one in found] == policies
    assert {one.code for one in found} <= {"policy-local-remote"}


def test_q1_is_not_told_where_strict_mode_or_nobody_to_hear_rules_it_out(cores: Any) -> None:
    east = attrs.evolve(EAST, service=service(1, internal_local=True))

    assert judged(cores, {"east": east, "west": WEST}, strict=True) == ()
    assert judged(cores, {"east": east, "west": WEST}, links=[]) == ()


@pytest.mark.parametrize(
    ("conditions", "words"), [(TERMINATING, "are terminating at home"), (ONLY_NOT_READY, "are not ready")]
)
def test_endpoints_that_are_active_only_for_others(
    cores: Any, conditions: tuple[bool, bool, bool], words: str
) -> None:
    west = attrs.evolve(WEST, slices=[Slice(["10.2.0.1"], conditions=conditions)])

    found = judged(cores, {"east": EAST, "west": west}, lack=None)

    assert codes(found) == ["terminating-remote"]
    assert words in found[0].message
    assert judged(cores, {"east": EAST, "west": west}, strict=True, lack=None) == ()


def test_an_endpoint_that_serves_nobody_any_more_is_not_exported_and_not_told_of(cores: Any) -> None:
    gone = Slice(["10.2.0.2"], conditions=(False, False, True))
    west = attrs.evolve(WEST, slices=[Slice(["10.2.0.1"]), gone])

    assert judged(cores, {"east": EAST, "west": west}) == ()


@pytest.mark.parametrize(("weight", "drained"), [(0, True), (50, False)])
def test_a_weight_that_does_not_travel(cores: Any, weight: int, drained: bool) -> None:
    west = attrs.evolve(WEST, slices=[Slice(["10.2.0.1"], weight=weight)])

    found = judged(cores, {"east": EAST, "west": west}, lack=None)

    assert codes(found) == ["weight-not-carried"]
    assert f"west gives endpoints the weight {weight}," in found[0].message
    assert ("drains them at home only" in found[0].message) == drained
    assert judged(cores, {"east": EAST, "west": west}, strict=True, lack=None) == ()


HINTED = Slice(["10.1.0.1"], zone="a", for_zones=["a"])


def test_foreign_endpoints_without_hints_switch_off_zone_routing(cores: Any) -> None:
    east = Member(service=service(1, distribution=1), slices=[HINTED], topology=True)

    found = judged(cores, {"east": east, "west": WEST, "north": NORTH})

    assert codes(found) == ["zone-hints-defeated"]
    assert "endpoints of west, north have no zone hints" in found[0].message


@pytest.mark.parametrize(
    ("east", "west"),
    [
        (Member(service=service(1, distribution=1), slices=[HINTED]), WEST),
        (Member(service=service(1), slices=[HINTED], topology=True), WEST),
        (
            Member(service=service(1, distribution=1), slices=[HINTED], topology=True),
            attrs.evolve(WEST, slices=[Slice(["10.2.0.1"], zone="a", for_zones=["a"])]),
        ),
    ],
    ids=["the setting is off", "the Service doesn't ask for it", "all have hints"],
)
def test_zone_routing_that_is_not_asked_for_or_works_is_not_told_of(
    cores: Any, east: Member, west: Member
) -> None:
    assert judged(cores, {"east": east, "west": west}) == ()


@pytest.mark.parametrize("strict", [False, True])
def test_q10_two_services_that_claim_one_external_address(cores: Any, strict: bool) -> None:
    core = cores.Core(strict=strict)
    transaction = core.begin()
    transaction.join(1, "east")
    for number, name in ((1, "first"), (2, "second"), (3, "other")):
        shared = (2, False, "192.0.2.1" if number < 3 else "192.0.2.3", 80, 6, "http")
        spec = cores.ServiceSpec(
            **service(number, frontends=[*cluster_ip(number), shared], created=f"2024-01-0{number}T00:00:00Z")
        )
        transaction.set_service(1, NAMESPACE, name, spec)
    transaction.commit()
    judge = Judge(core.snapshot(), {1: "east"}, strict)

    found = frontend_conflicts(judge, 1, [(NAMESPACE, name) for name in ("first", "second", "other")])

    assert [one.subject for one in found] == ["Service shop/second"]
    assert "192.0.2.1:80/TCP in east belongs to shop/first: " in found[0].message
    assert ("that frontend is refused" in found[0].message) == strict
    assert found[0].evidence == ("shop/first: LoadBalancer", "shop/second: LoadBalancer")

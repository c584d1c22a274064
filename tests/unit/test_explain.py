"""
Explaining a service: every candidate, in or out, for the rule that decided and in words that help.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from doubles.small_fleet import (
    CORES,
    NAME,
    NAMESPACE,
    ONLY_NOT_READY,
    Member,
    Slice,
    build,
    cluster_ip,
    service,
)
from fleetmesh.services.explain import Candidate, Explanation, explain
from fleetmesh.services.rules import RULES

EAST = Member(service=service(1), slices=[Slice(["10.1.0.1"])])
WEST = Member(service=service(2), slices=[Slice(["10.2.0.1"])])
CORE_CODES = re.findall(
    r'return "([a-z0-9-]+)"', (Path(__file__).parents[2] / "cpp/src/merge.cpp").read_text()
)


@pytest.fixture(params=CORES)
def cores(request: pytest.FixtureRequest) -> Any:
    return CORES[request.param]


def explained(
    cores: Any,
    members: Mapping[str, Member],
    *,
    node: str | None = None,
    links: Any = None,
    strict: bool = False,
) -> Explanation:
    """What the first member sees."""
    snapshot, names = build(cores, members, links=links, strict=strict)
    return explain(snapshot, names, 1, node, NAMESPACE, NAME)


def only(explanation: Explanation, cluster: str) -> Candidate:
    found = [candidate for candidate in explanation if candidate.cluster == cluster]
    assert len(found) == 1
    return found[0]


def test_every_rule_of_the_core_has_words() -> None:
    assert len(CORE_CODES) > 20
    assert {code for code in CORE_CODES if code not in RULES} == set()


@pytest.mark.parametrize("code", RULES)
def test_the_words_of_a_rule_ask_only_for_facts_that_are_there(code: str) -> None:
    known = (
        "viewer",
        "cluster",
        "service",
        "namespace",
        "detail",
        "state",
        "address",
        "port_name",
        "frontend",
    )
    facts = dict.fromkeys(known, "x")

    assert RULES[code].sentence.format_map(facts)
    assert "{" not in RULES[code].fix.format_map(facts)


def test_two_clusters_that_share_a_service_are_both_in(cores: Any) -> None:
    found = explained(cores, {"east": EAST, "west": WEST})

    assert [(c.cluster, c.address, c.rule, c.in_use) for c in found] == [
        ("east", "10.1.0.1", "in-use", True),
        ("west", "10.2.0.1", "in-use", True),
    ]
    assert [str(frontend) for frontend in found.frontends] == ["ClusterIP 10.100.1.1:80/TCP http"]
    assert found.silent == ()


CASES: dict[str, tuple[Member, Member, str, str]] = {
    "the publisher is not global": (
        EAST,
        attrs.evolve(WEST, service=service(2, is_global=False)),
        "publisher-not-global",
        'its Service has no annotation service.cilium.io/global: "true"',
    ),
    "the publisher keeps its own": (
        EAST,
        attrs.evolve(WEST, service=service(2, shared=False)),
        "publisher-not-shared",
        'its Service is annotated service.cilium.io/shared: "false"',
    ),
    "the publisher's namespace is not global": (
        EAST,
        attrs.evolve(WEST, service=service(2, namespace_global=False)),
        "namespace-not-global",
        "its namespace shop is not global",
    ),
    "the record is refused": (
        EAST,
        attrs.evolve(WEST, service=service(2, record_valid=False)),
        "record-refused",
        "receivers refuse the whole record",
    ),
    "the endpoint is not exported": (
        EAST,
        attrs.evolve(WEST, slices=[Slice(["10.2.0.1"], conditions=(False, False, False))]),
        "not-exported",
        "neither ready nor serving",
    ),
    "endpoints without a Service": (
        EAST,
        attrs.evolve(WEST, service=None),
        "no-service",
        "west has endpoints of that name but no Service shop/cart",
    ),
    "the viewer is not global": (
        attrs.evolve(EAST, service=service(1, is_global=False)),
        WEST,
        "viewer-not-global",
        "east's own Service has no annotation",
    ),
    "another port name": (
        EAST,
        attrs.evolve(WEST, slices=[Slice(["10.2.0.1"], ports=[("web", 80)])]),
        "port-name",
        "its ports (web) don't include the frontend's port name http",
    ),
    "another family": (
        EAST,
        attrs.evolve(WEST, slices=[Slice(["fd00::1"])]),
        "family",
        "its address fd00::1 is of another family",
    ),
    "the same address at home": (
        EAST,
        attrs.evolve(WEST, slices=[Slice(["10.1.0.1"])]),
        "hidden-by-local",
        "east has an endpoint of the same address",
    ),
    "the viewer prefers its own": (
        attrs.evolve(EAST, service=service(1, affinity=1)),
        WEST,
        "affinity-local",
        'annotated service.cilium.io/affinity: "local" and has 1 of its own',
    ),
    "the viewer has no such Service": (
        attrs.evolve(EAST, service=None, slices=[]),
        WEST,
        "viewer-no-service",
        "east has no Service shop/cart, and frontends come only from a cluster's own Service",
    ),
    "the viewer's Service is headless": (
        attrs.evolve(EAST, service={"is_global": True, "headless": True}),
        WEST,
        "headless",
        "clients take the endpoints from DNS",
    ),
    "the viewer's nodes are not exposed": (
        attrs.evolve(EAST, service=service(1, exposed_on=["elsewhere"])),
        WEST,
        "node-exposure",
        "keeps shop/cart off the viewer's node",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_remote_candidate_is_out_and_the_words_name_what_decided(cores: Any, case: str) -> None:
    east, west, rule, words = CASES[case]

    candidate = only(explained(cores, {"east": east, "west": west}), "west")

    assert (candidate.rule, candidate.selected, candidate.in_use) == (rule, False, False)
    assert words in candidate.sentence


def test_affinity_remote_keeps_the_own_ones_out(cores: Any) -> None:
    east = attrs.evolve(EAST, service=service(1, affinity=2))

    candidate = only(explained(cores, {"east": east, "west": WEST}), "east")

    assert candidate.rule == "affinity-remote"
    assert "has 1 of other clusters" in candidate.sentence


def test_a_local_traffic_policy_names_the_policy(cores: Any) -> None:
    east = Member(
        service=service(1, internal_local=True),
        slices=[Slice(["10.1.0.1"], node="n1"), Slice(["10.1.0.2"], node="n2")],
        nodes={"n1": "", "n2": ""},
    )

    found = explained(cores, {"east": east}, node="n1")

    assert [(c.address, c.rule) for c in found] == [("10.1.0.1", "in-use"), ("10.1.0.2", "traffic-policy")]
    assert found.node == "n1"
    assert "set internalTrafficPolicy or externalTrafficPolicy to Cluster" in found.render()


def test_the_owner_of_a_shared_row_is_named(cores: Any) -> None:
    north = attrs.evolve(WEST, service=service(3))

    found = explained(cores, {"east": EAST, "west": WEST, "north": north})

    (loser,) = [candidate for candidate in found if candidate.rule == "shared-row"]
    winner = "west" if loser.cluster == "north" else "north"
    assert (
        loser.sentence == f"{winner} exports the same address, port and protocol and owns the one row of it"
    )


def test_an_address_in_two_slices_gives_two_candidates_and_names_the_winning_slice(cores: Any) -> None:
    east = attrs.evolve(EAST, slices=[Slice(["10.1.0.1"]), Slice(["10.1.0.1"])])

    found = explained(cores, {"east": east})

    assert sorted(candidate.rule for candidate in found) == ["in-use", "slice-overlap"]
    (loser,) = [candidate for candidate in found if candidate.rule == "slice-overlap"]
    assert re.search("its EndpointSlice [ab] has the same address and wins", loser.sentence)


def test_equal_candidates_come_in_the_order_of_their_slices_whichever_came_first(cores: Any) -> None:
    def seen(*history: tuple[str, int]) -> list[str]:
        core = cores.Core()
        transaction = core.begin()
        transaction.join(1, "east")
        transaction.set_service(1, NAMESPACE, NAME, cores.ServiceSpec(frontends=cluster_ip(1)))
        for name, conditions in history:
            endpoint = (("10.1.0.1",), conditions, "", "", "", ())
            transaction.set_slice(1, NAMESPACE, NAME, name, [endpoint], [("http", 6, 8080)])
        transaction.commit()
        return [each.rule for each in explain(core.snapshot(), {1: "east"}, 1, None, NAMESPACE, NAME)]

    assert seen(("a", 3), ("b", 3)) == ["slice-overlap", "in-use"]
    assert seen(("b", 2), ("a", 3), ("b", 3)) == ["slice-overlap", "in-use"]


def test_a_refused_service_has_each_candidate_once_however_many_frontends_it_has(cores: Any) -> None:
    core = cores.Core()
    transaction = core.begin()
    transaction.join(1, "east")
    for number, name in ((1, "holder"), (2, NAME)):
        claims = [*cluster_ip(number, "http", "grpc"), (2, False, "192.0.2.1", 80, 6, "http")]
        transaction.set_service(1, NAMESPACE, name, cores.ServiceSpec(frontends=claims))
        endpoint = ((f"10.1.0.{number}",), 3, "", "", "", ())
        transaction.set_slice(1, NAMESPACE, name, "a", [endpoint], [("http", 6, 8080)])
    transaction.commit()

    (one,) = explain(core.snapshot(), {1: "east"}, 1, None, NAMESPACE, NAME)

    assert [verdict.rule for verdict in one.verdicts] == ["frontend-conflict"]


def test_a_backend_in_maintenance_is_selected_but_takes_nothing(cores: Any) -> None:
    east = attrs.evolve(EAST, slices=[Slice(["10.1.0.1"]), Slice(["10.1.0.2"], conditions=ONLY_NOT_READY)])

    (_, resting) = explained(cores, {"east": east})

    assert (resting.rule, resting.selected, resting.in_use) == ("selected", True, False)
    assert resting.sentence == "it is selected but takes no new connections: its state is maintenance"


def test_a_candidate_has_a_verdict_for_each_frontend(cores: Any) -> None:
    east = Member(
        service=service(1, frontends=cluster_ip(1, "http", "grpc")),
        slices=[Slice(["10.1.0.1"], ports=[("http", 8080), ("grpc", 9090)])],
    )

    first, second = explained(cores, {"east": east})

    assert [(first.port, v.rule, v.frontend and v.frontend.port_name) for v in first.verdicts] == [
        (8080, "in-use", "http"),
        (8080, "port-name", "grpc"),
    ]
    assert [v.rule for v in second.verdicts] == ["port-name", "in-use"]
    assert first.rule == second.rule == "in-use"


def test_clusters_without_a_candidate_are_listed_with_the_reason(cores: Any) -> None:
    members = {
        "east": EAST,
        "north": Member(),
        "south": Member(service=service(3)),
        "plain": Member(service=service(4, is_global=False)),
        "kept": Member(service=service(5, shared=False)),
        "apart": Member(service=service(6, namespace_global=False)),
        "bank": Member(service=service(7, record_valid=False, external_name=True)),
        "far": Member(service=service(8)),
    }
    links = [("east", name) for name in members if name not in {"east", "far"}]

    found = explained(cores, members, links=links)

    assert {silence.cluster: silence.rule for silence in found.silent} == {
        "north": "no-service",
        "south": "no-endpoints",
        "plain": "publisher-not-global",
        "kept": "publisher-not-shared",
        "apart": "namespace-not-global",
        "bank": "record-refused",
        "far": "not-heard",
    }


def test_a_cluster_that_is_not_heard_is_out_with_all_it_has(cores: Any) -> None:
    candidate = only(explained(cores, {"east": EAST, "west": WEST}, links=[]), "west")

    assert candidate.rule == "not-heard"
    assert "east does not hear west" in candidate.sentence


def test_a_viewer_without_endpoints_is_told_of_too(cores: Any) -> None:
    found = explained(cores, {"east": attrs.evolve(EAST, slices=[]), "west": WEST})

    assert [(silence.cluster, silence.rule) for silence in found.silent] == [("east", "no-endpoints")]


def test_the_text_for_people_says_who_is_in_who_is_out_and_what_to_change(cores: Any) -> None:
    west = attrs.evolve(WEST, service=service(2, is_global=False))

    text = explained(cores, {"east": EAST, "west": west, "north": Member(), "south": Member()}).render()

    why = RULES["publisher-not-global"].sentence
    assert text.splitlines() == [
        "shop/cart seen from east",
        "  ClusterIP 10.100.1.1:80/TCP http",
        "    in   east 10.1.0.1:8080/TCP http active: it takes new connections (in-use)",
        f"    out  west 10.2.0.1:8080/TCP http active: {why} (publisher-not-global)",
        '         -> annotate Service shop/cart in west with service.cilium.io/global: "true"',
        "  north, south: no Service of that name",
    ]


def test_one_silent_cluster_is_told_in_full(cores: Any) -> None:
    text = explained(cores, {"east": EAST, "north": Member()}).render()

    assert "  north: it has no Service shop/cart\n       -> declare the Service in north\n" in text


def test_the_json_is_plain_values(cores: Any) -> None:
    found = explained(cores, {"east": EAST, "west": WEST})

    plain = json.loads(json.dumps(found.to_json()))

    assert plain["candidates"][0]["verdicts"][0]["rule"] == "in-use"
    assert (plain["viewer"], plain["frontends"][0]["address"]) == ("east", "10.100.1.1")
    assert len(found) == 2


def test_an_ipv6_frontend_is_written_in_brackets(cores: Any) -> None:
    east = Member(
        service=service(1, frontends=[(0, False, "fd00:100::1", 80, 6, "http")]), slices=[Slice(["fd00::1"])]
    )

    text = explained(cores, {"east": east}).render()

    assert "ClusterIP [fd00:100::1]:80/TCP http" in text
    assert "east [fd00::1]:8080/TCP http active" in text

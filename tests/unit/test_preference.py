"""
Preference between clusters: its annotations, what comes of them, and who is told of what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.effort import examples
from doubles.preference import apportion
from doubles.small_fleet import CORES, NAME, NAMESPACE, Member, Slice, build, service
from fleetmesh import maglev
from fleetmesh.mesh import Mesh
from fleetmesh.resources import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort
from fleetmesh.resources.model import Origin
from fleetmesh.services.annotations import ServiceAnnotations
from fleetmesh.services.explain import explain
from fleetmesh.services.judge import Judge, judge_service
from fleetmesh.services.preference import Preference

PREFER = "fleetmesh.io/prefer-clusters"
WEIGHTS = "fleetmesh.io/cluster-weights"
LEAST = "fleetmesh.io/min-local-backends"
GLOBAL = {"service.cilium.io/global": "true"}
LOCAL = {**GLOBAL, "service.cilium.io/affinity": "local"}
WHERE = Origin("shop.yaml", 2, 17)
IDS = {"east": 1, "west": 2, "north": 3}
MODES = pytest.mark.parametrize("mode", ["cilium", "strict"])


def read(annotations: Mapping[str, str], **fields: Any) -> ServiceAnnotations:
    given = Service(namespace="shop", name="cart", annotations=dict(annotations), origin=WHERE, **fields)
    return ServiceAnnotations.of(given)


def declared(annotations: Mapping[str, str] = GLOBAL) -> Service:
    ports = (ServicePort(port=80, name="http", target_port=8080),)
    return Service(namespace="shop", name="cart", annotations=dict(annotations), ports=ports)


def endpoints(cluster: str, count: int, *, ready: bool = True, weight: str = "100") -> EndpointSlice:
    return EndpointSlice(
        namespace="shop",
        name="cart-1",
        labels={"kubernetes.io/service-name": "cart"},
        annotations={"service.cilium.io/weight": weight},
        endpoints=tuple(
            Endpoint(addresses=(f"10.{IDS[cluster]}.{n >> 8}.{n & 255}",), ready=ready)
            for n in range(1, count + 1)
        ),
        ports=(EndpointPort(port=8080, name="http"),),
    )


def mesh_of(counts: Mapping[str, int], annotations: Mapping[str, str] = GLOBAL, mode: Any = "cilium") -> Mesh:
    """East's Service has the annotations."""
    mesh = Mesh("shop", mode=mode)
    for name, number in IDS.items():
        member = mesh.join(name, cluster_id=number)
        member.apply([declared(annotations if name == "east" else GLOBAL)])
        member.apply([endpoints(name, counts.get(name, 0))])
    return mesh


def taking(mesh: Mesh, viewer: str = "east") -> dict[str, int]:
    """How many backends of each cluster take new connections."""
    return dict(Counter(each.cluster for each in mesh.service("shop", "cart").backends(viewer)))


def said(mesh: Mesh, prefix: str = "preference") -> list[str]:
    return [each.message for each in mesh.findings if each.code.startswith(prefix)]


# ---- annotations


def test_a_service_without_them_prefers_nothing() -> None:
    assert read(LOCAL).preference == Preference() == Preference((), (), 1)


def test_they_are_read_with_spaces_or_without() -> None:
    assert read({**GLOBAL, PREFER: "east, west"}).preference.prefer_clusters == ("east", "west")
    assert read({**GLOBAL, PREFER: " west,east "}).preference.prefer_clusters == ("west", "east")
    shares = (("east", 80), ("west", 20))
    assert read({**GLOBAL, WEIGHTS: "west=20,east=80"}).preference.cluster_weights == shares
    assert read({**GLOBAL, WEIGHTS: " east = 80 , west = 20 "}).preference.cluster_weights == shares
    assert read({**LOCAL, LEAST: "2"}).preference.min_local_backends == 2


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        (PREFER, "", "a name is empty"),
        (PREFER, "east,,west", "a name is empty"),
        (PREFER, "east, east", "'east' is there twice"),
        (WEIGHTS, "", "a name is empty"),
        (WEIGHTS, "east", "'east' has no weight"),
        (WEIGHTS, "=5", "a name is empty"),
        (WEIGHTS, "east=", "'' is no whole number within 0..65535"),
        (WEIGHTS, "east=most", "'most' is no whole number within 0..65535"),
        (WEIGHTS, "east=-1", "'-1' is no whole number within 0..65535"),
        (WEIGHTS, "east=1.5", "'1.5' is no whole number within 0..65535"),
        (WEIGHTS, "east=65536", "'65536' is no whole number within 0..65535"),
        (WEIGHTS, "east=80, east=20", "'east' is there twice"),
        (WEIGHTS, "east=0, west=0", "all weights are 0"),
        (LEAST, "", "'' is no whole number within 1..65535"),
        (LEAST, "two", "'two' is no whole number within 1..65535"),
        (LEAST, "0", "'0' is no whole number within 1..65535"),
        (LEAST, "-2", "'-2' is no whole number within 1..65535"),
        (LEAST, "65536", "'65536' is no whole number within 1..65535"),
        (LEAST, "²", "'²' is no whole number within 1..65535"),
    ],
)
def test_a_value_that_is_none_is_a_finding_and_has_no_effect(name: str, value: str, fault: str) -> None:
    got = read({**LOCAL, name: value})

    (found,) = got.findings
    assert (found.code, found.subject, found.where) == ("invalid-annotation", "Service shop/cart", WHERE)
    assert f"{name} is {value!r}, expected " in found.message
    assert fault in found.message
    assert found.message.endswith("it has no effect")
    assert got.preference == Preference()


@pytest.mark.parametrize(
    ("annotations", "fields", "name", "reason"),
    [
        ({**GLOBAL, PREFER: "east", WEIGHTS: "west=1"}, {}, WEIGHTS, f"{PREFER} is in force"),
        ({**GLOBAL, LEAST: "2"}, {}, LEAST, 'service.cilium.io/affinity is not "local"'),
        ({PREFER: "east"}, {}, PREFER, "the Service is not global"),
        ({WEIGHTS: "east=1"}, {}, WEIGHTS, "the Service is not global"),
        ({LEAST: "2"}, {}, LEAST, "the Service is not global"),
        ({**GLOBAL, PREFER: "east"}, {"cluster_ip": "None"}, PREFER, "it is headless"),
    ],
)
def test_one_that_has_no_effect_is_told_of(
    annotations: dict[str, str], fields: dict[str, Any], name: str, reason: str
) -> None:
    got = read(annotations, **fields)

    (found,) = got.findings
    assert (found.code, found.where) == ("preference-ignored", WHERE)
    assert found.message == f"{name} has no effect: {reason}"
    assert found.evidence == (f"{name}: {annotations[name]!r}",)
    order = ("east",) if WEIGHTS in annotations and PREFER in annotations else ()
    assert got.preference == Preference(prefer_clusters=order)


def test_weights_are_in_force_beside_an_order_that_is_invalid() -> None:
    got = read({**GLOBAL, PREFER: "", WEIGHTS: "west=1"})

    assert got.preference == Preference(cluster_weights=(("west", 1),))
    assert [each.code for each in got.findings] == ["invalid-annotation"]


def test_a_cluster_that_is_no_member_is_told_of_until_it_joins() -> None:
    mesh = mesh_of({"east": 1, "west": 1}, {**GLOBAL, PREFER: "south, west"})

    assert said(mesh) == ["east prefers cluster 'south', which is no member of the mesh: that has no effect"]
    assert taking(mesh) == {"west": 1}

    mesh.join("south", cluster_id=4).apply([declared(), endpoints("north", 2)])

    assert said(mesh) == []
    assert taking(mesh) == {"south": 2}


def test_the_one_shares_are_for_is_told_of_too() -> None:
    mesh = mesh_of({"east": 1, "west": 1}, {**GLOBAL, WEIGHTS: "south=1"})

    assert said(mesh) == ["east prefers cluster 'south', which is no member of the mesh: that has no effect"]
    assert taking(mesh) == {"east": 1, "west": 1}


# ---- an order


@MODES
def test_the_first_listed_cluster_with_a_healthy_backend_takes_all(mode: str) -> None:
    mesh = mesh_of({"east": 2, "west": 2, "north": 1}, {**GLOBAL, PREFER: "north, east"}, mode)
    assert taking(mesh) == {"north": 1}
    assert taking(mesh, "west") == {"east": 2, "west": 2, "north": 1}

    mesh.members["north"].drain()
    assert taking(mesh) == {"east": 2}

    mesh.members["east"].apply([endpoints("east", 2, ready=False)])
    assert taking(mesh) == {"west": 2}


def test_an_order_counts_after_affinity() -> None:
    mesh = mesh_of({"east": 1, "west": 1, "north": 1}, {**LOCAL, PREFER: "north"})
    assert taking(mesh) == {"east": 1}

    mesh.members["east"].drain()
    assert taking(mesh) == {"north": 1}


# ---- shares


@MODES
def test_shares_become_weights_of_backends(mode: str) -> None:
    mesh = mesh_of({"east": 3, "west": 1, "north": 5}, {**GLOBAL, WEIGHTS: "east=80, west=20"}, mode)

    found = mesh.service("shop", "cart").backends("east")

    assert [(each.cluster, each.weight) for each in found] == [("east", 4)] * 3 + [("west", 3)]
    assert {each.weight for each in mesh.service("shop", "cart").backends("west")} == {100}


def test_within_a_cluster_the_weights_of_backends_count() -> None:
    mesh = mesh_of({"east": 1, "west": 1}, {**GLOBAL, WEIGHTS: "east=1, west=1"})
    piece = endpoints("east", 1, weight="300")
    plain = Endpoint(addresses=("10.1.9.9",), ready=True)
    more = attrs.evolve(piece, name="cart-2", annotations={}, endpoints=(plain,))
    mesh.members["east"].apply([piece, more])

    found = mesh.service("shop", "cart").backends("east")

    assert [(each.cluster, each.weight) for each in found] == [("east", 3), ("east", 1), ("west", 4)]


@pytest.mark.parametrize("said", ["east=1", "east=1, north=0"])
def test_a_cluster_without_a_share_serves_only_when_no_other_is_left(said: str) -> None:
    mesh = mesh_of({"east": 1, "west": 1, "north": 1}, {**GLOBAL, WEIGHTS: said})
    assert taking(mesh) == {"east": 1}

    mesh.members["east"].drain()
    assert taking(mesh) == {"west": 1, "north": 1}
    assert {each.weight for each in mesh.service("shop", "cart").backends("east")} == {100}


def spread(mesh: Mesh) -> dict[str, float]:
    """The part of each cluster in Cilium's table."""
    (frontend,) = mesh.service("shop", "cart").frontends("east")
    used = frontend.backends[: frontend.in_use]
    table = maglev.lookup_table(
        [
            maglev.Candidate(id=n, address=each.address, port=each.port, protocol="TCP", weight=each.weight)
            for n, each in enumerate(used)
        ],
        size=16381,
    )
    entries = Counter(used[int(number)].cluster for number in np.asarray(table))
    return {cluster: count / 16381 for cluster, count in entries.items()}


@pytest.mark.parametrize("shares", [(80, 20), (99, 1), (1, 1), (65535, 655), (7, 13), (65535, 1)])
@pytest.mark.parametrize("counts", [(1, 1), (1, 3), (100, 1), (1, 100), (97, 61), (1, 162)])
def test_the_table_has_the_shares_within_a_hundredth(
    shares: tuple[int, int], counts: tuple[int, int]
) -> None:
    east, west = shares
    annotation = {**GLOBAL, WEIGHTS: f"east={east}, west={west}"}

    found = spread(mesh_of({"east": counts[0], "west": counts[1]}, annotation))

    assert found["east"] == pytest.approx(east / (east + west), abs=0.01)


@settings(max_examples=examples(100), deadline=None)
@given(
    parts=st.lists(
        st.tuples(st.integers(1, 65535), st.lists(st.integers(1, 65535), min_size=1, max_size=40)),
        min_size=2,
        max_size=5,
    )
)
def test_weights_are_close_to_the_shares_whatever_they_are(parts: list[tuple[int, list[int]]]) -> None:
    """Of the double, which the core equals (test_core_double)."""
    found = apportion(parts)

    total = sum(map(sum, found))
    wished = sum(share for share, _ in parts)
    count = sum(map(len, found))
    assert total >= 2 * count
    assert all(1 <= weight <= 65535 for weights in found for weight in weights)
    for (share, _), weights in zip(parts, found, strict=True):
        assert abs(sum(weights) / total - share / wished) <= (count + 1) / 65534


# ---- how many own ones are enough


@MODES
def test_own_backends_take_all_back_when_enough_are_healthy(mode: str) -> None:
    mesh = mesh_of({"east": 3, "west": 2}, {**LOCAL, LEAST: "2"}, mode)
    assert taking(mesh) == {"east": 3}

    mesh.members["east"].apply([endpoints("east", 1)])
    assert taking(mesh) == {"east": 1, "west": 2}

    mesh.members["west"].apply([endpoints("west", 4)])
    assert taking(mesh) == {"east": 1, "west": 4}

    mesh.members["east"].apply([endpoints("east", 2)])
    assert taking(mesh) == {"east": 2}


def test_below_the_minimum_an_order_decides() -> None:
    mesh = mesh_of({"east": 1, "west": 1, "north": 1}, {**LOCAL, LEAST: "2", PREFER: "west"})

    assert taking(mesh) == {"west": 1}


# ---- explained and compared


@pytest.fixture(params=CORES)
def cores(request: pytest.FixtureRequest) -> Any:
    return CORES[request.param]


def sentences(cores: Any, counts: Iterable[int], **said: Any) -> dict[str, tuple[str, str]]:
    members = {
        name: Member(
            service=service(number, **(said if name == "east" else {})),
            slices=[Slice([f"10.{number}.0.{n}" for n in range(1, count + 1)])],
        )
        for (name, number), count in zip(IDS.items(), counts, strict=True)
    }
    snapshot, names = build(cores, members)
    found = explain(snapshot, names, 1, None, NAMESPACE, NAME)
    return {each.cluster: (each.rule, each.sentence) for each in found}


def test_an_order_is_explained(cores: Any) -> None:
    found = sentences(cores, (1, 3, 1), prefer_clusters=["west"])

    assert found["west"] == ("in-use", "it takes new connections; east prefers west")
    assert found["east"] == ("preferred-cluster", "preferred cluster west has 3 healthy backends")
    assert found["north"] == found["east"]
    assert "has 1 healthy backend" in sentences(cores, (1, 1, 1), prefer_clusters=["west"])["east"][1]


def test_shares_are_explained(cores: Any) -> None:
    found = sentences(cores, (1, 2, 1), cluster_weights=[("east", 80), ("west", 20)])

    assert found["east"] == ("in-use", "it takes new connections; east gives east 80 of 100 parts")
    rule, sentence = found["north"]
    assert rule == "cluster-weights"
    assert "gives north no share" in sentence
    assert sentence.endswith("the clusters that have one have 3 healthy backends")


def test_a_minimum_is_explained(cores: Any) -> None:
    enough = sentences(cores, (2, 1, 1), affinity=1, min_local_backends=2)
    few = sentences(cores, (1, 1, 1), affinity=1, min_local_backends=2)

    assert enough["west"][0] == "min-local-backends"
    assert "has 2 healthy of its own, enough by" in enough["west"][1]
    assert few["east"] == ("in-use", "it takes new connections")
    assert few["west"] == ("in-use", "it takes new connections, as fewer than 2 of east's own are healthy")


def test_members_that_prefer_one_unknown_cluster_are_told_of_together(cores: Any) -> None:
    asks = {"prefer_clusters": ["south", "west"]}
    members = {name: Member(service=service(number, **asks)) for name, number in IDS.items()}
    snapshot, names = build(cores, members)

    told = judge_service(Judge(snapshot, names), NAMESPACE, NAME)
    found = [each for each in told if each.code == "preference-unknown-cluster"]

    assert [each.message.partition(" prefers")[0] for each in found] == ["east, west, north"]


@pytest.mark.parametrize(
    ("annotations", "after"),
    [
        ({PREFER: "west"}, {"west": 1.0}),
        ({WEIGHTS: "east=3, west=1"}, {"east": 0.75, "west": 0.25}),
        ({"service.cilium.io/affinity": "local", LEAST: "2"}, {"east": 1.0}),
    ],
)
def test_a_comparison_shows_what_they_move(annotations: dict[str, str], after: dict[str, float]) -> None:
    mesh = mesh_of({"east": 2, "west": 1, "north": 1})
    other = mesh.fork()
    other.members["east"].apply([declared({**GLOBAL, **annotations})])

    (row,) = mesh.compare(other)

    assert row.viewer == "east"
    assert dict(row.share_before) == {"east": 0.5, "north": 0.25, "west": 0.25}
    assert dict(row.share_after) == after


def test_a_comparison_tells_viewers_apart_that_prefer_otherwise() -> None:
    """North and south have no backend and hear the same; only what they prefer differs."""
    mesh = mesh_of({"east": 1, "west": 1})
    mesh.join("south", cluster_id=4).apply([declared({**GLOBAL, PREFER: "west"})])
    other = mesh.fork()
    other.members["east"].drain()

    rows = {row.viewer: dict(row.share_before) for row in mesh.compare(other)}

    assert rows["north"] == {"east": 0.5, "west": 0.5}
    assert "south" not in rows

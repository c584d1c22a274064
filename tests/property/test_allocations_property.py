"""Handing out against what must hold whatever happens, and default ranges of any set of members."""

from __future__ import annotations

import ipaddress
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fleetmesh.identity import Allocations, RangeRequest, Ranges, default_ranges

KEYS = st.sets(st.sampled_from([f"shop/{n}" for n in range(40)]), max_size=12)
ADDRESSES = st.sets(st.integers(0, 63).map(lambda n: f"10.1.0.{n}"), max_size=6)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("give"), st.sampled_from(["east", "west"]), KEYS),
        st.tuples(st.just("release"), st.sampled_from(["east", "west"]), KEYS),
        st.tuples(st.just("declare"), st.sampled_from(["east", "west"]), ADDRESSES),
        st.tuples(st.just("copy"), st.just("east"), st.just(set[str]())),
    ),
    max_size=25,
)


def new() -> Allocations:
    allocations = Allocations()
    for member in ("east", "west"):
        allocations.set_ranges(member, "pod", ["10.1.0.0/25"])
    return allocations


class Model:
    """What was given and declared, in plain dictionaries."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}
        self.declared: list[tuple[str, str]] = []

    def run(self, allocations: Allocations, change: tuple[str, str, set[str]], *, backwards: bool) -> None:
        verb, member, what = change
        things = sorted(what, reverse=backwards)
        if verb == "give":
            for key, address in allocations.addresses(member, "pod", "IPv4", things).items():
                assert self.held.setdefault((member, key), address) == address
        elif verb == "release":
            allocations.release(member, "pod", things)
            for key in things:
                self.held.pop((member, key), None)
        elif verb == "declare":
            lost = allocations.declare(member, "pod", things)
            self.declared += [(member, address) for address in things]
            for holder in lost:
                assert self.held.pop((holder.member, holder.key)) in what


@given(CHANGES)
def test_addresses_are_distinct_kept_and_never_those_that_are_declared(
    changes: list[tuple[str, str, set[str]]],
) -> None:
    allocations, model = new(), Model()
    for change in changes:
        if change[0] == "copy":
            spoilt = allocations.copy()
            spoilt.forget("east")
            spoilt.declare("west", "pod", model.held.values())
        model.run(allocations, change, backwards=False)
        given_out = list(model.held.values())
        assert len(set(given_out)) == len(given_out)
        assert not set(given_out) & {address for _, address in model.declared}
    for member in ("east", "west"):
        held = {key: address for (whose, key), address in model.held.items() if whose == member}
        assert allocations.addresses(member, "pod", "IPv4", held) == held


@given(CHANGES)
def test_the_order_within_batches_has_no_part_in_the_answer(
    changes: list[tuple[str, str, set[str]]],
) -> None:
    one, other = new(), new()
    first, second = Model(), Model()
    for change in changes:
        first.run(one, change, backwards=False)
        second.run(other, change, backwards=True)
    assert first.held == second.held
    assert one.to_json() == other.to_json()


@given(CHANGES)
def test_what_is_rebuilt_from_the_saved_history_goes_on_alike(
    changes: list[tuple[str, str, set[str]]],
) -> None:
    allocations, model = new(), Model()
    for change in changes:
        model.run(allocations, change, backwards=False)
    rebuilt = Allocations.from_json(allocations.to_json())
    for member in ("east", "west"):
        assert rebuilt.set_ranges(member, "pod", ["10.1.0.0/25"]) == ()
    for member, address in model.declared:
        assert rebuilt.declare(member, "pod", [address]) == ()
    keys = [f"shop/{n}" for n in range(40)]
    assert rebuilt.addresses("east", "pod", "IPv4", keys) == allocations.addresses(
        "east", "pod", "IPv4", keys
    )


NETWORKS = st.one_of(
    st.tuples(st.integers(0, 2**24 - 1), st.integers(12, 24)).map(
        lambda pair: str(ipaddress.ip_network((10 << 24 | pair[0], pair[1]), strict=False))
    ),
    st.sampled_from(["172.16.0.0/12", "100.64.0.0/16", "192.168.0.0/16", "fd00:10::/33", "fd00::/16"]),
)


@given(
    st.dictionaries(st.integers(1, 511), st.lists(NETWORKS, max_size=1), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_default_ranges_are_apart_from_each_other_and_from_what_is_declared(
    members: dict[int, list[str]], random: object
) -> None:
    requests = [
        RangeRequest(name=f"c{number}", cluster_id=number, declared=Ranges(pod_cidrs=tuple(cidrs)))
        for number, cidrs in members.items()
    ]
    ranges = default_ranges(requests)
    random.shuffle(requests)  # type: ignore[attr-defined]
    assert default_ranges(requests) == ranges
    declared = [ipaddress.ip_network(cidr) for cidrs in members.values() for cidr in cidrs]
    made = [
        ipaddress.ip_network(cidr)
        for number, cidrs in members.items()
        for each in [ranges[f"c{number}"]]
        for cidr in (*(() if cidrs else each.pod_cidrs), *each.service_cidrs, *each.node_cidrs)
    ]
    for version in (4, 6):
        ours = sorted(
            (int(network.network_address), int(network.broadcast_address))
            for network in made
            if network.version == version
        )
        assert all(one[1] < other[0] for one, other in pairwise(ours))
        theirs = [network for network in declared if network.version == version]
        assert not any(
            first <= int(network.broadcast_address) and int(network.network_address) <= last
            for first, last in ours
            for network in theirs
        )

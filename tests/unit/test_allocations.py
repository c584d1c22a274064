"""Handing out addresses, saving what was handed out, and default ranges."""

from __future__ import annotations

import ipaddress
import json
from itertools import pairwise

import pytest

from fleetmesh.errors import InvalidRangeError, RangeExhaustedError
from fleetmesh.identity import (
    Allocations,
    Holder,
    RangeRequest,
    Ranges,
    default_ranges,
    overlap,
    parse_networks,
)


@pytest.fixture
def east() -> Allocations:
    allocations = Allocations()
    allocations.set_ranges("east", "pod", ["10.1.0.0/24", "fd00:1::/64"])
    allocations.set_ranges("east", "service", ["10.100.0.0/24"])
    allocations.set_ranges("east", "node", ["192.168.1.0/24"])
    return allocations


def address(allocations: Allocations, key: str, member: str = "east") -> str:
    return allocations.addresses(member, "pod", "IPv4", [key])[key]


class TestHandingOut:
    def test_an_address_lies_in_the_range_and_stays(self, east: Allocations) -> None:
        first = address(east, "shop/cart")
        assert ipaddress.ip_address(first) in ipaddress.ip_network("10.1.0.0/24")
        assert address(east, "shop/cart") == first

    def test_the_slot_follows_from_the_key_and_is_the_same_in_every_process(self, east: Allocations) -> None:
        assert address(east, "shop/cart") == "10.1.0.18"

    def test_both_families_are_handed_out_apart(self, east: Allocations) -> None:
        six = east.addresses("east", "pod", "IPv6", ["shop/cart"])["shop/cart"]
        assert ipaddress.ip_address(six) in ipaddress.ip_network("fd00:1::/64")
        assert address(east, "shop/cart") != six

    def test_the_network_the_router_and_the_broadcast_address_are_left_out(self) -> None:
        allocations = Allocations()
        allocations.set_ranges("east", "pod", ["10.1.0.0/29"])
        got = allocations.addresses("east", "pod", "IPv4", [f"shop/{n}" for n in range(5)])
        assert sorted(got.values()) == [f"10.1.0.{n}" for n in range(2, 7)]

    def test_a_batch_in_another_order_gets_the_same_addresses(self) -> None:
        keys = [f"shop/{n}" for n in range(200)]
        answers = []
        for order in (keys, keys[::-1]):
            allocations = Allocations()
            allocations.set_ranges("east", "pod", ["10.1.0.0/24"])
            answers.append(allocations.addresses("east", "pod", "IPv4", order))
        assert answers[0] == answers[1]
        assert len(set(answers[0].values())) == 200

    def test_several_ranges_are_one_pool(self) -> None:
        allocations = Allocations()
        allocations.set_ranges("east", "pod", ["10.1.0.0/30", "10.2.0.0/30"])
        got = allocations.addresses("east", "pod", "IPv4", [f"shop/{n}" for n in range(8)])
        assert sorted(got.values()) == [f"10.{r}.0.{n}" for r in (1, 2) for n in range(4)]

    def test_a_released_address_is_free_again(self, east: Allocations) -> None:
        first = address(east, "shop/cart")
        east.release("east", "pod", ["shop/cart", "shop/never-there"])
        assert address(east, "shop/cart") == first

    def test_a_full_range_is_an_error_that_changes_nothing(self) -> None:
        allocations = Allocations()
        allocations.set_ranges("east", "pod", ["10.1.0.0/29"])
        address(allocations, "shop/0")
        before = allocations.to_json()
        with pytest.raises(RangeExhaustedError, match=r"pod IPv4 ranges of 'east' \(10.1.0.0/29\)"):
            allocations.addresses("east", "pod", "IPv4", [f"shop/{n}" for n in range(6)])
        assert allocations.to_json() == before

    def test_a_member_without_ranges_has_nothing_to_hand_out(self) -> None:
        with pytest.raises(RangeExhaustedError):
            address(Allocations(), "shop/cart")

    def test_pods_of_all_members_differ_even_in_the_same_range(self) -> None:
        allocations = Allocations()
        for member in ("east", "west"):
            allocations.set_ranges(member, "pod", ["10.1.0.0/28"])
        assert address(allocations, "shop/cart", "east") != address(allocations, "shop/cart", "west")

    def test_pods_and_nodes_differ_in_one_range(self) -> None:
        allocations = Allocations()
        for what in ("pod", "node"):
            allocations.set_ranges("east", what, ["10.1.0.0/30"])
        pods = allocations.addresses("east", "pod", "IPv4", ["shop/a", "shop/b"])
        nodes = allocations.addresses("east", "node", "IPv4", ["node-1", "node-2"])
        assert len({*pods.values(), *nodes.values()}) == 4

    def test_cluster_ips_belong_to_one_cluster_and_may_be_equal_in_two(self) -> None:
        allocations = Allocations()
        got = []
        for member in ("east", "west"):
            allocations.set_ranges(member, "service", ["10.100.0.0/24"])
            got.append(allocations.addresses(member, "service", "IPv4", ["shop/cart"]))
        assert got[0] == got[1]


class TestDeclared:
    def test_a_declared_address_is_never_handed_out(self, east: Allocations) -> None:
        east.declare("east", "pod", ["10.1.0.18"])
        assert address(east, "shop/cart") == "10.1.0.19"

    def test_a_declared_address_takes_it_from_its_holder(self, east: Allocations) -> None:
        first = address(east, "shop/cart")
        assert east.declare("east", "pod", [first]) == (Holder("east", "pod", "IPv4", "shop/cart"),)
        assert address(east, "shop/cart") != first

    def test_a_pod_declared_in_another_cluster_takes_it_too(self, east: Allocations) -> None:
        first = address(east, "shop/cart")
        assert east.declare("west", "pod", [first]) == (Holder("east", "pod", "IPv4", "shop/cart"),)

    def test_a_cluster_ip_declared_in_another_cluster_does_not(self, east: Allocations) -> None:
        first = east.addresses("east", "service", "IPv4", ["shop/cart"])["shop/cart"]
        assert east.declare("west", "service", [first]) == ()

    def test_an_address_that_two_declare_is_free_after_both_are_gone(self, east: Allocations) -> None:
        for _ in range(2):
            east.declare("east", "pod", ["10.1.0.18"])
        east.withdraw("east", "pod", ["10.1.0.18"])
        assert address(east, "shop/cart") == "10.1.0.19"
        east.release("east", "pod", ["shop/cart"])
        east.withdraw("east", "pod", ["10.1.0.18"])
        assert address(east, "shop/cart") == "10.1.0.18"

    @pytest.mark.parametrize("text", ["", "None", "10.1.0.300", "10.1.0.0/24", "fd00::%eth0", "x\0"])
    def test_what_is_no_address_is_passed_over(self, east: Allocations, text: str) -> None:
        assert east.declare("east", "pod", [text]) == ()
        assert address(east, "shop/cart") == "10.1.0.18"


class TestRanges:
    def test_a_range_that_goes_takes_its_addresses_along(self, east: Allocations) -> None:
        address(east, "shop/cart")
        assert east.set_ranges("east", "pod", ["10.9.0.0/24"]) == (
            Holder("east", "pod", "IPv4", "shop/cart"),
        )
        assert address(east, "shop/cart").startswith("10.9.0.")
        assert east.ranges("east", "pod") == ("10.9.0.0/24",)

    def test_a_range_that_grows_keeps_them(self, east: Allocations) -> None:
        first = address(east, "shop/cart")
        assert east.set_ranges("east", "pod", ["10.1.0.0/16"]) == ()
        assert address(east, "shop/cart") == first

    @pytest.mark.parametrize(
        ("cidr", "why"),
        [
            ("10.1.0.1/16", "host bits"),
            ("10.1.0.0", "prefix length"),
            ("10.1.0.0/255.255.0.0", "not a mask"),
            ("10.1.0.0/33", "33"),
            ("fd00::%eth0/64", "zone|expected"),
            ("pods", "prefix length"),
            ("", "prefix length"),
            (None, "expected a string"),
        ],
    )
    def test_what_is_no_range_is_refused_by_name(self, cidr: str, why: str) -> None:
        with pytest.raises(InvalidRangeError, match=why):
            Allocations().set_ranges("east", "pod", [cidr])

    def test_ranges_overlap_where_they_share_an_address(self) -> None:
        one = parse_networks("east", ["10.1.0.0/16", "fd00::/48"])
        assert overlap(one, parse_networks("west", ["10.2.0.0/16", "fd00:0:1::/48"])) is None
        found = overlap(one, parse_networks("west", ["10.0.0.0/8"]))
        assert found is not None
        assert (found[0].text, found[1].text) == ("10.1.0.0/16", "10.0.0.0/8")

    def test_ranges_of_two_families_never_overlap(self) -> None:
        assert overlap(parse_networks("a", ["0.0.0.0/0"]), parse_networks("b", ["::/0"])) is None


class TestCopies:
    def test_a_copy_goes_on_separately(self, east: Allocations) -> None:
        first = address(east, "shop/cart")
        other = east.copy()
        other.declare("east", "pod", [first])
        assert address(other, "shop/cart") != first
        assert address(east, "shop/cart") == first
        address(east, "shop/web")
        assert b"shop/web" not in other.to_json()

    def test_the_original_may_change_after_the_copy(self, east: Allocations) -> None:
        address(east, "shop/cart")
        other = east.copy()
        before = other.to_json()
        east.forget("east")
        assert other.to_json() == before
        assert address(other, "shop/cart") == "10.1.0.18"

    def test_forgetting_a_member_frees_what_it_had(self, east: Allocations) -> None:
        first = address(east, "shop/cart")
        east.forget("east")
        assert json.loads(east.to_json())["members"] == {}
        east.set_ranges("west", "pod", ["10.1.0.0/24"])
        assert address(east, "shop/cart", "west") == first


class TestSaving:
    def test_what_was_saved_is_read_back(self, east: Allocations) -> None:
        address(east, "shop/cart")
        east.addresses("east", "pod", "IPv6", ["shop/cart"])
        east.addresses("east", "service", "IPv4", ["shop/web"])
        again = Allocations.from_json(east.to_json())
        assert again == east
        again.set_ranges("east", "pod", ["10.1.0.0/24", "fd00:1::/64"])
        assert address(again, "shop/cart") == address(east, "shop/cart")
        assert again.to_json() == east.to_json()

    def test_an_allocation_outside_the_ranges_moves_when_they_are_set(self, east: Allocations) -> None:
        address(east, "shop/cart")
        again = Allocations.from_json(east.to_json())
        assert again.set_ranges("east", "pod", ["10.7.0.0/24"]) == (
            Holder("east", "pod", "IPv4", "shop/cart"),
        )

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "allocations: "),
            ("[]", r"Expected `object`"),
            ('{"version": 2, "members": {}}', "version 2, expected 1"),
            ('{"version": 1, "members": {}, "more": 1}', "more"),
            ('{"version": 1, "members": {"east": {"door": {}}}}', "'door'"),
            ('{"version": 1, "members": {"east": {"pod": {"IPv5": {}}}}}', "IPv5"),
            (
                '{"version": 1, "members": {"east": {"pod": {"IPv4": {"a/b": "fd00::1"}}}}}',
                r"IPv4.a/b: 'fd00::1'",
            ),
            (
                '{"version": 1, "members": {"east": {"pod": {"IPv4": {"a/b": 7}}}}}',
                r"Expected `str`, got `int`",
            ),
            (
                '{"version": 1, "members": {"e": {"pod": {"IPv4": {"a/b": "1.0.0.1", "c/d": "1.0.0.1"}}}}}',
                r"e\.pod\.IPv4\.c/d: 1.0.0.1 belongs to e pod a/b too",
            ),
        ],
    )
    def test_what_contradicts_itself_is_refused_at_its_place(self, text: str, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            Allocations.from_json(text)


def request(name: str, number: int, *pods: str) -> RangeRequest:
    return RangeRequest(name=name, cluster_id=number, declared=Ranges(pod_cidrs=pods))


def every(ranges: dict[str, Ranges]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    kinds = [
        cidrs for each in ranges.values() for cidrs in (each.pod_cidrs, each.service_cidrs, each.node_cidrs)
    ]
    return [ipaddress.ip_network(cidr) for cidrs in kinds for cidr in cidrs]


def every_v4_is_private(ranges: dict[str, Ranges]) -> bool:
    """Neither public nor in 240.0.0.0/4, which no host takes."""
    return not any(
        each.is_global or each.is_reserved
        for each in every(ranges)
        if isinstance(each, ipaddress.IPv4Network)
    )


def assert_disjoint(networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> None:
    for version in (4, 6):
        spans = sorted(
            (int(network.network_address), int(network.broadcast_address))
            for network in networks
            if network.version == version
        )
        assert all(one[1] < other[0] for one, other in pairwise(spans))


class TestDefaultRanges:
    def test_a_member_has_the_block_of_its_cluster_id(self) -> None:
        assert default_ranges([request("west", 2)])["west"] == Ranges(
            pod_cidrs=("10.1.0.0/17", "fd00:10:2::/48"),
            service_cidrs=("100.64.64.0/19", "fd00:20::2:0/112"),
            node_cidrs=("172.16.16.0/21", "fd00:30:0:2::/64"),
        )

    def test_511_members_have_ranges_apart(self) -> None:
        ranges = default_ranges(request(f"c{n}", n) for n in range(1, 512))
        assert len(every(ranges)) == 511 * 6
        assert_disjoint(every(ranges))

    def test_what_a_member_declares_stays_and_the_others_keep_clear(self) -> None:
        ranges = default_ranges([request("east", 1, "10.0.0.0/14"), request("west", 2)])
        assert ranges["east"].pod_cidrs == ("10.0.0.0/14",)
        assert ranges["west"].pod_cidrs == ("10.129.0.0/17", "fd00:10:2::/48")
        assert_disjoint(every(ranges))

    def test_a_member_keeps_clear_of_its_own_other_ranges(self) -> None:
        own = RangeRequest(name="east", cluster_id=1, declared=Ranges(service_cidrs=("10.0.0.0/16",)))
        assert_disjoint(every(default_ranges([own])))

    def test_the_order_of_joining_has_no_part_in_it(self) -> None:
        requests = [request(f"c{n}", n, *(["10.0.0.0/10"] if n == 7 else [])) for n in range(1, 60)]
        assert default_ranges(requests) == default_ranges(requests[::-1])

    def test_others_that_come_or_go_leave_a_members_defaults(self) -> None:
        alone = default_ranges([request("east", 1), request("west", 2, "10.9.0.0/16")])["east"]
        among = default_ranges([request(f"c{n}", n) for n in range(2, 256)] + [request("east", 1)])["east"]
        assert alone == among

    def test_511_members_beside_a_declared_private_range_go_to_the_reserves(self) -> None:
        requests = [request(f"c{n}", n) for n in range(1, 511)]
        requests.append(
            RangeRequest(
                name="big",
                cluster_id=511,
                declared=Ranges(
                    pod_cidrs=("10.0.0.0/8", "fd00:10::/32"),
                    service_cidrs=("100.64.0.0/10",),
                    node_cidrs=("172.16.0.0/12",),
                ),
            )
        )
        ranges = default_ranges(requests)
        assert_disjoint(every(ranges))
        assert every_v4_is_private(ranges)

    def test_a_member_with_all_of_10_leaves_room_for_510_others_in_private_networks(self) -> None:
        ranges = default_ranges(
            [request("big", 511, "10.0.0.0/8"), *(request(f"c{n}", n) for n in range(1, 511))]
        )
        assert_disjoint(every(ranges))
        assert every_v4_is_private(ranges)
        assert ranges["c1"].service_cidrs[0] == "100.64.32.0/19"

    def test_what_nodes_use_is_kept_clear_of_and_their_own_range_too(self) -> None:
        used = parse_networks("west", ["10.0.128.0/24", "10.129.0.0/24", "172.16.8.0/24"])
        west = RangeRequest(name="west", cluster_id=2, used=used)
        ranges = default_ranges([request("east", 1), west])
        assert_disjoint([*every(ranges), *(ipaddress.ip_network(each.text) for each in used)])

    def test_nothing_is_left_beside_everything(self) -> None:
        with pytest.raises(RangeExhaustedError, match="default service IPv4"):
            default_ranges([request("east", 1, "0.0.0.0/0")])

    def test_a_range_that_cannot_be_read_is_refused(self) -> None:
        with pytest.raises(InvalidRangeError, match="'east'"):
            default_ranges([request("east", 1, "10.0.0.1/8")])

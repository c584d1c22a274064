"""
What is true of every set of policies, whatever it says.

Each is tried on random fleets, some of which can't show anything: nobody is selected, nothing changes. A
test counts those that do, and fails if they are few.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import attrs
from hypothesis import strategies as st

import fleetmesh as fm
from doubles.drawing import tried
from doubles.effort import examples
from doubles.fleet_histories import ENTITIES, Document, some_flows
from doubles.policy_fleets import (
    ADDRESSES,
    CLUSTERS,
    PODS,
    cilium_policies,
    cluster_policies,
    network_policies,
    population,
)
from doubles.policy_run import text_of
from doubles.policy_variants import (
    allowing,
    at_all_ports,
    by_ports,
    denying,
    is_cilium,
    isolating,
    of_everybody,
    other_end,
    other_words,
    ranged,
    relabelled,
    renamed,
    split,
    without_authentication,
    without_isolation,
)
from fleetmesh.policy.decision import Decision, Side, Statement

Mode = Literal["cilium", "strict"]
Config = tuple[tuple[str, Any], ...]
Policies = Mapping[str, Sequence[Document]]

CONFIGS: tuple[Config, ...] = (
    (),
    (),
    (("policy_enforcement", "always"), ("allow_localhost", "policy")),
    (("policy_default_local_cluster", False), ("enable_host_firewall", True)),
    (("enable_ipv6", False), ("policy_cidr_match_mode", ("nodes",))),
    (("policy_default_local_cluster", False), ("disable_non_default_deny", True)),
)
JUDGED = [
    *(f"{cluster}/{space}/{name}" for cluster in CLUSTERS for space, name, _, _ in PODS),
    *(f"host:{cluster}" for cluster in CLUSTERS),
]
FIRST = [end for end in JUDGED if CLUSTERS[0] in end]
OTHERS = [*(f"ip:{address}" for address in ADDRESSES), *(f"entity:{name}" for name in ENTITIES)]
DNS = {"api.example.com": ["203.0.113.7"], "www.example.org": ["198.51.100.7"]}
VERDICT = ("verdict",)
DECIDED = ("verdict", "enforced", "matched", "l7")
ALL = (*DECIDED, "auth", "l7_allow")


@attrs.frozen
class Fleet:
    """
    Attributes:
        one_more: A policy that is to be added in the first cluster.
        seed: Of the flows that are asked about, and of whatever else is done at random.
    """

    mode: Mode
    configs: tuple[Config, ...]
    policies: Policies
    one_more: Document
    seed: int

    def mesh(self, policies: Policies | None = None, words: Mapping[str, str] | None = None) -> fm.Mesh:
        """With these policies in the place of its own, and in other words."""
        words = words or {}
        mesh = populated(self.mode, self.configs, tuple(words.items())).fork()
        for name, documents in (policies or self.policies).items():
            mesh.members[words.get(name, name)].apply(text_of(documents))
        return mesh

    def each(self, change: Callable[[Document], Document]) -> Policies:
        return {name: [change(each) for each in found] for name, found in self.policies.items()}

    def with_more(self, mesh: fm.Mesh, document: Document) -> fm.Mesh:
        more = mesh.fork()
        more.members[CLUSTERS[0]].apply(text_of([document]))
        return more

    def flows(self) -> list[dict[str, Any]]:
        return some_flows(self.seed, [*JUDGED, *FIRST, *FIRST], OTHERS, 80)


@lru_cache(maxsize=64)
def populated(mode: Mode, configs: tuple[Config, ...], words: tuple[tuple[str, str], ...]) -> fm.Mesh:
    """A fleet without policies, which is made once."""
    mesh = fm.Mesh("fleet", mode=mode)
    known = dict(words)
    for number, (name, config) in enumerate(zip(CLUSTERS, configs, strict=True), 1):
        member = mesh.join(
            known.get(name, name), cluster_id=number, settings=fm.ClusterSettings(**dict(config))
        )
        member.apply(text_of(relabelled(each, known) for each in population(number)))
    for name, addresses in DNS.items():
        mesh.dns[name] = addresses
    return mesh


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    # Cilium has no pass beside authentication.
    asks = draw(st.booleans())

    def policy(name: str) -> Document:
        kinds = [cilium_policies(name, auth=asks)] * 3 + [network_policies(name)]
        found: Document = draw(st.one_of(kinds if asks else [*kinds, cluster_policies(name)]))
        # So that more than one speaks about a flow.
        found = of_everybody(found) if draw(st.integers(0, 2)) else found
        return found if draw(st.booleans()) else at_all_ports(found)

    return Fleet(
        draw(st.sampled_from(("cilium", "cilium", "strict"))),
        tuple(draw(st.sampled_from(CONFIGS)) for _ in CLUSTERS),
        {
            name: [policy(f"p{at}") for at in range(draw(st.integers(*bounds)))]
            for name, bounds in zip(CLUSTERS, ((3, 6), (0, 2)), strict=True)
        },
        policy("p9"),
        draw(st.integers(0, 999)),
    )


FLEETS = fleets()


def holds(check: Callable[[Fleet], bool]) -> None:
    """
    Tries it on fleets.

    Args:
        check: Says whether a fleet could have shown anything.
    """
    telling = tried(FLEETS, examples(24), check)
    assert sum(telling) >= len(telling) / 4, f"{sum(telling)} of {len(telling)} fleets show anything"


def decided(mesh: fm.Mesh, flows: Iterable[dict[str, Any]]) -> list[Decision]:
    return [
        mesh.decide(
            each["from"],
            each["to"],
            protocol=each["proto"],
            port=each["port"],
            http=each.get("http"),
            dns_query=each.get("dns_query"),
        )
        for each in flows
    ]


def sides(decision: Decision) -> list[Side]:
    return [each for each in (decision.egress, decision.ingress) if each is not None]


def said(decision: Decision, names: Sequence[str]) -> list[list[Any]]:
    return [[getattr(side, name) for name in names] for side in sides(decision)]


def words(flow: dict[str, Any], *found: Decision) -> str:
    return "\n".join([str(flow), *(str(each.explain()) for each in found)])


def check_same(
    flows: Iterable[dict[str, Any]],
    one: Iterable[Decision],
    other: Iterable[Decision],
    names: Sequence[str] = ALL,
) -> None:
    for flow, first, second in zip(flows, one, other, strict=True):
        assert said(first, names) == said(second, names), words(flow, first, second)


def speaks(policy: Document, found: Iterable[Decision]) -> bool:
    """Whether a policy has anything to say of what was decided."""
    name = policy["metadata"]["name"]
    return any(each.source.subject.endswith(f"/{name}") for each in statements(found))


def statements(found: Iterable[Decision]) -> list[Statement]:
    return [statement for each in found for side in sides(each) for statement in side.statements]


def conflicts(*meshes: fm.Mesh) -> bool:
    """Where rules can't all be carried out, that stays in force which was before, whatever that is."""
    return any(
        found.code == "policy-conflict"
        for mesh in meshes
        for member in mesh.members.values()
        for found in member.findings
    )


def test_the_order_of_policies_is_nothing() -> None:
    """Neither that in which they are applied, nor that of their names, in which Cilium takes them."""

    def check(fleet: Fleet) -> bool:
        flows = fleet.flows()
        drawn = random.Random(fleet.seed)
        other = {name: drawn.sample(renamed(each), len(each)) for name, each in fleet.policies.items()}
        found = decided(fleet.mesh(), flows)
        check_same(flows, found, decided(fleet.mesh(other), flows))
        speaking = [
            {statement.source.subject for statement in side.statements}
            for each in found
            for side in sides(each)
        ]
        return any(len(subjects) > 1 for subjects in speaking)

    holds(check)


def test_a_deny_adds_no_flow() -> None:
    """Not beside passes either: of a tier that is passed by, a deny is passed by too, and that is all."""

    def check(fleet: Fleet) -> bool:
        flows = fleet.flows()
        before = fleet.mesh()
        after = fleet.with_more(before, denying(fleet.one_more))
        if fleet.one_more["kind"] == "NetworkPolicy" or conflicts(before, after):
            return False
        found = decided(after, flows)
        check_none_the_freer(flows, found, decided(before, flows))
        return speaks(fleet.one_more, found)

    holds(check)


def check_none_the_freer(
    flows: Iterable[dict[str, Any]], these: Iterable[Decision], those: Iterable[Decision]
) -> None:
    """No side lets through what it refuses in the other mesh."""
    for flow, one, other in zip(flows, these, those, strict=True):
        for this, that in zip(sides(one), sides(other), strict=True):
            assert this.verdict == "deny" or that.verdict != "deny", words(flow, one, other)


def test_an_allow_removes_no_flow_of_who_is_isolated() -> None:
    """
    In sets without denies and passes. Of who is not isolated an allow would isolate it, which is what
    policies are for; so all are isolated here beforehand.
    """

    def check(fleet: Fleet) -> bool:
        flows = fleet.flows()
        base = {name: [*isolating(), *map(allowing, found)] for name, found in fleet.policies.items()}
        before = fleet.mesh(base)
        added = allowing(fleet.one_more)
        after = fleet.with_more(before, added)
        if conflicts(before, after):
            return False
        found = decided(after, flows)
        check_none_the_freer(flows, decided(before, flows), found)
        return speaks(added, found)

    holds(check)


def test_an_allow_that_isolates_nobody_removes_no_flow() -> None:
    """
    In sets without denies and passes, where `enableDefaultDeny` says so and is honoured, or for
    ClusterNetworkPolicy, which never isolates.
    """

    def check(fleet: Fleet) -> bool:
        flows = fleet.flows()
        before = fleet.mesh(fleet.each(allowing))
        added = allowing(fleet.one_more)
        if is_cilium(added):
            added = without_isolation(added)
        after = fleet.with_more(before, added)
        honoured = ("disable_non_default_deny", True) not in fleet.configs[0]
        if added["kind"] == "NetworkPolicy" or not honoured or conflicts(before, after):
            return False
        found = decided(after, flows)
        check_none_the_freer(flows, decided(before, flows), found)
        return speaks(added, found)

    holds(check)


def test_a_policy_of_one_cluster_changes_no_verdict_of_another() -> None:
    """
    Nor anything else that the other says. Left out is `policy_cidr_match_mode: pods` in mode `cilium`,
    where the networks of a cluster's policies become labels of its pods' identities, which others see
    (pkg/endpoint computeCIDRLabelsRLocked).
    """

    def check(fleet: Fleet) -> bool:
        flows = fleet.flows()
        before = fleet.mesh()
        after = fleet.with_more(before, fleet.one_more)
        here = False
        for flow, one, other in zip(flows, decided(before, flows), decided(after, flows), strict=True):
            for end, first, second in (
                (flow["from"], one.egress, other.egress),
                (flow["to"], one.ingress, other.ingress),
            ):
                if CLUSTERS[0] in end:
                    here |= first != second
                else:
                    assert first == second, words(flow, one, other)
        return here

    holds(check)


@attrs.frozen
class Splits:
    """Whether two parts of each range of ports are the range."""

    names: Sequence[str]
    before: Callable[[Document], Document] = attrs.field(default=lambda document: document)

    def __call__(self, fleet: Fleet) -> bool:
        flows = fleet.flows()
        drawn = random.Random(fleet.seed)
        whole = fleet.each(lambda document: ranged(by_ports(self.before(document)), drawn))
        halves = {name: [split(each, drawn) for each in found] for name, found in whole.items()}
        one, other = fleet.mesh(whole), fleet.mesh(halves)
        # A half may be just what another rule says, with which it then can't be carried out.
        if conflicts(one, other):
            return False
        found = decided(one, flows)
        check_same(flows, found, decided(other, flows), self.names)
        return any("-" in each.ports for each in statements(found) if each.decides)


def test_two_parts_of_a_range_of_ports_are_the_range() -> None:
    """
    In what is decided on connections. HTTP rules with a plain rule for the very same ports beside them are
    open, so that what becomes of a request may change.
    """
    holds(Splits((*DECIDED, "auth"), without_authentication))


def test_two_parts_of_a_range_of_ports_are_the_range_but_for_authentication() -> None:
    """Which hangs on the lengths of the prefixes that ranges are cut into (mapState.lookup)."""
    holds(Splits(DECIDED))


def test_other_words_for_labels_and_names_change_nothing() -> None:
    """Where they are the same everywhere: in pods, namespaces, groups, nodes, Services and policies."""

    def check(fleet: Fleet) -> bool:
        flows = fleet.flows()
        words = other_words(random.Random(fleet.seed))
        renamed_flows = [
            each | {"from": other_end(each["from"], words), "to": other_end(each["to"], words)}
            for each in flows
        ]
        found = decided(fleet.mesh(), flows)
        other = fleet.mesh(fleet.each(lambda document: relabelled(document, words)), words)
        check_same(flows, found, decided(other, renamed_flows))
        return any(side.enforced and side.matched for each in found for side in sides(each))

    holds(check)

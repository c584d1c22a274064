"""
The answers of a snapshot, from the selection on each of a viewer's nodes.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TypeAlias

import attrs

from doubles.facts import ACTIVE, TERMINATING, Facts, FrontendSpec, Key, Member, Row, ServiceSpec
from doubles.preference import compiled, outranked
from doubles.selection import (
    TableRow,
    backend_table,
    claim_of,
    exposed,
    frontend_order,
    frontends_on,
    judge,
    local_row,
    local_table,
    refused_claims,
    remote_row,
    remote_table,
    slots,
    viewer_nodes,
)

Backend: TypeAlias = tuple[int, str, int, int, tuple[str, ...], int, int, tuple[str, ...]]
Frontend: TypeAlias = tuple[int, bool, str, int, int, str, list[Backend], int]
Candidate: TypeAlias = tuple[int, Backend, str, str]


@attrs.define
class Selection:
    """A frontend with what each node selects: node -> (backends in order, how many are in use)."""

    on: dict[str, tuple[list[TableRow], int]] = attrs.field(factory=dict)

    def users(self, row: TableRow) -> list[str]:
        return [node for node, (rows, used) in self.on.items() if row in rows[:used]]

    def ordered(self) -> tuple[list[TableRow], int]:
        if len(self.on) == 1:
            return next(iter(self.on.values()))
        rows = {row for selected, _ in self.on.values() for row in selected}
        in_order, _ = slots(rows)
        used = [row for row in in_order if self.users(row)]
        return used + [row for row in in_order if not self.users(row)], len(used)


def nodes_asked(facts: Facts, viewer: int, key: Key, node: str | None) -> list[str]:
    return viewer_nodes(facts, viewer, key) if node is None else [node]


def selections(facts: Facts, viewer: int, key: Key, node: str | None) -> dict[FrontendSpec, Selection]:
    member = facts.members[viewer]
    spec = member.spec(key)
    found: dict[FrontendSpec, Selection] = {}
    table = backend_table(facts, viewer, key)
    for name in nodes_asked(facts, viewer, key, node):
        for frontend in frontends_on(member, key, name, facts.strict):
            assert spec is not None
            rules = judge(table, frontend, spec, member, name, facts.strict, names_of(facts))
            found.setdefault(frontend, Selection()).on[name] = slots(row for row in table if not rules[row])
    return {frontend: found[frontend] for frontend in sorted(found, key=frontend_order)}


def names_of(facts: Facts) -> dict[int, str]:
    return {cluster: member.name for cluster, member in facts.members.items()}


def as_backend(row: TableRow, nodes: tuple[str, ...] = (), weight: int | None = None) -> Backend:
    weight = row.weight if weight is None else weight
    return (row.cluster, row.address, row.port, row.protocol, row.names, row.state, weight, nodes)


def frontends(facts: Facts, viewer: int, key: Key, node: str | None) -> list[Frontend]:
    out: list[Frontend] = []
    spec = facts.members[viewer].spec(key)
    for frontend, selection in selections(facts, viewer, key, node).items():
        assert spec is not None
        rows, used = selection.ordered()
        weights = compiled(rows[:used], spec, names_of(facts))
        backends = []
        for row, weight in zip_longest(rows, weights):
            users = selection.users(row)
            everywhere = len(users) == len(selection.on)
            nodes = () if everywhere or node is not None else tuple(users)
            backends.append(as_backend(row, nodes, weight))
        out.append((*frontend, backends, used))
    return out


def candidates(facts: Facts, viewer: int, key: Key, node: str | None) -> list[Candidate]:
    """Every row of every member, for every frontend of the viewer's Service (or for none, if it has none)."""
    member = facts.members[viewer]
    spec = member.spec(key)
    rows = [
        (shown, dropped(facts, viewer, publisher, key, row, shown))
        for publisher, there in sorted(facts.members.items())
        for row in there.slice_rows(key, facts.strict)
        for shown in [
            local_row(publisher, row) if publisher == viewer else remote_row(publisher, row, facts.strict)
        ]
    ]
    if spec is None or spec.headless or not spec.frontends:
        why = "no-service" if spec is None else "headless"
        return [(-1, as_backend(shown), out[0] or why, out[1]) for shown, out in rows]
    found = selections(facts, viewer, key, node)
    told: list[Candidate] = []
    for index, (frontend, selection) in enumerate(found.items()):
        for shown, (rule, detail) in rows:
            if not rule:
                told.append(
                    (index, as_backend(shown), *verdict(facts, viewer, key, shown, frontend, selection))
                )
            else:
                told.append((index, as_backend(shown), rule, detail))
    for frontend in spec.frontends:
        if frontend not in found:
            why, other = absence(facts, viewer, key, frontend, nodes_asked(facts, viewer, key, node))
            told += [(-1, as_backend(shown), *(out if out[0] else (why, other))) for shown, out in rows]
    return told


def absence(facts: Facts, viewer: int, key: Key, frontend: FrontendSpec, asked: list[str]) -> tuple[str, str]:
    """Why a frontend exists on none of the nodes."""
    member = facts.members[viewer]
    spec = member.spec(key)
    assert spec is not None
    why, other = "node-exposure", ""
    for node in asked:
        if exposed(spec, node):
            lost = refused_claims(member, node, facts.strict)[key]
            rival = lost.get(claim_of(frontend), min(lost.values()))
            why, other = "frontend-conflict", "/".join(rival)
    return why, other


def dropped(
    facts: Facts, viewer: int, publisher: int, key: Key, row: Row, shown: TableRow
) -> tuple[str, str]:
    """Why a row is not in the viewer's table, whatever the frontend; the rule is "" if it is."""
    there = facts.members[publisher]
    if publisher == viewer:
        hidden = there.hidden_at_home(row)
        winner = None if hidden else there.home_rows(key, facts.strict)[row.socket]
        if winner is not None and winner.slice != row.slice:
            return "slice-overlap", winner.slice
        return hidden, ""
    rule = withheld(facts.members[viewer], publisher, there.spec(key), row)
    if rule:
        return rule, ""
    taken = there.export_entries(key, facts.strict)[row.address][0]
    if taken.slice != row.slice:
        return "slice-overlap", taken.slice
    if row.socket in local_table(facts, viewer, key):
        return "hidden-by-local", ""
    owner = remote_table(facts, viewer, key)[row.socket].cluster
    return ("shared-row", facts.members[owner].name) if owner != publisher else ("", "")


def withheld(viewer: Member, publisher: int, spec: ServiceSpec | None, row: Row) -> str:
    """Why a row of another member does not reach the viewer."""
    if publisher not in viewer.hears:
        return "not-heard"
    if spec is None:
        return "no-service"
    if not spec.is_global:
        return "publisher-not-global"
    if not spec.shared:
        return "publisher-not-shared"
    if not spec.namespace_global:
        return "namespace-not-global"
    if not spec.record_valid:
        return "record-refused"
    return "" if row.exportable else "not-exported"


def verdict(
    facts: Facts, viewer: int, key: Key, shown: TableRow, frontend: FrontendSpec, selection: Selection
) -> tuple[str, str]:
    if selection.users(shown):
        return "in-use", ""
    if any(shown in rows for rows, _ in selection.on.values()):
        return "selected", ""
    member = facts.members[viewer]
    spec = member.spec(key)
    assert spec is not None
    node = next(iter(selection.on))
    table = backend_table(facts, viewer, key)
    rules = judge(table, frontend, spec, member, node, facts.strict, names_of(facts))
    rule = rules[shown]
    if rule == "port-name":
        return rule, ",".join(shown.names)
    # Those that only preference between clusters took out were there for affinity.
    by_preference = ("", "preferred-cluster", "cluster-weights")
    after_affinity = [row for row in table if rules[row] in by_preference]
    if rule in by_preference:
        return rule, outranked(after_affinity, spec, names_of(facts))[2]
    if rule.startswith(("affinity", "min-local")):
        preferred = [row for row in after_affinity if row.remote == (rule == "affinity-remote")]
        counted = (ACTIVE,) if rule != "affinity-remote" or facts.strict else (ACTIVE, TERMINATING)
        return rule, str(sum(row.state in counted for row in preferred))
    return rule, ""


def own_rows(member: Member, key: Key, strict: bool) -> list[Row]:
    """What the member's slices give, also what does not count."""
    rows = member.slice_rows(key, strict)
    return sorted(rows, key=lambda row: (row.slice, row.address, row.port, row.protocol))

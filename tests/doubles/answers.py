"""
The answers of a snapshot, from the selection on each of a viewer's nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from doubles.selection import (
    TableRow,
    backend_table,
    frontend_order,
    frontends_on,
    judge,
    local_row,
    local_table,
    remote_row,
    remote_table,
    slots,
    viewer_nodes,
)

if TYPE_CHECKING:
    from doubles.facts import Facts, FrontendSpec, Key, Member, Row

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
        for frontend in frontends_on(member, key, name, facts.strict)[0]:
            assert spec is not None
            rules = judge(table, frontend, spec, member, name, facts.strict)
            found.setdefault(frontend, Selection()).on[name] = slots(row for row in table if not rules[row])
    return {frontend: found[frontend] for frontend in sorted(found, key=frontend_order)}


def as_backend(row: TableRow, nodes: tuple[str, ...] = ()) -> Backend:
    return (row.cluster, row.address, row.port, row.protocol, row.names, row.state, row.weight, nodes)


def frontends(facts: Facts, viewer: int, key: Key, node: str | None) -> list[Frontend]:
    asked = nodes_asked(facts, viewer, key, node)
    out: list[Frontend] = []
    for frontend, selection in selections(facts, viewer, key, node).items():
        rows, used = selection.ordered()
        backends = []
        for row in rows:
            users = selection.users(row)
            backends.append(as_backend(row, tuple(users) if 0 < len(users) < len(asked) else ()))
        out.append((*frontend, backends, used))
    return out


def candidates(facts: Facts, viewer: int, key: Key, node: str | None) -> list[Candidate]:
    """Every row of every member, for every frontend; the rules are tried in the order of their list."""
    found = selections(facts, viewer, key, node)
    out: list[Candidate] = []
    for publisher, member in sorted(facts.members.items()):
        for row in member.slice_rows(key, facts.strict):
            here = publisher == viewer
            shown = local_row(publisher, row) if here else remote_row(publisher, row, facts.strict)
            out += [
                (index, as_backend(shown), rule, detail)
                for index, rule, detail in verdicts(facts, viewer, publisher, key, node, row, shown, found)
            ]
    return out


def verdicts(
    facts: Facts,
    viewer: int,
    publisher: int,
    key: Key,
    node: str | None,
    row: Row,
    shown: TableRow,
    found: dict[FrontendSpec, Selection],
) -> list[tuple[int, str, str]]:
    member = facts.members[viewer]
    asked = nodes_asked(facts, viewer, key, node)
    if not found:
        _, rule, detail = frontends_on(member, key, asked[0], facts.strict)
        return [(-1, rule, detail)]
    unheard = withheld(facts, viewer, publisher, key, row)
    if unheard:
        return [(index, unheard, "") for index in range(len(found))]
    table = backend_table(facts, viewer, key)
    spec = member.spec(key)
    assert spec is not None
    out = []
    for index, (frontend, selection) in enumerate(found.items()):
        out.append((index, *verdict(facts, viewer, publisher, key, row, shown, frontend, selection, table)))
    return out


def withheld(facts: Facts, viewer: int, publisher: int, key: Key, row: Row) -> str:
    """Why a row is not even a candidate in the viewer's table, whatever the frontend."""
    there, here = facts.members[publisher], facts.members[viewer]
    if publisher == viewer:
        return there.hidden_at_home(row)
    spec = there.spec(key)
    if spec is None:
        return "no-service"
    if publisher not in here.hears:
        return "not-heard"
    if not spec.is_global:
        return "publisher-not-global"
    if not spec.shared:
        return "publisher-not-shared"
    if not spec.namespace_global:
        return "namespace-not-global"
    if not row.exportable:
        return "not-exported"
    if not spec.record_valid:
        return "record-refused"
    viewed = here.spec(key)
    assert viewed is not None
    return "" if viewed.is_global else "viewer-not-global"


def verdict(
    facts: Facts,
    viewer: int,
    publisher: int,
    key: Key,
    row: Row,
    shown: TableRow,
    frontend: FrontendSpec,
    selection: Selection,
    table: list[TableRow],
) -> tuple[str, str]:
    member = facts.members[viewer]
    spec = member.spec(key)
    assert spec is not None
    node = next(iter(selection.on))
    alone = judge([shown], frontend, spec, member, node, facts.strict)[shown]
    if alone in ("family", "protocol"):
        return alone, ""
    if alone == "port-name":
        return alone, ",".join(shown.names)
    if publisher == viewer:
        winner = facts.members[viewer].home_rows(key, facts.strict)[row.socket]
        if winner.slice != row.slice:
            return "slice-overlap", winner.slice
    else:
        if row.socket in local_table(facts, viewer, key):
            return "hidden-by-local", ""
        taken = facts.members[publisher].export_entries(key, facts.strict)[row.address][0]
        if taken.slice != row.slice:
            return "slice-overlap", taken.slice
        owner = remote_table(facts, viewer, key)[row.socket]
        if owner.cluster != publisher:
            return "shared-row", facts.members[owner.cluster].name
    if selection.users(shown):
        return "in-use", ""
    if any(shown in rows for rows, _ in selection.on.values()):
        return "selected", ""
    rule = judge(table, frontend, spec, member, node, facts.strict)[shown]
    return rule, preferred(selection, node) if rule.startswith("affinity") else ""


def preferred(selection: Selection, node: str) -> str:
    """How many backends of the preferred side keep the other one out."""
    return str(len(selection.on[node][0]))


def own_rows(member: Member, key: Key, strict: bool) -> list[Row]:
    rows = member.home_rows(key, strict).values()
    return sorted(rows, key=lambda row: (row.slice, row.address, row.port, row.protocol))

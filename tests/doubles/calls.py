"""
Random sequences of the core's calls, rich in collisions: few members, services, addresses, nodes and zones.

A call is a value (the name of a method of `Transaction` and its arguments), so that one sequence can drive
several cores; `Driver` leaves out the calls that its mesh refuses, such as a second join.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from hypothesis import strategies as st

from doubles.core import ServiceSpec
from doubles.facts import ACTIVE, MAINTENANCE, TERMINATING, TERMINATING_NOT_SERVING

MEMBERS = (1, 2, 3, 200)
SERVICES = (("n", "a"), ("n", "b"), ("m", "a"))
CLUSTERS = ("c1", "c2", "c3", "nobody")
NODES = ("x", "y")
ASKED = (None, "x", "y", "ghost")
ZONES = ("", "z1", "z2")
SLICES = ("s1", "s2", "s3")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2", "192.192.192.192", "no address")
FRONTEND_ADDRESSES = ("10.100.0.1", "10.100.0.2", "fd00:100::1", "0.0.0.0")
PORT_NAMES = ("", "p", "q")
TCP, UDP = 6, 17


@attrs.frozen
class Call:
    method: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any] = attrs.field(factory=dict)


members = st.sampled_from(MEMBERS)
services = st.sampled_from(SERVICES)
protocols = st.sampled_from((TCP, TCP, TCP, UDP))
mostly = st.sampled_from((True, True, True, True, False))
seldom = st.sampled_from((False, False, False, False, True))

frontends: st.SearchStrategy[list[Any]] = st.lists(
    st.tuples(
        st.sampled_from((0, 0, 1, 2, 3)),
        seldom,
        st.sampled_from(FRONTEND_ADDRESSES),
        st.sampled_from((80, 81)),
        protocols,
        st.sampled_from(PORT_NAMES),
    ),
    max_size=4,
    unique_by=lambda frontend: frontend[1:5],
)


shares = st.lists(
    st.tuples(st.sampled_from(CLUSTERS), st.sampled_from((0, 1, 3, 80, 65535))),
    max_size=3,
    unique_by=lambda share: share[0],
)


@st.composite
def specs(draw: st.DrawFn) -> ServiceSpec:
    headless, internal_local = draw(seldom), draw(seldom)
    return ServiceSpec(
        is_global=draw(mostly),
        shared=draw(mostly),
        namespace_global=draw(mostly),
        affinity=draw(st.sampled_from((0, 0, 1, 2))),
        headless=headless,
        record_valid=draw(mostly),
        internal_local=internal_local,
        external_local=draw(seldom),
        distribution=0 if internal_local else draw(st.sampled_from((0, 0, 1, 2))),
        frontends=() if headless else draw(frontends),
        exposed_on=draw(st.sampled_from((None, None, None, (), ("x",), ("x", "y")))),
        record_digest=draw(st.integers(0, 2)),
        created=draw(st.sampled_from(("", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"))),
        prefer_clusters=draw(st.sampled_from(((), (), (), ("c1",), ("c2", "c1"), ("nobody", "c3")))),
        cluster_weights=draw(shares),
        min_local_backends=draw(st.sampled_from((1, 1, 2, 3))),
    )


endpoints = st.lists(
    st.tuples(
        st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=2),
        st.sampled_from((3, 3, 3, 7, 0, 2, 4, 6, 1)),
        st.sampled_from(("", *NODES)),
        st.sampled_from(("", "h")),
        st.sampled_from(ZONES),
        st.lists(st.sampled_from(("z1", "z2")), max_size=2, unique=True),
    ),
    max_size=4,
)
ports = st.lists(
    st.tuples(st.sampled_from(PORT_NAMES), protocols, st.sampled_from((80, 81, 9999))),
    max_size=3,
    unique=True,
)


@st.composite
def loads(draw: st.DrawFn) -> Call:
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, len(SERVICES) - 1),
                members,
                st.integers(0x0A000001, 0x0A000004),
                st.sampled_from((80, 81)),
                protocols,
                st.sampled_from((ACTIVE, ACTIVE, TERMINATING, TERMINATING_NOT_SERVING, MAINTENANCE)),
                seldom,
            ),
            min_size=1,
            max_size=5,
            unique_by=lambda row: row[:5],
        )
    )
    columns = list(zip(*rows, strict=True))
    kinds = (np.uint32, np.uint16, np.uint32, np.uint16, np.uint8, np.uint8, np.bool_)
    names = ("service", "cluster", "address", "port", "protocol", "state", "remove")
    given: dict[str, Any] = {
        name: np.array(column, kind) for name, column, kind in zip(names, columns, kinds, strict=True)
    }
    return Call("load", (SERVICES,), given)


KINDS = (
    *("join", "leave", "hear", "hear", "set_node", "remove_node", "remove_service", "remove_slice", "load"),
    *("set_service",) * 6,
    *("set_slice",) * 6,
)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    kind, member, service = draw(st.sampled_from(KINDS)), draw(members), draw(services)
    if kind == "load":
        return draw(loads())
    if kind == "join":
        return joining(member, enable_ipv6=draw(mostly), service_topology=draw(mostly))
    given: tuple[Any, ...] = service
    if kind == "leave":
        given = ()
    elif kind == "hear":
        given = (draw(st.lists(members, unique=True)),)
    elif kind == "set_node":
        given = (draw(st.sampled_from(NODES)), draw(st.sampled_from(ZONES)))
    elif kind == "remove_node":
        given = (draw(st.sampled_from(NODES)),)
    elif kind == "set_service":
        given = (*service, draw(specs()))
    elif kind == "set_slice":
        weight = draw(st.sampled_from((100, 100, 100, 50, 0)))
        given = (*service, draw(st.sampled_from(SLICES)), draw(endpoints), draw(ports), weight)
    elif kind == "remove_slice":
        given = (*service, draw(st.sampled_from(SLICES)))
    return Call(kind, (member, *given))


def joining(member: int, *, enable_ipv6: bool = True, service_topology: bool = True) -> Call:
    flags = {"enable_ipv6": enable_ipv6, "service_topology": service_topology}
    return Call("join", (member, f"c{member}"), flags)


MESH = [
    [joining(member) for member in MEMBERS],
    [Call("hear", (member, list(MEMBERS))) for member in MEMBERS],
]


@st.composite
def histories(draw: st.DrawFn) -> list[list[Call]]:
    """Transactions, each a list of calls; mostly on a mesh that already is complete."""
    start = draw(st.sampled_from((MESH, MESH, MESH, [])))
    return start + draw(st.lists(st.lists(calls(), min_size=1, max_size=4), min_size=1, max_size=10))


class Driver:
    """Makes calls on a core of either kind."""

    def __init__(self, core: Any, spec: Any, joined: set[int] | None = None) -> None:
        self.core, self._spec = core, spec
        self.joined = set() if joined is None else joined

    def fork(self) -> Driver:
        return Driver(self.core.fork(), self._spec, set(self.joined))

    def commit(self, transaction: list[Call]) -> Any:
        """One transaction; the delta."""
        open_ = self.core.begin()
        for call in transaction:
            fitting = self._fitting(call)
            if fitting is not None:
                getattr(open_, call.method)(*fitting.arguments, **fitting.keywords)
        return open_.commit()

    def _fitting(self, call: Call) -> Call | None:
        """The call as this mesh takes it, `None` if it does not."""
        if call.method == "load":
            there = np.isin(call.keywords["cluster"], sorted(self.joined))
            kept = {name: column[there] for name, column in call.keywords.items()}
            return Call("load", call.arguments, kept) if there.any() else None
        member, *rest = call.arguments
        if (member in self.joined) == (call.method == "join"):
            return None
        if call.method == "join":
            self.joined.add(member)
        elif call.method == "leave":
            self.joined.discard(member)
        elif call.method == "hear":
            return Call("hear", (member, [other for other in rest[0] if other in self.joined]))
        elif call.method == "set_service":
            spec = self._spec(**attrs.asdict(rest[-1], recurse=False))
            return Call(call.method, (member, *rest[:-1], spec))
        return call

"""
What turned, put together so that a person can read it: what has one cause is one change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import attrs
import numpy as np

from fleetmesh.mesh.deciding import Deciding
from fleetmesh.mesh.impact.changes import Because, FlowChange, FlowChanges, StateName
from fleetmesh.mesh.impact.kinds import Kind
from fleetmesh.mesh.impact.ports import Ports, telling_port, union
from fleetmesh.mesh.impact.responsible import because, because_of_ends
from fleetmesh.mesh.impact.rows import Rows, Subject, pair_of
from fleetmesh.mesh.impact.turns import Turn
from fleetmesh.policy.decision import FlowVerdict
from fleetmesh.policy.judge import Flow
from fleetmesh.policy.rule import PROTOCOL_NUMBERS, Direction, Source


@attrs.frozen
class _Cause:
    """
    What changes have in common that are one.

    Attributes:
        without_rule: The reason, where it is no rule.
        moving: Whether the source and the destination come or go.
    """

    before: FlowVerdict | None
    after: FlowVerdict | None
    direction: Direction | None
    rule: Source | None
    state: StateName
    without_rule: str = ""
    moving: tuple[bool, bool] = (False, False)


@attrs.frozen
class _Part:
    """
    Attributes:
        direction: Which of the two the subjects are, as of `Subject`.
        subjects: Places of kinds.
        peers: Likewise, as bits.
        because: `None` where ends come or go.
    """

    direction: Direction
    subjects: frozenset[int]
    peers: int
    ports: tuple[Ports, ...]
    cause: _Cause
    witness: tuple[str, str]
    asked: tuple[str, int]
    because: Because | None


_Key: TypeAlias = Callable[[_Part], object]
_Merge: TypeAlias = Callable[[_Part, _Part], _Part]


def report(rows: Rows, before: Deciding, after: Deciding) -> FlowChanges:
    """What rows have found."""
    kinds = rows.kinds
    parts: Iterable[_Part] = _parts(rows, before, after)
    parts = _merged(
        parts,
        lambda each: (each.direction, each.subjects, each.peers, each.cause),
        lambda one, other: attrs.evolve(one, ports=union(one.ports, other.ports)),
    )
    parts = _merged(
        parts,
        lambda each: (each.direction, each.subjects, each.ports, each.cause),
        lambda one, other: attrs.evolve(one, peers=one.peers | other.peers),
    )
    # One end alone is no peer of its own, so that it makes no difference whether it is among its peers.
    for with_itself in (True, False):
        parts = _merged(
            parts,
            partial(_for_peers, kinds=kinds, with_itself=with_itself),
            lambda one, other: attrs.evolve(
                one, subjects=one.subjects | other.subjects, peers=one.peers | other.peers
            ),
        )
    gained, lost, changed = [], [], []
    for part in parts:
        each = _change(part, kinds, before, after)
        if each.after in (None, "deny"):
            lost.append(each)
        elif each.before in (None, "deny"):
            gained.append(each)
        else:
            changed.append(each)
    return FlowChanges(*(tuple(sorted(found, key=_rank)) for found in (gained, lost, changed)))


def _rank(change: FlowChange) -> tuple[bool, bool, int, tuple[str, str]]:
    world = any(all(each.kind == "world" for each in ends) for ends in (change.sources, change.destinations))
    return (not change.turned, not world, -change.pairs, change.witness)


def _merged(parts: Iterable[_Part], key: _Key, merge: _Merge) -> Iterable[_Part]:
    found: dict[object, _Part] = {}
    for part in parts:
        at = key(part)
        found[at] = merge(found[at], part) if at in found else part
    return found.values()


def _for_peers(part: _Part, kinds: Sequence[Kind], *, with_itself: bool) -> object:
    peers = part.peers
    if with_itself:
        for each in part.subjects:
            if len(kinds[each].ends.members) == 1:
                peers |= 1 << each
    return part.direction, peers, part.ports, part.cause


def _parts(rows: Rows, before: Deciding, after: Deciding) -> Iterator[_Part]:
    """Pods first, since the first of what is put together is the witness."""
    moving = _bits(place for place, kind in enumerate(rows.kinds) if kind.moves)
    pods = _bits(place for place, kind in enumerate(rows.kinds) if kind.ends.kind == "pods")
    for subject in sorted(rows.found, key=lambda each: (not pods >> each.place & 1, each.place)):
        for (turn, ports), peers in rows.found[subject].items():
            for some in (peers & moving, peers & ~moving):
                if some:
                    first = _first(some & pods or some)
                    yield _part(rows.kinds, subject, turn, ports, some, first, before, after)


def _part(
    kinds: Sequence[Kind],
    subject: Subject,
    turn: Turn,
    ports: tuple[Ports, ...],
    peers: int,
    first: int,
    before: Deciding,
    after: Deciding,
) -> _Part:
    own, peer = kinds[subject.place], kinds[first]
    source, destination = (own, peer) if subject.direction == "egress" else (peer, own)
    witness = pair_of(source, destination)
    assert witness is not None, "somebody was asked about"
    protocol, port = telling_port(ports)
    why = None
    if turn.direction is not None:
        flow = Flow(PROTOCOL_NUMBERS[protocol.upper()], port)
        why = because(before, after, *witness, flow)
        reason = why.text if why.rule is None else ""
        cause = _Cause(turn.before, turn.after, turn.direction, why.rule, why.state, reason)
    else:
        moving = (source.moves, destination.moves)
        state: StateName = "after" if turn.before is None else "before"
        cause = _Cause(turn.before, turn.after, None, None, state, moving=moving)
    return _Part(
        subject.direction,
        frozenset({subject.place}),
        peers,
        ports,
        cause,
        witness,
        (protocol, port),
        why,
    )


def _bits(places: Iterable[int]) -> int:
    return sum(1 << place for place in places)


def _first(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


def _places(bits: int) -> Iterator[int]:
    data = np.frombuffer(bits.to_bytes(bits.bit_length() // 8 + 1, "little"), np.uint8)
    yield from np.flatnonzero(np.unpackbits(data, bitorder="little")).tolist()


def _change(part: _Part, kinds: Sequence[Kind], before: Deciding, after: Deciding) -> FlowChange:
    these, those = part.subjects, frozenset(_places(part.peers))
    subjects, peers = _others(these, those, kinds), _others(those, these, kinds)
    sources, destinations = (subjects, peers) if part.direction == "egress" else (peers, subjects)
    pairs = sum(len(kinds[each].ends.members) for each in sources) * sum(
        len(kinds[each].ends.members) for each in destinations
    )
    pairs -= sum(len(kinds[each].ends.members) for each in {*sources} & {*destinations})
    protocol, port = part.asked
    why = part.because
    if why is None:
        moving = zip((sources, destinations), part.cause.moving, strict=True)
        ends = [kinds[each].ends.members[0] for side, moves in moving if moves for each in side]
        there, other = (after, before) if part.cause.state == "after" else (before, after)
        decision = there.decide(*part.witness, Flow(PROTOCOL_NUMBERS[protocol.upper()], port))
        why = because_of_ends(ends, part.cause.state, decision, other.view.members)
    return FlowChange(
        tuple(kinds[each].ends for each in sources),
        tuple(kinds[each].ends for each in destinations),
        part.ports,
        part.cause.before,
        part.cause.after,
        pairs,
        part.witness,
        protocol,
        port,
        why,
    )


def _others(these: frozenset[int], those: frozenset[int], kinds: Sequence[Kind]) -> list[int]:
    """In order; without the one end that is alone on the other side, as it is no pair with itself."""
    alone = next(iter(those)) if len(those) == 1 else -1
    if alone in these and len(these) > 1 and len(kinds[alone].ends.members) == 1:
        these -= {alone}
    return sorted(these)

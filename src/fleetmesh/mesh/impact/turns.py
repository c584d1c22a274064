"""
Where what both sides say comes to another verdict in another state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import attrs

from fleetmesh.mesh.impact.ports import Ports, as_ports
from fleetmesh.mesh.impact.verdicts import PROTOCOLS, Said, Verdicts
from fleetmesh.policy.decision import FlowVerdict, worst
from fleetmesh.policy.rule import Direction, Source

_END = max(PROTOCOLS) + 1 << 16


@attrs.frozen
class Turn:
    """
    Attributes:
        before, after: The verdict; `None` where one of the ends is not there.
        direction: The side that makes it another; `None` where an end came or went.
        rule_before, rule_after: What that side goes by, the first rule if there is one.
    """

    before: FlowVerdict | None
    after: FlowVerdict | None
    direction: Direction | None = None
    rule_before: Source | None = None
    rule_after: Source | None = None


Sides: TypeAlias = tuple[Verdicts, Verdicts]
"""What egress and ingress say."""

_PLACES: tuple[tuple[Direction, int], ...] = (("ingress", 1), ("egress", 0))


def turns(before: Sides | None, after: Sides | None) -> dict[Turn, tuple[Ports, ...]]:
    """At which ports which verdict turns; to refuse is no other than not to be there."""
    found: dict[Turn, list[tuple[int, int]]] = {}
    lists = [*(before or ()), *(after or ())]
    for start, end, at in _beside(lists):
        said = [each[place][1] for each, place in zip(lists, at, strict=True)]
        had = said[:2] if before is not None else None
        has = said[-2:] if after is not None else None
        turn = _turn(had, has)
        if turn is not None:
            found.setdefault(turn, []).append((start, end))
    return {turn: spans for turn, keys in found.items() if (spans := tuple(as_ports(keys, PROTOCOLS)))}


def _turn(had: Sequence[Said] | None, has: Sequence[Said] | None) -> Turn | None:
    before = None if had is None else worst([each for each, _ in had])
    after = None if has is None else worst([each for each, _ in has])
    if before == after or {before, after} <= {None, "deny"}:
        return None
    if had is None or has is None:
        return Turn(before, after)
    for direction, at in _PLACES:
        (one, rule_before), (other, rule_after) = had[at], has[at]
        if one != other and ("deny" in (one, other)) == ("deny" in (before, after)):
            return Turn(before, after, direction, rule_before, rule_after)
    raise AssertionError("the verdicts are the same")


def _beside(lists: Sequence[Verdicts]) -> Iterator[tuple[int, int, list[int]]]:
    """From where to where (exclusive) which places of all lists hold."""
    at = [0] * len(lists)
    start = 0
    while start < _END:
        nexts = [
            each[place + 1][0] if place + 1 < len(each) else _END
            for each, place in zip(lists, at, strict=True)
        ]
        end = min(nexts, default=_END)
        yield start, end, at
        at = [place + (one == end) for place, one in zip(at, nexts, strict=True)]
        start = end

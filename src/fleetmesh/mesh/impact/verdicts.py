"""
What the two sides of a connection say at every port, in one state of a mesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import attrs

from fleetmesh.mesh.impact.ports import LIMITS
from fleetmesh.policy.decision import FlowVerdict
from fleetmesh.policy.judge import PolicyJudge
from fleetmesh.policy.labels import LabelSet
from fleetmesh.policy.registry import Identity
from fleetmesh.policy.rule import PROTOCOL_NUMBERS, Direction, Source

if TYPE_CHECKING:
    from fleetmesh.mesh.deciding import Deciding

Said: TypeAlias = tuple[FlowVerdict, Source | None]
"""A verdict, and the first of the rules behind it."""

Verdicts: TypeAlias = tuple[tuple[int, Said], ...]
"""From which protocol and port on (protocol << 16 | port) what is said, in ascending order."""

OPEN: Verdicts = ((0, ("allow", None)),)
PROTOCOLS: Mapping[int, str] = {PROTOCOL_NUMBERS[name.upper()]: name for name in LIMITS}


@attrs.define(eq=False)
class Lists:
    """Keeps equal lists of what is said once, so that they can be told by their ids."""

    _known: dict[Verdicts, Verdicts] = attrs.field(factory=dict)

    def kept(self, verdicts: Verdicts) -> Verdicts:
        return self._known.setdefault(verdicts, verdicts)


@attrs.define(eq=False)
class Judgements:
    """
    One state of a mesh, asked what each side says of a pair of ends.

    Attributes:
        deciding: What decides there.
    """

    deciding: Deciding
    lists: Lists
    _judged: dict[str, _Judged] = attrs.field(factory=dict, init=False)
    _seen: dict[tuple[str, int], dict[str, Identity]] = attrs.field(factory=dict, init=False)

    def egress(self, source: str, destination: str) -> Verdicts:
        """What the source's cluster says; outside of the mesh everything goes."""
        return self._side(source, destination, "egress")

    def ingress(self, source: str, destination: str) -> Verdicts:
        """What the destination's cluster says, likewise."""
        return self._side(destination, source, "ingress")

    def _side(self, own: str, other: str, direction: Direction) -> Verdicts:
        judged = self._judged.get(own)
        if judged is None:
            judged = self._judged[own] = _Judged.of(self.deciding, own)
        if judged.judge is None:
            return OPEN
        seen = self._seen.setdefault((judged.cluster, id(judged.judge)), {})
        peer = seen.get(other)
        if peer is None:
            peer = seen[other] = self.deciding.peer(other, judged.cluster, judged.judge)[0]
        found = judged.said.get((direction, peer.number))
        if found is None:
            said = judged.judge.said(judged.subject, peer, direction, on_host=judged.on_host)
            found = judged.said[direction, peer.number] = self.lists.kept(tuple(_joined(said)))
        return found


@attrs.frozen(eq=False)
class _Judged:
    """
    An end in a cluster.

    Attributes:
        judge: `None` of one that is in none.
        said: Direction and number of a peer's identity -> what it says of that.
    """

    cluster: str
    judge: PolicyJudge | None
    subject: Identity
    on_host: bool
    said: dict[tuple[Direction, int], Verdicts] = attrs.field(factory=dict, init=False)

    @classmethod
    def of(cls, deciding: Deciding, end: str) -> _Judged:
        cluster = deciding.cluster_of(end)
        if cluster is None:
            return cls("", None, _NOBODY, on_host=False)
        subject, on_host = deciding.subject(end)
        judge, _ = deciding.judge_of(cluster, subject, on_host=on_host)
        return cls(cluster, judge, subject, on_host)


_NOBODY = Identity(0, LabelSet(()))


def _joined(said: Iterator[tuple[int, Said]]) -> Iterator[tuple[int, Said]]:
    """Neighbours that are the same as one."""
    last = None
    for start, each in said:
        if each != last:
            yield start, each
        last = each

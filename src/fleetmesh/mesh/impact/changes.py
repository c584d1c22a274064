"""
Flows that are gained and lost between two states of a mesh, as values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from fleetmesh.mesh.impact.ends import Ends, ends_in_words
from fleetmesh.mesh.impact.ports import Ports, ports_in_words
from fleetmesh.policy.decision import FlowVerdict
from fleetmesh.policy.rule import Direction, Source

StateName: TypeAlias = Literal["before", "after"]
"""Of the two that are compared."""


@attrs.frozen
class Because:
    """
    What made a verdict turn.

    Attributes:
        rule: The rule responsible; `None` where it is no rule: an end that came or went, a setting, who hears
            whom.
        direction: On which side: egress is judged by the source's cluster, ingress by the destination's.
            `None` where an end came or went.
        state: In which state the rule decided: `after` for one that now allows, refuses or isolates,
            `before` for one that does so no more.
        text: A sentence about the witness.
    """

    rule: Source | None
    direction: Direction | None
    state: StateName
    text: str


@attrs.frozen
class FlowChange:
    """
    Connections that are allowed in one state and not in the other, all for the like reason.

    It stands for each pair of one of the sources and one of the destinations that are not the same end,
    at each of the ports.

    Attributes:
        ports: Sorted by protocol and port. No port 0, which nobody can connect to.
        before, after: The verdict, `redirect` being leave for requests that a proxy judges; `None` where one
            of the ends is not there.
        pairs: How many pairs of ends it stands for.
        witness: One pair, as `Mesh.decide` takes it.
        protocol, port: Of the witness; of ICMP the type.
        because: What made the verdict of the witness turn.
    """

    sources: tuple[Ends, ...]
    destinations: tuple[Ends, ...]
    ports: tuple[Ports, ...]
    before: FlowVerdict | None
    after: FlowVerdict | None
    pairs: int
    witness: tuple[str, str]
    protocol: str
    port: int
    because: Because

    @property
    def turned(self) -> bool:
        """Whether both ends are there in both states, so that a verdict turned."""
        return self.before is not None and self.after is not None

    def each_pair(self) -> Iterator[tuple[str, str]]:
        """Every pair that it stands for."""
        for source in self.sources:
            for destination in self.destinations:
                for one in source.members:
                    for other in destination.members:
                        if one != other:
                            yield one, other

    def __str__(self) -> str:
        pairs = f"{self.pairs} pair{'s' if self.pairs != 1 else ''}"
        ends = f"{ends_in_words(self.sources)} to {ends_in_words(self.destinations)}"
        verdicts = f"{self.before or 'nothing'} -> {self.after or 'nothing'}"
        return f"{ends}: {ports_in_words(self.ports)}, {verdicts} ({pairs}): {self.because.text}"


@attrs.frozen
class FlowChanges:
    """
    Which connections policies decide otherwise in another state. False where there are none.

    Those that matter most come first: verdicts that turned before ends that came or went, the world before
    pods, many pairs before few.

    Attributes:
        gained: Allowed now (or left to a proxy), and before refused or without one of the ends.
        lost: The reverse.
        changed: To a proxy or from it, and allowed before and after.
    """

    gained: tuple[FlowChange, ...] = ()
    lost: tuple[FlowChange, ...] = ()
    changed: tuple[FlowChange, ...] = ()

    def __iter__(self) -> Iterator[FlowChange]:
        yield from self.lost
        yield from self.gained
        yield from self.changed

    def __len__(self) -> int:
        return len(self.gained) + len(self.lost) + len(self.changed)

    def __str__(self) -> str:
        named = (("lost", self.lost), ("gained", self.gained), ("changed", self.changed))
        return "\n".join(f"{what}: {each}" for what, found in named for each in found)

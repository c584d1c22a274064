"""
What becomes of connections between one kind of pods and all others, at once: from the matrices of two states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import attrs
import numpy as np

from fleetmesh.mesh.impact.kinds import Kind
from fleetmesh.mesh.impact.verdicts import Verdicts
from fleetmesh.policy.decision import OUTCOMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fleetmesh.mesh.deciding import Deciding

Row: TypeAlias = "NDArray[np.int32]"
"""By place of a kind: the number of what becomes of connections, or why there is none."""

ABSENT = -1
NO_POD = -2


@attrs.define(eq=False)
class _Matrix:
    """
    That of one state.

    Attributes:
        class_of: By place of a kind; below 0 as of `Row`.
    """

    deciding: Deciding
    class_of: NDArray[np.int32]
    _numbers: dict[int, int] = attrs.field(factory=dict, init=False)

    @classmethod
    def of(cls, deciding: Deciding, kinds: Sequence[Kind]) -> _Matrix:
        judged = deciding.population()
        group_of, class_of = judged.population.group_of, judged.class_of
        found = [
            NO_POD
            if kind.ends.kind != "pods"
            else ABSENT
            if (group := group_of.get(kind.one)) is None
            else class_of[group]
            for kind in kinds
        ]
        return cls(deciding, np.array(found, np.int32))

    def row(self, of: int, numbers: dict[Verdicts, int], *, ingress: bool) -> Row:
        """Of a class."""
        core = self.deciding.population().everywhere
        by_class = np.full(len(core) + 2, ABSENT, np.int32)
        by_class[NO_POD] = NO_POD
        if of >= 0:
            for number, classes in core.cells(of, ingress):
                if number not in self._numbers:
                    verdicts = tuple(
                        (start, (OUTCOMES[each], None)) for start, each in core.span_list(number)
                    )
                    self._numbers[number] = numbers.setdefault(verdicts, len(numbers))
                by_class[classes] = self._numbers[number]
        return by_class[self.class_of]


@attrs.define(eq=False)
class PodRows:
    """
    Of all kinds of pods.

    Attributes:
        lists: By their numbers.
    """

    _before: _Matrix
    _after: _Matrix
    _numbers: dict[Verdicts, int] = attrs.field(factory=dict, init=False)
    _known: dict[tuple[int, int, bool], tuple[Row, Row]] = attrs.field(factory=dict, init=False)

    @classmethod
    def of(cls, kinds: Sequence[Kind], before: Deciding, after: Deciding) -> PodRows:
        return cls(_Matrix.of(before, kinds), _Matrix.of(after, kinds))

    @property
    def lists(self) -> Mapping[int, Verdicts]:
        return {number: verdicts for verdicts, number in self._numbers.items()}

    def rows(self, place: int, *, ingress: bool) -> tuple[Row, Row]:
        """
        Before and after, of the kind at a place: whom it reaches or, of ingress, who reaches it.
        """
        key = (int(self._before.class_of[place]), int(self._after.class_of[place]), ingress)
        if key not in self._known:
            self._known[key] = (
                self._before.row(key[0], self._numbers, ingress=ingress),
                self._after.row(key[1], self._numbers, ingress=ingress),
            )
        return self._known[key]

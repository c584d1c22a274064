"""
Values of a remote cluster that are not in force, as they are not what Cilium's readers take.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.state.codecs.words import named

if TYPE_CHECKING:
    from fleetmesh.errors import WireError
    from fleetmesh.state.intake import Taken
    from fleetmesh.state.keys import Kind

MOST_TOLD, MOST_KNOWN = 100, 10_000
"""
Values of a cluster that are told one by one, and that are counted; a peer that sends garbage must not fill
the memory.
"""


@attrs.define(eq=False)
class Rejections:
    """
    Of one cluster.

    Attributes:
        count: How many there are, or `MOST_KNOWN` where there are more.
    """

    cluster: str
    count: int = attrs.field(default=0, init=False)
    _known: set[tuple[Kind, str]] = attrs.field(factory=set, init=False)
    _told: dict[tuple[Kind, str], WireError] = attrs.field(factory=dict, init=False)

    def note(self, kind: Kind, taken: Taken, whole: frozenset[str] | None = None) -> None:
        """
        What became of a piece.

        Args:
            whole: All names that there are, where that is known.
        """
        if self._known:
            for name in (*taken.accepted, *taken.withdrawn):
                self._settle(kind, name)
        if self._known and whole is not None:
            for name in [name for of, name in self._known if of == kind and name not in whole]:
                self._settle(kind, name)
        for name, error in taken.rejected.items():
            if len(self._known) == MOST_KNOWN:
                break
            self._known.add((kind, name))
            if (kind, name) in self._told or len(self._told) < MOST_TOLD:
                self._told[kind, name] = error
        self.count = len(self._known)

    def forget(self) -> None:
        """Nothing of the cluster is looked at any more."""
        self._known.clear()
        self._told.clear()
        self.count = 0

    def findings(self) -> Iterator[Finding]:
        """One for each value that is told, and one for all others."""
        for (kind, name), error in sorted(self._told.items(), key=lambda each: each[0]):
            yield finding(
                "remote-value-rejected",
                f"Cluster {self.cluster}",
                f"{kind} {named(name)}: {error}; what was valid before stays in force",
            )
        more = self.count - len(self._told)
        if more:
            words = f"{more} more of its values are refused"
            words += " at least" if self.count == MOST_KNOWN else ""
            yield finding("remote-value-rejected", f"Cluster {self.cluster}", words)

    def _settle(self, kind: Kind, name: str) -> None:
        self._known.discard((kind, name))
        self._told.pop((kind, name), None)

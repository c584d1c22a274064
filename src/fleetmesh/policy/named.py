"""
What the peers of rules name besides labels: networks and names, which addresses are told by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

import attrs

from fleetmesh.policy.labels import Network
from fleetmesh.policy.rule import Rule
from fleetmesh.policy.selectors import CidrSelector, FqdnSelector

T = TypeVar("T")


@attrs.define
class NamedAddresses:
    """
    Each counted, so that what no rule names any more is forgotten.

    Attributes:
        everywhere: Whether all networks select pods (`policy-cidr-match-mode`).
        networks: Those that need an identity.
        of_pods: Of them those that pods are asked about.
        names: As selectors of names have them.
        version: Another number whenever any of these has changed.
    """

    everywhere: bool
    networks: Counter[Network] = attrs.field(factory=Counter, init=False)
    of_pods: Counter[Network] = attrs.field(factory=Counter, init=False)
    names: Counter[FqdnSelector] = attrs.field(factory=Counter, init=False)
    version: int = attrs.field(default=0, init=False)
    _asking: int = attrs.field(default=0, init=False)

    @property
    def asks_pods(self) -> bool:
        """Whether any network selects pods."""
        return self.everywhere or self._asking > 0

    def add(self, rules: Iterable[Rule]) -> None:
        """Rules come."""
        self._count(rules, 1)

    def remove(self, rules: Iterable[Rule]) -> None:
        """Rules that were added go."""
        self._count(rules, -1)

    def _count(self, rules: Iterable[Rule], step: int) -> None:
        for peer in (each for rule in rules for each in rule.peers or ()):
            if isinstance(peer, (FqdnSelector, CidrSelector)):
                self.version += 1
            if isinstance(peer, FqdnSelector):
                _step(self.names, peer, step)
            elif isinstance(peer, CidrSelector):
                asks_pods = self.everywhere or peer.of_pods
                self._asking += step if asks_pods else 0
                for network in peer.networks:
                    _step(self.networks, network, step)
                    if asks_pods:
                        _step(self.of_pods, network, step)


def _step(counts: Counter[T], of: T, step: int) -> None:
    counts[of] += step
    if not counts[of]:
        del counts[of]

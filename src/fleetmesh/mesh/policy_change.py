"""
What a transaction has changed of what decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from fleetmesh.mesh.store import Key
    from fleetmesh.policy.labels import LabelSet


@attrs.frozen
class PolicyChange:
    """
    Attributes:
        identities: (member, labels) of identities that came, went, or got another number.
        pods: (member, namespace, name) of pods that came, changed, went or are of another identity.
        nodes: Members whose nodes came, changed or went.
        policies: (member, key) of policies and groups of networks that came, changed, moved or went.
        services: Whether any service changed.
        hearing: Whether members came or went, or hear others than before.
        left: Members that left, and may have come back.
    """

    identities: frozenset[tuple[str, LabelSet]]
    pods: frozenset[tuple[str, str, str]]
    nodes: frozenset[str]
    policies: frozenset[tuple[str, Key]]
    services: bool
    hearing: bool
    left: frozenset[str]

    def __bool__(self) -> bool:
        """Whether anything changed but services, which few rules are about."""
        return bool(self.identities or self.pods or self.nodes or self.policies or self.hearing or self.left)

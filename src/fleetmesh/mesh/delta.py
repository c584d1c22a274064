"""
What one transaction changed.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class ServiceDelta:
    """
    A service whose answer may have changed for some viewers.

    Attributes:
        viewers: The names of the clusters that see it alike, in order of cluster id.
    """

    namespace: str
    name: str
    viewers: tuple[str, ...]


@attrs.frozen
class Delta:
    """
    What one transaction of a mesh changed.

    Attributes:
        old: The generation before.
        new: The generation after; each transaction is one.
        services: One entry for each changed service and class of viewers. None is lacking; the answer of
            an entry may have stayed the same, since what is compared are the facts behind it.
    """

    old: int
    new: int
    services: tuple[ServiceDelta, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.services)

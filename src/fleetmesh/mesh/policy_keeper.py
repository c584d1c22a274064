"""
Keeps what decides from question to question, so that each costs only what has changed since the last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import FleetmeshError
from fleetmesh.mesh.deciding import Deciding
from fleetmesh.mesh.learnt_names import LearntNames
from fleetmesh.mesh.policy_change import PolicyChange

if TYPE_CHECKING:
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.viewpoint import Viewpoint

_MOST_CHANGES = 4096


@attrs.define(eq=False)
class PolicyKeeper:
    """
    Of one mesh. Who asks waits for others who ask, and never for a writer, nor a writer for them.

    Attributes:
        _following: Whether changes are noted; not before the first question, nor when nobody asked for long.
    """

    _asking: threading.RLock = attrs.field(factory=threading.RLock, init=False)
    _noting: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _following: bool = attrs.field(default=False, init=False)
    _noted: list[tuple[int, PolicyChange]] = attrs.field(factory=list, init=False)
    _deciding: Deciding | None = attrs.field(default=None, init=False)
    _dns_version: int = attrs.field(default=0, init=False)

    def note(self, view: Viewpoint, change: Change, *, services: bool) -> None:
        """What a transaction changed, before anybody can see its state; `services`: whether any did."""
        with self._noting:
            if not self._following:
                return
            if len(self._noted) >= _MOST_CHANGES:
                self._following = False
                self._noted.clear()
                return
            touched = change.dirty.items()
            noted = PolicyChange(
                identities=frozenset(change.renumbered),
                pods=frozenset(
                    (name, *pod) for name, dirty in touched for pod in dirty.running_pods | dirty.identified
                ),
                nodes=frozenset(name for name, dirty in touched if dirty.hosts),
                policies=frozenset(
                    (name, key)
                    for name, dirty in touched
                    for key in dirty.policy_objects | dirty.moved_policies
                ),
                services=services or any(dirty.exported for _, dirty in touched),
                hearing=change.heard_anew,
                left=frozenset(change.left),
            )
            self._noted.append((view.snapshot.generation, noted))

    @contextmanager
    def at(self, newest: Callable[[], Viewpoint], dns: LearntNames) -> Iterator[Deciding]:
        """What decides at the newest state, for the time of a question."""
        with self._asking:
            with self._noting:
                if not self._following:
                    self._deciding, self._following = None, True
            view = newest()
            try:
                yield self._advanced(view, dns)
            except (FleetmeshError, ValueError, TypeError, ImportError):
                raise  # what was asked is wrong
            except BaseException:
                self._deciding = None  # it may have taken in half of what changed
                raise

    def _advanced(self, view: Viewpoint, dns: LearntNames) -> Deciding:
        generation = view.snapshot.generation
        with self._noting:
            changes = [change for number, change in self._noted if number <= generation]
            self._noted = [each for each in self._noted if each[0] > generation]
        if self._deciding is None:
            self._deciding, self._dns_version = Deciding(view, dns.parsed()), dns.version
        elif self._deciding.view is not view:
            self._deciding.advance(view, changes)
        if self._dns_version != dns.version:
            self._deciding.learn(dns.parsed())
            self._dns_version = dns.version
        return self._deciding

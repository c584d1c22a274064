"""
What happened to a cluster's keys: counted, and told as findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from fleetmesh.errors import LeaseLostError, NoSpaceError, StoreDeniedError, StoreError
from fleetmesh.findings import Finding, finding
from fleetmesh.state.clock import Clock

TOLD_FOR = 900.0
"""Seconds that something is told of after it is over: as long as a lease lasts."""

SHOWN = 10
"""Keys that a finding names at most."""


MOST_REFUSED = 100
"""Keys that can't be written and have a finding of their own; how many more there are is told in one."""


class PublicationLog:
    """
    Attributes:
        writes: Operations that were carried out.
        errors: What the store refused or did not answer.
        last_error: The newest of them, "" without.
    """

    def __init__(self, clock: Clock, cluster: str) -> None:
        self.writes = 0
        self.errors = 0
        self.last_error = ""
        self._clock = clock
        self._subject = f"Cluster {cluster}"
        self._now: dict[str, Finding] = {}
        self._refused: dict[str, Finding | None] = {}
        self._shown = 0
        self._past: dict[str, tuple[float, Finding]] = {}
        self._lease_lost = False

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What holds now, or was over only lately."""
        now = self._clock.monotonic()
        self._past = {code: each for code, each in self._past.items() if now - each[0] < TOLD_FOR}
        past = (each for _, each in self._past.values())
        refused = [each for each in self._refused.values() if each is not None]
        if len(refused) < len(self._refused):
            message = f"{len(self._refused) - len(refused)} more keys can't be written"
            refused.append(finding("record-not-published", self._subject, message))
        return (*self._now.values(), *past, *refused)

    def wrote(self, operations: int) -> None:
        """The store took them."""
        self.writes += operations
        self._now.clear()

    def failed(self, error: StoreError) -> None:
        """The store refused something or did not answer."""
        self.errors += 1
        self.last_error = str(error)
        if isinstance(error, LeaseLostError):
            self.lease_lost()
        elif isinstance(error, NoSpaceError):
            self._tell("store-no-space", f"its store takes no writes: {error}")
        elif isinstance(error, StoreDeniedError):
            self._tell("store-denied", f"its store denies what publishing needs: {error}")
        else:
            self._tell("store-unavailable", f"its store can't be written: {error}")

    def lease_lost(self) -> None:
        """Keys may be gone; the next review tells which."""
        self._lease_lost = True

    def replaced(self) -> None:
        """Somebody else has written the cluster's configuration."""
        self._tell(
            "two-publishers",
            f"another writer took over its keys at {self._time()}; nothing is written until he is silent",
        )

    def reviewed(self, changed: Sequence[str], missing: Sequence[str]) -> None:
        """
        What a look at the store brought.

        Args:
            changed: Keys that somebody else wrote over.
            missing: Keys that had been written and are gone.
        """
        if missing and self._lease_lost:
            self._over(
                "lease-lost", f"{len(missing)} keys were gone at {self._time()}, with their lease", missing
            )
        elif changed or missing:
            message = f"somebody else changed {len(changed)} keys and removed {len(missing)}"
            message += f", as was seen at {self._time()}; they are written again"
            self._over("keys-changed", message, [*changed, *missing])
        self._lease_lost = False
        self._now.clear()

    def refused(self, key: str, error: Exception) -> None:
        """A value can't be written."""
        self.accepted(key)
        shown = self._shown < MOST_REFUSED
        self._shown += shown
        message = f"{key}: {error}"
        self._refused[key] = finding("record-not-published", self._subject, message) if shown else None

    def accepted(self, key: str) -> None:
        """A key has the value that is wanted, or is gone as is wanted."""
        if self._refused.pop(key, None) is not None:
            self._shown -= 1

    def _tell(self, code: str, message: str) -> None:
        self._now[code] = finding(code, self._subject, message)

    def _over(self, code: str, message: str, keys: Sequence[str]) -> None:
        shown = [*keys[:SHOWN], *(["…"] if len(keys) > SHOWN else [])]
        self._past[code] = (self._clock.monotonic(), finding(code, self._subject, message, shown))

    def _time(self) -> str:
        return f"{datetime.fromtimestamp(int(self._clock.time()), UTC):%Y-%m-%dT%H:%M:%SZ}"

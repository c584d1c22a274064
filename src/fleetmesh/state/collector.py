"""
Python's collector of cycles, while much is taken in.

Whenever what is new to it has grown to a quarter of what it knows, it looks at every object of the process:
with half a million addresses it stops everything for seconds, and in all for a third of the time that hearing
them takes. What is taken in is in no cycle, and goes when nobody refers to it any more.
"""

from __future__ import annotations

import gc
import threading

import attrs

MANY = 50_000
"""Records after which what is there is set apart."""

MOST = 2_000_000
"""Records after which the collector runs again in any case."""

RARELY = 10
"""
As many times more rarely all is looked at once something has been set apart. What is set apart is not counted
to what is known, of which a quarter has to be new before all is looked at: that would soon be so again and
again (CPython Modules/gcmodule.c, `long_lived_total`).
"""

_lock = threading.Lock()
_pauses = 0
_looks_rarely = False


@attrs.define(eq=False)
class Bulk:
    """
    Records that come faster than they are taken in. As long as there are any the collector stands still, and
    once many have come, what is there by then is set apart (`gc.freeze`), so that later collections cost what
    has come since, and come more rarely. What stands in cycles by then stays, should it be garbage or become
    it: in an initial sync some megabytes.

    Nothing of this happens where somebody else has switched the collector off.
    """

    _taken: int = attrs.field(default=0, init=False)
    _paused: bool = attrs.field(default=False, init=False)

    def note(self, taken: int, *, behind: bool, waiting: bool) -> None:
        """
        Some have been taken in.

        Args:
            behind: Whether more are waiting than are taken in at once.
            waiting: Whether any are waiting.
        """
        self._taken += taken
        if not self._paused and behind and self._taken < MOST:
            self._paused = _pause()
        elif self._paused and (not waiting or self._taken >= MOST):
            self.end()
        if not waiting:
            self._taken = 0

    def end(self) -> None:
        """All has been taken in, or nothing more will be."""
        if self._paused:
            self._paused = False
            _go_on(freeze=self._taken >= MANY)


def _pause() -> bool:
    """Whether it stands still because of this."""
    global _pauses  # noqa: PLW0603  # there is one collector a process
    with _lock:
        if not _pauses and not gc.isenabled():
            return False
        gc.disable()
        _pauses += 1
        return True


def _go_on(*, freeze: bool) -> None:
    global _pauses, _looks_rarely  # noqa: PLW0603  # as above
    with _lock:
        _pauses -= 1
        if freeze:
            gc.freeze()
            if not _looks_rarely:
                youngest, younger, whole = gc.get_threshold()
                gc.set_threshold(youngest, younger, whole * RARELY)
                _looks_rarely = True
        if not _pauses:
            gc.enable()

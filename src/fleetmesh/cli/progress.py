"""
What is being done, where it takes long and somebody watches.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AFTER = 1.0  # seconds
_CLEAR = "\r\x1b[K"


@contextmanager
def progress(doing: str) -> Iterator[None]:
    """
    Tell on stderr what is being done, once it has taken a second and only if stderr is a terminal.
    """
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    teller = threading.Thread(target=_tell, args=(doing, done), daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _tell(doing: str, done: threading.Event) -> None:
    seconds = 0
    while not done.wait(AFTER):
        seconds += 1
        sys.stderr.write(f"{_CLEAR}{doing}, {seconds} s")
        sys.stderr.flush()
    if seconds:
        sys.stderr.write(_CLEAR)
        sys.stderr.flush()

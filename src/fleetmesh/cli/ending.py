"""
Running to the end: that of the work, or that which a signal asks for.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeVar

from fleetmesh.cli import exits

R = TypeVar("R")

SIGNALS = (signal.SIGINT, signal.SIGTERM)

LONGEST_END = 8.0
"""Seconds after a signal; what has not ended by then, such as a long transaction, ends with the process."""


class Stopped(BaseException):
    """
    A signal asks to end. Raised wherever the program is, so that no long work delays the end.
    """


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """
    SIGINT and SIGTERM raise `Stopped`, the first of them.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the interpreter's signature
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped

    with _handling(stop):
        yield


@contextmanager
def cancelled_by_signals(task: asyncio.Task[Any]) -> Iterator[Callable[[], bool]]:
    """
    SIGINT and SIGTERM cancel a task of the running loop; what is yielded tells whether one came. A process
    that has not ended by itself some seconds later is ended.
    """
    loop, asked = asyncio.get_running_loop(), threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the interpreter's signature
        if not asked.is_set():
            asked.set()
            late = threading.Timer(LONGEST_END, os._exit, (exits.DONE,))
            late.daemon = True
            late.start()
            loop.call_soon_threadsafe(task.cancel)

    with _handling(stop):
        yield asked.is_set


def run_alone(work: Coroutine[Any, Any, R]) -> R:
    """
    Run it in a loop of its own. Of errors that several tasks have at once the first is told, as itself.
    """
    try:
        return asyncio.run(work)
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group


@contextmanager
def _handling(stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {each: signal.signal(each, stop) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)

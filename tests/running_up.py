"""
`fleetmesh up` in a process of its own, whose lines are read as they come.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from command_line import PROGRAM

PATIENCE = 60  # seconds that a test waits for a line; none of them measures time


class Running:
    """
    A running `up` whose lines are read as they come.
    """

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, "up", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def _read(self, output: IO[str]) -> None:
        for line in output:
            self._lines.put(line)

    def line(self) -> str:
        """
        The next line.
        """
        return self._lines.get(timeout=PATIENCE)

    def lines_until(self, words: str) -> str:
        """
        All lines up to the one that has the words.
        """
        found = ""
        while words not in found:
            found += self.line()
        return found

    def event(self) -> Any:
        """
        The next line, which is JSON.
        """
        return json.loads(self.line())

    def change(self, **wanted: str) -> Any:
        """
        The change that moves a service, or brings or settles a finding; one look may see half of an edit.
        """
        ((key, value),) = wanted.items()
        field = "name" if key == "rows" else "code"
        while True:
            event = self.event()
            if any(each[field] == value for each in event[key]):
                return event

    def phase(self, cluster: str, phase: str) -> Any:
        """
        The change with which a remote cluster comes into a phase.
        """
        while True:
            event = self.event()
            if any((each["name"], each["phase"]) == (cluster, phase) for each in event["remotes"]):
                return event


@contextmanager
def running(*arguments: str | Path) -> Iterator[Running]:
    """
    `up`, until the end of the block.
    """
    up = Running(*arguments)
    try:
        yield up
    finally:
        up.process.kill()
        up.process.communicate(timeout=PATIENCE)

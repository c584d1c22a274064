"""
Programs that a test runs: their logs are kept, and what was started is ended.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PATIENCE = 120.0  # seconds until a server that isn't ready never will be, on a busy machine


class Running:
    """A program that runs. Its output goes to `log`."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                list(map(str, command)), stdout=output, stderr=subprocess.STDOUT, env=environment
            )

    def until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until `ready`; an exception of the network is no answer yet."""
        deadline = time.monotonic() + _PATIENCE
        while not self._answers(ready):
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.stop()
                reason = f"ended with {self.process.returncode}" if ended else "did not answer in time"
                end = self.log.read_text(errors="replace")[-4000:]
                raise AssertionError(f"{what}: {reason}; the end of its log:\n{end}")
            time.sleep(0.05)

    @staticmethod
    def _answers(ready: Callable[[], bool]) -> bool:
        try:
            return ready()
        except OSError:
            return False

    def stop(self) -> None:
        """End it, cleanly if it lets itself be."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on now; all different."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports

"""
Instructions of a program, counted by callgrind.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence


def instructions(command: Sequence[str]) -> int:
    """How many instructions the command executes, in all its functions."""
    with tempfile.TemporaryDirectory() as folder:
        counted = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", *command]
        done = subprocess.run(counted, check=True, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found, done.stderr
    return int(found[1])

"""
The committed stub of the core says what the built core is.
"""

from __future__ import annotations

import difflib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STUB = ROOT / "src" / "fleetmesh" / "_core.pyi"


def test_the_committed_stub_is_what_the_generator_makes_of_the_built_core() -> None:
    """
    After a change of the bindings `make stubs` writes it anew.
    """
    command = [sys.executable, str(ROOT / "scripts" / "generate_stubs.py")]
    generated = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    committed = STUB.read_text()

    difference = difflib.unified_diff(committed.splitlines(), generated.splitlines(), "committed", "built")

    assert generated == committed, "\n".join(difference)

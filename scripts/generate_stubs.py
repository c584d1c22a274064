"""
Generate the type stub of `fleetmesh._core` from the built module.

Prints it, or with `--write` replaces src/fleetmesh/_core.pyi. A test compares the two.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

MODULE = "fleetmesh._core"
STUB = Path(__file__).parent.parent / "src" / "fleetmesh" / "_core.pyi"

# What the generator says and a stub should not, with what replaces it.
FIXES = (
    # A constant that each build has anew.
    (re.compile(r"^(\w+: str) = '.*'$", re.MULTILINE), r"\1"),
)


def generate() -> str:
    """The stub as text, formatted as the rest of the source is."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pybind11_stubgen", MODULE, "--output-dir", folder, "--exit-code"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        text = Path(folder, *MODULE.split(".")).with_suffix(".pyi").read_text()
    for pattern, replacement in FIXES:
        text = pattern.sub(replacement, text)
    formatter = [sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", str(STUB), "-"]
    return subprocess.run(formatter, input=text, check=True, capture_output=True, text=True).stdout


def main() -> None:
    text = generate()
    if "--write" in sys.argv[1:]:
        STUB.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()

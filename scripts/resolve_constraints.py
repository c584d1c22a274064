"""
Resolve every extra and the developers' tools together, and write the versions to constraints.txt.

Only names and versions are written: where a package came from belongs to each machine's set-up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADER = "# Versions that are known to work together; written by `make constraints`.\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        wanted = ["--report", str(report), "--group", "dev", "--group", "plots", "pip", ".[all]"]
        subprocess.run([*command, *wanted], cwd=ROOT, check=True)
        installs = json.loads(report.read_text())["install"]
    found = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in installs}
    found.pop("fleetmesh")
    lines = [f"{name}=={version}\n" for name, version in sorted(found.items())]
    (ROOT / "constraints.txt").write_text(HEADER + "".join(lines))


if __name__ == "__main__":
    main()

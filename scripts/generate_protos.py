"""
Write the modules of every .proto file under src/ anew, each beside its file.

The generator is an old one on purpose: what it makes runs on every protobuf from its own version on, and a
newer one's would not run on older installs. It has a virtual environment of its own under build/, as it needs
an older protobuf than the tools do.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
GENERATOR = "grpcio-tools==1.66.2"
# It imports pkg_resources, which newer ones don't have any more.
NEEDED_BY_IT = "setuptools<81"


def generator() -> Path:
    """The interpreter that has it, installed when it isn't there yet."""
    folder = ROOT / "build" / "protos" / GENERATOR
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", GENERATOR, NEEDED_BY_IT], check=True)
    return python


def main() -> None:
    files = sorted(path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*.proto"))
    protoc: list[str | Path] = [generator(), "-m", "grpc_tools.protoc"]
    where = ["-Isrc", "--python_out=src", "--pyi_out=src"]
    sys.exit(subprocess.run([*protoc, *where, *files], cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()

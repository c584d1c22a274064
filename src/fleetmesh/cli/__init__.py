"""
The command line. `docs/cli.md` has the shape of what each command prints as JSON.
"""

from __future__ import annotations

import sys

HOW_TO_INSTALL = "the command line needs {missing}; install it with: pip install 'fleetmesh[cli]'"


def main() -> None:
    """
    The entry point: runs the command that the arguments name, and exits with its code.
    """
    try:
        from fleetmesh.cli.app import app  # noqa: PLC0415 - what is missing is told in one line
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print(f"fleetmesh: {HOW_TO_INSTALL.format(missing='click')}", file=sys.stderr)
        sys.exit(2)
    sys.exit(app.main(prog_name="fleetmesh", standalone_mode=False))

"""
Running the command line in tests: inside this process, or in one of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from fleetmesh.cli.app import app

EXAMPLES = Path(__file__).parents[1] / "examples"
SHOP = str(EXAMPLES / "shop")
GUARDED = str(EXAMPLES / "shop-guarded")
PROGRAM = (sys.executable, "-m", "fleetmesh.cli")


def run(*arguments: str, env: dict[str, str | None] | None = None) -> Result:
    """
    Run a command in this process.
    """
    return CliRunner().invoke(app, list(arguments), env=env, prog_name="fleetmesh")


def answer(*arguments: str) -> Any:
    """
    What a command that succeeds prints as JSON.
    """
    result = run(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def run_alone(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """
    Run a command in a process of its own.
    """
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=50, check=False, **options
    )

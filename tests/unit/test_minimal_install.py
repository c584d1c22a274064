"""
Without an extra, the package needs the required distributions and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions, requires

from packaging.requirements import Requirement

SCRIPT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import fleetmesh
for name in fleetmesh.__all__:
    getattr(fleetmesh, name)
"""


def required_distributions() -> set[str]:
    requirements = [Requirement(text) for text in requires("fleetmesh") or ()]
    return {one.name.lower() for one in requirements if one.marker is None}


def run_without(forbidden: set[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"FORBIDDEN = {forbidden!r}\n{SCRIPT}"]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_every_public_name_is_there_when_only_the_required_distributions_are() -> None:
    allowed = required_distributions() | {"fleetmesh", "scikit-build-core"}
    owners = packages_distributions().items()
    others = {name for name, held_by in owners if allowed.isdisjoint(owner.lower() for owner in held_by)}

    result = run_without(others)

    assert "pytest" in others
    assert result.returncode == 0, result.stderr


def test_a_missing_required_distribution_is_noticed() -> None:
    """
    The test above can fail.
    """
    assert "No module named 'msgspec'" in run_without({"msgspec"}).stderr


def test_four_distributions_are_required() -> None:
    assert required_distributions() == {"attrs", "numpy", "msgspec", "pyyaml"}

"""
Without an extra, the package uses the required distributions and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import packages_distributions, requires

from packaging.requirements import Requirement

SCRIPT = """
import json, sys
before = set(sys.modules)
import fleetmesh
for name in fleetmesh.__all__:
    getattr(fleetmesh, name)
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""


def required_distributions() -> set[str]:
    requirements = [Requirement(text) for text in requires("fleetmesh") or ()]
    return {one.name.lower() for one in requirements if one.marker is None}


def test_every_public_name_comes_from_the_required_distributions_alone() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    owners = packages_distributions()
    used = {owner.lower() for name in json.loads(result.stdout) for owner in owners.get(name, ())}

    assert used - {"fleetmesh"} <= required_distributions()


def test_four_distributions_are_required() -> None:
    assert required_distributions() == {"attrs", "numpy", "msgspec", "pyyaml"}

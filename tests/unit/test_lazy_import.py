"""
`import fleetmesh` costs next to nothing, and every public name is there when it is asked for.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import fleetmesh

RIGHT_OF_MESH = {"state", "kubernetes", "azure", "hubble", "web", "metrics", "cli", "testing"}
OPTIONAL = {
    "zstandard",
    "click",
    "rich",
    "grpc",
    "google",
    "kubernetes",
    "azure",
    "re2",
    "aiohttp",
    "pyarrow",
    "duckdb",
}

REQUIRED = {"attr", "attrs", "numpy", "msgspec", "yaml"}
OF_STATE = ("EtcdStore", "Live", "MemoryStore", "Mirror", "run")
EVERY_NAME = "import fleetmesh\nfor name in fleetmesh.__all__: getattr(fleetmesh, name)"
OTHER_NAMES = EVERY_NAME.replace("__all__:", f"__all__:\n  if name not in {OF_STATE}:")


def modules_after(code: str) -> set[str]:
    """
    The modules that a new interpreter has loaded after running the code.
    """
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(json.loads(result.stdout))


def test_importing_the_package_loads_none_of_its_modules_and_no_dependency() -> None:
    before = modules_after("")
    loaded = modules_after("import fleetmesh") - before

    assert {name for name in loaded if name.startswith("fleetmesh")} == {"fleetmesh"}
    assert {name.split(".")[0] for name in loaded}.isdisjoint(OPTIONAL | REQUIRED)


def test_using_every_public_name_loads_no_optional_package() -> None:
    before = modules_after("")
    loaded = modules_after(EVERY_NAME) - before

    assert {name.split(".")[0] for name in loaded}.isdisjoint(OPTIONAL)


def test_whoever_uses_no_store_loads_nothing_right_of_mesh() -> None:
    before = modules_after("")
    loaded = modules_after(OTHER_NAMES) - before

    parts = {name.split(".")[1] for name in loaded if name.startswith("fleetmesh.")}
    assert "mesh" in parts
    assert parts.isdisjoint(RIGHT_OF_MESH)


@pytest.mark.parametrize("name", fleetmesh.__all__)
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(fleetmesh, name) is not None
    assert name in dir(fleetmesh)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'fleetmesh' has no attribute 'nothing'"):
        fleetmesh.nothing  # noqa: B018


def test_type_checkers_see_the_same_names_as_the_interpreter() -> None:
    """
    A name that only one of the two knows would pass the other's checks and fail its users.
    """
    tree = ast.parse(Path(fleetmesh.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert seen | {"__version__"} == set(fleetmesh.__all__)

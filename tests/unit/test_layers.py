"""
Each layer imports only what stands left of it, or itself; adapters never import each other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "fleetmesh"

# From left to right. What shares a layer may import each other, but for the adapters.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "finding_kind", "findings", "findings_of_state", "labels", "identity_labels"}),
    frozenset({"resources", "records"}),
    frozenset({"identity", "services", "maglev", "policy"}),
    frozenset({"tables", "datapath"}),
    frozenset({"mesh", "flows"}),
    frozenset({"state"}),
    frozenset({"kubernetes", "azure", "hubble", "web", "metrics"}),
    frozenset({"cli", "testing"}),
)
ADAPTERS = LAYERS[6]
CORE = "_core"
CORE_FROM = 2
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part_of(path: Path) -> str:
    """
    The name of the part of the package that a file belongs to: `services` for services/dns.py.
    """
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(tree: ast.Module) -> Iterator[str]:
    """
    The parts of the package that a module imports when it runs, wherever the import stands.

    What a type checker alone imports is no dependency: an annotation may name what stands further right.
    """
    checker_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for child in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in checker_only:
            continue
        if isinstance(node, ast.Import):
            yield from (part for alias in node.names if (part := second_word(alias.name)))
        elif isinstance(node, ast.ImportFrom):
            if node.module == "fleetmesh":
                yield from (alias.name for alias in node.names)
            elif part := second_word(node.module or ""):
                yield part


def second_word(module: str) -> str:
    words = module.split(".")
    return words[1] if words[0] == "fleetmesh" and len(words) > 1 else ""


def breach(importer: str, imported: str) -> str:
    """
    What is wrong with one part importing another; "" for nothing.
    """
    if importer == imported:
        return ""
    if imported == CORE:
        return "" if RANK[importer] >= CORE_FROM else f"{importer} stands left of what may use the core"
    if imported not in RANK:
        return f"{imported} has no layer"
    if RANK[imported] > RANK[importer]:
        return f"{importer} imports {imported}, which stands right of it"
    if {importer, imported} <= ADAPTERS:
        return f"the adapter {importer} imports the adapter {imported}"
    return ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_leftwards(path: Path) -> None:
    importer = part_of(path)
    assert importer in RANK, f"{importer} has no layer"

    breaches = [breach(importer, imported) for imported in imports_of(ast.parse(path.read_text()))]

    assert [message for message in breaches if message] == []


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("errors", "from fleetmesh.mesh import Mesh"),
        ("labels", "import fleetmesh._core"),
        ("resources", "def late():\n    from fleetmesh import mesh"),
        ("services", "from fleetmesh.state.store import Store"),
        ("azure", "from fleetmesh.kubernetes import Connection"),
        ("mesh", "import fleetmesh.unheard_of"),
    ],
)
def test_an_import_to_the_right_is_seen(importer: str, source: str) -> None:
    """
    The test above can fail.
    """
    breaches = [breach(importer, imported) for imported in imports_of(ast.parse(source))]

    assert any(breaches)


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("mesh", "from fleetmesh.services.dns import resolve"),
        ("services", "from fleetmesh import _core"),
        ("cli", "import fleetmesh.azure.client"),
        ("errors", "if TYPE_CHECKING:\n    from fleetmesh.resources.model import Resource"),
        ("resources", "from fleetmesh.resources.model import Pod\nimport json"),
    ],
)
def test_an_import_to_the_left_is_allowed(importer: str, source: str) -> None:
    breaches = [breach(importer, imported) for imported in imports_of(ast.parse(source))]

    assert not any(breaches)

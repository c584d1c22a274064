"""
The command line starts quickly: it loads what a command needs and nothing else.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import click
import pytest

from command_line import SHOP, run
from fleetmesh.cli.app import COMMANDS, app


def loaded_by(*arguments: str) -> set[str]:
    """
    The modules that a command loads.
    """
    script = f"""
import json, sys
sys.argv = ['fleetmesh', *{list(arguments)!r}]
from fleetmesh.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(result.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)], ids=lambda arguments: arguments[0])
def test_help_loads_neither_the_mesh_nor_its_dependencies(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments)

    assert loaded.isdisjoint({"numpy", "rich", "yaml", "fleetmesh._core", "fleetmesh.mesh"})


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_only_tables_load_rich(form: str) -> None:
    assert not any(name.split(".")[0] == "rich" for name in loaded_by("status", SHOP, "-o", form))


def test_tables_do_load_rich() -> None:
    assert "rich" in loaded_by("status", SHOP)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    command = app.get_command(click.Context(app), name)

    assert command is not None
    assert command.name == name
    assert inspect.cleandoc(command.help or "").splitlines()[0] == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_takes_a_form_of_output(name: str) -> None:
    result = run(name, "--help")

    assert result.exit_code == 0
    assert "-o, --output [table|json|yaml]" in result.stdout
    assert COMMANDS[name] in result.stdout

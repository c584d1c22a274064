"""
The group of all commands: which there are, and what becomes of errors.

A command's module is imported when the command runs, so that `--help` loads no mesh.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click

from fleetmesh.cli import HOW_TO_INSTALL, exits
from fleetmesh.errors import FleetmeshError, StoreError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "demo": "The built-in example from end to end.",
        "up": "Run a mesh: print its state, then say what each change moves.",
        "status": "The members of a mesh, and how many findings there are.",
        "services": "Which services there are, and who serves them for whom.",
        "backends": "What serves a service, as each cluster sees it.",
        "resolve": "What a pod gets from DNS.",
        "decide": "Whether one end may reach another.",
        "explain": "Why a cluster uses the backends that it uses.",
        "compare": "What would move if something were different.",
        "findings": "What is worth telling, the worst first.",
        "doctor": "What keeps the stores of a mesh from being heard.",
    }
)
"""Each command, in the order of the help, with the first line of its own help."""


class App(click.Group):
    """
    Finds commands by name, and turns errors into one line and an exit code.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """
        In the order in which one meets them.
        """
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """
        The command, imported now.
        """
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"fleetmesh.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """
        The list in the help, without importing what is listed.
        """
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's signature
        **extra: Any,
    ) -> Any:
        """
        Run; the result is the exit code. In standalone mode exits with it.
        """
        arguments = list(sys.argv[1:] if args is None else args)
        code = self._run(arguments, prog_name, complete_var, extra)
        if standalone_mode:
            sys.exit(code)
        return code

    def _run(
        self, args: list[str], prog_name: str | None, complete_var: str | None, extra: Mapping[str, Any]
    ) -> int:
        # What has been parsed is lost with the context when an error arrives here.
        debug = "--debug" in args
        try:
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return exits.WRONG_USE
        except click.Abort:
            return exits.INTERRUPTED
        except Exception as error:  # noqa: BLE001 - what isn't known is told as a defect
            if debug:
                traceback.print_exc()
            line, code = told(error)
            click.echo(f"fleetmesh: {line}", err=True)
            return code
        return result if isinstance(result, int) else exits.DONE


def told(error: Exception) -> tuple[str, int]:
    """
    An error in one line, and the exit code for it.
    """
    match error:
        case click.UsageError():
            hint = f"; see {error.ctx.command_path} --help" if error.ctx is not None else ""
            return _one_line(error.format_message()).rstrip(".") + hint, exits.WRONG_USE
        case click.ClickException():
            return _one_line(error.format_message()), exits.WRONG_USE
        case StoreError():
            return _one_line(error), exits.OUTSIDE
        case FleetmeshError():
            return _one_line(error), exits.WRONG_USE
        case OSError():
            place = f"{error.filename}: " if error.filename else ""
            said = place + (error.strerror.lower() if error.strerror else _one_line(error))
            # A path that was given and can't be read is wrong use; anything else is out of the user's hands.
            wrong = bool(error.filename) or isinstance(error, FileNotFoundError)
            return said, exits.WRONG_USE if wrong else exits.OUTSIDE
        case ModuleNotFoundError() if (error.name or "").partition(".")[0] == "rich":
            return HOW_TO_INSTALL.format(missing="rich"), exits.WRONG_USE
    said = f"defect: {type(error).__name__}: {_one_line(error)}; --debug shows the traceback"
    return said, exits.DEFECT


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


@click.command(cls=App, name="fleetmesh", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fleetmesh", message="%(package)s %(version)s")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def app() -> None:
    """
    Cross-cluster networking for fleets of Kubernetes clusters.

    PATH is a folder with fleet.yaml, a folder with a folder of manifests for each cluster, or a
    manifest. Every command takes -o table, json or yaml.

    Exit codes: 0 done, 1 a finding of severity error, 2 wrong use, 3 an outside system failed.
    """

"""
The arguments and options that commands share.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import click

from fleetmesh.errors import NotFoundError

Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

FORMATS = ("table", "json", "yaml")
MODES = ("cilium", "strict")

PATH = click.Path(exists=True, readable=True, path_type=Path)

path = click.argument("path", type=PATH, metavar="PATH")
optional_path = click.argument("path", type=PATH, metavar="[PATH]", required=False)

output = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="Tables are for people; JSON and YAML have the shape of docs/cli.md.",
)

mode = click.option(
    "--mode",
    type=click.Choice(MODES),
    default=None,
    help="Cilium's answers, quirks included, or those of the specifications. "
    "[default: what fleet.yaml says, else cilium]",
)

debug = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")

seen_from = click.option(
    "--seen-from",
    metavar="CLUSTER[/NODE]",
    default=None,
    help="Who looks. [default: every cluster]",
)


def timeout(default: float) -> Decorator:
    """
    `--timeout`, in seconds.
    """
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        default=default,
        show_default=True,
        help="How long to wait for the clusters of stores.",
    )


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    `-o`, `--mode` and `--debug`.
    """
    return output(mode(debug(function)))


class ServiceName(click.ParamType[tuple[str, str]]):
    """
    `NAMESPACE/NAME`, as a pair.
    """

    name = "NAMESPACE/NAME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """
        Take it apart.
        """
        if isinstance(value, tuple):
            return value
        return split_service(value, lambda message: self.fail(message, param, ctx))


def split_service(text: str, fail: Callable[[str], Any]) -> tuple[str, str]:
    """
    The namespace and the name; `fail` is called, and raises, where the text isn't both.
    """
    namespace, _, name = text.partition("/")
    if not namespace or not name or "/" in name:
        fail(f"{text!r} is not NAMESPACE/NAME, such as shop/cart")
    return namespace, name


def viewers(names: list[str], given: str | None) -> list[str]:
    """
    Who looks: the one that was given, or all members.

    Raises:
        click.BadParameter: There is no such member, or nothing after the slash.
    """
    if given is None:
        return names
    cluster, slash, node = given.partition("/")
    hint = "'--seen-from'"
    if slash and not node:
        raise click.BadParameter(f"{given!r} is not CLUSTER or CLUSTER/NODE", param_hint=hint)
    if cluster not in names:
        raise click.BadParameter(str(NotFoundError("member", cluster, names)), param_hint=hint)
    return [given]

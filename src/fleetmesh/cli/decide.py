"""
`fleetmesh decide`
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetmesh.cli import exits, options
from fleetmesh.cli.loading import load
from fleetmesh.cli.output import Format, emit
from fleetmesh.mesh.mesh import Mode

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper

PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP", "ICMPv6")
_STYLES = {"deny": "error", "redirect": "warning", "allow": "in"}


@click.command("decide")
@options.path
@click.argument("source", metavar="FROM")
@click.argument("destination", metavar="TO")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of ICMP the type.")
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOLS, case_sensitive=False),
    default="TCP",
    show_default=True,
    help="What the connection speaks.",
)
@click.option("--http", "request", metavar="'METHOD PATH'", help="A request to judge, such as 'GET /cart'.")
@click.option("--dns-query", metavar="NAME", help="A DNS query to judge.")
@click.option("--explain", is_flag=True, help="Every rule on the flow, and what would turn it.")
@options.common
def command(
    path: Path,
    source: str,
    destination: str,
    port: int,
    protocol: str,
    request: str | None,
    dns_query: str | None,
    explain: bool,  # noqa: FBT001 - click's way
    form: Format,
    mode: Mode | None,
) -> int:
    """
    Whether one end may reach another.

    Each end judges by the policies of its own cluster.

    FROM and TO are CLUSTER/NAMESPACE/POD, host:CLUSTER, ip:ADDRESS or entity:NAME; TO may be
    service:NAMESPACE/NAME too. A denied flow ends with exit code 1.
    """
    mesh = load(path, mode)
    try:
        decision = mesh.decide(
            source,
            destination,
            protocol=protocol,
            port=port,
            http=None if request is None else http_request(request),
            dns_query=dns_query,
        )
    except (ValueError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    data = decision.explain().to_json() if explain else decision.to_json()
    emit(form, data, lambda paper: draw(paper, data))
    return exits.FINDING if decision.verdict == "deny" else exits.DONE


def http_request(text: str) -> dict[str, str]:
    """
    `GET /cart`, or a path alone.

    Raises:
        ValueError: There are more than two words.
    """
    match text.split():
        case [path]:
            return {"method": "GET", "path": path}
        case [method, path]:
            return {"method": method, "path": path}
    raise ValueError(f"--http {text!r}; expected a method and a path")


def draw(paper: Paper, data: dict[str, Any], indent: int = 0) -> None:
    """
    The verdict, then both sides; with explanations the rules below each.
    """
    source, destination = (_name(data[end]) for end in ("source", "destination"))
    paper.item(data["verdict"], f"{source} to {destination}", indent=indent, style=_STYLES[data["verdict"]])
    for end in ("source", "destination"):
        _draw_end(paper, end, data[end], indent + 2)
    for direction in ("egress", "ingress"):
        if data[direction] is not None:
            _draw_side(paper, direction, data[direction], indent + 2)
    for backend in data["backends"]:
        draw(paper, backend, indent + 2)


def _draw_end(paper: Paper, what: str, end: str | dict[str, Any], indent: int) -> None:
    if isinstance(end, str):
        return
    because = f", {end['because']}" if end["because"] else ""
    paper.line(f"{what}: identity {end['identity']}{because}", indent=indent)
    for label in end["labels"]:
        paper.line(label, indent=indent + 2)


def _draw_side(paper: Paper, direction: str, side: dict[str, Any], indent: int) -> None:
    words = [direction + ":", side["verdict"]]
    if not side["enforced"]:
        words.append("(no policy speaks about it)")
    elif not side["matched"]:
        words.append("(no rule allows it)")
    if side["l7"]:
        words.append(f"to the {side['l7']} proxy")
    if side["l7_allow"] is not None:
        words.append("which lets it pass" if side["l7_allow"] else "which refuses it")
    if side["auth"]:
        words.append(f"authentication {side['auth']}")
    paper.line(" ".join(words), indent=indent)
    if "statements" not in side:
        for rule in side["rules"]:
            paper.line(_place(rule), indent=indent + 2)
        return
    for each in side["statements"]:
        ports = f" at {each['ports']}" if each["ports"] else ""
        why = "" if each["decides"] else f"; does not decide: {each['because']}"
        paper.item(
            each["verdict"], f"{each['peer']}{ports}, by {_place(each['rule'])}{why}", indent=indent + 2
        )
    paper.line(f"to turn it: {side['advice']}", indent=indent + 2)


def _name(end: str | dict[str, Any]) -> str:
    return end if isinstance(end, str) else str(end["name"])


def _place(rule: dict[str, Any]) -> str:
    where = f" ({rule['where']})" if rule["where"] else ""
    return f"{rule['path']} of {rule['policy']}{where}"

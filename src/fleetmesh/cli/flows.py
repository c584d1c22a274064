"""
Flows gained and lost, as `compare` and `up` tell them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fleetmesh.cli.plain import Plain
from fleetmesh.cli.words import counted
from fleetmesh.mesh.impact import Ends, FlowChange, FlowChanges, Ports, ends_in_words, ports_in_words
from fleetmesh.policy.decision import rule_to_json

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper

_MOST = 8
_STYLES = {"lost": "out", "gained": "in", "changed": "warning"}


def answer(flows: FlowChanges) -> Plain:
    """
    All of them, those that matter most first.
    """
    return {what: [_plain(each) for each in getattr(flows, what)] for what in _STYLES}


def _plain(value: FlowChange) -> Plain:
    rule = value.because.rule
    return {
        "from": ends_in_words(value.sources),
        "to": ends_in_words(value.destinations),
        "sources": [_ends(each) for each in value.sources],
        "destinations": [_ends(each) for each in value.destinations],
        "ports": [
            {"protocol": each.protocol, "first": each.first, "last": each.last} for each in value.ports
        ],
        "before": value.before,
        "after": value.after,
        "pairs": value.pairs,
        "witness": {
            "source": value.witness[0],
            "destination": value.witness[1],
            "protocol": value.protocol,
            "port": value.port,
        },
        "because": {
            "text": value.because.text,
            "rule": None if rule is None else rule_to_json(rule),
            "side": value.because.direction,
            "state": value.because.state,
        },
    }


def _ends(value: Ends) -> Plain:
    return {
        "kind": value.kind,
        "cluster": value.cluster or None,
        "namespace": value.namespace or None,
        "name": value.name or None,
        "labels": [str(each) for each in value.labels],
        "ends": len(value.members),
        "first": value.members[0],
    }


def draw(paper: Paper, data: Plain) -> None:
    """
    Those of ends that were there before, each with its witness and the rule responsible; then those of ends
    that come or go, and one line that sums up.
    """
    for moving in (False, True):
        for what in _STYLES:
            found = [each for each in data[what] if _moving(each) == moving]
            for each in found[:_MOST]:
                _draw_one(paper, what, each)
                paper.blank()
            _draw_rest(paper, what, found[_MOST:])
    sums = (_sum(what, data[what]) for what in _STYLES if data[what])
    paper.line(f"{'; '.join(sums)}.")


def _moving(each: dict[str, Any]) -> bool:
    return None in (each["before"], each["after"])


def _draw_one(paper: Paper, what: str, each: dict[str, Any]) -> None:
    because, witness = each["because"], each["witness"]
    rule = because["rule"]
    where = f" ({rule['where']})" if rule and rule["where"] else ""
    verdicts = f", {each['before']} before and {each['after']} after" if what == "changed" else ""
    ports = ports_in_words([Ports(**span) for span in each["ports"]])
    paper.item(what, f"{ports}, {counted(each['pairs'], 'pair')}{verdicts}", style=_STYLES[what])
    paper.item("from", each["from"], indent=2)
    paper.item("to  ", each["to"], indent=2)
    paper.item("why ", f"{because['text']}{where}", indent=2)
    if each["pairs"] > 1 and not _moving(each):
        asked = f"{witness['protocol']} {witness['port']}"
        paper.item("e.g.", f"{witness['source']} to {witness['destination']}, {asked}", indent=2)


def _draw_rest(paper: Paper, what: str, rest: Sequence[dict[str, Any]]) -> None:
    if rest:
        pairs = counted(sum(each["pairs"] for each in rest), "pair")
        paper.item(what, f"{len(rest)} more, {pairs}; -o json has all of them", style=_STYLES[what])
        paper.blank()


def _sum(what: str, found: Sequence[dict[str, Any]]) -> str:
    pairs = counted(sum(each["pairs"] for each in found), "pair")
    return f"{counted(len(found), 'flow')} {what}, of {pairs}"

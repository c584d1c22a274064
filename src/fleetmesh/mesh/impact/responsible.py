"""
The rule that makes a verdict turn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from fleetmesh.mesh.impact.changes import Because, StateName
from fleetmesh.mesh.impact.ends import cluster_of
from fleetmesh.policy.decision import Decision, Side
from fleetmesh.policy.judge import Flow, PolicyJudge
from fleetmesh.policy.labels import LabelSet
from fleetmesh.policy.rule import Direction, Source

if TYPE_CHECKING:
    from fleetmesh.mesh.deciding import Deciding
    from fleetmesh.mesh.viewpoint import MemberView
    from fleetmesh.resources.model import PolicyObject

Role: TypeAlias = Literal["refuses", "allows", "isolates", "conflicts"]

_READ_WITH = ("policy_default_local_cluster", "disable_non_default_deny", "policy_cidr_match_mode")
"""Settings of a cluster by which its policies say something else."""

_MOST_NAMED = 4


@attrs.frozen
class _Said:
    """What one state says on the side that turned."""

    name: StateName
    member: MemberView
    judge: PolicyJudge
    side: Side
    isolating: tuple[Source, ...]

    @property
    def refuses(self) -> bool:
        return self.side.verdict == "deny"

    def speaks(self, source: Source) -> bool:
        """Whether a rule says anything of the flow."""
        return any(each.source == source for each in self.side.statements)


@attrs.frozen
class _Found:
    """A rule that is responsible, in the state in which it is."""

    said: _Said
    source: Source
    role: Role


def because(before: Deciding, after: Deciding, source: str, destination: str, flow: Flow) -> Because:
    """
    What turned the verdict on a flow between ends that are there in both states.

    That is a rule which decides in one of them: it is new, gone, or changed, or does not select an end any
    more; else a setting, or who hears whom.
    """
    decisions = [deciding.decide(source, destination, flow) for deciding in (before, after)]
    direction = turning(*decisions)
    own, other = (source, destination) if direction == "egress" else (destination, source)
    had = _said("before", before, decisions[0], own, other, direction)
    has = _said("after", after, decisions[1], own, other, direction)
    found = _responsible(had, has)
    why = "; ".join(_otherwise(*decisions))
    if found is None:
        return Because(None, direction, "after", _without_rule(had, has, own, why))
    rest = has if found.said is had else had
    return Because(found.source, direction, found.said.name, _sentence(found, rest, own, why))


def turning(before: Decision, after: Decision) -> Direction:
    """The side whose verdict brings the other verdict about; of two the destination's."""
    for direction in ("ingress", "egress"):
        had, has = _side(before, direction), _side(after, direction)
        if had is None or has is None or had.verdict == has.verdict:
            continue
        if "deny" not in (before.verdict, after.verdict) or "deny" in (had.verdict, has.verdict):
            return direction
    raise AssertionError("the verdicts are the same")


def _side(decision: Decision, direction: str) -> Side | None:
    return decision.egress if direction == "egress" else decision.ingress


def _said(
    name: StateName, deciding: Deciding, decision: Decision, own: str, other: str, direction: Direction
) -> _Said:
    case, side = deciding._case(own, other), _side(decision, direction)
    assert case is not None, "the side that turned is judged"
    assert side is not None, "likewise"
    isolating = case.judge.isolating(case.subject, direction, on_host=case.on_host)
    member = deciding.view.members[cluster_of(own)]
    return _Said(name, member, case.judge, side, tuple(dict.fromkeys(each.source for each in isolating)))


def _responsible(had: _Said, has: _Said) -> _Found | None:
    if not had.refuses and not has.refuses:
        return _first([_Found(has, each, "allows") for each in has.side.rules], had) or _first(
            [_Found(had, each, "allows") for each in had.side.rules], has
        )
    refusing, passing = (had, has) if had.refuses else (has, had)
    allowed = [_Found(passing, each, "allows") for each in passing.side.rules]
    if refusing.side.rules:
        role: Role = "refuses" if refusing.side.matched else "conflicts"
        refused = [_Found(refusing, each, role) for each in refusing.side.rules]
        unmoved = all(_status(each, passing) == "same" and passing.speaks(each.source) for each in refused)
        return (_first(allowed, refusing) if unmoved else None) or _first(refused, passing)
    isolated = [_Found(refusing, each, "isolates") for each in refusing.isolating]
    if passing.isolating or (passing.side.enforced and not isolated):
        return _first(allowed, refusing)
    return _first(isolated, passing) or _first(allowed, refusing)


def _first(found: Sequence[_Found], other: _Said) -> _Found | None:
    """One that the other state has not, or otherwise; else the first."""
    return next((each for each in found if _status(each, other) != "same"), next(iter(found), None))


def _status(found: _Found, other: _Said) -> Literal["missing", "changed", "same"]:
    """What the other state has in its place."""
    here, there = (
        [rule for rule in judge.rules if rule.source == found.source]
        for judge in (found.said.judge, other.judge)
    )
    if not there:
        return "missing"
    return "same" if here == there else "changed"


def _sentence(found: _Found, other: _Said, own: str, why: str) -> str:
    status = _status(found, other)
    now = found.said.name == "after"
    aside = {
        "missing": ", which is new," if now else ", which is gone,",
        "changed": f", which {_changed(found, other)},",
        "same": "",
    }
    place = f"{found.source.path} of {found.source.subject}{aside[status]}"
    does, did = {
        "refuses": ("refuses it", "refused it"),
        "allows": ("allows it", "allowed it"),
        "isolates": (f"isolates {own}, and no rule allows it", f"isolated {own}"),
        "conflicts": (
            "is in conflict with another rule, so that all is refused",
            "was in conflict with another rule",
        ),
    }[found.role]
    ending = "" if status != "same" else "" if now else " and does no more"
    return f"{place} {does if now else did}{ending}" + (f": {why}" if status == "same" and why else "")


def _changed(found: _Found, other: _Said) -> str:
    """Of a rule that is another: its policy, or only how it is read."""
    had, has = (other, found.said) if found.said.name == "after" else (found.said, other)
    written = [_policy(said.member, found.source) for said in (had, has)]
    if written[0] == written[1]:
        for name in _READ_WITH:
            one, now = (getattr(said.member.settings, name) for said in (had, has))
            if one != now:
                return f"is read with {name} {str(now).lower()}, and was with {str(one).lower()}"
    return "is changed"


def _policy(member: MemberView, source: Source) -> PolicyObject | None:
    return next((each for each in member._store.policies.values() if each.subject == source.subject), None)


def _without_rule(had: _Said, has: _Said, own: str, why: str) -> str:
    settings = [said.judge.options for said in (had, has)]
    if settings[0].enforcement != settings[1].enforcement:
        one, now = (each.enforcement for each in settings)
        return f"policy_enforcement of {has.member.name} is {now}, and was {one}"
    if has.refuses and not has.isolating:
        return f"{own} refuses what no rule allows" + (f": {why}" if why else "")
    return why or "a setting of the cluster is another"


def _otherwise(before: Decision, after: Decision) -> Iterator[str]:
    """What policies take the ends for, where that is another."""
    for had, has in ((before.source, after.source), (before.destination, after.destination)):
        if had.because != has.because:
            yield f"{has.name} is {has.because}" if has.because else f"{has.name} is heard again"
        elif had.labels != has.labels:
            yield f"{has.name} has {_labels_apart(had.labels, has.labels)}"


def _labels_apart(had: LabelSet, has: LabelSet) -> str:
    here = [f"{each.key}={each.value}" for each in has if had.by_key.get(each.key) != each]
    gone = [f"{each.key}={each.value}" for each in had if has.by_key.get(each.key) != each]
    if not gone:
        return f"also {', '.join(here)}"
    return f"{', '.join(here) or 'no more'} {'instead of ' if here else ''}{', '.join(gone)}"


def because_of_ends(
    ends: Sequence[str], state: StateName, decision: Decision, elsewhere: Collection[str]
) -> Because:
    """
    Of a flow some end of which is in one state only.

    Args:
        ends: Those that come or go.
        decision: That of the state that has them.
        elsewhere: The members of the other state.
    """
    sides = [each for each in (decision.ingress, decision.egress) if each is not None]
    found = [(each.direction, each.rules[0]) for each in sides if each.rules]
    direction, rule = found[0] if found else (None, None)
    named = list(dict.fromkeys(_coming(each, elsewhere) for each in ends))
    verb = ("is" if len(named) == 1 else "are") + (" new" if state == "after" else " gone")
    text = f"{_few(named)} {verb}"
    if rule is not None:
        does = "allows" if state == "after" else "allowed"
        text += f", and {rule.path} of {rule.subject} {does} it"
    return Because(rule, direction, state, text)


def _few(named: Sequence[str]) -> str:
    if len(named) > _MOST_NAMED:
        named = (*named[: _MOST_NAMED - 1], f"{len(named) - _MOST_NAMED + 1} more")
    *first, last = named
    return f"{', '.join(first)} and {last}" if first else last


def _coming(end: str, elsewhere: Collection[str]) -> str:
    """An end, or its cluster if that comes or goes."""
    name = cluster_of(end)
    return end if name in elsewhere else f"cluster {name}"

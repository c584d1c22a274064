"""
What was decided on a flow, and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import attrs

from fleetmesh.policy.labels import LabelSet
from fleetmesh.policy.rule import Direction, Source

FlowVerdict: TypeAlias = Literal["allow", "deny", "redirect"]
OUTCOMES: tuple[FlowVerdict, ...] = ("deny", "redirect", "allow")
"""The worst first, in the order of the core's numbers."""


@attrs.frozen
class Statement:
    """
    What one rule says of a flow.

    Attributes:
        peer: By which of its peers it does.
        ports: By which of its ports; "" for all.
        decides: Whether the verdict is this rule's; if not, `because` says why not.
    """

    source: Source
    verdict: str
    tier: str
    peer: str
    ports: str
    decides: bool
    because: str = ""


@attrs.frozen
class Side:
    """
    What the cluster of one end decides.

    Attributes:
        enforced: Whether any policy speaks about the subject in that direction.
        matched: Whether a rule, or a default that is one, decided; False: refused as nothing allows it.
        l7: Which proxy takes over: `http`, `dns`, `tls` or `crd`.
        auth: Which authentication is asked for: `disabled`, `spire` or `test-always-fail`.
        l7_allow: Whether the proxy lets the request pass; `None` where none was given, or only the proxy
            itself would know.
        rules: Those that decided.
        statements: All rules that speak about the flow, those that decide first.
        advice: The smallest change that would turn the verdict.
    """

    direction: Direction
    verdict: FlowVerdict
    enforced: bool
    matched: bool
    l7: str | None = None
    auth: str | None = None
    l7_allow: bool | None = None
    rules: tuple[Source, ...] = ()
    statements: tuple[Statement, ...] = attrs.field(default=(), repr=False)
    advice: str = attrs.field(default="", repr=False)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "verdict": self.verdict,
            "enforced": self.enforced,
            "matched": self.matched,
            "l7": self.l7,
            "auth": self.auth,
            "l7_allow": self.l7_allow,
            "rules": [rule_to_json(each) for each in self.rules],
        }


@attrs.frozen
class End:
    """
    Attributes:
        name: As it was asked about.
        identity: Its number as the other end's cluster sees it.
        labels: Of that identity.
        because: Why it is seen so, where that is not what one would think.
    """

    name: str
    identity: int
    labels: LabelSet
    because: str = ""


def worst(verdicts: list[FlowVerdict]) -> FlowVerdict:
    """Deny before redirect before allow; nothing is allowed."""
    return next((each for each in OUTCOMES if each in verdicts), "allow")


@attrs.frozen
class Decision:
    """
    What becomes of the first packet of a connection.

    Attributes:
        verdict: `deny` if either side denies, else `redirect` if either has a proxy take over.
        egress: The source's side; `None` where it is not judged, as it is in no cluster of the mesh.
        ingress: The destination's side.
        source: Who it comes from, as the destination sees it.
        destination: Whom it goes to, as the source sees it.
        backends: Of a flow to a service, a decision for each backend that it may go to.
    """

    verdict: FlowVerdict
    egress: Side | None
    ingress: Side | None
    source: End
    destination: End
    backends: tuple[Decision, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "verdict": self.verdict,
            "source": self.source.name,
            "destination": self.destination.name,
            "egress": None if self.egress is None else self.egress.to_json(),
            "ingress": None if self.ingress is None else self.ingress.to_json(),
            "backends": [each.to_json() for each in self.backends],
        }

    def explain(self) -> Explanation:
        """Why it was decided so: both ends, each rule that speaks about the flow, and what would turn it."""
        return Explanation(self)


@attrs.frozen
class Explanation:
    """What there is to say about a decision; `str` of it is for people."""

    decision: Decision

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        decision = self.decision
        return {
            **decision.to_json(),
            "source": _end(decision.source),
            "destination": _end(decision.destination),
            "egress": None if decision.egress is None else _explained(decision.egress),
            "ingress": None if decision.ingress is None else _explained(decision.ingress),
            "backends": [each.explain().to_json() for each in decision.backends],
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        decision = self.decision
        yield f"{decision.source.name} to {decision.destination.name}: {decision.verdict}"
        for what, end in (("source", decision.source), ("destination", decision.destination)):
            because = f" ({end.because})" if end.because else ""
            yield f"  {what}: identity {end.identity}{because}: {end.labels}"
        for side in (decision.egress, decision.ingress):
            if side is None:
                continue
            yield f"  {side.direction}: {side.verdict}" + (
                "" if side.enforced else ", no policy speaks about it"
            )
            for each in side.statements:
                mark = "decides" if each.decides else f"not: {each.because}"
                ports = f" at {each.ports}" if each.ports else ""
                yield f"    {each.verdict} {each.peer}{ports}: {_where(each.source)} ({mark})"
            yield f"    to turn it: {side.advice}"
        for backend in decision.backends:
            yield from (f"  {line}" for line in backend.explain()._lines())


def _explained(side: Side) -> dict[str, Any]:
    statements = [
        {
            "rule": rule_to_json(each.source),
            "verdict": each.verdict,
            "tier": each.tier,
            "peer": each.peer,
            "ports": each.ports,
            "decides": each.decides,
            "because": each.because,
        }
        for each in side.statements
    ]
    return {**side.to_json(), "statements": statements, "advice": side.advice}


def _end(end: End) -> dict[str, Any]:
    labels = [str(each) for each in end.labels]
    return {"name": end.name, "identity": end.identity, "labels": labels, "because": end.because}


def rule_to_json(source: Source) -> dict[str, Any]:
    """Where a rule stands, as plain values."""
    return {
        "policy": source.subject,
        "path": source.path,
        "where": None if source.origin is None else str(source.origin),
    }


def _where(source: Source) -> str:
    return f"{source.path} of {source.subject}" + ("" if source.origin is None else f", {source.origin}")

"""
What was decided on a flow, and why.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from fleetmesh.policy.labels import LabelSet
from fleetmesh.policy.rule import Direction, Source

FlowVerdict: TypeAlias = Literal["allow", "deny", "redirect"]
_WORST: tuple[FlowVerdict, ...] = ("deny", "redirect", "allow")


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
    return next((each for each in _WORST if each in verdicts), "allow")


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

"""
Why a viewer uses what it uses: every candidate of a service, and the rule that decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import attrs

from fleetmesh.records import PROTOCOL_NAMES
from fleetmesh.services.rules import RULES
from fleetmesh.services.words import FRONTEND_TYPES, STATES

if TYPE_CHECKING:
    from fleetmesh._core import ServiceSpec, Snapshot

_IN = ("in-use", "selected")
_LOCAL = 1


@attrs.frozen
class FrontendName:
    """
    Which frontend a verdict is about.

    Attributes:
        scope: "external", or "internal" for the second entry that Cilium makes when exactly one of the
            two traffic policies is Local.
    """

    type: str
    scope: str
    address: str
    port: int
    protocol: str
    port_name: str

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        words = [self.type, f"{address}:{self.port}/{self.protocol}", self.port_name]
        return " ".join(word for word in [*words, "internal" if self.scope == "internal" else ""] if word)


@attrs.frozen
class Verdict:
    """
    What was decided about a candidate for one frontend.

    Attributes:
        frontend: None where the viewer has no frontend of the service.
        rule: A code of `fleetmesh.services.rules.RULES`.
        selected: Whether it is among the frontend's backends.
        in_use: Whether it takes new connections.
        sentence: The rule in words, naming what decided.
        fix: What to change to get the other answer; "" where nothing is to be changed.
    """

    frontend: FrontendName | None
    rule: str
    selected: bool
    in_use: bool
    sentence: str
    fix: str


@attrs.frozen
class Candidate:
    """
    An endpoint that might serve.

    Attributes:
        port_names: Sorted; empty where the port has none.
        state: As the viewer sees it.
        weight: As the viewer knows it, before the cluster's share is put on it.
        nodes: The viewer's nodes on which it is in use; empty where they don't differ.
        verdicts: One for each frontend of the viewer; a single one without a frontend if it has none.
    """

    cluster: str
    address: str
    port: int
    protocol: str
    port_names: tuple[str, ...]
    state: str
    weight: int
    nodes: tuple[str, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def selected(self) -> bool:
        """Whether some frontend has it."""
        return any(verdict.selected for verdict in self.verdicts)

    @property
    def in_use(self) -> bool:
        """Whether it takes new connections of some frontend."""
        return any(verdict.in_use for verdict in self.verdicts)

    @property
    def rule(self) -> str:
        """The code that tells most: `in-use` or `selected` if some frontend has it, else the first."""
        return self._telling.rule

    @property
    def sentence(self) -> str:
        """The sentence to `rule`."""
        return self._telling.sentence

    @property
    def _telling(self) -> Verdict:
        order = {"in-use": 0, "selected": 1, "family": 3, "protocol": 3}
        return min(self.verdicts, key=lambda verdict: order.get(verdict.rule, 2))

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        names = f" {','.join(self.port_names)}" if self.port_names else ""
        return f"{self.cluster} {address}:{self.port}/{self.protocol}{names}"


@attrs.frozen
class Silence:
    """A cluster that has no candidate, and why."""

    cluster: str
    rule: str
    sentence: str
    fix: str


@attrs.frozen
class Explanation:
    """
    All candidates of a service, seen from one viewer. Iterating it gives the candidates.

    Attributes:
        viewer: The name of the cluster that looks.
        node: The node of it, or None for all of them.
        silent: The clusters without a candidate.
    """

    viewer: str
    node: str | None
    namespace: str
    name: str
    frontends: tuple[FrontendName, ...]
    candidates: tuple[Candidate, ...]
    silent: tuple[Silence, ...]

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __len__(self) -> int:
        return len(self.candidates)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return attrs.asdict(self)

    def render(self) -> str:
        """Plain text for people: a block for each frontend, then the clusters without candidates."""
        place = f"{self.viewer}/{self.node}" if self.node else self.viewer
        lines = [f"{self.namespace}/{self.name} seen from {place}"]
        for frontend in self.frontends or (None,):
            if frontend is not None:
                lines.append(f"  {frontend}")
            for candidate in self.candidates:
                for verdict in candidate.verdicts:
                    if verdict.frontend == frontend:
                        lines += _lines(candidate, verdict)
        for rule in dict.fromkeys(silence.rule for silence in self.silent):
            told = [silence for silence in self.silent if silence.rule == rule]
            if len(told) == 1 or rule not in {"no-service", "not-heard"}:
                for silence in told:
                    lines.append(f"  {silence.cluster}: {silence.sentence}")
                    if silence.fix:
                        lines.append(f"       -> {silence.fix}")
            else:
                names = ", ".join(silence.cluster for silence in told)
                what = "no Service of that name" if rule == "no-service" else f"not heard by {self.viewer}"
                lines.append(f"  {names}: {what}")
        return "\n".join(lines) + "\n"


def explain(
    snapshot: Snapshot,
    names: Mapping[int, str],
    viewer: int,
    node: str | None,
    namespace: str,
    name: str,
    failed: frozenset[int] = frozenset(),
) -> Explanation:
    """
    Every candidate of a service for a viewer, and each cluster that has none. A viewer that is among the
    `failed` ones uses nothing.

    `names` gives the name of each member by its cluster id; `viewer` is the id of the one that looks,
    `node` one of its nodes or None for the union over them.
    """
    frontends = tuple(
        FrontendName(
            FRONTEND_TYPES[kind],
            "internal" if internal else "external",
            address,
            port,
            PROTOCOL_NAMES[protocol],
            port_name,
        )
        for kind, internal, address, port, protocol, port_name, _, _ in snapshot.frontends(
            viewer, namespace, name, node
        )
        if viewer not in failed
    )
    context = {"viewer": names[viewer], "service": f"{namespace}/{name}", "namespace": namespace}
    rows: dict[int, list[Verdict]] = {}
    backends: dict[int, tuple[Any, set[str]]] = {}
    specs = {cluster: snapshot.spec(cluster, namespace, name) for cluster in names}
    own = specs[viewer]
    told = snapshot.candidates(viewer, namespace, name, node)
    # Every frontend of the Service, also a refused one, has all candidates in the same order.
    count = len(told) // (len(own.frontends) if own is not None and not own.headless and own.frontends else 1)
    for position, (index, backend, code, detail) in enumerate(told):
        key = position % count
        cut_off = viewer in failed or backend[0] in failed
        frontend = frontends[index] if index >= 0 and viewer not in failed else None
        backends.setdefault(key, (backend, set()))[1].update(backend[7])
        # That there is no Service says more than what follows from it.
        rule = "no-service" if index >= 0 and specs[backend[0]] is None else code
        if cut_off:
            rule = "cluster-failed"
            if key in rows:
                continue
        verdict = _verdict(frontend, rule, detail, backend, names, context, own)
        if verdict not in rows.setdefault(key, []):  # of several refused frontends one says it all
            rows[key].append(verdict)
    candidates = tuple(
        Candidate(
            names[backend[0]],
            backend[1],
            backend[2],
            PROTOCOL_NAMES[backend[3]],
            backend[4],
            STATES[backend[5]],
            backend[6],
            tuple(sorted(nodes)),
            tuple(rows[key]),
        )
        for key, (backend, nodes) in sorted(backends.items(), key=lambda item: _place(viewer, item[1][0]))
    )
    heard_of = {backend[0] for backend, _ in backends.values()}
    hears = frozenset(snapshot.hears(viewer))
    silent = tuple(
        _silence(specs[cluster], cluster, viewer, hears, names, context)
        for cluster in names
        if cluster not in heard_of
    )
    return Explanation(names[viewer], node, namespace, name, frontends, candidates, silent)


def _verdict(
    frontend: FrontendName | None,
    code: str,
    detail: str,
    backend: tuple[int, str, int, int, tuple[str, ...], int, int, tuple[str, ...]],
    names: Mapping[int, str],
    context: Mapping[str, str],
    own: ServiceSpec | None,
) -> Verdict:
    rule = RULES["viewer-no-service" if code == "no-service" and frontend is None else code]
    facts = {
        **context,
        "cluster": names[backend[0]],
        "detail": _counted(code, detail) or "none",
        "state": STATES[backend[5]],
        "address": backend[1],
        "port_name": frontend.port_name if frontend else "",
        "frontend": str(frontend or ""),
    }
    sentence = rule.sentence.format_map(facts)
    if code == "in-use" and own is not None:
        sentence += _preference(own, names[backend[0]], context["viewer"])
    return Verdict(frontend, rule.code, code in _IN, code == "in-use", sentence, rule.fix.format_map(facts))


def _counted(code: str, detail: str) -> str:
    """A detail in words, where the core tells of a number of healthy backends."""
    if code not in ("preferred-cluster", "cluster-weights"):
        return detail
    *cluster, number = detail.split()
    words = f"{number} healthy backend{'' if number == '1' else 's'}"
    return f"{cluster[0]} has {words}" if cluster else words


def _preference(own: ServiceSpec, cluster: str, viewer: str) -> str:
    """What preference has to do with a backend that is in use."""
    said = ""
    if cluster != viewer and own.affinity == _LOCAL and own.min_local_backends > 1:
        said += f", as fewer than {own.min_local_backends} of {viewer}'s own are healthy"
    if cluster in own.prefer_clusters:
        said += f"; {viewer} prefers {cluster}"
    for name, weight in own.cluster_weights:
        if name == cluster and weight:
            said += (
                f"; {viewer} gives {cluster} {weight} of {sum(each for _, each in own.cluster_weights)} parts"
            )
    return said


def _place(viewer: int, backend: tuple[Any, ...]) -> tuple[Any, ...]:
    """
    The viewer's own come first, then the others by cluster id; of each, in the order of addresses.

    What looks the same up to its state differs by its slice, and comes from the core in order of those.
    """
    cluster, text, port, protocol, port_names, state, *_ = backend
    address = ip_address(text)
    return (cluster != viewer, cluster, address.version, int(address), port, protocol, port_names, state)


def _silence(
    spec: ServiceSpec | None,
    cluster: int,
    viewer: int,
    hears: frozenset[int],
    names: Mapping[int, str],
    context: Mapping[str, str],
) -> Silence:
    if spec is None:
        code = "no-service"
    elif cluster == viewer:
        code = "no-endpoints"
    elif cluster not in hears:
        code = "not-heard"
    elif not spec.is_global:
        code = "publisher-not-global"
    elif not spec.shared:
        code = "publisher-not-shared"
    elif not spec.namespace_global:
        code = "namespace-not-global"
    elif not spec.record_valid:
        code = "record-refused"
    else:
        code = "no-endpoints"
    facts = {**context, "cluster": names[cluster]}
    sentence = (
        f"it has no Service {context['service']}"
        if code == "no-service"
        else RULES[code].sentence.format_map(facts)
    )
    return Silence(names[cluster], code, sentence, RULES[code].fix.format_map(facts))


def _lines(candidate: Candidate, verdict: Verdict) -> list[str]:
    mark = "in " if verdict.in_use else "sel" if verdict.selected else "out"
    nodes = f" on {', '.join(candidate.nodes)}" if verdict.in_use and candidate.nodes else ""
    lines = [f"    {mark}  {candidate} {candidate.state}{nodes}: {verdict.sentence} ({verdict.rule})"]
    if verdict.fix and not verdict.in_use:
        lines.append(f"         -> {verdict.fix}")
    return lines

"""
Who can reach whom in a whole mesh: sources' classes x destinations' classes x ranges of ports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import attrs

from fleetmesh import _core
from fleetmesh.errors import NotFoundError
from fleetmesh.mesh.deciding import PROTOCOLS, Deciding, flow_of
from fleetmesh.mesh.population import EVERYTHING, PodGroup, Population, Window
from fleetmesh.mesh.reach import Reachability, reachability
from fleetmesh.policy.decision import OUTCOMES, FlowVerdict
from fleetmesh.policy.labels import Label, LabelSet
from fleetmesh.policy.rule import PROTOCOL_NUMBERS

_LAST_PORT = 0xFFFF
_NAMES = {PROTOCOL_NUMBERS[name.upper()]: name for name in PROTOCOLS}


@attrs.frozen
class PodClass:
    """
    Pods of one cluster that no policy of the mesh tells apart, as sources nor as destinations, at the ports
    of the matrix.

    Attributes:
        cluster: The name of their member.
        groups: The same pods, by their labels.
    """

    cluster: str
    groups: tuple[PodGroup, ...]

    @property
    def pods(self) -> tuple[str, ...]:
        """Ends, such as `east/shop/cart`, sorted."""
        return tuple(sorted(pod for group in self.groups for pod in group.pods))

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Those that they are in, sorted."""
        return tuple(sorted({pod.split("/")[1] for group in self.groups for pod in group.pods}))

    @property
    def labels(self) -> LabelSet:
        """Those that the identities of all of them have."""
        common: set[Label] = set.intersection(*(set(group.labels) for group in self.groups))
        return LabelSet.of(common)


@attrs.frozen
class PortSpan:
    """
    Neighbouring ports of one protocol, or ICMP types, at which one thing becomes of connections.

    Attributes:
        protocol: As of `Mesh.decide`.
        last: Inclusive.
    """

    protocol: str
    first: int
    last: int
    verdict: FlowVerdict


@attrs.frozen
class Cell:
    """
    What becomes of connections between pods of some classes.

    Attributes:
        spans: Of the ports of the matrix, in order of `TCP`, `UDP`, `SCTP`, `ICMP` and `ICMPv6`.
    """

    sources: tuple[PodClass, ...]
    destinations: tuple[PodClass, ...]
    spans: tuple[PortSpan, ...]

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Each source with each destination that is another pod."""
        for source in self.sources:
            for one in source.pods:
                for destination in self.destinations:
                    for other in destination.pods:
                        if one != other:
                            yield one, other


@attrs.frozen(eq=False)
class ReachabilityMatrix:
    """
    Who can reach whom among all pods of a mesh, at the state in which it was asked; `Mesh.decide` of any pair
    says why, and its `explain()` in words.

    Nothing in it grows with pairs of pods: a side that judges says the same of everybody but the peers of its
    rules, and what becomes of a flow is the worse of what both sides say.

    Attributes:
        protocol: That of the one port that was asked about, or that all ports are of; `None`: all.
        port: The one that was asked about; `None`: all.
    """

    protocol: str | None
    port: int | None
    _population: Population = attrs.field(repr=False)
    _core: _core.Reachability = attrs.field(repr=False)
    _window: Window = attrs.field(repr=False)
    _spans: dict[int, tuple[PortSpan, ...]] = attrs.field(factory=dict, repr=False, init=False)

    def __len__(self) -> int:
        """How many classes there are."""
        return len(self._core)

    @cached_property
    def classes(self) -> tuple[PodClass, ...]:
        """All pods of the mesh, in order of clusters."""
        groups: list[list[PodGroup]] = [[] for _ in range(len(self._core))]
        for place, group in zip(self._class_of, self._population.groups, strict=True):
            groups[place].append(group)
        return tuple(PodClass(each[0].cluster, tuple(each)) for each in groups)

    @cached_property
    def _class_of(self) -> tuple[int, ...]:
        """By place of a group."""
        return tuple(self._core.class_of())

    def class_of(self, pod: str) -> PodClass:
        """
        Raises:
            NotFoundError: There was no such pod; names the nearest.
        """
        return self.classes[self._place(pod)]

    def spans(self, source: str, destination: str) -> tuple[PortSpan, ...]:
        """
        What becomes of connections between two pods, by port; a pod reaches itself.

        Raises:
            NotFoundError: There was no such pod; names the nearest.
        """
        one, other = self._place(source), self._place(destination)
        if source == destination:
            return self._ranges([(self._window[0], OUTCOMES.index("allow"))])
        return self._listed(self._core.spans(one, other))

    def verdict(
        self, source: str, destination: str, *, protocol: str | None = None, port: int | None = None
    ) -> FlowVerdict:
        """
        What becomes of a connection between two pods: the verdict of `Mesh.decide`.

        Args:
            protocol, port: As of `Mesh.decide`; of a matrix that was asked for one port, that one.

        Raises:
            NotFoundError: There was no such pod; names the nearest.
            ValueError: The protocol or port is malformed, or none of those that the matrix is of.
        """
        key = self._key(protocol, port)
        one, other = self._place(source), self._place(destination)
        return "allow" if source == destination else OUTCOMES[self._core.outcome(one, other, key)]

    def cells(self, *, source: str | None = None, to: str | None = None) -> Iterator[Cell]:
        """
        All that is possible: for each class of sources the classes of destinations, those together of which
        the same becomes. Cells in which nothing passes at any port are left out.

        Costs a look at each class for every class of sources.

        Args:
            source: A pod: only from its class.
            to: A pod: only to its class, with the classes of sources together.

        Raises:
            NotFoundError: There was no such pod; names the nearest.
            ValueError: Both are given; that is what `spans` is for.
        """
        if source is not None and to is not None:
            raise ValueError(
                f"cells from {source!r} to {to!r}; expected at most one of source and to: spans is for a pair"
            )
        end = source if to is None else to
        places = range(len(self._core)) if end is None else [self._place(end)]
        return (cell for place in places for cell in self._cells(place, ingress=to is not None))

    def _cells(self, place: int, *, ingress: bool) -> Iterator[Cell]:
        own = (self.classes[place],)
        for number, others in self._core.cells(place, ingress):
            spans = self._listed(number)
            if all(each.verdict == "deny" for each in spans):
                continue
            peers = tuple(self.classes[each] for each in others)
            yield Cell(peers, own, spans) if ingress else Cell(own, peers, spans)

    def counts(self, *, protocol: str | None = None, port: int | None = None) -> Mapping[FlowVerdict, int]:
        """
        How many ordered pairs of different pods have each verdict at one port; see `verdict`.

        Costs a look at each pair of classes.
        """
        found = self._core.count(self._key(protocol, port))
        return dict(zip(OUTCOMES, found, strict=True))

    def pairs(
        self, *, protocol: str | None = None, port: int | None = None
    ) -> Iterator[tuple[str, str, FlowVerdict]]:
        """Each ordered pair of different pods with its verdict at one port; see `verdict`."""
        key = self._key(protocol, port)
        for place, source in enumerate(self.classes):
            outcomes = self._core.around(place, False, key)
            for destination, outcome in zip(self.classes, outcomes, strict=True):
                for one, other in Cell((source,), (destination,), ()).pairs():
                    yield one, other, OUTCOMES[outcome]

    def _place(self, pod: str) -> int:
        """Of its class."""
        group = self._population.group_of.get(pod)
        if group is None:
            raise NotFoundError("pod", pod, self._population.group_of)
        return self._class_of[group]

    def _key(self, protocol: str | None, port: int | None) -> int:
        flow = flow_of(
            (self.protocol or "TCP") if protocol is None else protocol,
            (self.port or 0) if port is None else port,
        )
        key = flow.protocol << 16 | flow.port
        first, last = self._window
        if not first <= key <= last:
            of = self.protocol if self.port is None else f"{self.port}/{self.protocol}"
            raise ValueError(f"port {flow.port}/{_NAMES[flow.protocol]}; the matrix is of {of}")
        return key

    def _listed(self, number: int) -> tuple[PortSpan, ...]:
        found = self._spans.get(number)
        if found is None:
            found = self._spans[number] = self._ranges(self._core.span_list(number))
        return found

    def _ranges(self, rows: list[tuple[int, int]]) -> tuple[PortSpan, ...]:
        """Of (protocol << 16 | port from which on it holds, outcome), those of each protocol."""
        found = []
        ends = [start - 1 for start, _ in rows[1:]] + [self._window[1]]
        for name in PROTOCOLS:
            base = PROTOCOL_NUMBERS[name.upper()] << 16
            for (start, outcome), end in zip(rows, ends, strict=True):
                first, last = max(start, base), min(end, base + _LAST_PORT)
                if first <= last:
                    found.append(PortSpan(name, first - base, last - base, OUTCOMES[outcome]))
        return tuple(found)


def asked(
    deciding: Deciding, *, to: str | None, source: str | None, protocol: str | None, port: int | None
) -> Reachability | ReachabilityMatrix:
    """What `Mesh.reachability` answers."""
    if to is not None and source is not None:
        raise ValueError(
            f"reachability from {source!r} to {to!r}; expected at most one of to and source: "
            "a pair is for decide"
        )
    flow = flow_of("TCP" if protocol is None else protocol, 0 if port is None else port)
    end = to if source is None else source
    if end is not None:
        return reachability(deciding, end, flow, to=source is None)
    judged = deciding.population()
    if protocol is None and port is None:
        return ReachabilityMatrix(None, None, judged.population, judged.everywhere, EVERYTHING)
    first = flow.protocol << 16 | flow.port
    window = (first, first + _LAST_PORT if port is None else first)
    name = _NAMES[flow.protocol]
    return ReachabilityMatrix(name, port, judged.population, judged.core(window), window)

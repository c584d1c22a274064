"""
Preference between clusters, the slow way: who is outranked, and what each backend in use weighs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Protocol, TypeVar

from doubles.facts import ACTIVE, ServiceSpec

HIGHEST = 65534
LEAST_MEAN = 2


class Backend(Protocol):
    @property
    def cluster(self) -> int: ...

    @property
    def state(self) -> int: ...

    @property
    def weight(self) -> int: ...


B = TypeVar("B", bound=Backend)


def outranked(rows: Sequence[B], spec: ServiceSpec, names: Mapping[int, str]) -> tuple[list[B], str, str]:
    """Of what is left after affinity, the rows that go, with rule and detail."""
    healthy = [row for row in rows if row.state == ACTIVE]
    if spec.prefer_clusters:
        order = {name: position for position, name in enumerate(spec.prefer_clusters)}
        place = {row: order.get(names[row.cluster], len(order)) for row in rows}
        if not healthy:
            return [], "", ""
        first = min(place[row] for row in healthy)
        serving = [row for row in healthy if place[row] == first]
        detail = f"{names[serving[0].cluster]} {len(serving)}"
        return [row for row in rows if place[row] > first], "preferred-cluster", detail
    shares = dict(spec.cluster_weights)
    serving = [row for row in healthy if shares.get(names[row.cluster])]
    if not serving:
        return [], "", ""
    unlisted = [row for row in rows if not shares.get(names[row.cluster])]
    return unlisted, "cluster-weights", str(len(serving))


def compiled(rows: Sequence[B], spec: ServiceSpec, names: Mapping[int, str]) -> list[int]:
    """The weights of a frontend's backends in use."""
    plain = [row.weight for row in rows]
    shares = dict(spec.cluster_weights)
    if spec.prefer_clusters or any(row.state != ACTIVE or not shares.get(names[row.cluster]) for row in rows):
        return plain
    parts: dict[int, list[int]] = {}
    for position, row in enumerate(rows):
        parts.setdefault(row.cluster, []).append(position)
    if len(parts) < 2:
        return plain
    given = {cluster: shares[names[cluster]] for cluster in parts}
    found = apportion([(given[cluster], [plain[i] for i in parts[cluster]]) for cluster in parts])
    for positions, weights in zip(parts.values(), found, strict=True):
        for position, weight in zip(positions, weights, strict=True):
            plain[position] = weight
    return plain


def apportion(parts: Sequence[tuple[int, Sequence[int]]]) -> list[list[int]]:
    """For each (share, weights) of a cluster the weights that reproduce the shares."""
    everything = sum(share for share, _ in parts)
    dues = [
        Fraction(share, everything) * Fraction(weight, sum(weights))
        for share, weights in parts
        for weight in weights
    ]
    limit = math.floor(HIGHEST / max(dues))
    exact = math.lcm(*(due.denominator for due in dues))
    total = exact * math.ceil(Fraction(LEAST_MEAN * len(dues), exact))
    total = min(total, limit)
    return [
        divided(math.floor(Fraction(total * share, everything) + Fraction(1, 2)), weights)
        for share, weights in parts
    ]


def divided(total: int, weights: Sequence[int]) -> list[int]:
    dues = [Fraction(total * weight, sum(weights)) for weight in weights]
    out = [math.floor(due) for due in dues]
    by_loss = sorted(range(len(dues)), key=lambda i: (out[i] - dues[i], i))
    for i in by_loss[: total - sum(out)]:
        out[i] += 1
    return [max(1, weight) for weight in out]

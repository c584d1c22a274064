"""
Preference between clusters: annotations of fleetmesh's own, which Cilium doesn't know.

A Service that has none of them is answered as without this module. What they do to a selection is the
core's (`prefer_clusters` and `share_by_cluster` of `preference.cpp`); here they are read.
"""

from __future__ import annotations

import attrs

PREFER_CLUSTERS = "fleetmesh.io/prefer-clusters"
CLUSTER_WEIGHTS = "fleetmesh.io/cluster-weights"
MIN_LOCAL_BACKENDS = "fleetmesh.io/min-local-backends"
HIGHEST = 65535


@attrs.frozen
class Preference:
    """
    Which clusters a Service prefers, seen from the cluster that it is in.

    Attributes:
        prefer_clusters: New connections go to the first of these that has a healthy backend; those that
            are not named come last, together.
        cluster_weights: Cluster and part of new connections, in order of names; those that are not named
            have none while one of these has a healthy backend. Never beside `prefer_clusters`.
        min_local_backends: How many healthy backends of its own keep the others out under affinity local.
    """

    prefer_clusters: tuple[str, ...] = ()
    cluster_weights: tuple[tuple[str, int], ...] = ()
    min_local_backends: int = 1


def read_order(value: str) -> tuple[str, ...]:
    """
    Clusters in order of preference: `east, west`.

    Raises:
        ValueError: A name is empty or there twice.
    """
    names = tuple(name.strip() for name in value.split(","))
    _check_names(names)
    return names


def read_weights(value: str) -> tuple[tuple[str, int], ...]:
    """
    Clusters and their parts: `east=80, west=20`, sorted by name.

    Raises:
        ValueError: A name is empty or there twice, a weight is no whole number up to 65535, or all are 0.
    """
    weights: dict[str, int] = {}
    pairs = [pair.partition("=") for pair in value.split(",")]
    _check_names(tuple(name.strip() for name, _, _ in pairs))
    for name, equals, number in pairs:
        if not equals:
            raise ValueError(f"{name.strip()!r} has no weight")
        weights[name.strip()] = _read_number(number.strip(), 0)
    if not any(weights.values()):
        raise ValueError("all weights are 0")
    return tuple(sorted(weights.items()))


def read_minimum(value: str) -> int:
    """
    How many own backends are enough.

    Raises:
        ValueError: It is no whole number within 1..65535.
    """
    return _read_number(value.strip(), 1)


def _check_names(names: tuple[str, ...]) -> None:
    for position, name in enumerate(names):
        if not name:
            raise ValueError("a name is empty")
        if name in names[:position]:
            raise ValueError(f"{name!r} is there twice")


def _read_number(text: str, least: int) -> int:
    if text.isascii() and text.isdigit() and len(text.lstrip("0")) <= 5 and least <= int(text) <= HIGHEST:
        return int(text)
    raise ValueError(f"{text!r} is no whole number within {least}..{HIGHEST}")

"""
Policies that say something else than they seem to, or nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetmesh.findings import Finding
from fleetmesh.policy.lint.clusters import default_local, unknown_clusters
from fleetmesh.policy.lint.documents import empties
from fleetmesh.policy.lint.known import Known
from fleetmesh.policy.lint.names import names_without_dns
from fleetmesh.policy.lint.networks import networks
from fleetmesh.policy.lint.nobody import nobody
from fleetmesh.policy.lint.nodes import nodes
from fleetmesh.policy.lint.ports import unmatched_ports
from fleetmesh.policy.lint.proxies import proxies
from fleetmesh.policy.lint.redundant import redundant
from fleetmesh.policy.rule import Rule

__all__ = ["Known", "lint"]


def lint(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """Of the rules of one cluster, in the order in which they are taken."""
    for look in (
        nobody,
        unknown_clusters,
        default_local,
        redundant,
        networks,
        unmatched_ports,
        proxies,
        names_without_dns,
        nodes,
    ):
        yield from look(rules, known)
    yield from empties(known)

"""
One mesh, run by several processes: what each of them has of it, and what can be asked of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import fleetmesh as fm
from fleetmesh.errors import WireError
from fleetmesh.records import EndpointsRecord, Record
from fleetmesh.state.codecs import Exporter, decode, encode
from fleetmesh.state.keys import KINDS, key_of, prefix


def only(whole: fm.Mesh, own: str) -> fm.Mesh:
    """A mesh of the same members, of which this process runs one."""
    mesh = fm.Mesh(whole.name, topology=whole.topology, mode=whole.mode, allocations=whole.allocations)
    for name, member in whole.members.items():
        joined = mesh.join(
            name,
            cluster_id=member.cluster_id,
            settings=member.settings if name == own else None,
            pod_cidrs=member.declared.pod_cidrs,
            service_cidrs=member.declared.service_cidrs,
            node_cidrs=member.declared.node_cidrs,
            outside=name != own,
        )
        if name == own:
            joined.apply(member.resources.values())
    return mesh


def seen(mesh: fm.Mesh, viewer: str) -> dict[str, Any]:
    """The frontends of every Service, with their backends."""
    return {"/".join(key): mesh.service(*key).frontends(seen_from=viewer) for key in mesh.services(viewer)}


def decided(mesh: fm.Mesh, whole: fm.Mesh, own: str) -> dict[tuple[str, str], Any]:
    """What the member's own side says of connections from and to its pods."""
    ends = [
        f"{name}/{pod.namespace}/{pod.name}" for name in whole.members for pod in whole.members[name].pods
    ]
    found = {}
    for mine in (end for end in ends if end.startswith(f"{own}/")):
        for other in ends:
            found[mine, other] = mesh.decide(mine, other, port=8080).egress
            found[other, mine] = mesh.decide(other, mine, port=8080).ingress
    return {pair: None if side is None else (side.verdict, side.rules) for pair, side in found.items()}


def records_of(content: Mapping[str, bytes], exporter: Exporter, *, cached: bool) -> Iterable[Record]:
    """All of a cluster that can be read in what a store has."""
    for kind in KINDS:
        begin = prefix(kind, exporter.cluster, cached=cached)
        for key in filter(lambda each: each.startswith(begin), content):
            try:
                yield decode(kind, key.removeprefix(begin), content[key], exporter)
            except WireError:
                continue


def known(mesh: fm.Mesh, name: str) -> set[tuple[str, bytes]]:
    """What is known of a member, record for record. Slices are read in mode `strict` only."""
    slices = mesh.mode == "strict"
    records = mesh.members[name].records()
    found = (each for each in records if slices or not isinstance(each, EndpointsRecord))
    return {(key_of(each, cached=True), encode(each)) for each in found}

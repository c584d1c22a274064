"""
The records of a member that another process runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from fleetmesh.mesh.heard import labels_text
from fleetmesh.records import identity_record

if TYPE_CHECKING:
    from fleetmesh.mesh.heard import Heard
    from fleetmesh.mesh.viewpoint import MemberView
    from fleetmesh.records import Record


def heard_records(heard: Heard, member: MemberView, kind: str | None) -> tuple[Record, ...]:
    """As they were heard; of a member that is drained, what serves is not there."""
    identities = (
        identity_record(member.name, member.cluster_id, number, labels_text(labels))
        for number, labels in sorted(heard.identities.items())
    )
    services = [record for _, record in sorted(heard.services.items())]
    endpoints = [each for _, pieces in sorted(heard.endpoints.items()) for _, each in sorted(pieces.items())]
    found: dict[str, Iterable[Record]] = {
        "node": [record for _, record in sorted(heard.nodes.items())],
        "service": services,
        "endpoints": endpoints,
        "identity": identities,
        "ip": [record for _, record in sorted(heard.ips.items())],
        "export": [record for _, record in sorted(heard.exports.items())],
    }
    if member.drained:
        found |= {"endpoints": (), "identity": (), "ip": ()}
        found["service"] = [attrs.evolve(each, backends={}, hostnames={}, zones={}) for each in services]
    if kind is not None and kind not in found:
        raise ValueError(f"record kind {kind!r}; expected one of {', '.join(found)}")
    return tuple(each for name, records in found.items() if kind in {None, name} for each in records)

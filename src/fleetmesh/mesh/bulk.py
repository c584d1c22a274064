"""
What becomes of backends that were loaded in bulk while their member is drained: they live in the core only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Name

_LOADED = ""  # the core's name for the slice of what was loaded; an object can't have it


def check_drained(change: Change, clusters: NDArray[np.uint16] | int) -> None:
    """
    Raises:
        ValueError: A cluster of the column is a member that is drained.
    """
    drained = {member.cluster_id: member.name for member in change.members.values() if member.drained}
    if drained:
        for number in np.unique(clusters).tolist():
            if number in drained:
                raise ValueError(f"column cluster: {drained[number]!r} is drained; restore it first")


def set_aside(change: Change, member: Member) -> None:
    """Take a member's loaded rows out of the core, to bring them back later."""
    snapshot, number = change.snapshot, member.cluster_id
    for name in snapshot.services(number):
        rows = [row for row in snapshot.backends(number, *name) if row[0] == _LOADED]
        if rows:
            kept = tuple((row[1], row[2], row[3], row[5]) for row in rows)
            change.journal.put(member._writable().set_aside, name, kept)
            _send(change, number, name, kept, remove=True)


def bring_back(change: Change, member: Member) -> None:
    """Put back what `set_aside` took."""
    kept = member._writable().set_aside
    for name in list(kept):
        rows = change.journal.drop(kept, name)
        if rows:
            _send(change, member.cluster_id, name, rows, remove=False)


def _send(
    change: Change, number: int, name: Name, rows: Iterable[tuple[str, int, int, int]], *, remove: bool
) -> None:
    for version in (4, 6):
        found = [row for row in rows if ipaddress.ip_address(row[0]).version == version]
        if not found:
            continue
        addresses = [ipaddress.ip_address(row[0]) for row in found]
        change.core.load_backends(
            [name],
            service=np.zeros(len(found), np.uint32),
            cluster=np.full(len(found), number, np.uint16),
            address=np.array([int(address) for address in addresses], np.uint32)
            if version == 4
            else np.frombuffer(b"".join(address.packed for address in addresses), np.uint8).reshape(-1, 16),
            port=np.array([row[1] for row in found], np.uint16),
            protocol=np.array([row[2] for row in found], np.uint8),
            state=np.array([row[3] for row in found], np.uint8),
            remove=remove,
        )

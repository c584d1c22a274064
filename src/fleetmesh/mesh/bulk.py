"""
Backends in bulk: columns that go straight to the core, and what becomes of them while a member is drained.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from fleetmesh.mesh.facts import namespace_global
from fleetmesh.resources.model import Service
from fleetmesh.services.frontends import compile_service

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Name

_LOADED = ""  # the core's name for the slice of what was loaded; an object can't have it


@attrs.frozen(eq=False, kw_only=True)
class Columns:
    """The columns of `Mesh.load`, shapes as there."""

    service: NDArray[np.uint32]
    cluster: NDArray[np.uint16]
    address: NDArray[np.uint32] | NDArray[np.uint8]
    port: NDArray[np.uint16]
    protocol: NDArray[np.uint8] | int = 6
    state: NDArray[np.uint8] | int = 0
    remove: NDArray[np.bool_] | bool = False


def load(change: Change, services: Sequence[tuple[str, str] | Service], columns: Columns) -> None:
    """Carry out `Mesh.load`."""
    members = {member.cluster_id: member for member in change.members.values()}
    for number in np.unique(columns.cluster).tolist():
        if number not in members:
            raise ValueError(f"column cluster: no member has the cluster id {number}")
        if members[number]._store.drained:
            raise ValueError(f"column cluster: {members[number].name!r} is drained; restore it first")
    names = [(each.namespace, each.name) if isinstance(each, Service) else each for each in services]
    change.core.load(names, **attrs.asdict(columns, recurse=False))
    declared = {at: each for at, each in enumerate(services) if isinstance(each, Service)}
    if declared:
        _declare(change, declared, columns, members)


def _declare(
    change: Change, declared: Mapping[int, Service], columns: Columns, members: Mapping[int, Member]
) -> None:
    """Services of which a member has a row, compiled once for all that would compile it alike."""
    index, cluster = (np.asarray(column, np.uint64) for column in (columns.service, columns.cluster))
    pairs = np.unique(index << np.uint64(16) | cluster)
    owners = (pairs >> np.uint64(16)).astype(np.int64)
    numbers = (pairs & np.uint64(0xFFFF)).astype(np.uint16)
    for at, said in declared.items():
        first, last = np.searchsorted(owners, (at, at + 1))
        alike: dict[tuple[bool, bool], list[int]] = {}
        for number in numbers[first:last].tolist():
            member = members[number]
            key = (namespace_global(member, said.namespace), member.settings.enable_ipv6)
            alike.setdefault(key, []).append(number)
        for (is_global, enable_ipv6), ids in alike.items():
            spec = compile_service(said, namespace_global=is_global, enable_ipv6=enable_ipv6).to_core()
            change.core.set_service_in(np.array(ids, np.uint16), said.namespace, said.name, spec)


def set_aside(change: Change, member: Member) -> None:
    """Take a member's loaded rows out of the core, to bring them back later."""
    snapshot, number = change.snapshot, member.cluster_id
    for name in snapshot.services(number):
        rows = [row for row in snapshot.backends(number, *name) if row[0] == _LOADED]
        if rows:
            kept = tuple((row[1], row[2], row[3], row[5]) for row in rows)
            change.store(member).set_aside[name] = kept
            _send(change, number, name, kept, remove=True)


def bring_back(change: Change, member: Member) -> None:
    """Put back what `set_aside` took."""
    kept = change.store(member).set_aside
    for name in list(kept):
        rows = kept.pop(name)
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
        change.core.load(
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

"""
Every error that fleetmesh raises on purpose.

Constructors take facts and build the message; each docstring says when the error is raised and
what to do about it. Python's own errors keep their meaning: `ValueError` for an argument that can
never be right, `LookupError` for a name that is not there (see `NotFoundError`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from fleetmesh.resources.model import Resource


@attrs.frozen
class Problem:
    """
    One thing that is wrong with a manifest.

    Attributes:
        file: The path as given, or `<text>`.
        document: The number of the document in the file, from 1; 0 if the file itself can't be read.
        line: The line on which the field (or the syntax error) is, from 1; 0 if there is none.
        field: The path of the field, such as `spec.ports[0].port`; "" where it isn't about a field.
        message: What was found and what was expected.
    """

    file: str
    document: int
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        number = f" (document {self.document})" if self.document else ""
        field = f" {self.field}:" if self.field else ""
        return f"{place}{number}:{field} {self.message}"


class FleetmeshError(Exception):
    """The base of all errors below."""


class ManifestError(FleetmeshError):
    """
    Raised after everything was read, when some documents could not be understood.

    Mend what `problems` lists, or go on with `resources`: all that was good.
    """

    def __init__(self, problems: Iterable[Problem], resources: Iterable[Resource]) -> None:
        self.problems = tuple(problems)
        self.resources = tuple(resources)
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"{first}{more}")


class NotFoundError(FleetmeshError, LookupError):
    """
    Raised when a member, service or other name does not exist. Take one of the nearest names, which the
    message lists, or declare what is lacking.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], place: str = "") -> None:
        self.what = what
        self.name = name
        near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        super().__init__(f"there is no {what} {name!r}{f' in {place!r}' if place else ''}{hint}")


class MeshError(FleetmeshError):
    """The base of what a mesh refuses. The mesh is unchanged after any of them."""


class InvalidClusterIdError(MeshError, ValueError):
    """Raised when a cluster id is not within 1..255 (1..511 in a mesh made for 511). Choose one that is."""

    def __init__(self, cluster_id: object, limit: int) -> None:
        super().__init__(f"cluster id {cluster_id!r} is not a whole number within 1..{limit}")


class ClusterIdTakenError(MeshError):
    """Raised when another member has the cluster id. Give each member its own."""

    def __init__(self, cluster_id: int, owner: str, free: int | None) -> None:
        hint = f"; {free} is free" if free is not None else ""
        super().__init__(f"cluster id {cluster_id} is taken by {owner!r}{hint}")


class InvalidClusterNameError(MeshError, ValueError):
    """
    Raised when a cluster name is not 1..32 lower-case letters, digits and dashes that begin and end
    with a letter or digit, or is `default` (Cilium pkg/clustermesh/types/types.go). Choose one that is.
    """

    def __init__(self, name: object) -> None:
        super().__init__(
            f"cluster name {name!r} is not 1..32 of a-z, 0-9 and '-' beginning and ending with a "
            "letter or digit, and other than 'default'"
        )


class ClusterNameTakenError(MeshError):
    """Raised when the mesh has a member of that name. Leave first, or choose another name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the mesh has a member {name!r} already")


class TooManyMembersError(MeshError):
    """Raised when the mesh is full: 255 members, or 511 with `max_connected_clusters=511`."""

    def __init__(self, limit: int) -> None:
        hint = "; make the mesh with max_connected_clusters=511" if limit == 255 else ""
        super().__init__(f"the mesh has {limit} members, which is its limit{hint}")


class OverlappingPodRangesError(MeshError):
    """Raised when two members declare pod ranges that overlap: on a flat network each needs its own."""

    def __init__(self, name: str, cidr: str, owner: str, other: str) -> None:
        super().__init__(f"pod range {cidr} of {name!r} overlaps {other} of {owner!r}")


class InvalidRangeError(MeshError, ValueError):
    """
    Raised when a CIDR can't be read or has host bits, or where there is no list of them. Write each as
    10.1.0.0/16 or fd00:1::/64.
    """

    def __init__(self, name: str, cidr: object, why: str) -> None:
        super().__init__(f"range {cidr!r} of {name!r}: {why}")


class RangeExhaustedError(MeshError):
    """Raised when a member's range has no free address left. Join it with a larger range."""

    def __init__(self, name: str, what: str, cidrs: Iterable[str]) -> None:
        super().__init__(f"the {what} ranges of {name!r} ({', '.join(cidrs)}) have no free address")


class AlreadyInMeshError(MeshError):
    """Raised when a member that belongs to a mesh joins one. A cluster is in one mesh; leave first."""

    def __init__(self, name: str, mesh: str) -> None:
        super().__init__(f"{name!r} is a member of mesh {mesh!r} already; a cluster is in one mesh")


class SelfManagedMeshError(MeshError):
    """
    Raised when a cluster runs a Cluster Mesh of its own: its `kube-system/cilium-config` has a
    cluster-id other than 0, or it has the Secret `cilium-clustermesh`. Disable that mesh first.
    """

    def __init__(self, name: str, evidence: str) -> None:
        super().__init__(f"{name!r} has a self-managed mesh: {evidence}; disable it before joining")


class RoutingDomainError(MeshError):
    """Raised when a member is in another routing domain: all members must reach each other's pods."""

    def __init__(self, name: str, domain: str, expected: str) -> None:
        super().__init__(
            f"{name!r} is in routing domain {domain!r}, the mesh is in {expected!r}: "
            "pods could not reach each other"
        )


class StaleChangeError(MeshError):
    """
    Raised when an object that a proposed change is about is not any more what the change was made from.
    Read the service again and repeat, so that what others have changed meanwhile stays.
    """

    def __init__(self, member: str, subject: str, differences: Iterable[str]) -> None:
        super().__init__(
            f"{subject} in {member!r} has changed since the change was proposed: {'; '.join(differences)}; "
            "read the service again and repeat"
        )


class TopologyError(MeshError, ValueError):
    """Raised when a topology is contradictory. The message says which part."""


class StoreError(FleetmeshError):
    """
    The base of what goes wrong with a store outside of the process. What was known before stays in force.
    """


class StoreUnavailableError(StoreError):
    """
    Raised when no server of a store answers in time, or a connection breaks. Look at its servers and the
    way there; whoever runs a mesh tries again by itself.
    """


class StoreDeniedError(StoreError):
    """
    Raised when a store does not take the credentials, or they don't allow what was asked. Give the user the
    role, or other credentials.
    """


class StoreClosedError(StoreError):
    """Raised when a store is used after it was closed. Open another one."""

    def __init__(self) -> None:
        super().__init__("the store is closed")


class StoreConflictError(StoreError):
    """
    Raised when a condition of a transaction does not hold any more; nothing was done. Read again, and repeat.
    """


class CompactedError(StoreError):
    """Raised when a store has forgotten what happened since a revision. List anew."""

    def __init__(self, asked: int, compacted: int) -> None:
        self.asked = asked
        self.compacted = compacted
        super().__init__(f"revision {asked} is compacted up to {compacted}; list anew")


class LeaseLostError(StoreError):
    """
    Raised when a lease has run out or was revoked, and its keys with it. Take a new one and write them again.
    """


class NoSpaceError(StoreError):
    """
    Raised when a store has no room to write (etcd's alarm NOSPACE); it can still be read. The write that
    fills it may have been carried out. Compact and defragment it, or raise its quota, and disarm the alarm.
    """


class OtherStoreError(StoreError):
    """
    Raised when the servers of one store turn out to be of another one than before (another etcd cluster id).
    Name the servers of one store only.
    """


class WireError(FleetmeshError, ValueError):
    """
    Raised when a value is not what Cilium's own readers would take. Mend who writes it; what was valid before
    stays in force.

    Attributes:
        field: Where in the value, such as `backends["10.1.0.4"]`; "" where it is about the whole.
        reason: What was found, and what was expected.
    """

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(f"{field}: {reason}" if field else reason)

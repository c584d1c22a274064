"""
What is wanted of a cluster's keys, and how far it is written.
"""

from __future__ import annotations

from typing import Literal

import attrs

from fleetmesh.records import Record
from fleetmesh.state.keys import Kind


@attrs.frozen
class Mark:
    """What is wanted of a key whose value is the time at which it is written (RFC 3339)."""


Wanted = Record | bytes | Mark | None
"""Of a key: what is encoded when it is written, its bytes, a mark, or nothing."""

Phase = Literal["waiting", "writing", "written", "replaced", "withdrawn"]


@attrs.frozen(kw_only=True)
class PublicationStatus:
    """
    Attributes:
        phase: `waiting` for the store or for a configuration; `writing`, while anything waits; `written`,
            when
            all is in the store; `replaced`, while somebody else writes the cluster's keys; `withdrawn`.
        keys: In the store, records and marks.
        pending: Keys that wait for being written.
        leases: That the keys hang on.
        complete: Kinds of which all records have been given once.
        writes: Operations since the start, the regular signs of life apart.
        errors: Since the start.
        last_error: "" without.
    """

    phase: Phase
    keys: int
    pending: int
    leases: int
    complete: frozenset[Kind]
    writes: int
    errors: int
    last_error: str

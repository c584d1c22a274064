"""
What every store refuses before it does anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleetmesh.state.store import Operation

# etcd's own limit is 128 (--max-txn-ops).
MOST_OPERATIONS = 100


def checked_operations(operations: Sequence[Operation]) -> None:
    """
    Raises:
        ValueError: Too many for one transaction, or two about one key.
    """
    if len(operations) > MOST_OPERATIONS:
        raise ValueError(f"{len(operations)} operations in one transaction, at most {MOST_OPERATIONS} go")
    if len({each.key for each in operations}) < len(operations):
        keys = [each.key for each in operations]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{twice!r} stands twice in one transaction")
    if any(not each.key for each in operations):
        raise ValueError("a key is empty")


def checked_ttl(ttl: float) -> None:
    """
    Raises:
        ValueError: Not above zero.
    """
    if not ttl > 0:
        raise ValueError(f"a lease of {ttl} s; it has to be above zero")

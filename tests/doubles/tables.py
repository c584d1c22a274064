"""
What a viewer decides with, worked out from what it sees: the slow way.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any, TypeAlias

from doubles import maglev

Backend: TypeAlias = tuple[int, str, int, int, int, int]  # cluster, address, port, protocol, state, weight
Place: TypeAlias = tuple[int, bool, str, int, int, str]
Compiled: TypeAlias = dict[Place, tuple[list[Backend], int, list[int]]]  # backends, how many in use, ranks

_PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}


def text(backend: Backend) -> str:
    """As Cilium hashes it."""
    _, address, port, protocol, *_ = backend
    host = f"[{address}]" if ":" in address else address
    return f"[{host}:{port}/{_PROTOCOLS[protocol]},State:active]"


def compiled(
    snapshot: Any, viewer: int, service: tuple[str, str], node: str | None, size: int, seed: str
) -> Compiled:
    """What is to be found in the tables; `snapshot` is of the core or of its double."""
    result: Compiled = {}
    for *place, backends, in_use in snapshot.frontends(viewer, *service, node):
        rows = [(*row[:4], *row[5:7]) for row in backends]
        used = sorted(rows[:in_use], key=lambda row: text(row).encode())
        texts, weights = [text(row) for row in used], [row[5] for row in used]
        ranks = list(range(in_use))
        table = maglev.lookup_table(texts, weights, ranks, size, b64decode(seed)) if used else []
        result[tuple(place)] = (used + rows[in_use:], in_use, table)
    return result

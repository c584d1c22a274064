"""
What is known of the connection to a remote cluster, at one moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import attrs

from fleetmesh.findings import Finding

if TYPE_CHECKING:
    from fleetmesh.state.codecs import ClusterConfig
    from fleetmesh.state.keys import Kind

Phase = Literal["connecting", "waiting", "rejected", "conflict", "syncing", "ready", "stale", "drained"]


@attrs.frozen(kw_only=True)
class KindStatus:
    """
    Of one kind of records.

    Attributes:
        records: How many are in force.
        synced: Whether all that the cluster had when it was first listed is in force; false, too, while its
            list is awaited: none is not the same as not yet.
    """

    records: int
    synced: bool


@attrs.frozen(kw_only=True)
class RemoteStatus:
    """
    As `cilium-dbg status --all-clusters` has it of a remote cluster (Cilium api/v1 models, RemoteCluster),
    and how old what is known is.

    Attributes:
        phase: `connecting` until its store answers; `waiting` for its configuration; `rejected` or `conflict`
            where that can't be a member; `syncing` until all kinds are listed; then `ready`, or `stale` while
            it isn't heard; `drained` once it was removed.
        connected: Whether its store is heard now.
        ready: Whether everything is synced and heard.
        store_id: Of the etcd cluster that answers, "" before one did.
        config: What the cluster says of itself, if it was read.
        kinds: Those that are read.
        failures: How often the connection broke.
        last_failure: Seconds since 1970 of the last one, 0 for never.
        last_error: What went wrong last, "" for nothing.
        last_heartbeat_age: Seconds since the last sign of life of whoever writes its store; None before one.
        stale_for: Seconds since it was last heard, 0 where it is heard.
        revocations: How often its services were withdrawn since it was silent for too long.
        rejected: Values that are not in force.
    """

    name: str
    cluster_id: int
    phase: Phase
    connected: bool
    ready: bool
    store_id: str
    config: ClusterConfig | None
    kinds: Mapping[Kind, KindStatus]
    failures: int
    last_failure: float
    last_error: str
    last_heartbeat_age: float | None
    stale_for: float
    revocations: int
    rejected: int
    findings: tuple[Finding, ...]

"""
The data path: what becomes of packets.
"""

from __future__ import annotations

from fleetmesh.datapath.codes import ConnectionState, Reason, Verdict
from fleetmesh.datapath.datapath import (
    Connections,
    Datapath,
    ServiceCounter,
    ServiceFrontend,
)
from fleetmesh.datapath.packets import Decisions, Packets

__all__ = [
    "ConnectionState",
    "Connections",
    "Datapath",
    "Decisions",
    "Packets",
    "Reason",
    "ServiceCounter",
    "ServiceFrontend",
    "Verdict",
]

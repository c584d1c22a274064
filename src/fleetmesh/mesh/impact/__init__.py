"""
Which connections policies allow in one state of a mesh and refuse in another.
"""

from __future__ import annotations

from fleetmesh.mesh.impact.changes import Because, FlowChange, FlowChanges
from fleetmesh.mesh.impact.compare import compare_flows
from fleetmesh.mesh.impact.ends import Ends, ends_in_words
from fleetmesh.mesh.impact.ports import Ports, ports_in_words

__all__ = [
    "Because",
    "Ends",
    "FlowChange",
    "FlowChanges",
    "Ports",
    "compare_flows",
    "ends_in_words",
    "ports_in_words",
]

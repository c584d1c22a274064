"""
Meshes: members, topology, and what would happen if.
"""

from __future__ import annotations

from fleetmesh.mesh.compare import Comparison, ComparisonRow
from fleetmesh.mesh.delta import AddressDelta, Delta, PolicyDelta, ServiceDelta
from fleetmesh.mesh.impact import FlowChange, FlowChanges
from fleetmesh.mesh.member import Member
from fleetmesh.mesh.mesh import Mesh
from fleetmesh.mesh.settings import ClusterSettings
from fleetmesh.mesh.topology import Topology
from fleetmesh.services.changes import ResourceChange, ResourceChanges

__all__ = [
    "AddressDelta",
    "ClusterSettings",
    "Comparison",
    "ComparisonRow",
    "Delta",
    "FlowChange",
    "FlowChanges",
    "Member",
    "Mesh",
    "PolicyDelta",
    "ResourceChange",
    "ResourceChanges",
    "ServiceDelta",
    "Topology",
]

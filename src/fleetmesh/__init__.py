"""
Cross-cluster networking for fleets of Kubernetes clusters, as a library.

    import fleetmesh as fm

Every public name is loaded when it is first used (PEP 562): importing the package costs next to
nothing and needs none of the optional dependencies.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleetmesh import errors as errors
    from fleetmesh import findings as findings
    from fleetmesh import maglev as maglev
    from fleetmesh import resources as resources
    from fleetmesh.datapath import Datapath as Datapath
    from fleetmesh.datapath import Decisions as Decisions
    from fleetmesh.datapath import Packets as Packets
    from fleetmesh.errors import AlreadyInMeshError as AlreadyInMeshError
    from fleetmesh.errors import ClusterIdTakenError as ClusterIdTakenError
    from fleetmesh.errors import ClusterNameTakenError as ClusterNameTakenError
    from fleetmesh.errors import CompactedError as CompactedError
    from fleetmesh.errors import FleetmeshError as FleetmeshError
    from fleetmesh.errors import InvalidClusterIdError as InvalidClusterIdError
    from fleetmesh.errors import InvalidClusterNameError as InvalidClusterNameError
    from fleetmesh.errors import InvalidRangeError as InvalidRangeError
    from fleetmesh.errors import LeaseLostError as LeaseLostError
    from fleetmesh.errors import ManifestError as ManifestError
    from fleetmesh.errors import MeshError as MeshError
    from fleetmesh.errors import NoSpaceError as NoSpaceError
    from fleetmesh.errors import NotFoundError as NotFoundError
    from fleetmesh.errors import OtherStoreError as OtherStoreError
    from fleetmesh.errors import OverlappingPodRangesError as OverlappingPodRangesError
    from fleetmesh.errors import Problem as Problem
    from fleetmesh.errors import RangeExhaustedError as RangeExhaustedError
    from fleetmesh.errors import RoutingDomainError as RoutingDomainError
    from fleetmesh.errors import SelfManagedMeshError as SelfManagedMeshError
    from fleetmesh.errors import StaleChangeError as StaleChangeError
    from fleetmesh.errors import StoreClosedError as StoreClosedError
    from fleetmesh.errors import StoreConflictError as StoreConflictError
    from fleetmesh.errors import StoreDeniedError as StoreDeniedError
    from fleetmesh.errors import StoreError as StoreError
    from fleetmesh.errors import StoreUnavailableError as StoreUnavailableError
    from fleetmesh.errors import TooManyMembersError as TooManyMembersError
    from fleetmesh.errors import TopologyError as TopologyError
    from fleetmesh.errors import WireError as WireError
    from fleetmesh.findings import Finding as Finding
    from fleetmesh.identity import Allocations as Allocations
    from fleetmesh.mesh import ClusterSettings as ClusterSettings
    from fleetmesh.mesh import Comparison as Comparison
    from fleetmesh.mesh import Delta as Delta
    from fleetmesh.mesh import FlowChange as FlowChange
    from fleetmesh.mesh import FlowChanges as FlowChanges
    from fleetmesh.mesh import Member as Member
    from fleetmesh.mesh import Mesh as Mesh
    from fleetmesh.mesh import Topology as Topology
    from fleetmesh.resources import Manifests as Manifests
    from fleetmesh.resources import Resource as Resource
    from fleetmesh.resources import load_manifests as load_manifests
    from fleetmesh.resources import read_manifests as read_manifests
    from fleetmesh.services.changes import ResourceChange as ResourceChange
    from fleetmesh.services.changes import ResourceChanges as ResourceChanges
    from fleetmesh.services.dns import DnsAnswer as DnsAnswer
    from fleetmesh.services.explain import Explanation as Explanation
    from fleetmesh.services.global_service import Backend as Backend
    from fleetmesh.services.global_service import Frontend as Frontend
    from fleetmesh.services.global_service import GlobalService as GlobalService
    from fleetmesh.state.etcd import EtcdStore as EtcdStore
    from fleetmesh.state.live import Live as Live
    from fleetmesh.state.live import run as run
    from fleetmesh.state.memory import MemoryStore as MemoryStore
    from fleetmesh.state.mirror import Mirror as Mirror
    from fleetmesh.tables import Tables as Tables

__version__: str

_MODULES = frozenset({"errors", "findings", "maglev", "resources"})
_HOMES = {
    "fleetmesh.errors": (
        "AlreadyInMeshError",
        "ClusterIdTakenError",
        "ClusterNameTakenError",
        "CompactedError",
        "FleetmeshError",
        "InvalidClusterIdError",
        "InvalidClusterNameError",
        "InvalidRangeError",
        "LeaseLostError",
        "ManifestError",
        "MeshError",
        "NoSpaceError",
        "NotFoundError",
        "OtherStoreError",
        "OverlappingPodRangesError",
        "Problem",
        "RangeExhaustedError",
        "RoutingDomainError",
        "SelfManagedMeshError",
        "StaleChangeError",
        "StoreClosedError",
        "StoreConflictError",
        "StoreDeniedError",
        "StoreError",
        "StoreUnavailableError",
        "TooManyMembersError",
        "TopologyError",
        "WireError",
    ),
    "fleetmesh.findings": ("Finding",),
    "fleetmesh.identity": ("Allocations",),
    "fleetmesh.mesh": (
        "ClusterSettings",
        "Comparison",
        "Delta",
        "FlowChange",
        "FlowChanges",
        "Member",
        "Mesh",
        "Topology",
    ),
    "fleetmesh.resources": (
        "Manifests",
        "Resource",
        "load_manifests",
        "read_manifests",
    ),
    "fleetmesh.services.changes": (
        "ResourceChange",
        "ResourceChanges",
    ),
    "fleetmesh.services.dns": ("DnsAnswer",),
    "fleetmesh.services.explain": ("Explanation",),
    "fleetmesh.services.global_service": (
        "Backend",
        "Frontend",
        "GlobalService",
    ),
    "fleetmesh.datapath": ("Datapath", "Decisions", "Packets"),
    "fleetmesh.state.etcd": ("EtcdStore",),
    "fleetmesh.state.live": ("Live", "run"),
    "fleetmesh.state.memory": ("MemoryStore",),
    "fleetmesh.state.mirror": ("Mirror",),
    "fleetmesh.tables": ("Tables",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Allocations",
    "AlreadyInMeshError",
    "Backend",
    "ClusterIdTakenError",
    "ClusterNameTakenError",
    "ClusterSettings",
    "CompactedError",
    "Comparison",
    "Datapath",
    "Decisions",
    "Delta",
    "DnsAnswer",
    "EtcdStore",
    "Explanation",
    "Finding",
    "FleetmeshError",
    "FlowChange",
    "FlowChanges",
    "Frontend",
    "GlobalService",
    "InvalidClusterIdError",
    "InvalidClusterNameError",
    "InvalidRangeError",
    "LeaseLostError",
    "Live",
    "ManifestError",
    "Manifests",
    "Member",
    "MemoryStore",
    "Mesh",
    "MeshError",
    "Mirror",
    "NoSpaceError",
    "NotFoundError",
    "OtherStoreError",
    "OverlappingPodRangesError",
    "Packets",
    "Problem",
    "RangeExhaustedError",
    "Resource",
    "ResourceChange",
    "ResourceChanges",
    "RoutingDomainError",
    "SelfManagedMeshError",
    "StaleChangeError",
    "StoreClosedError",
    "StoreConflictError",
    "StoreDeniedError",
    "StoreError",
    "StoreUnavailableError",
    "Tables",
    "TooManyMembersError",
    "Topology",
    "TopologyError",
    "WireError",
    "__version__",
    "errors",
    "findings",
    "load_manifests",
    "maglev",
    "read_manifests",
    "resources",
    "run",
]


def __getattr__(name: str) -> Any:
    value: Any
    if name in _HOME_OF:
        value = getattr(import_module(_HOME_OF[name]), name)
    elif name in _MODULES:
        value = import_module(f"fleetmesh.{name}")
    elif name == "__version__":
        value = import_module("importlib.metadata").version("fleetmesh")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

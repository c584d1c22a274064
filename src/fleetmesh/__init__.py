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
    from fleetmesh.errors import FleetmeshError as FleetmeshError

__version__: str

_HOMES = {
    "fleetmesh.errors": ("FleetmeshError",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["FleetmeshError", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = import_module("importlib.metadata").version("fleetmesh")
    elif name in _HOME_OF:
        value = getattr(import_module(_HOME_OF[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""
The core of fleetmesh: facts stored once, views by mask.
"""

from __future__ import annotations

__all__: list[str] = ["source_digest"]
__version__: str
source_digest: str

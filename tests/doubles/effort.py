"""
How many examples a property is tried on: few at each change, more where there is time.
"""

from __future__ import annotations

import os


def examples(few: int) -> int:
    """`few`, times `FLEETMESH_EFFORT` where that is set: `make check` sets less, `make property` more."""
    return max(1, round(few * float(os.environ.get("FLEETMESH_EFFORT", "1"))))

"""
Exit codes.
"""

from __future__ import annotations

DONE = 0
FINDING = 1
"""Done, and the mesh has a finding of severity error."""
WRONG_USE = 2
OUTSIDE = 3
"""A system outside of fleetmesh failed, such as a full disk."""
DEFECT = 70
"""An error that fleetmesh doesn't know: a defect of its own (EX_SOFTWARE of sysexits.h)."""
INTERRUPTED = 130
"""Control-C, as a shell reports it; `up` ends with `DONE` instead."""

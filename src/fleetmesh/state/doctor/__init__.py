"""
What keeps a cluster's store from being heard: checks of the way there, of who is who, and of what it holds.
"""

from __future__ import annotations

from fleetmesh.state.doctor.checks import KINDS, Check, CheckKind, Outcome
from fleetmesh.state.doctor.examine import Target, examine

__all__ = ["KINDS", "Check", "CheckKind", "Outcome", "Target", "examine"]

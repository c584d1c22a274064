"""
`python -m fleetmesh.cli`, where the script `fleetmesh` isn't on the path.
"""

from __future__ import annotations

from fleetmesh.cli import main

main()

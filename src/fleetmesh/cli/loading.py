"""
Making meshes of paths, and what a command says and returns about their findings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import click

from fleetmesh.cli import exits
from fleetmesh.cli.progress import progress
from fleetmesh.findings import Finding
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.mesh import Mode


def load(path: Path, mode: Mode | None, only: Collection[str] | None = None) -> Mesh:
    """
    The mesh of a folder, a fleet.yaml or a manifest; of all its clusters, or `only` of some.

    Raises:
        OSError: The path can't be read.
        NotFoundError: There is no cluster of a name in `only`.
    """
    with progress(f"reading {path}"):
        return Mesh.from_directory(path, mode=mode, only=only)


def code_of(findings: Iterable[Finding]) -> int:
    """
    The exit code that findings ask for.
    """
    return exits.FINDING if any(each.severity == "error" for each in findings) else exits.DONE


def conclude(mesh: Mesh, path: Path) -> int:
    """
    The exit code of an answer that doesn't show the findings of its mesh; errors are told on stderr.
    """
    with progress("judging"):
        wrong = sum(each.severity == "error" for each in mesh.findings)
    if not wrong:
        return exits.DONE
    count = "a finding" if wrong == 1 else f"{wrong} findings"
    click.echo(
        f"fleetmesh: {count} of severity error; see: fleetmesh findings {path} --severity error", err=True
    )
    return exits.FINDING

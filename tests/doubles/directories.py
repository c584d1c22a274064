"""
Directories of manifests, and the questions that their tests ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetmesh.mesh import Mesh

SELF_MANAGED = """---
apiVersion: v1
kind: ConfigMap
metadata: {name: cilium-config, namespace: kube-system}
data: {cluster-id: "4", cluster-name: a}
"""


def write(root: Path, files: dict[str, str]) -> Path:
    """Write files, with the folders that they take."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def clusters(mesh: Mesh, viewer: str, name: str = "web") -> list[str]:
    """Which clusters serve a service of namespace shop."""
    return sorted({each.cluster for each in mesh.service("shop", name).backends(viewer)})


def codes(mesh: Mesh) -> list[str]:
    """The codes of its findings, the worst first."""
    return [each.code for each in mesh.findings]


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let nobody list a folder, not even root."""
    listed = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)

"""
Without an extra, the package needs the required distributions and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions, requires

from packaging.requirements import Requirement

SCRIPT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import fleetmesh
for name in fleetmesh.__all__:
    getattr(fleetmesh, name)
"""


RUN = """
import asyncio

async def main():
    store = fleetmesh.MemoryStore()
    meshes = {}
    for own in ("east", "west"):
        meshes[own] = fleetmesh.Mesh("m")
        for number, name in enumerate(("east", "west"), 1):
            meshes[own].join(name, cluster_id=number, outside=name != own)
    meshes["west"].members["west"].apply(SERVICE)
    async with fleetmesh.run(meshes["west"], store=store), fleetmesh.run(meshes["east"], store=store):
        while not meshes["east"].members["west"].records("service"):
            await asyncio.sleep(0.01)

SERVICE = '''
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, annotations: {service.cilium.io/global: "true"}}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.1]}]
ports: [{port: 8080}]
'''
asyncio.run(main())
"""


def required_distributions() -> set[str]:
    requirements = [Requirement(text) for text in requires("fleetmesh") or ()]
    return {one.name.lower() for one in requirements if one.marker is None}


def run_without(forbidden: set[str], more: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"FORBIDDEN = {forbidden!r}\n{SCRIPT}{more}"]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def others() -> set[str]:
    """The packages of distributions that are not required."""
    allowed = required_distributions() | {"fleetmesh", "scikit-build-core"}
    owners = packages_distributions().items()
    return {name for name, held_by in owners if allowed.isdisjoint(owner.lower() for owner in held_by)}


def test_meshes_hear_each_other_in_memory_when_only_the_required_distributions_are() -> None:
    result = run_without(others(), RUN)

    assert result.returncode == 0, result.stderr


def test_every_public_name_is_there_when_only_the_required_distributions_are() -> None:
    result = run_without(others())

    assert "pytest" in others()
    assert result.returncode == 0, result.stderr


def test_a_missing_required_distribution_is_noticed() -> None:
    """
    The test above can fail.
    """
    assert "No module named 'msgspec'" in run_without({"msgspec"}).stderr


def test_four_distributions_are_required() -> None:
    assert required_distributions() == {"attrs", "numpy", "msgspec", "pyyaml"}

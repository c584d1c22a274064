"""Manifests that other people wrote load as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleetmesh.resources import Service, Workload, read_manifests

FOLDER = os.environ.get("FLEETMESH_REALWORLD", "")

pytestmark = pytest.mark.skipif(
    not FOLDER, reason="FLEETMESH_REALWORLD is unset: set it to a folder of manifests of others"
)


def test_every_file_loads_without_a_problem() -> None:
    read = read_manifests(Path(FOLDER))

    assert read.problems == ()
    assert len(read.resources) > 100


def test_a_shop_of_a_dozen_workloads_has_them_all() -> None:
    read = read_manifests(Path(FOLDER) / "online-boutique")

    workloads = {each.name for each in read.resources if isinstance(each, Workload)}
    services = {each.name for each in read.resources if isinstance(each, Service)}
    assert {"frontend", "cartservice", "checkoutservice"} <= workloads & services
    assert len(workloads) >= 12

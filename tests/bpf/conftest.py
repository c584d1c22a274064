"""
The programs in this machine's kernel, or the reason why not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf.elf import read_object
from bpf.kernel import Loaded, RefusedError, probe
from bpf.node import Node, entries_of

ROOT = Path(__file__).parents[2]
OBJECT = ROOT / "build" / "bpf" / "fleetmesh.bpf.o"
SOURCES = sorted((ROOT / "cpp" / "datapath").iterdir())


@pytest.fixture(scope="session")
def loaded() -> Iterator[Loaded]:
    try:
        probe()
    except RefusedError as refused:
        pytest.skip(f"the programs are not loaded: {refused}")
    if not OBJECT.exists() or OBJECT.stat().st_mtime < max(path.stat().st_mtime for path in SOURCES):
        pytest.skip(f"the programs are not compiled from the sources as they are: run `make bpf` ({OBJECT})")
    file = read_object(OBJECT)
    loaded = Loaded.load(file, entries_of(file))
    yield loaded
    loaded.close()


@pytest.fixture
def node(loaded: Loaded) -> Node:
    node = Node(loaded)
    node.clear()
    return node

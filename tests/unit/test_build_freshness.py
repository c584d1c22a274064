"""
The core that Python loads was built from the sources beside the tests.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

from fleetmesh import _core

CPP = Path(__file__).parents[2] / "cpp"
SUFFIXES = {".cpp", ".hpp", ".h"}


def digest_of_sources() -> str:
    """
    The same as cpp/cmake/source_digest.cmake.
    """
    folders = ("include", "src", "datapath", "bindings")
    files = [path for folder in folders for path in (CPP / folder).rglob("*") if path.suffix in SUFFIXES]
    named = sorted((path.relative_to(CPP).as_posix(), path) for path in files)
    lines = [f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for name, path in named]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_loaded_core_was_built_from_these_sources() -> None:
    """
    Otherwise every other test judges something else: `make core` rebuilds it.
    """
    assert _core.source_digest == digest_of_sources(), f"{_core.__file__} is stale: run `make core`"


def test_the_core_and_the_package_have_one_version() -> None:
    assert _core.__version__ == version("fleetmesh")

"""
Python ends at cpp/bindings: the core builds and is tested without it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CPP = Path(__file__).parents[2] / "cpp"
PYTHON = re.compile(r"Python\.h|pybind11|PyObject|numpy")
SOURCES = sorted(
    path
    for folder in ("include", "src", "datapath", "tests", "bench", "fuzz")
    for path in (CPP / folder).rglob("*")
    if path.suffix in {".cpp", ".hpp", ".h", ".c"}
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(CPP).as_posix())
def test_no_source_outside_the_bindings_knows_python(path: Path) -> None:
    assert PYTHON.findall(path.read_text()) == []


def test_the_module_itself_only_calls_one_function_for_each_subject() -> None:
    """
    Bindings belong to `register_<subject>.cpp`.
    """
    text = (CPP / "bindings" / "module.cpp").read_text()

    assert len(text.splitlines()) < 40
    assert "def(" not in text

"""
No file grows to where its readers get lost.
"""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 600
SOURCES = sorted(
    path
    for folder, suffix in (("src", "*.py"), ("cpp", "*.cpp"), ("cpp", "*.hpp"), ("cpp", "*.h"))
    for path in (ROOT / folder).rglob(suffix)
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_source_file_is_longer_than_six_hundred_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LIMIT

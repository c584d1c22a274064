"""
The object file itself, without a kernel.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from bpf import kernel
from bpf.elf import ObjectFile, read_object

ROOT = Path(__file__).parents[2]


def build(root: Path) -> Path:
    file = root / "build" / "program.o"
    subprocess.run([root / "scripts" / "build-bpf", file], check=True)
    return file


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """
    The object, built in two folders.
    """
    if not shutil.which("clang-16"):
        pytest.skip("clang-16 is missing: scripts/require-clang installs it")
    files = []
    for name in ("one", "another-place"):
        root = tmp_path_factory.mktemp(name)
        for part in ("scripts", "cpp/datapath"):
            shutil.copytree(ROOT / part, root / part)
        files.append(build(root))
    return files[0], files[1]


@pytest.fixture
def file(copies: tuple[Path, Path]) -> ObjectFile:
    return read_object(copies[0])


def test_the_same_sources_give_the_same_bytes_wherever_they_are(copies: tuple[Path, Path]) -> None:
    one, another = copies

    assert one.read_bytes() == another.read_bytes()


def test_both_programs_are_there_under_a_licence_that_the_kernel_knows(file: ObjectFile) -> None:
    assert set(file.programs) == {"from_pod", "to_pod"}
    assert file.license == "GPL"


def test_every_map_is_used_and_has_the_sizes_of_the_abi(file: ObjectFile) -> None:
    """
    Of keys and values, as cpp/datapath/abi.h holds them by assertion.
    """
    used = {name for program in file.programs.values() for name in program.maps.values()}

    assert used == set(file.maps)
    assert {name: (spec.key_size, spec.value_size) for name, spec in file.maps.items()} == {
        "config": (4, 16),
        "drops": (4, 8),
        "ranks": (4, 4096),
        "ids": (4, 4096),
        "services4": (8, 32),
        "services6": (20, 32),
        "backends4": (4, 12),
        "backends6": (4, 24),
        "members4": (8, 1),
        "members6": (8, 1),
        "tcp4": (16, 32),
        "other4": (16, 32),
        "tcp6": (40, 48),
        "other6": (40, 48),
        "affinities4": (8, 16),
        "affinities6": (20, 16),
        "addresses4": (4, 8),
        "addresses6": (16, 8),
        "endpoints": (4, 16),
        "policies": (16, 12),
        "prefixes4": (8, 8),
        "prefixes6": (20, 8),
    }


def test_what_is_no_object_for_the_kernel_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.o"
    path.write_bytes(b"\x7fELF\x02\x01" + bytes(58))

    with pytest.raises(ValueError, match="not a little-endian 64-bit ELF file for BPF"):
        read_object(path)


def test_a_machine_without_bpf_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The reason is what the tests that need it print when they are skipped.
    """
    monkeypatch.setitem(kernel.SYSTEM_CALL, platform.machine(), 99999)

    with pytest.raises(kernel.RefusedError, match="bpf\\(\\) refuses even a program that does nothing"):
        kernel.probe()

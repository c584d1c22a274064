"""
Builds the oracle (Cilium's own control plane) and asks it about fleets.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).parent / "oracles"


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fleetmesh"


def built(name: str) -> Path:
    """
    The program of that name, built if its sources changed since: the first time that takes minutes, and
    downloads Cilium's modules. Skips the test, saying why, where there is no Go or the modules can't be had.
    """
    sources = SOURCES / name
    digest = hashlib.sha256()
    for path in sorted(path for path in sources.rglob("*") if path.suffix in (".go", ".mod", ".sum")):
        digest.update(path.relative_to(sources).as_posix().encode() + path.read_bytes())
    program = cache() / f"{name}-oracle-{digest.hexdigest()[:16]}"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        pytest.skip("no program `go` (1.26 or newer) to build Cilium's control plane with: see go.dev/dl")
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(f".{os.getpid()}")
    made = subprocess.run(
        [go, "build", "-o", unfinished, "./cmd/oracle"],
        cwd=sources,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode and "dial tcp" in made.stderr:
        pytest.skip(f"Cilium's Go modules can't be downloaded here: {made.stderr.strip().splitlines()[-1]}")
    assert made.returncode == 0, made.stderr
    unfinished.rename(program)
    return program


def ask(cases: list[dict[str, Any]], repeat: int = 1) -> list[dict[str, Any]]:
    """
    The cases with Cilium's answers, other answers of repeated runs as `alternatives`.

    A case that Cilium did not settle on in time (on a busy machine) comes back without.
    """
    program = built("merge")
    done = subprocess.run(
        [program, "-repeat", str(repeat), "-j", str(os.cpu_count() or 1)],
        input=json.dumps({"cases": cases}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    answered: list[dict[str, Any]] = json.loads(done.stdout)["cases"]
    return answered


def verdicts(cases: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """
    The cases of policies with Cilium's answers, and by the id of those that it can't resolve why.
    """
    done = subprocess.run(
        [built("policy")], input=json.dumps({"cases": cases}), capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    failed = dict(line.split(" ", 1) for line in done.stderr.splitlines())
    answered: list[dict[str, Any]] = json.loads(done.stdout)["cases"]
    return [case for case in answered if case["id"] not in failed], failed

"""
Policies by Cilium's own packages beside ours, on one workload in one run: `make bench-policy` (needs Go, and
Cilium's modules). Ours before and after Cilium's, to see how steady the machine was; medians.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ROOT / "build" / "release" / "policy_bench"
PEER = ROOT / "tests" / "real"
NANOSECONDS = {"ns": 1.0, "us": 1e3, "ms": 1e6}


def ours(size: str) -> dict[str, float]:
    """Name -> nanoseconds."""
    done = subprocess.run([OURS, "5", size], check=True, capture_output=True, text=True)
    rows = (line.rsplit(" ", 2) for line in done.stdout.splitlines())
    return {name: float(value) * NANOSECONDS.get(unit, 1.0) for name, value, unit in rows}


def cilium(size: str) -> dict[str, float]:
    """Name -> nanoseconds."""
    with tempfile.TemporaryDirectory() as folder:
        program, answer = Path(folder) / "bench", Path(folder) / "out.json"
        subprocess.run(["go", "build", "-o", program, "./oracles/policy/cmd/bench"], cwd=PEER, check=True)
        big = "true" if size == "big" else "false"
        subprocess.run([program, "-runs", "3", f"-big={big}", "-o", answer], check=True, capture_output=True)
        results = json.loads(answer.read_bytes())["results"]
    return {each["name"]: each["median"] * NANOSECONDS.get(each["unit"], 1.0) for each in results}


def table(first: Mapping[str, float], peer: Mapping[str, float], last: Mapping[str, float]) -> str:
    lines = ["| measure | ours, before and after | Cilium | times |", "| --- | --- | --- | --- |"]
    for name in (each for each in peer if each in first):
        least, most = peer[name] / max(first[name], last[name]), peer[name] / min(first[name], last[name])
        lines.append(
            f"| {name} | {_time(first[name])}, {_time(last[name])} | {_time(peer[name])} "
            f"| {least:.3g} to {most:.3g} |"
        )
    return "\n".join(lines)


def _time(nanoseconds: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def main() -> None:
    size = "big" if "--big" in sys.argv[1:] else "small"
    first, peer, last = ours(size), cilium(size), ours(size)
    print(table(first, peer, last))
    for name in (each for each in first if each not in peer):
        print(f"{name}: {first[name]:.4g}, {last[name]:.4g}")


if __name__ == "__main__":
    main()

"""
Maglev tables by others beside ours, CPU time in one run: `make bench-peers` (needs Go, and Cilium's modules).

From addresses to tables of ids, other backends for each table, sharing off. Prints nanoseconds an entry;
where the peer's first table has ids, it is compared with ours.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
OURS = HERE.parents[1] / "build" / "release" / "maglev_bench"
SIZE = 16381
# Tables a run: enough for tenths of a second, few enough for Cilium's O(size * backends).
SETS = {10: 400, 100: 1000, 1000: 20}
PEERS = ("cilium", "kkdai", "dgryski")
NOTHING = "cbf29ce484222325"  # the digest of no ids


def run(*command: object) -> tuple[float, str]:
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
    time, digest = done.stdout.split()
    return float(time), digest


@dataclass(frozen=True)
class Comparison:
    """Nanoseconds an entry; ours before and after the others, to see how steady the machine was."""

    backends: int
    ours: tuple[float, float]
    others: dict[str, float]

    def ratios(self, name: str) -> tuple[float, float]:
        """How many times ours, at least and at most."""
        return self.others[name] / max(self.ours), self.others[name] / min(self.ours)


def measure() -> Iterator[Comparison]:
    """
    Raises:
        ValueError: A peer's table is not ours.
    """
    with tempfile.TemporaryDirectory() as folder:
        peers = Path(folder) / "peers"
        subprocess.run(["go", "build", "-o", peers, "."], cwd=HERE, check=True)
        for backends, sets in SETS.items():
            # At least as many tables of ours, which take less time.
            first, digest = run(OURS, "peers", SIZE, backends, max(sets, 400))
            others = {name: run(peers, name, SIZE, backends, sets) for name in PEERS}
            last, _ = run(OURS, "peers", SIZE, backends, max(sets, 400))
            for name, (_, theirs) in others.items():
                if theirs not in {NOTHING, digest}:
                    raise ValueError(f"the table of {name} with {backends} backends is not ours")
            yield Comparison(backends, (first, last), {name: time for name, (time, _) in others.items()})


def main() -> None:
    for each in measure():
        first, last = each.ours
        print(f"{each.backends} backends: ours {first:.2f} and {last:.2f} ns an entry", flush=True)
        for name, time in each.others.items():
            least, most = each.ratios(name)
            print(f"  {name:8} {time:9.1f} ns, {least:.1f} to {most:.1f} times ours")


if __name__ == "__main__":
    main()

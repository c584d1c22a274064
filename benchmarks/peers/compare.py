"""
Maglev tables by others beside ours, CPU time in one run: `make bench-peers` (needs Go, and Cilium's modules).

From addresses to tables of ids, other backends for each table, sharing off. Prints nanoseconds an entry;
where the peer's first table has ids, it is compared with ours.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
OURS = HERE.parents[1] / "build" / "release" / "maglev_bench"
SIZE = 16381
# Tables a run: enough for tenths of a second, few enough for Cilium's O(size * backends).
SETS = {10: 400, 100: 1000, 1000: 20}
NOTHING = "cbf29ce484222325"  # the digest of no ids


def run(*command: object) -> tuple[float, str]:
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
    time, digest = done.stdout.split()
    return float(time), digest


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        peers = Path(folder) / "peers"
        subprocess.run(["go", "build", "-o", peers, "."], cwd=HERE, check=True)
        for backends, sets in SETS.items():
            # Ours before and after the others, to see how steady the machine was; at least as many tables.
            first, digest = run(OURS, "peers", SIZE, backends, max(sets, 400))
            others = {name: run(peers, name, SIZE, backends, sets) for name in ("cilium", "kkdai", "dgryski")}
            last, _ = run(OURS, "peers", SIZE, backends, max(sets, 400))
            print(
                f"{backends} backends, {sets} tables: ours {first:.2f} and {last:.2f} ns an entry", flush=True
            )
            for name, (time, theirs) in others.items():
                if theirs not in {NOTHING, digest}:
                    print(f"  {name}: its table is not ours", file=sys.stderr)
                    return 1
                ratios = f"{time / max(first, last):.1f} to {time / min(first, last):.1f} times ours"
                print(f"  {name:8} {time:9.1f} ns, {ratios}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

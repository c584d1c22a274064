"""
Instructions an entry of the Maglev fills, counted by callgrind, against committed bars: `make bench-gate`.

Instructions don't change with the load of the machine, so a fill that gets worse is seen. They are not time:
the fast fills trade wrongly guessed branches for instructions. Valgrind knows no AVX-512.
"""

from __future__ import annotations

import sys
from pathlib import Path

from callgrind import instructions

PROGRAM = Path(__file__).parents[1] / "build" / "release" / "maglev_bench"
SIZE = 16381
TABLES = (8, 40)  # what both have in common, the making of the sets, is subtracted

# (backends, weighted, fill): instructions an entry, at most: 3 % above what was counted with GCC 12.
BARS = {
    (10, False, "portable"): 87,
    (10, False, "avx2"): 51,
    (100, False, "portable"): 115,
    (100, False, "avx2"): 84,
    (1000, False, "portable"): 155,
    (1000, False, "avx2"): 149,
    (100, True, "portable"): 230,
    (100, True, "avx2"): 198,
    (1000, True, "avx2"): 235,
}


def count(backends: int, weighted: bool, fill: str, tables: int) -> int:
    return instructions([str(PROGRAM), str(SIZE), str(backends), str(int(weighted)), fill, str(tables)])


def an_entry(backends: int, weighted: bool, fill: str) -> float:
    few, many = (count(backends, weighted, fill, tables) for tables in TABLES)
    return (many - few) / (TABLES[1] - TABLES[0]) / SIZE


def main() -> int:
    worse = 0
    for (backends, weighted, fill), bar in BARS.items():
        plain, fast = an_entry(backends, weighted, "plain"), an_entry(backends, weighted, fill)
        worse += fast > bar
        kind = "weighted" if weighted else "unweighted"
        verdict = f"bar {bar}, WORSE" if fast > bar else f"bar {bar}"
        figures = f"plain {plain:6.1f}  {fill:8} {fast:6.1f} ({plain / fast:.2f}x)"
        print(f"{backends:5} {kind:10} {figures}  {verdict}", flush=True)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())

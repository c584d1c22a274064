"""
Instructions a packet of the data path, counted by callgrind, against committed bars: `make bench-gate`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from callgrind import instructions

PROGRAM = Path(__file__).parents[1] / "build" / "release" / "datapath_bench"
BLOCK = 65536
BLOCKS = (8, 24)  # what both have in common, the making of the mesh and of the flows, is subtracted

BAR = 214  # of a packet of an established connection, at most: 3 % above what was counted with GCC 12


def hot_packet() -> float:
    few, many = (instructions([str(PROGRAM), "hot", str(blocks * BLOCK)]) for blocks in BLOCKS)
    return (many - few) / ((BLOCKS[1] - BLOCKS[0]) * BLOCK)


def main() -> int:
    counted = hot_packet()
    worse = counted > BAR
    print(f"hot packet {counted:6.1f}  bar {BAR}{', WORSE' if worse else ''}", flush=True)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())

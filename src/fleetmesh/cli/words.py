"""
Small phrases that several tables use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

_MOST = 4


def listed(names: Sequence[str], everybody: Sequence[str] = ()) -> str:
    """
    Names in a cell: `all` for everybody, a few by name, `-` for none.
    """
    if len(everybody) > 1 and set(names) == set(everybody):
        return "all"
    if len(names) > _MOST + 1:
        return f"{', '.join(names[:_MOST])} and {len(names) - _MOST} more"
    return ", ".join(names) or "-"


def counted(number: int, one: str, many: str = "") -> str:
    """
    A number and a noun, such as `1 cluster` or `2 clusters`.
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def numbers(found: Mapping[str, int]) -> str:
    """
    How many of which cluster, such as `east 2, west 1`; of many clusters the sum.
    """
    if len(found) > _MOST + 1:
        return f"{sum(found.values())} in {len(found)} clusters"
    return ", ".join(f"{name} {number}" for name, number in found.items())


def shares(found: Mapping[str, float]) -> str:
    """
    Which part each cluster gets, such as `east 67%, west 33%`; "" for nobody.
    """
    return cell([f"{name} {part:.0%}" for name, part in _largest(found)], len(found))


def cell(parts: Sequence[str], total: int = 0, width: int = 16) -> str:
    """
    Parts in a cell: beside each other if they fit, else below. `total` is their number if some are left out.
    """
    shown = [*parts, *([f"and {total - len(parts)} more"] if total > len(parts) else [])]
    line = ", ".join(shown)
    return line if len(line) <= width else "\n".join(shown)


def _largest(found: Mapping[str, float]) -> list[tuple[str, float]]:
    """All if they are few, else those with the most; in the order given."""
    if len(found) <= _MOST + 1:
        return list(found.items())
    most = set(sorted(found, key=lambda name: -found[name])[:_MOST])
    return [(name, value) for name, value in found.items() if name in most]


def place(address: str, port: int) -> str:
    """
    `10.1.0.9:80` or `[fd00::9]:80`.
    """
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def counts(clusters: Iterable[str]) -> dict[str, int]:
    """
    Cluster -> how often it is named, in order of names.
    """
    found: dict[str, int] = {}
    for cluster in clusters:
        found[cluster] = found.get(cluster, 0) + 1
    return dict(sorted(found.items()))

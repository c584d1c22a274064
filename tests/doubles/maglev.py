"""
Maglev tables the obvious way: each backend walks its permutation, turn by turn.

Integers throughout: Cilium counts turns in floating point, whose whole part is what is compared.
"""

from __future__ import annotations

from collections.abc import Sequence

FREE = -1


def fill(size: int, walks: Sequence[tuple[int, int]], weights: Sequence[int]) -> list[int]:
    """
    The rank that has each entry; `walks` are (offset, skip) by rank.
    """
    count, total = len(walks), sum(weights)
    counted = total // count > 1
    due = [weight // count for weight in weights]
    at = [0] * count
    table = [FREE] * size
    for turn in range(size):
        rank = turn % count
        while counted and (turn + 1) * weights[rank] < due[rank]:
            rank = (rank + 1) % count
        due[rank] += total
        offset, skip = walks[rank]
        while table[(offset + at[rank] * skip) % size] != FREE:
            at[rank] += 1
        table[(offset + at[rank] * skip) % size] = rank
    return table


def walk(size: int, hashed: tuple[int, int]) -> tuple[int, int]:
    return hashed[0] % size, hashed[1] % (size - 1) + 1


_MASK = 2**64 - 1
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F


def _rotate(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _MASK


def _finish(word: int) -> int:
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        word = (word ^ word >> 33) * factor & _MASK
    return word ^ word >> 33


def murmur3(text: bytes, seed: int) -> tuple[int, int]:
    """MurmurHash3 x64 128, after Austin Appleby's reference, with one seed for both halves."""
    first = second = seed
    padded = text + b"\0" * (-len(text) % 16)
    for block in range(0, len(padded), 16):
        low = int.from_bytes(padded[block : block + 8], "little")
        high = int.from_bytes(padded[block + 8 : block + 16], "little")
        first ^= _rotate(low * _C1 & _MASK, 31) * _C2 & _MASK
        if block + 16 <= len(text):
            first = ((_rotate(first, 27) + second) * 5 + 0x52DCE729) & _MASK
        second ^= _rotate(high * _C2 & _MASK, 33) * _C1 & _MASK
        if block + 16 <= len(text):
            second = ((_rotate(second, 31) + first) * 5 + 0x38495AB5) & _MASK
    first ^= len(text)
    second ^= len(text)
    first = (first + second) & _MASK
    second = (second + first) & _MASK
    first, second = _finish(first), _finish(second)
    first = (first + second) & _MASK
    return first, (second + first) & _MASK


def table_seed(seed: bytes) -> int:
    return int.from_bytes(seed[:4], "big")


def lookup_table(
    texts: Sequence[str], weights: Sequence[int], ids: Sequence[int], size: int, seed: bytes
) -> list[int]:
    """The ids of the whole table."""
    order = sorted(range(len(texts)), key=lambda i: texts[i].encode())
    walks = [walk(size, murmur3(texts[i].encode(), table_seed(seed))) for i in order]
    ranks = fill(size, walks, [weights[i] for i in order])
    return [ids[order[rank]] for rank in ranks]

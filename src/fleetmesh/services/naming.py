"""
Names in Kubernetes' look that follow from what they name, where Kubernetes draws lots.
"""

from __future__ import annotations

from hashlib import blake2b

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # k8s.io/apimachinery pkg/util/rand: no vowels, no look-alikes
SUFFIX = 5  # letters that end the name of a pod
_SUFFIXES = len(ALPHABET) ** SUFFIX
_STEP = 7_368_787  # no multiple of 3, so that steps of it pass through all 27**5 suffixes
_LONGEST_BASE = 58  # k8s.io/apiserver pkg/storage/names: what generateName leaves of a prefix


def number_of(text: str) -> int:
    """64 bits that are the same in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def token(text: str, length: int) -> str:
    """Letters of Kubernetes' alphabet that follow from a text."""
    return _letters(number_of(text), length)


def generated(prefix: str, seed: int, ordinal: int) -> str:
    """
    The name that `generateName` could make of a prefix. Up to 14 million ordinals of one seed all differ.
    """
    return prefix[:_LONGEST_BASE] + _letters((seed + ordinal * _STEP) % _SUFFIXES, SUFFIX)


def _letters(number: int, length: int) -> str:
    letters = []
    for _ in range(length):
        number, rest = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[rest])
    return "".join(letters)

"""
What a plain YAML scalar means to Kubernetes.

Kubernetes reads YAML 1.1 with go-yaml (go.yaml.in/yaml/v2 resolve.go), which differs from PyYAML:
`y` and `n` are booleans, `1e3` is a number, `1:30` and `2001-12-14` are strings.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

Scalar = str | int | float | bool | None

_CONSTANTS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_NUMERIC = frozenset("0123456789+-.")
HINTS = frozenset({constant[:1] for constant in _CONSTANTS} | _NUMERIC)
"""A plain scalar that begins with none of these (an empty one begins with "") is a string."""

_INTEGER = re.compile(
    r"(?P<sign>[+-]?)(?:0[xX](?P<x>[0-9a-fA-F]+)|0[bB](?P<b>[01]+)|0[oO]?(?P<o>[0-7]+)|(?P<d>0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[+-]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][+-]?[0-9]+)?")
_LONGEST = 128  # characters of a number; what is longer overflows every type that Kubernetes has


@lru_cache(maxsize=8192)
def plain(text: str) -> Scalar:
    """The value of a plain scalar. A number without a fraction is an int, as on its way through JSON."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMERIC or len(text) > _LONGEST:
        return text
    digits = text.replace("_", "") if text[0] != "." else text
    if match := _INTEGER.fullmatch(digits):
        number = _integer(match)
        if -(2**63) <= number < 2**64:
            return number
    if _FLOAT.fullmatch(digits):
        return _whole(float(digits)) if math.isfinite(float(digits)) else text
    return text


def _integer(match: re.Match[str]) -> int:
    base = {"x": 16, "b": 2, "o": 8, "d": 10}[str(match.lastgroup)]
    number = int(match[str(match.lastgroup)], base)
    return -number if match["sign"] == "-" else number


def _whole(number: float) -> int | float:
    # Go writes such a number to JSON without a point or an exponent.
    return int(number) if number.is_integer() and abs(number) < 1e21 else number


def tagged(tag: str, text: str) -> Scalar:
    """
    The value of a scalar with a tag. A tag that go-yaml does not know leaves a string.

    Raises:
        ValueError: The text is not of the type that the tag names.
    """
    types = {
        "tag:yaml.org,2002:int": int,
        "tag:yaml.org,2002:bool": bool,
        "tag:yaml.org,2002:null": type(None),
        "tag:yaml.org,2002:float": (int, float),
    }
    if tag not in types:
        return text
    value = plain(text)
    wanted = types[tag]
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):  # type: ignore[arg-type]
        raise ValueError(f"a value is not what its tag !!{tag.rpartition(':')[2]} says")
    return value


def key(value: object) -> str:
    """
    A mapping's key as the string that Kubernetes makes of it: `80: x` and `true: x` have string keys.

    Raises:
        ValueError: The key is null, a list or a mapping.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise ValueError(f"a key must be a string, not {'null' if value is None else 'a list or a mapping'}")

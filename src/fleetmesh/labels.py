"""
Label selectors, with the meaning and the syntax of Kubernetes'
(k8s.io/apimachinery pkg/labels/selector.go).

An absent key satisfies `!=`, `notin` and `!key`; it satisfies nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_TOKEN = re.compile(r"[ \t\r\n]*(?:(?P<symbol>==|!=|[=!(),<>])|(?P<word>[^ \t\r\n=!(),<>]+))[ \t\r\n]*")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_OPERATORS: dict[str, Operator] = {
    "In": "In",
    "NotIn": "NotIn",
    "Exists": "Exists",
    "DoesNotExist": "DoesNotExist",
}
_COMPARISONS: dict[str, Operator] = {"=": "In", "==": "In", "!=": "NotIn", ">": "Gt", "<": "Lt"}
_SETS: dict[str, Operator] = {"in": "In", "notin": "NotIn"}


def check_key(key: str) -> None:
    """
    Refuse what is no label key: an optional DNS prefix and `/`, then 1..63 letters, digits, `-_.`.

    Raises:
        ValueError: Names the key and the part that is wrong.
    """
    prefix, slash, name = key.rpartition("/")
    if slash and (not _PREFIX.fullmatch(prefix) or len(prefix) > 253):
        raise ValueError(f"label key {key!r}: the prefix {prefix!r} is not a DNS name in lower case")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"label key {key!r}: the name {name!r} is not 1..63 letters, digits, '-', '_' and '.' "
            "beginning and ending with a letter or digit"
        )


def check_value(value: str) -> None:
    """
    Refuse what is no label value: empty, or 1..63 letters, digits, `-_.`.

    Raises:
        ValueError: Names the value.
    """
    if value and not _NAME.fullmatch(value):
        raise ValueError(
            f"label value {value!r} is not at most 63 letters, digits, '-', '_' and '.' "
            "beginning and ending with a letter or digit"
        )


@attrs.frozen
class Requirement:
    """
    One condition on one key.

    Attributes:
        values: Sorted and distinct; one integer for Gt and Lt; none for Exists and DoesNotExist.
    """

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    @classmethod
    def checked(cls, key: str, operator: str, values: Sequence[str]) -> Requirement:
        """
        Make one that Kubernetes accepts.

        Raises:
            ValueError: The key, the operator, or the number or form of the values is wrong.
        """
        check_key(key)
        if operator in ("In", "NotIn"):
            if not values:
                raise ValueError(f"operator {operator} of key {key!r} needs at least one value")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                raise ValueError(f"operator {operator} of key {key!r} takes no values")
        elif operator in ("Gt", "Lt"):
            if len(values) != 1 or not _is_int64(values[0]):
                raise ValueError(f"operator {operator} of key {key!r} needs one whole number of 64 bits")
        else:
            raise ValueError(
                f"operator {operator!r} of key {key!r} is not one of In, NotIn, Exists, DoesNotExist"
            )
        for value in values:
            check_value(value)
        return cls(key, operator, tuple(sorted(set(values))))  # type: ignore[arg-type]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a set of labels satisfies it."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt":
                return value is not None and _is_int64(value) and int(value) > int(self.values[0])
            case "Lt":
                return value is not None and _is_int64(value) and int(value) < int(self.values[0])

    def __str__(self) -> str:
        match self.operator:
            case "In" if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            case "In":
                return f"{self.key} in ({','.join(self.values)})"
            case "NotIn" if len(self.values) == 1:
                return f"{self.key}!={self.values[0]}"
            case "NotIn":
                return f"{self.key} notin ({','.join(self.values)})"
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
            case "Gt":
                return f"{self.key}>{self.values[0]}"
            case "Lt":
                return f"{self.key}<{self.values[0]}"


@attrs.frozen
class Selector:
    """
    A conjunction of requirements. Without any it matches everything.

    `str(selector)` is its string syntax, and `Selector.parse` reads that back as an equal selector.
    """

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Selector:
        """
        Read the string syntax: `a=b, c!=d, e in (f, g), h notin (i), j, !k, l>1, m<2`.

        Raises:
            ValueError: Says what was found, where (from 0), and what was expected.
        """
        return cls(_sorted(_parse(text)))

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> Selector:
        """
        Each of the labels has to be there with its value.

        Keys and values are taken as they are: what no label can have matches nothing, as the selector
        of a Service does in Kubernetes (`SelectorFromSet`).
        """
        return cls(_sorted(Requirement(key, "In", (value,)) for key, value in labels.items()))

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Selector:
        """
        Read a `LabelSelector`: `matchLabels` and `matchExpressions`.

        Raises:
            ValueError: Names the field that has the wrong type or the wrong value, or is unknown.
        """
        return cls(_sorted(_from_spec(spec)))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a set of labels satisfies every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


def _sorted(requirements: Iterator[Requirement]) -> tuple[Requirement, ...]:
    return tuple(sorted(requirements, key=lambda each: (each.key, each.operator, each.values)))


def _is_int64(value: str) -> bool:
    # Label values have at most 63 characters, but annotations and callers' own dictionaries may be longer.
    return bool(len(value) < 64 and _INTEGER.fullmatch(value) and -(2**63) <= int(value) < 2**63)


def _from_spec(spec: Mapping[str, Any]) -> Iterator[Requirement]:
    for field in spec:
        if field not in ("matchLabels", "matchExpressions"):
            raise ValueError(
                f"a label selector has no field {field!r}, only matchLabels and matchExpressions"
            )
    labels = spec.get("matchLabels")
    if not isinstance(labels, Mapping | None):
        raise ValueError("matchLabels: expected a mapping of strings")
    for key, value in (labels or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ValueError(f"matchLabels: expected strings, got {key!r}: {value!r}; quote it")
        yield Requirement.checked(key, "In", (value,))
    expressions = spec.get("matchExpressions")
    if not isinstance(expressions, list | tuple | None):
        raise ValueError("matchExpressions: expected a list")
    for number, expression in enumerate(expressions or ()):
        yield _from_expression(f"matchExpressions[{number}]", expression)


def _from_expression(path: str, expression: object) -> Requirement:
    if not isinstance(expression, Mapping):
        raise ValueError(f"{path}: expected a mapping with key, operator and values")
    key, operator, values = (expression.get(field) for field in ("key", "operator", "values"))
    if not isinstance(key, str):
        raise ValueError(f"{path}.key: expected a string")
    if operator not in _OPERATORS:
        raise ValueError(f"{path}.operator: {operator!r} is not one of {', '.join(_OPERATORS)}")
    values = [] if values is None else values
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{path}.values: expected a list of strings; quote what looks like a number")
    try:
        return Requirement.checked(key, operator, values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


class _Tokens:
    """The tokens of a text, one ahead. A token is (text, is it a word); ("", False) is the end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.next: tuple[str, bool] = ("", False)
        self.advance()

    def advance(self) -> tuple[str, bool]:
        token, self.start = self.next, self.at
        match = _TOKEN.match(self.text, self.at)
        if match:
            self.at = match.end()
            self.next = (match["symbol"], False) if match["symbol"] else (match["word"], True)
        else:
            self.next = ("", False)
        return token

    def fail(self, expected: str) -> ValueError:
        found = repr(self.next[0]) if self.next[0] else "the end"
        return ValueError(f"selector {self.text!r}: found {found} at {self.start}, expected {expected}")

    def word(self, expected: str) -> str:
        if not self.next[1]:
            raise self.fail(expected)
        return self.advance()[0]


def _parse(text: str) -> Iterator[Requirement]:
    if not text.strip(" \t\r\n"):
        return
    tokens = _Tokens(text)
    while True:
        try:
            yield _requirement(tokens)
        except ValueError as error:
            message = str(error)
            raise ValueError(
                message if message.startswith("selector ") else f"selector {text!r}: {message}"
            ) from None
        if not tokens.next[0]:
            return
        if tokens.next != (",", False):
            raise tokens.fail("',' or the end")
        tokens.advance()


def _requirement(tokens: _Tokens) -> Requirement:
    if tokens.next == ("!", False):
        tokens.advance()
        return Requirement.checked(tokens.word("a key"), "DoesNotExist", ())
    key = tokens.word("a key or '!'")
    symbol, is_word = tokens.next
    if not is_word and symbol in ("", ","):
        return Requirement.checked(key, "Exists", ())
    if not is_word and symbol in _COMPARISONS:
        tokens.advance()
        # "a=" and "a=,b" ask for the empty value.
        value = tokens.advance()[0] if tokens.next[1] else ""
        return Requirement.checked(key, _COMPARISONS[symbol], (value,))
    if is_word and symbol in _SETS:
        tokens.advance()
        return Requirement.checked(key, _SETS[symbol], _values(tokens))
    raise tokens.fail("one of '=', '==', '!=', 'in', 'notin', '<', '>', ',' or the end")


def _values(tokens: _Tokens) -> tuple[str, ...]:
    if tokens.advance() != ("(", False):
        raise tokens.fail("'(' after in or notin")
    values: list[str] = []
    while True:
        # As in Kubernetes, "(a,)" and "()" hold an empty value.
        values.append(tokens.advance()[0] if tokens.next[1] else "")
        token = tokens.next
        if token not in ((",", False), (")", False)):
            raise tokens.fail("',' or ')'")
        tokens.advance()
        if token[0] == ")":
            return tuple(values)

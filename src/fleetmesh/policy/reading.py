"""
Reads the document of a policy field by field, and refuses with the field's path what it can't take.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

import attrs

from fleetmesh.labels import check_key, check_value
from fleetmesh.policy.labels import ANY, LabelKey
from fleetmesh.policy.selectors import LabelSelector, Requirement, equals

T = TypeVar("T")

_SOURCE = re.compile(r"[A-Za-z0-9]+")
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


@attrs.frozen
class Refused(Exception):  # noqa: N818, as it is a value too: what is wrong with a policy
    """
    Why a policy has no effect.

    Attributes:
        path: Of the field: `spec.ingress[0].toPorts[1].ports[0].port`.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@attrs.frozen
class Field:
    """A value in a document, with its path."""

    path: str
    value: Any

    def refuse(self, reason: str) -> Refused:
        return Refused(self.path, reason)

    @property
    def is_set(self) -> bool:
        return self.value is not None

    def __getitem__(self, name: str) -> Field:
        """A field of an object, which may be missing."""
        path = f"{self.path}.{name}" if self.path else name
        return Field(path, self.object().get(name))

    def object(self, known: Collection[str] | None = None) -> Mapping[str, Any]:
        """An object; nothing is an empty one. Fields that are not known are refused."""
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping):
            raise self.refuse(f"is {_kind(self.value)}; expected an object")
        if known is not None:
            for name in self.value:
                if name not in known:
                    raise Refused(f"{self.path}.{name}", "is no field that Cilium 1.20 reads")
        return self.value

    def items(self) -> Iterator[Field]:
        """Of a list; nothing is an empty one."""
        if self.value is None:
            return
        if not isinstance(self.value, (list, tuple)):
            raise self.refuse(f"is {_kind(self.value)}; expected a list")
        for at, each in enumerate(self.value):
            yield Field(f"{self.path}[{at}]", each)

    def text(self, default: str = "") -> str:
        if self.value is None:
            return default
        if not isinstance(self.value, str):
            raise self.refuse(f"is {_kind(self.value)}; expected a string")
        return self.value

    def number(self, default: int = 0) -> int:
        if self.value is None:
            return default
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.refuse(f"is {_kind(self.value)}; expected a whole number")
        return self.value

    def truth(self) -> bool | None:
        if self.value is not None and not isinstance(self.value, bool):
            raise self.refuse(f"is {_kind(self.value)}; expected true or false")
        return self.value

    def parsed(self, parse: Callable[[str], T]) -> T:
        """
        Of a string, what `parse` makes of it; its ValueError is the reason to refuse.
        """
        text = self.text()
        try:
            return parse(text)
        except ValueError as error:
            raise self.refuse(str(error)) from None


def read_selector(
    field: Field, *, source: str = ANY, prefix: str = "", cilium_keys: bool = True
) -> LabelSelector:
    """
    A label selector (pkg/labels ValidateLabelSelector, pkg/policy/api NewESFromK8sLabelSelector).

    Args:
        source: Of keys that name none.
        prefix: What stands before each key, such as the prefix of namespaces' labels.
        cilium_keys: Whether keys may name a source.
    """
    field.object(("matchLabels", "matchExpressions"))
    requirements = []
    labels = field["matchLabels"]
    for key in labels.object():
        value = labels[key].text()
        _check(labels[key], key, (value,), cilium_keys=cilium_keys)
        requirements.append(equals(_key(key, source, prefix), value))
    for expression in field["matchExpressions"].items():
        expression.object(("key", "operator", "values"))
        key, operator = expression["key"].text(), expression["operator"].text()
        values = [each.text() for each in expression["values"].items()]
        if operator not in _OPERATORS:
            raise expression["operator"].refuse(f"is {operator!r}; expected one of {', '.join(_OPERATORS)}")
        if operator in {"In", "NotIn"} and not values:
            raise expression["values"].refuse(f"is empty; {operator} needs at least one value")
        if operator in {"Exists", "DoesNotExist"} and values:
            raise expression["values"].refuse(f"is given; {operator} takes no values")
        _check(expression["key"], key, values, cilium_keys=cilium_keys)
        requirements.append(Requirement(_key(key, source, prefix), operator, frozenset(values)))  # type: ignore[arg-type]
    return LabelSelector(tuple(requirements))


def _key(text: str, source: str, prefix: str) -> LabelKey:
    return LabelKey(source, f"{prefix}.{text}") if prefix else LabelKey.parse(text, source)


def _check(field: Field, key: str, values: Collection[str], *, cilium_keys: bool) -> None:
    source, colon, name = key.rpartition(":")
    try:
        if cilium_keys and colon:
            if not _SOURCE.fullmatch(source):
                raise ValueError(f"label key {key!r}: the source {source!r} is not letters and digits")
            check_key(name)
        else:
            check_key(key)
        for value in values:
            check_value(value)
    except ValueError as error:
        raise field.refuse(str(error)) from None


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    return repr(value)

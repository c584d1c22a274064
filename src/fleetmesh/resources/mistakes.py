"""From msgspec's complaint about an object to the field, what it has, and what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec

from fleetmesh.resources.documents import Path

T = TypeVar("T", bound=msgspec.Struct)

_WHERE = re.compile(r" - at `(?:key in )?\$(?P<path>.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]+)`")
_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<index>\d+)\]|\[(?P<any>\.\.\.)\]")
_MOST = 20  # mistakes reported of one object


@attrs.frozen
class Mistake:
    """One wrong field of an object."""

    path: Path
    message: str


def convert(value: dict[str, Any], wire: type[T]) -> T | list[Mistake]:
    """
    An object of a wire class, or all of its fields that have the wrong type or a wrong value.
    """
    found: dict[Path, Mistake] = {}
    gone: set[Path] = set()
    removed: dict[Path, list[int]] = {}
    while True:
        try:
            result = msgspec.convert(value, wire)
        except msgspec.ValidationError as error:
            mistake, remove = _explain(value, wire, str(error))
            path = _original(mistake.path, removed)
            if path in gone:
                # What was left out is required: so goes what needs it.
                remove = mistake.path[:-1]
            else:
                found[path] = Mistake(path, mistake.message)
            if not remove or len(found) >= _MOST:
                return list(found.values())
            # The next round shows what else is wrong.
            gone.update((path, _original(remove, removed)))
            if isinstance(remove[-1], int):
                *outer, position = _original(remove, removed)
                removed.setdefault(tuple(outer), []).append(int(position))
            value = _without(value, remove)
        else:
            return list(found.values()) or result


def _original(path: Path, removed: dict[Path, list[int]]) -> Path:
    """The path in the object as it was, before items of lists were removed."""
    result: Path = ()
    for step in path:
        at = step
        if isinstance(at, int):
            for gone in sorted(removed.get(result, ())):
                at += gone <= at
        result = (*result, at)
    return result


def _explain(value: object, wire: type, complaint: str) -> tuple[Mistake, Path]:
    """What is wrong, and what to leave out so that it no longer is (nothing if that can't be)."""
    match = _WHERE.search(complaint)
    path, kind, found = _follow(value, wire, match["path"] if match else "")
    missing = _MISSING.match(complaint)
    if missing:
        field = missing["field"]
        expected = _expected(_hints(_bare(kind)).get(field, object))
        return Mistake((*path, field), f"is missing: expected {expected}"), path
    return Mistake(path, f"expected {_expected(kind)}, got {describe(found)}{_advice(kind, found)}"), path


def _follow(value: Any, kind: Any, text: str) -> tuple[Path, Any, Any]:
    path: list[str | int] = []
    for match in _STEP.finditer(text):
        kind = _bare(kind)
        step: str | int
        if match["field"]:
            step = match["field"]
            kind = _hints(kind).get(step, object)
        elif match["index"]:
            step = int(match["index"])
            kind = get_args(kind)[0]
        else:
            step = next(key for key, each in value.items() if not isinstance(each, str | None))
            kind = get_args(kind)[1]
        path.append(step)
        value = value[step]
    return tuple(path), kind, value


def _hints(kind: Any) -> dict[str, Any]:
    """By the names on the wire."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return {}
    hints = get_type_hints(kind, include_extras=True)
    names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    return {encoded: hints[name] for name, encoded in names}


def _choices(kind: Any) -> Iterator[Any]:
    """The members of a union but None; anything else itself."""
    if get_origin(kind) in (Union, UnionType):
        yield from (each for each in get_args(kind) if each is not type(None))
    else:
        yield kind


def _bare(kind: Any) -> Any:
    return next(_choices(kind))


def _expected(kind: Any) -> str:
    return " or ".join(map(_word, _choices(kind)))


def _word(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        limits = get_args(kind)[1]
        return f"a whole number within {limits.ge}..{limits.le}"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(each for each in get_args(kind) if each)
    if kind is str:
        return "a string"
    if kind is bool:
        return "true or false"
    return "a list" if get_origin(kind) is list else "a mapping"


def _advice(kind: Any, found: object) -> str:
    if str in _choices(kind) and isinstance(found, bool | int | float):
        return "; quote it"
    return ""


def describe(value: object) -> str:
    """A value in words: `the string "eighty"`, `the number 80`, `a list`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "the boolean " + ("true" if value else "false")
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f'the string "{value if len(value) <= 60 else value[:57] + "..."}"'
    return "a list" if isinstance(value, list) else "a mapping"


def _without(value: Any, path: Path) -> Any:
    """A copy along the path that lacks its end."""
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        return [*value[:step], *([_without(value[step], rest)] if rest else ()), *value[step + 1 :]]
    if rest:
        return {**value, step: _without(value[step], rest)}
    return {key: each for key, each in value.items() if key != step}

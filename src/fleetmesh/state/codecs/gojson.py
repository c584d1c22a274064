"""
JSON as Go's encoding/json writes and reads it, which is what Cilium uses.

Written: fields in the order given, maps by key, `<`, `>`, `&` and the two line separators of Unicode escaped.
Read: names of fields in whatever case, null for any value, fields that nobody knows, bytes that are no UTF-8
and lone halves of surrogates as U+FFFD. Differences that are left: of a name that stands twice only the last
value counts, where Go adds up two maps and passes over a null; "-0" is a number without a sign; what is
nested deeper than Python reads, about a thousand levels, is refused, where Go's limit is 10,000.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from fleetmesh.errors import WireError

T = TypeVar("T", bound=msgspec.Struct)

_ENCODER = msgspec.json.Encoder()
_ESCAPED = tuple(
    (character.encode(), f"\\u{ord(character):04x}".encode())
    for character in ("<", ">", "&", "\u2028", "\u2029")
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACED = "\ufdd0"
"""A noncharacter, that holds the place of what is written as an escape."""

_FOLDED = str.maketrans({"\u017f": "s", "\u212a": "k"})
_ERROR_AT = re.compile(r"(?s)(.*?)(?: - at `\$\.?(.*)`)?")
_NO_INTEGER = 0.5


def write(value: object) -> bytes:
    """
    A value of dicts, lists, texts, numbers, booleans and None. The keys of a dict stay in their order: see
    `by_key`.
    """
    try:
        text = _ENCODER.encode(value)
    except UnicodeEncodeError:
        text = _ENCODER.encode(_without_surrogates(value)).replace(_REPLACED.encode(), b"\\ufffd")
    for plain, escaped in _ESCAPED:
        if plain in text:
            text = text.replace(plain, escaped)
    return text


def by_key(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """As Go writes a map: sorted by the bytes of the keys."""
    return dict(sorted(mapping.items()))


class Reader(Generic[T]):
    """
    Reads objects of a type. What is as Cilium writes it takes the short way; all else is first brought into
    that form.
    """

    def __init__(self, struct: type[T]) -> None:
        """`struct` has a default for each field, None among its types, and forbids unknown fields."""
        self._decoder = msgspec.json.Decoder(struct)
        self._struct = struct

    def read(self, value: bytes) -> T:
        """
        Raises:
            WireError: It is no JSON, or a field has not the type that it should have.
        """
        try:
            return self._decoder.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        folded = _fold(parse(value), self._struct)
        try:
            return self._decoder.decode(_ENCODER.encode(folded))
        except msgspec.ValidationError as problem:
            raise wire_error(problem) from None
        except RecursionError:
            raise _too_deep() from None


class Members(list[tuple[str, Any]]):
    """An object as it stands in the text: names and values, in order."""


def parse(value: bytes) -> Any:
    """
    Anything; objects are `Members`, and a number that is no integer of 64 bits is some number that isn't one.

    Raises:
        WireError: It is no JSON.
    """
    try:
        return _JSON.decode(value.decode("utf-8", "fleetmesh-go"))
    except RecursionError:
        raise _too_deep() from None
    except ValueError as problem:
        raise WireError("", f"no JSON: {problem}") from None


def fold(name: str) -> str:
    """Names of fields that fold to the same are the same to Go."""
    return name.translate(_FOLDED).lower() if not name.isascii() else name.lower()


def wire_error(problem: msgspec.ValidationError) -> WireError:
    """The same, as a reader of values tells it."""
    found = _ERROR_AT.fullmatch(str(problem))
    reason, field = (str(problem), "") if found is None else (found[1], found[2] or "")
    return WireError(field, reason.replace("`", "").replace(" | null", ""))


def text(value: str) -> str:
    """With U+FFFD for what is no character."""
    return _SURROGATE.sub("\ufffd", value)


def _fold(value: Any, type_: Any) -> Any:
    """As the type has it: known fields by their own names, the rest left out."""
    if isinstance(value, str):
        return text(value)
    type_ = (
        next((each for each in get_args(type_) if each is not type(None)), type_)
        if _optional(type_)
        else type_
    )
    if isinstance(value, Members):
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            return _fold_fields(value, type_)
        inner = get_args(type_)[1] if get_origin(type_) is dict else Any
        return {text(name): _fold(each, inner) for name, each in value}
    if isinstance(value, list):
        inner = get_args(type_)[0] if get_origin(type_) in {list, tuple} else Any
        return [_fold(each, inner) for each in value]
    return value


def _fold_fields(members: Members, struct: type[msgspec.Struct]) -> dict[str, Any]:
    hints = get_type_hints(struct, include_extras=True)
    exact = {field.encode_name: hints[field.name] for field in msgspec.structs.fields(struct)}
    folded: dict[str, str] = {}
    for known in exact:
        folded.setdefault(fold(known), known)
    found: dict[str, Any] = {}
    for given, value in members:
        name = given if given in exact else folded.get(fold(given))
        if name is not None:
            found[name] = _fold(value, exact[name])
    return found


def _optional(type_: Any) -> bool:
    return type(None) in get_args(type_)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub(_REPLACED, value)
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
    if isinstance(value, list):
        return list(map(_without_surrogates, value))
    return value


def _integer(digits: str) -> int | float:
    """Go takes "-0" for none that is unsigned, which all are that Cilium has."""
    return int(digits) if len(digits) < 20 and digits != "-0" else _NO_INTEGER


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _too_deep() -> WireError:
    return WireError("", "nested too deeply")


def _each_byte(problem: UnicodeError) -> tuple[str, int]:
    """Go counts each byte that is no UTF-8 as a character of its own."""
    assert isinstance(problem, UnicodeDecodeError), "registered for reading only"
    return "\ufffd" * (problem.end - problem.start), problem.end


codecs.register_error("fleetmesh-go", _each_byte)

_JSON = json.JSONDecoder(
    object_pairs_hook=Members, parse_int=_integer, parse_float=lambda _: _NO_INTEGER, parse_constant=_constant
)

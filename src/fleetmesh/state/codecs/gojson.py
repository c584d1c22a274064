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
from types import MappingProxyType, UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
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
_NO_FIELDS: Mapping[str, Any] = MappingProxyType({})
_NAMES = msgspec.json.Decoder(dict[str, msgspec.Raw])


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
    Reads objects of a type, on the shortest of three ways: a value as Cilium 1.20 writes it, one with more
    fields, as a newer one may have, and any other, which is first brought into that form.
    """

    def __init__(self, struct: type[T]) -> None:
        """`struct` has a default for each field, None among its types, and forbids unknown fields."""
        self._decoder = msgspec.json.Decoder(struct)
        more = msgspec.defstruct(struct.__name__, [], bases=(struct,), forbid_unknown_fields=False)
        self._decoder_of_more: msgspec.json.Decoder[T] = msgspec.json.Decoder(more)
        self._shape = _shape_of(struct)

    def read(self, value: bytes) -> T:
        """
        Raises:
            WireError: It is no JSON, or a field has not the type that it should have.
        """
        try:
            return self._decoder.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        try:
            if all(map(self._is_exact, _NAMES.decode(value))):
                return self._decoder_of_more.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        folded = _fold(parse(value), self._shape)
        try:
            return self._decoder.decode(_ENCODER.encode(folded))
        except msgspec.ValidationError as problem:
            raise wire_error(problem) from None
        except RecursionError:
            raise _too_deep() from None

    def _is_exact(self, name: str) -> bool:
        """Whether it is that of a field as it is written, or of none."""
        fields, folded = self._shape.fields or _NO_FIELDS, self._shape.folded
        return name in fields or fold(name) not in folded


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


@attrs.frozen
class _Shape:
    """
    Of a type, what matters to the names in it.

    Attributes:
        fields: Of a struct, by their names; None of all else.
        folded: A folded name, and that of the field.
        inner: Of what is in a map or a list.
    """

    fields: Mapping[str, _Shape] | None = None
    folded: Mapping[str, str] = _NO_FIELDS
    inner: _Shape | None = None


_LEAF = _Shape()


def _shape_of(type_: Any) -> _Shape:
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        hints = get_type_hints(type_, include_extras=True)
        named = [(field.encode_name, _shape_of(hints[field.name])) for field in msgspec.structs.fields(type_)]
        # Of two names that fold to the same, the first field is meant by all others that do.
        return _Shape(dict(named), {fold(name): name for name, _ in reversed(named)})
    if get_origin(type_) is dict:
        return _Shape(inner=_shape_of(get_args(type_)[1]))
    if get_origin(type_) in (list, tuple):
        return _Shape(inner=_shape_of(get_args(type_)[0]))
    if get_origin(type_) in (UnionType, Union):
        return next((each for each in map(_shape_of, get_args(type_)) if each != _LEAF), _LEAF)
    return _LEAF


def _fold(value: Any, shape: _Shape) -> Any:
    """With the fields of structs by their own names, and none besides."""
    if isinstance(value, Members):
        if shape.fields is None:
            return {text(name): _fold(each, shape.inner or _LEAF) for name, each in value}
        found: dict[str, Any] = {}
        for given, each in value:
            name = given if given in shape.fields else shape.folded.get(fold(given))
            if name is not None:
                found[name] = _fold(each, shape.fields[name])
        return found
    if isinstance(value, list):
        return [_fold(each, shape.inner or _LEAF) for each in value]
    return text(value) if isinstance(value, str) else value


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub(_REPLACED, value)
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
    if isinstance(value, list):
        return list(map(_without_surrogates, value))
    return value


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else _NO_INTEGER


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

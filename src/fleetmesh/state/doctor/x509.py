"""
What a certificate says of itself (RFC 5280), read without trusting it.

Python's `ssl` tells the fields of a certificate only once it has verified it, and of files only those of
authorities; here it is the other certificates that one has to see. Nothing is verified here.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

import attrs

_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.25": "DC",
}
_SUBJECT_KEY, _SUBJECT_NAMES, _AUTHORITY_KEY, _CONSTRAINTS = (
    "2.5.29.14",
    "2.5.29.17",
    "2.5.29.35",
    "2.5.29.19",
)
_SEQUENCE, _SET, _INTEGER, _OID, _BOOLEAN, _OCTETS = 0x30, 0x31, 0x02, 0x06, 0x01, 0x04
_UTC_TIME, _TIME = 0x17, 0x18
_DNS, _URI, _ADDRESS = 0x82, 0x86, 0x87
_WIDE = {0x1E: "utf-16-be", 0x1C: "utf-32-be"}
MOST_BYTES = 1 << 20
"""Of one certificate."""

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@attrs.frozen(kw_only=True)
class Certificate:
    """
    Attributes:
        subject, issuer: Distinguished names as RFC 4514 writes them.
        serial, subject_key, authority_key: Hexadecimal with colons; "" for a key that isn't told.
        names: Host names, addresses and URIs that it is for.
        authority: Whether it may sign others.
    """

    subject: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]
    subject_key: str
    authority_key: str
    authority: bool


def read_pem(data: bytes) -> tuple[Certificate, ...]:
    """
    All certificates of a file.

    Raises:
        ValueError: There are none, or one can't be understood.
    """
    found = [
        read_certificate(ssl.PEM_cert_to_DER_cert(each.group().decode("ascii")))
        for each in _PEM.finditer(data)
    ]
    if not found:
        raise ValueError("it holds no certificate in PEM")
    return tuple(found)


def read_certificate(der: bytes) -> Certificate:
    """
    Raises:
        ValueError: It is no certificate.
    """
    if len(der) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES} bytes")
    outer = _one(der, _SEQUENCE)
    fields = [*_parts(_first(outer, _SEQUENCE))]
    if fields and fields[0][0] == 0xA0:  # the version
        del fields[0]
    expected = (_INTEGER, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE)
    if tuple(tag for tag, _ in fields[:6]) != expected:
        raise ValueError("it is no certificate of X.509")
    serial, _, issuer, validity, subject, _ = (content for _, content in fields[:6])
    begin, end = _two_times(validity)
    extensions = {}
    for tag, content in fields[6:]:
        if tag == 0xA3:
            extensions = dict(_extensions(_one(content, _SEQUENCE)))
    return Certificate(
        subject=_name(subject),
        issuer=_name(issuer),
        serial=_hex(serial[1:] if serial[:1] == b"\0" and len(serial) > 1 else serial),
        not_before=begin,
        not_after=end,
        names=tuple(_subject_names(extensions.get(_SUBJECT_NAMES, b""))),
        subject_key=_hex(_one(extensions[_SUBJECT_KEY], _OCTETS)) if _SUBJECT_KEY in extensions else "",
        authority_key=_authority_key(extensions.get(_AUTHORITY_KEY, b"")),
        authority=_is_authority(extensions.get(_CONSTRAINTS, b"")),
    )


def read_name(der: bytes) -> str:
    """
    A distinguished name as RFC 4514 writes it: the last part first.

    Raises:
        ValueError: It is none.
    """
    return _name(_one(der, _SEQUENCE))


def _name(content: bytes) -> str:
    parts = []
    for tag, relative in _parts(content):
        _expect(tag, _SET)
        pairs = []
        for inner, pair in _parts(relative):
            _expect(inner, _SEQUENCE)
            fields = [*_parts(pair)]
            if len(fields) != 2:
                raise ValueError("a part of a distinguished name is no pair")
            (kind, oid), (how, value) = fields
            _expect(kind, _OID)
            number = _oid(oid)
            text = value.decode(_WIDE.get(how, "utf-8"), errors="replace")
            pairs.append(f"{_NAMES.get(number, number)}={_escaped(text)}")
        parts.append("+".join(pairs))
    return ",".join(reversed(parts))


def _escaped(text: str) -> str:
    shown = "".join(f"\\{each}" if each in ',+"\\<>;' else each for each in text)
    return "".join(each if each.isprintable() else f"\\{ord(each):02x}" for each in shown)


def _extensions(content: bytes) -> Iterator[tuple[str, bytes]]:
    for tag, extension in _parts(content):
        _expect(tag, _SEQUENCE)
        fields = [*_parts(extension)]
        if len(fields) < 2 or fields[0][0] != _OID or fields[-1][0] != _OCTETS:
            raise ValueError("an extension is none")
        yield _oid(fields[0][1]), fields[-1][1]


def _subject_names(content: bytes) -> Iterator[str]:
    for tag, value in _parts(_one(content, _SEQUENCE)) if content else ():
        if tag in {_DNS, _URI}:
            yield value.decode("ascii", errors="replace")
        elif tag == _ADDRESS and len(value) in {4, 16}:
            yield str(ipaddress.ip_address(value))


def _authority_key(content: bytes) -> str:
    for tag, value in _parts(_one(content, _SEQUENCE)) if content else ():
        if tag == 0x80:
            return _hex(value)
    return ""


def _is_authority(content: bytes) -> bool:
    fields = [*_parts(_one(content, _SEQUENCE))] if content else []
    return bool(fields) and fields[0][0] == _BOOLEAN and any(fields[0][1])


def _two_times(content: bytes) -> tuple[datetime, datetime]:
    times = [_time(tag, value) for tag, value in _parts(content)]
    if len(times) != 2:
        raise ValueError("its validity is no pair of times")
    return times[0], times[1]


def _time(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii", errors="replace")
    if tag == _UTC_TIME:  # RFC 5280, 4.1.2.5.1: years from 1950
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _TIME:
        raise ValueError("a time is none")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _oid(content: bytes) -> str:
    if not content or content[-1] & 0x80:
        raise ValueError("an object identifier is cut off")
    numbers, value = [], 0
    for each in content:
        value = value << 7 | each & 0x7F
        if not each & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _hex(content: bytes) -> str:
    return content.hex(":")


def _one(data: bytes, tag: int) -> bytes:
    """The content of the only value."""
    found = [*_parts(data)]
    if len(found) != 1:
        raise ValueError("there is more, or less, than one value")
    _expect(found[0][0], tag)
    return found[0][1]


def _first(data: bytes, tag: int) -> bytes:
    for found, content in _parts(data):
        _expect(found, tag)
        return content
    raise ValueError("it is empty")


def _expect(found: int, wanted: int) -> None:
    if found != wanted:
        raise ValueError(f"tag {found:#x} where {wanted:#x} belongs")


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each value, one behind the other (DER)."""
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise ValueError("a value is cut off")
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4 or at + size > len(data):
                raise ValueError("the length of a value is none")
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise ValueError("a value is cut off")
        yield tag, data[at : at + length]
        at += length

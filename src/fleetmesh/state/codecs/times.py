"""
Times, as heartbeats, marks of being complete and creation times have them: RFC 3339 to the second.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from fleetmesh.errors import WireError
from fleetmesh.state.codecs.words import shown

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d?):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)


def encode_time(seconds: float) -> bytes:
    """Seconds since 1970, as Cilium writes a time where its zone is UTC (pkg/kvstore/store syncstore.go)."""
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}".encode()


def decode_time(value: bytes) -> float:
    """
    Seconds since 1970.

    Raises:
        WireError: It is no time.
    """
    return (parse_time(value.decode("utf-8", "replace")) - datetime.fromtimestamp(0, UTC)).total_seconds()


def parse_time(text: str, field: str = "") -> datetime:
    """
    As Go's `time.Parse` reads RFC 3339: fractions of a second may follow, behind a point or a comma, and an
    hour may have one digit.

    Raises:
        WireError: It is no time.
    """
    found = _FORM.fullmatch(text)
    try:
        if found is None:
            raise ValueError("expected YYYY-MM-DDTHH:MM:SSZ")
        year, month, day, hour, minute, second = map(int, found.groups()[:6])
        micro = int((found[7] or "0")[:6].ljust(6, "0"))
        sign, hours, minutes = -1 if found[8] == "-" else 1, int(found[9] or 0), int(found[10] or 0)
        if hours > 24 or minutes > 60:
            raise ValueError("time zone offset out of range")
        local = datetime(year, month, day, hour, minute, second, micro, UTC)
        return local - sign * timedelta(hours=hours, minutes=minutes)
    except (ValueError, OverflowError) as problem:
        raise WireError(field, f"{shown(text)} is no time of RFC 3339: {problem}") from None

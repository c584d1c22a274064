"""
What a proxy decides on a request, by the rules that apply to its connection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from fleetmesh.policy.regex import matches_whole
from fleetmesh.policy.rule import DnsRule, HttpRule

_ALL_NAMES = re.compile(r"\*+\.?")
_LABEL = re.compile(r"[-a-z0-9_]+")
_FIELDS = frozenset({"method", "path", "host", "headers"})


@attrs.frozen
class Request:
    """An HTTP request."""

    method: str = ""
    path: str = ""
    host: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Request:
        """
        Raises:
            ValueError: There is a field that no request has.
        """
        unknown = sorted(value.keys() - _FIELDS)
        if unknown:
            raise ValueError(f"http has {unknown[0]!r}; expected {', '.join(sorted(_FIELDS))}")
        headers = {name.lower(): text for name, text in (value.get("headers") or {}).items()}
        return cls(value.get("method") or "", value.get("path") or "", value.get("host") or "", headers)


def http_matches(rule: HttpRule, request: Request) -> bool:
    """
    Whether a rule allows a request, as Envoy decides: expressions have to match as a whole.

    Raises:
        ImportError: The rule has an expression, and RE2, which is the extra `l7`, is not installed.
    """
    pairs = ((rule.method, request.method), (rule.path, request.path), (rule.host, request.host))
    return all(not pattern or matches_whole(pattern, text) for pattern, text in pairs) and all(
        not each.refuses
        or each.secret
        or (each.name.lower() in request.headers and each.value in {None, request.headers[each.name.lower()]})
        for each in rule.headers
    )


def dns_matches(rule: DnsRule, name: str) -> bool:
    """
    Whether a rule is about a name (pkg/fqdn/matchpattern): `*` stays within a label, `**.` at the beginning
    is any number of labels, and a lone one everything.
    """
    labels = _labels(name)
    if rule.name and labels == _labels(rule.name):
        return True
    pattern = rule.pattern.strip()
    if not pattern:
        return False
    if not all(map(_LABEL.fullmatch, labels)):
        return False
    if _ALL_NAMES.fullmatch(pattern):
        return True
    wanted = _labels(pattern)
    if wanted[0].startswith("**") and not wanted[0].strip("*"):
        rest = wanted[1:]
        if len(labels) <= len(rest):
            return False
        labels, wanted = labels[len(labels) - len(rest) :], rest
    return len(labels) == len(wanted) and all(map(_label_matches, wanted, labels))


def _labels(name: str) -> list[str]:
    return name.removesuffix(".").lower().split(".")


def _label_matches(pattern: str, text: str) -> bool:
    """`*` stands for any characters; in time that grows with the product of the lengths."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True

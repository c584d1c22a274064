"""
What rules allow of HTTP and DNS, as Cilium's policies write it (pkg/policy/api http.go, fqdn.go,
rule_validation.go).
"""

from __future__ import annotations

import re

from fleetmesh.policy.reading import Field
from fleetmesh.policy.regex import check_regex
from fleetmesh.policy.rule import DnsRule, HeaderMatch, HttpRule, L7Rule, Parser

MOST_OF_A_NAME = 255


_NAME = re.compile(r"[-a-zA-Z0-9_.]+")
_PATTERN = re.compile(r"[-a-zA-Z0-9_.*]+")
_REMOVED = {
    "kafka": "Kafka rules were removed in Cilium 1.20",
    "l7proto": "rules of other L7 protocols were removed in Cilium 1.20",
    "l7": "rules of other L7 protocols were removed in Cilium 1.20",
}
_MISMATCHES = ("", "LOG", "ADD", "DELETE", "REPLACE")


def read_l7(field: Field) -> tuple[Parser | None, tuple[L7Rule, ...]]:
    """Of `rules` of a port rule: which parser, and what is allowed; nothing without rules."""
    for name, why in _REMOVED.items():
        if field[name].is_set:
            raise field[name].refuse(why)
    field.object(("http", "dns"))
    http = tuple(read_http(each) for each in field["http"].items())
    dns = tuple(read_dns(each) for each in field["dns"].items())
    if field["http"].is_set and field["dns"].is_set:
        raise field.refuse("has rules of HTTP and of DNS; a rule takes one of them")
    if http:
        return "http", http
    if dns:
        return "dns", dns
    return None, ()


def read_http(field: Field) -> HttpRule:
    field.object(("path", "method", "host", "headers", "headerMatches"))
    headers = [_header(each) for each in field["headers"].items()]
    headers += [_header_match(each) for each in field["headerMatches"].items()]
    return HttpRule(
        field["path"].parsed(check_regex),
        field["method"].parsed(check_regex),
        field["host"].text(),
        tuple(headers),
    )


def _header(field: Field) -> HeaderMatch:
    """`Name` asks for presence, `Name: value` and `Name value` for that value."""
    name, _, value = field.text().partition(" ")
    return HeaderMatch(name.removesuffix(":"), value or None)


def _header_match(field: Field) -> HeaderMatch:
    field.object(("mismatch", "name", "secret", "value"))
    name, mismatch = field["name"].text(), field["mismatch"].text()
    if not name:
        raise field["name"].refuse("is missing; expected a header's name")
    if mismatch not in _MISMATCHES:
        raise field["mismatch"].refuse(f"is {mismatch!r}; expected LOG, ADD, DELETE or REPLACE")
    secret = field["secret"].is_set
    if secret and not field["secret"]["name"].text():
        raise field["secret"]["name"].refuse("is missing; expected a Secret's name")
    return HeaderMatch(name, field["value"].text() or None, secret, not mismatch)


def read_dns(field: Field) -> DnsRule:
    field.object(("matchName", "matchPattern"))
    return DnsRule(field["matchName"].parsed(check_name), field["matchPattern"].parsed(check_pattern))


def check_name(text: str) -> str:
    """
    Raises:
        ValueError: It is no DNS name.
    """
    if text and not _NAME.fullmatch(text):
        raise ValueError(f"is {text!r}; expected letters, digits, '-', '_' and '.'")
    return text


def check_pattern(text: str) -> str:
    """
    Raises:
        ValueError: It is no pattern of DNS names.
    """
    if len(text.strip()) > MOST_OF_A_NAME:
        raise ValueError(f"has {len(text.strip())} characters; at most {MOST_OF_A_NAME} are allowed")
    if text and not _PATTERN.fullmatch(text):
        raise ValueError(f"is {text!r}; expected letters, digits, '-', '_', '.' and '*'")
    return text

"""
The forms of names, labels and annotations (k8s.io/apimachinery pkg/util/validation).

Each check adds to `mistakes` what it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from types import MappingProxyType

from fleetmesh import labels as label_forms
from fleetmesh.labels import Selector
from fleetmesh.resources import wire
from fleetmesh.resources.documents import Path
from fleetmesh.resources.mistakes import Mistake
from fleetmesh.resources.model import EMPTY

Strings = Mapping[str, str]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")


def dns_label(value: str, path: Path, mistakes: list[Mistake]) -> None:
    """RFC 1123, as for names of Services and Namespaces, and ports of Services."""
    if not _LABEL.fullmatch(value):
        message = (
            "expected 1..63 lower-case letters, digits and '-', with a letter or digit at both ends, "
            f"got {value[:60]!r}"
        )
        mistakes.append(Mistake(path, message))


def subdomain(value: str, path: Path, mistakes: list[Mistake]) -> None:
    """RFC 1123, as for the names of most objects."""
    if len(value) > 253 or not _SUBDOMAIN.fullmatch(value):
        message = (
            "expected 1..253 lower-case letters, digits, '-' and '.', with a letter or digit at both ends of "
            f"each part, got {value[:60]!r}"
        )
        mistakes.append(Mistake(path, message))


def port_name(value: str, path: Path, mistakes: list[Mistake]) -> None:
    """RFC 6335, as for ports of containers."""
    if not _PORT_NAME.fullmatch(value):
        hint = "; leave the quotes away if it is a number" if value.isdigit() else ""
        message = (
            f"expected 1..15 lower-case letters, digits and single '-', a letter among them, got {value!r}"
        )
        mistakes.append(Mistake(path, message + hint))


def address(value: str, path: Path, mistakes: list[Mistake]) -> None:
    """IPv4 or IPv6, as for addresses of Services."""
    try:
        ip_address(value)
    except ValueError:
        mistakes.append(Mistake(path, f"expected an IP address, got {value[:60]!r}"))


def label_map(found: wire.Strings | None, path: Path, mistakes: list[Mistake]) -> Strings:
    """Labels, read-only. A value of null is the empty string."""
    if not found:
        return EMPTY
    result = {}
    for key, value in found.items():
        result[key] = text = value or ""
        if fault := _label_fault(key, text):
            mistakes.append(Mistake((*path, key), fault))
    return MappingProxyType(result)


def annotation_map(found: wire.Strings | None, path: Path, mistakes: list[Mistake]) -> Strings:
    """Annotations, read-only. A value of null is the empty string."""
    if not found:
        return EMPTY
    # Unlike those of labels, their keys may have capitals in the prefix.
    faults = {key: _label_fault(key.lower(), "") for key in found}
    mistakes += [
        Mistake((*path, key), fault.replace("label key", "annotation key"))
        for key, fault in faults.items()
        if fault
    ]
    return MappingProxyType({key: value or "" for key, value in found.items()})


@lru_cache(maxsize=8192)
def _label_fault(key: str, value: str) -> str:
    try:
        label_forms.check_key(key)
        label_forms.check_value(value)
    except ValueError as error:
        return str(error)
    return ""


def selects(selector: wire.LabelSelector, found: Strings, mistakes: list[Mistake]) -> bool:
    """Whether a selector matches labels; a wrong expression is a mistake and matches."""
    wanted = {key: value or "" for key, value in (selector.matchLabels or {}).items()}
    if not all(found.get(key) == value for key, value in wanted.items()):
        return False
    for number, each in enumerate(selector.matchExpressions or ()):
        expression = {"key": each.key, "operator": each.operator, "values": each.values}
        try:
            matches = Selector.from_spec({"matchExpressions": [expression]}).matches(found)
        except ValueError as error:
            message = str(error).removeprefix("matchExpressions[0]: ")
            mistakes.append(Mistake(("spec", "selector", "matchExpressions", number), message))
            matches = True
        if not matches:
            return False
    return True

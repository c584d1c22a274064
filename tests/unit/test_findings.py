"""The registry of finding codes is well formed, and findings take severity and fix from it."""

from __future__ import annotations

import re

import pytest

from fleetmesh.findings import REGISTRY, Finding, finding
from fleetmesh.resources import Origin


@pytest.mark.parametrize("code", REGISTRY)
def test_every_code_is_well_formed(code: str) -> None:
    kind = REGISTRY[code]

    assert code == kind.code
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
    assert kind.severity in {"info", "warning", "error"}
    assert kind.meaning.endswith(".")
    assert kind.fix.endswith(".") or not kind.fix


def test_codes_are_in_alphabetical_order_so_that_each_has_one_place() -> None:
    assert sorted(REGISTRY) == list(REGISTRY)


def test_every_error_says_what_to_do() -> None:
    assert [code for code, kind in REGISTRY.items() if kind.severity == "error" and not kind.fix] == []


def test_a_finding_has_the_severity_and_the_fix_of_its_code() -> None:
    where = Origin("a.yaml", 2, 7)

    made = finding("duplicate-object", "Service a/b", "twice", ["one", "two"], where)

    kind = REGISTRY["duplicate-object"]
    expected = Finding(
        "duplicate-object", kind.severity, "Service a/b", "twice", ("one", "two"), kind.fix, where
    )
    assert expected == made
    assert str(made) == "warning duplicate-object: Service a/b: twice (a.yaml:7 (document 2))"


def test_what_a_terminal_would_obey_is_written_as_an_escape() -> None:
    found = finding("duplicate-object", "Service a\nb", "\x1b[2Jgone, \ud800", ["\u202e", "é"])

    assert (found.subject, found.message) == ("Service a\\nb", "\\x1b[2Jgone, \\ud800")
    assert found.evidence == ("\\u202e", "é")


def test_a_code_that_nobody_declared_is_refused() -> None:
    with pytest.raises(KeyError):
        finding("no-such-code", "x", "y")

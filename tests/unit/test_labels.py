"""Selectors: Kubernetes' string syntax, its LabelSelector, and what they match."""

from __future__ import annotations

from typing import Any

import pytest

from fleetmesh.labels import Requirement, Selector, check_key, check_value

LABELS = {"app": "web", "tier": "", "example.com/rank": "5"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("  ", True),
        ("app=web", True),
        ("app==web", True),
        ("app = db", False),
        ("app!=web", False),
        ("app!=db", True),
        ("missing!=x", True),
        ("app in (db, web)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("missing notin (db)", True),
        ("missing in (db)", False),
        ("app", True),
        ("missing", False),
        ("!app", False),
        ("! missing", True),
        ("tier=", True),
        ("tier=,app", True),
        ("tier in (,x)", True),
        ("tier in ()", True),
        ("missing=", False),
        ("example.com/rank>4", True),
        ("example.com/rank>5", False),
        ("example.com/rank<6", True),
        ("app>4", False),
        ("missing<4", False),
        ("in=x", False),
        ("app=web,missing", False),
        ("app=web , tier", True),
    ],
)
def test_what_the_string_syntax_matches(text: str, matches: bool) -> None:
    assert Selector.parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=b", "found '=' at 0, expected a key or '!'"),
        ("a b", "found 'b' at 2"),
        ("a,,b", "found ',' at 2, expected a key"),
        ("a,", "found the end at 2"),
        ("!", "expected a key"),
        ("a in b", "expected '('"),
        ("a in (b", "expected ',' or ')'"),
        ("a=b c", "expected ',' or the end"),
        ("a>b", "Gt of key 'a' needs one whole number"),
        ("a>" + "9" * 30, "needs one whole number"),
        ("-a", "label key '-a'"),
        ("A.b/c", "not a DNS name in lower case"),
        ("x/y/z", "the prefix 'x/y'"),
        ("a=b@c", "label value 'b@c'"),
        ("a=" + "b" * 64, "at most 63"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="selector") as raised:
        Selector.parse(text)

    assert message in str(raised.value)
    assert repr(text) in str(raised.value)


def test_the_order_of_requirements_and_values_does_not_matter() -> None:
    assert Selector.parse("a in (x,y),b") == Selector.parse("b,a in (y,x,y)")


@pytest.mark.parametrize(
    "text", ["a=b", "a!=b", "a in (b,c)", "a notin (b,c)", "a", "!a", "a>1", "a<1", "a="]
)
def test_the_string_of_a_selector_reads_back(text: str) -> None:
    assert str(Selector.parse(text)) == text
    assert Selector.parse(str(Selector.parse(text))) == Selector.parse(text)


def test_labels_as_a_selector_ask_for_each_of_them() -> None:
    selector = Selector.from_labels({"app": "web", "tier": ""})

    assert selector.matches(LABELS)
    assert not selector.matches({"app": "web"})
    assert Selector.from_labels({}).matches({})


def test_a_selector_from_labels_takes_values_that_no_label_can_have() -> None:
    assert not Selector.from_labels({"a": "not a label!"}).matches({"a": "b"})


def test_match_labels_and_expressions_are_all_required() -> None:
    spec = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "Exists"},
            {"key": "app", "operator": "In", "values": ["web", "db"]},
            {"key": "app", "operator": "NotIn", "values": ["db"]},
            {"key": "missing", "operator": "DoesNotExist", "values": None},
        ],
    }

    assert Selector.from_spec(spec).matches(LABELS)
    assert not Selector.from_spec(spec).matches({**LABELS, "missing": "x"})
    assert Selector.from_spec({}).matches({})
    assert Selector.from_spec({"matchLabels": None, "matchExpressions": None}).matches({})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"matchLables": {}}, "no field 'matchLables'"),
        ({"matchLabels": []}, "matchLabels: expected a mapping"),
        ({"matchLabels": {"a": 1}}, "quote it"),
        ({"matchExpressions": {}}, "matchExpressions: expected a list"),
        ({"matchExpressions": ["a"]}, r"matchExpressions\[0\]: expected a mapping"),
        ({"matchExpressions": [{"operator": "In"}]}, r"matchExpressions\[0\].key"),
        ({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}, "'Gt' is not one of In"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": [1]}]}, "expected a list of strings"),
        ({"matchExpressions": [{"key": "a", "operator": "In"}]}, "at least one value"),
        ({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}, "takes no values"),
    ],
)
def test_what_is_wrong_with_a_label_selector_is_named(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Selector.from_spec(spec)


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ValueError, match="'Like'"):
        Requirement.checked("a", "Like", ("b",))


def test_keys_and_values_have_the_lengths_of_kubernetes() -> None:
    check_key("a" * 253 + "/" + "b" * 63)
    check_value("a" * 63)
    check_value("")
    with pytest.raises(ValueError, match="prefix"):
        check_key("a" * 254 + "/b")
    with pytest.raises(ValueError, match=r"1\.\.63"):
        check_key("b" * 64)
    with pytest.raises(ValueError, match=r"1\.\.63"):
        check_key("")

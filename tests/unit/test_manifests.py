"""Texts, files and folders: what is read, where it was, and how bad parts leave the good ones alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fleetmesh.errors import ManifestError, Problem
from fleetmesh.resources import (
    Manifests,
    Namespace,
    Origin,
    Service,
    is_path,
    load_manifests,
    problem_findings,
    read_manifests,
    unknown_kind_findings,
)


def service(name: str, port: object = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n"


def names(read: Manifests) -> list[str]:
    return [each.name for each in read.resources]


def places(read: Manifests) -> list[tuple[int, int]]:
    """(document, line) of each resource."""
    return [(each.origin.document, each.origin.line) for each in read.resources if each.origin]


def test_a_path_is_a_path_or_a_str_of_one_line() -> None:
    assert is_path(Path("a\nb"))
    assert is_path("a")
    assert not is_path("a\n")


def test_documents_know_their_number_and_the_line_of_their_first_content() -> None:
    text = f"# head\n---\n\n# a\n{service('a')}---\n---\n# nothing\n--- # c\n{service('b')}"

    read = read_manifests(text)

    assert names(read) == ["a", "b"]
    assert places(read) == [(1, 5), (4, 16)]
    assert read.resources[0].origin == Origin("<text>", 1, 5)


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        (service("a"), [1]),
        (f"---\n{service('a')}", [1]),
        (f"\ufeff{service('a')}", [1]),
        (f"\ufeff---\n{service('a')}", [1]),
        (service("a").replace("\n", "\r\n"), [1]),
        (service("a").replace("\n", "\r"), [1]),
        (f"%YAML 1.1\n---\n{service('a')}", [1]),
        (f"# c\n%YAML 1.1\n# d\n---\n{service('a')}", [1]),
        (f"{service('a')}...\n", [1]),
        (f"{service('a')}...\n# end\n", [1]),
        (f"{service('a')}...\n{service('b')}", [1, 2]),
        (f"{service('a')}...\n%YAML 1.1\n---\n{service('b')}", [1, 2]),
        (f"{service('a')}...\n---\n{service('b')}---", [1, 2]),
        (f"{service('a')}--- # {{}}\n{service('b')}", [1, 2]),
        (f"---\n---\n\n---\n{service('b')}---\n", [3]),
        (f"null\n---\n{service('b')}", [2]),
        (f"# only\n# comments\n\n---\n{service('b')}", [1]),
        ("# only comments\n", []),
        ("\n", []),
        ("---\n", []),
    ],
)
def test_the_forms_of_a_stream_of_documents(text: str, documents: list[int]) -> None:
    read = read_manifests(text + "\n" if "\n" not in text else text)

    assert read.problems == ()
    assert [document for document, _ in places(read)] == documents


def test_a_marker_inside_a_block_scalar_is_text_when_it_is_indented() -> None:
    text = service("a") + "  x: |\n    ---\n    ...\n"

    assert names(read_manifests(text)) == ["a"]


def test_anchors_and_merge_keys() -> None:
    text = """\
apiVersion: v1
kind: Service
metadata: {name: a, labels: &l {app: x, tier: web}, annotations: *l}
spec:
  selector:
    <<: [*l, {tier: other, extra: more}]
    app: z
"""
    (found,) = load_manifests(text)

    assert isinstance(found, Service)
    assert found.annotations == {"app": "x", "tier": "web"}
    assert found.selector == {"app": "z", "tier": "web", "extra": "more"}


def test_an_anchor_may_be_defined_again() -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {b: &x c, d: &x e, f: *x}}\n"

    (found,) = load_manifests(text)

    assert found.labels == {"b": "c", "d": "e", "f": "e"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2001-12-14", "2001-12-14"),
        ("2001-12-14T21:59:43Z", "2001-12-14T21:59:43Z"),
        ("1:30", "1:30"),
        ("0.1.2", "0.1.2"),
        ("0x", "0x"),
        ("!!str 1", "1"),
        ("!custom v", "v"),
        ("'true'", "true"),
        ('"1"', "1"),
        ("~x", "~x"),
        ("", ""),
        ("null", ""),
    ],
)
def test_scalars_that_are_strings_to_kubernetes(written: str, read: str) -> None:
    text = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  annotations:\n    k: {written}\n"

    (found,) = read_manifests(text).resources

    assert found.annotations == {"k": read}


@pytest.mark.parametrize(
    "written", ["y", "No", "on", "1", "0x1F", "0o17", "1_000", "1e3", "1.5", ".inf", "-0b1", "!!int 7"]
)
def test_scalars_that_are_no_strings_to_kubernetes_must_be_quoted(written: str) -> None:
    text = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  labels:\n    k: {written}\n"

    (problem,) = read_manifests(text).problems

    assert (problem.line, problem.field) == (6, "metadata.labels.k")
    assert problem.message.endswith("; quote it")


@pytest.mark.parametrize(
    ("written", "port"),
    [
        ("80", 80),
        ("80.0", 80),
        ("8e1", 80),
        ("0x50", 80),
        ("0120", 80),
        ("0b1010000", 80),
        ("+80", 80),
        ("08080", 8080),
    ],
)
def test_the_forms_of_a_whole_number(written: str, port: int) -> None:
    (found,) = load_manifests(service("a", written))

    assert isinstance(found, Service)
    assert found.ports[0].port == port


def test_keys_that_are_no_strings_become_strings_as_on_the_way_to_json() -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {1: a, yes: b, 1.5: c}}\n"

    (found,) = load_manifests(text)

    assert found.labels == {"1": "a", "true": "b", "1.5": "c"}


@pytest.mark.parametrize("kind", ["List", "ServiceList"])
def test_the_items_of_a_list_are_good_or_bad_each_for_itself(kind: str) -> None:
    text = f"""\
apiVersion: v1
kind: {kind}
metadata: {{resourceVersion: ""}}
items:
- apiVersion: v1
  kind: Service
  metadata: {{name: a}}
- apiVersion: v1
  kind: Service
  metadata: {{name: b}}
  spec:
    ports:
    - port: x
- apiVersion: v1
  kind: Service
  metadata: {{name: c}}
- 7
"""
    read = read_manifests(text)

    assert names(read) == ["a", "c"]
    assert places(read) == [(1, 5), (1, 14)]
    assert [(each.line, each.field) for each in read.problems] == [
        (13, "items[1].spec.ports[0].port"),
        (17, "items[3]"),
    ]


def test_the_items_of_a_typed_list_may_leave_out_their_kind() -> None:
    assert names(read_manifests("apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: a}\n")) == [
        "a"
    ]


def test_lists_in_lists_and_lists_without_items() -> None:
    inner = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [json.loads('{"metadata":{"name":"a"},"apiVersion":"v1","kind":"Pod"}')],
    }
    outer = {"apiVersion": "v1", "kind": "List", "items": [inner, {"apiVersion": "v1", "kind": "List"}]}

    assert names(read_manifests(json.dumps(outer, indent=1))) == ["a"]


def test_lists_nested_without_end_are_refused() -> None:
    text = '{"apiVersion":"v1","kind":"List","items":[' * 20 + "]}" * 20 + "\n"

    (problem,) = read_manifests(text).problems

    assert "lists are nested deeper" in problem.message


def test_json_lists_know_the_lines_of_their_items() -> None:
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("a", "b", "a")
    ]
    items.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": 5}})
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)

    read = read_manifests(text)

    assert places(read) == [(1, 19), (1, 12)]
    assert [(each.line, each.field) for each in read.problems] == [(30, "items[3].metadata.name")]
    assert [each.code for each in read.findings] == ["duplicate-object"]


def test_json_objects_may_follow_each_other() -> None:
    one = '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"%s"}}'

    for between in ("\n", " \n\n", "\n---\n"):
        assert names(read_manifests(one % "a" + between + one % "b" + "\n")) == ["a", "b"]


def test_flow_style_yaml_that_is_no_json() -> None:
    assert names(read_manifests("{apiVersion: v1, kind: Namespace, metadata: {name: a}, }\n")) == ["a"]


def test_broken_json_has_the_line_of_the_flaw() -> None:
    (problem,) = read_manifests('{"apiVersion": "v1",\n "kind": "Pod",,\n}\n').problems

    assert (problem.document, problem.line) == (1, 2)
    assert problem.message.startswith("broken JSON")


@pytest.mark.parametrize(
    ("bad", "line", "message"),
    [
        ("a: [1\n", 9, "did not find expected ',' or ']'"),
        ("a: b: c\n", 8, "mapping values are not allowed"),
        ("\ta: b\n", 8, "cannot start any token"),
        ("a: 'b\n", 9, "quoted scalar"),
        ("a: *b\n", 8, "alias *b has no anchor"),
        ("a:\n  b: &x [*x]\n", 9, "inside its own anchor"),
        ("a: 1\nb: \0\n", 9, "U+0000"),
        ("ä: ö\nb: \a\n", 9, "U+0007"),
        ("a: 1\nb: \ud800\n", 9, "lone surrogate"),
        ("? [a]\n: b\n", 8, "a key must be a string"),
        ("~: b\n", 8, "not null"),
        ("a: 1\n<<: 5\n", 9, "needs a mapping"),
        ("a: !!int x\n", 8, "tag !!int"),
        ("[" * 100_000 + "\n", 8, "nested deeper"),
        ("- " * 100_000 + "\n", 8, "nested deeper"),
        ("{a: " * 100_000 + "\n", 8, "nested deeper"),
        ("%FOO 1\n---\na: b\n", 8, "unknown directive"),
        ("just text\n", 8, "expected an object"),
        ("- a\n", 8, "expected an object with apiVersion and kind, got a list"),
        ("a: b\n", 8, "is missing"),
        ("apiVersion: v1\nkind: 5\n", 9, "expected a string, got the number 5"),
        ("kind: Pod\n", 8, "is missing"),
    ],
)
def test_one_bad_document_is_told_and_hides_none_of_the_others(bad: str, line: int, message: str) -> None:
    # The document before has seven lines and its marker is the eighth, where the bad one begins.
    good = service("a").removesuffix("\n")
    marker = "" if bad.startswith("%") else "\n--- \n"
    text = (
        f"{good}\n...\n{bad}---\n{service('b')}" if not marker else f"{good}{marker}{bad}---\n{service('b')}"
    )

    read = read_manifests(text)

    assert names(read) == ["a", "b"]
    assert [each.document for each in read.problems] == [2]
    assert message in str(read.problems[0])
    assert read.problems[0].line in {line, line + 1, line + 2}


def test_aliases_that_multiply_are_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]

    (problem,) = read_manifests("\n".join(lines) + "\n").problems

    assert "aliases expand" in problem.message
    assert problem.line > 3


def test_aliases_that_nest_are_bounded() -> None:
    lines = ["a0: &a0 []"] + [f"a{n}: &a{n} [[[[[[[[[[*a{n - 1}]]]]]]]]]]" for n in range(1, 30)]

    (problem,) = read_manifests("\n".join(lines) + "\n").problems

    assert "nested deeper" in problem.message


@pytest.mark.parametrize("text", ['{"a":' * 100_000 + "\n", "[" * 300 + "]" * 300 + "\n"])
def test_json_that_is_nested_too_deep_is_a_problem(text: str) -> None:
    (problem,) = read_manifests(text).problems

    assert "nested deeper than 200 levels" in problem.message


def test_a_number_of_a_hundred_thousand_digits_is_no_number() -> None:
    (problem,) = read_manifests(service("a", "9" * 100_000)).problems

    assert problem.field == "spec.ports[0].port"
    assert len(problem.message) < 200


def test_load_manifests_raises_after_it_has_read_everything() -> None:
    with pytest.raises(ManifestError) as raised:
        load_manifests(f"{service('a', 'x')}---\n{service('b')}---\n{service('c', 'y')}")

    assert [each.name for each in raised.value.resources] == ["b"]
    assert [(each.document, each.line) for each in raised.value.problems] == [(1, 7), (3, 23)]
    assert str(raised.value).startswith("<text>:7 (document 1): spec.ports[0].port: expected a whole number")


def test_of_an_object_declared_twice_the_later_is_in_force() -> None:
    read = read_manifests(f"{service('a', 1)}---\n{service('b')}---\n{service('a', 2)}")

    assert names(read) == ["a", "b"]
    first = read.resources[0]
    assert isinstance(first, Service)
    assert first.ports[0].port == 2
    (found,) = read.findings
    assert (found.code, found.subject) == ("duplicate-object", "Service default/a")
    assert found.evidence == ("<text>:1 (document 1)", "<text>:17 (document 3)")


def test_a_key_that_a_mapping_has_twice_is_told() -> None:
    read = read_manifests(service("a") + "spec: {type: NodePort}\n")

    (found,) = read.findings
    assert (found.code, found.subject) == ("duplicate-key", "<text>")
    assert found.where == Origin("<text>", 1, 8)
    assert isinstance(read.resources[0], Service)
    assert read.resources[0].type == "NodePort"


def test_each_unknown_kind_is_told_once() -> None:
    text = "".join(
        f"---\napiVersion: v1\nkind: {kind}\nmetadata: {{name: x}}\n" for kind in ("Foo", "Bar", "Foo")
    )

    read = read_manifests(text)

    assert [(each.code, each.severity, each.subject) for each in read.findings] == [
        ("unknown-kind", "info", "Foo"),
        ("unknown-kind", "info", "Bar"),
    ]
    assert read.findings == unknown_kind_findings(read.resources)
    assert len(read.resources) == 3


def test_problems_become_findings() -> None:
    (found,) = problem_findings(read_manifests(service("a", "x")).problems)

    assert (found.code, found.severity) == ("manifest-problem", "error")
    assert found.where == Origin("<text>", 1, 7)


def test_a_folder_is_read_with_all_below_it_in_sorted_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    for number, name in enumerate(("b/z.yml", "a.yaml", "c.YAML", ".hidden/x.yaml", ".y.yaml", "notes.txt")):
        (tmp_path / name).write_text(service(f"s{number}"))
    (tmp_path / "d.json").write_text('{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"}}')

    read = read_manifests(tmp_path)

    assert read.problems == ()
    files = [str(Path(each.origin.file).relative_to(tmp_path)) for each in read.resources if each.origin]
    assert files == ["a.yaml", "b/z.yml", "c.YAML", "d.json"]
    assert read_manifests(str(tmp_path)) == read


def test_a_file_is_read_whatever_its_suffix_is(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: dev}")

    assert load_manifests(path) == (Namespace(name="dev"),)


def test_a_symbolic_link_to_a_folder_around_it_ends(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))
    (tmp_path / "loop").symlink_to(tmp_path)

    read = read_manifests(tmp_path)

    assert names(read) == ["a"]
    assert [each.message for each in read.problems] == ["the folder contains itself through a symbolic link"]


def test_what_cannot_be_read_hides_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))
    (tmp_path / "b.yaml").write_bytes(b"a: 1\nb: \xff\n")
    (tmp_path / "c.yaml").symlink_to("nowhere")
    os.mkfifo(tmp_path / "d.yaml")
    (tmp_path / "e.yaml").write_text(service("e"))

    read = read_manifests(tmp_path)

    assert names(read) == ["a", "e"]
    assert [(Path(each.file).name, each.document, each.message) for each in read.problems] == [
        ("b.yaml", 0, "is not UTF-8: byte 0xff at 8"),
        ("c.yaml", 0, "can't be read: no such file or directory"),
        ("d.yaml", 0, "is neither a file nor a folder"),
    ]
    assert read.problems[0].line == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file: run as another user")
def test_a_file_without_permission_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(service("a"))
    path.chmod(0)

    assert "permission denied" in str(read_manifests(tmp_path).problems[0])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "the path is empty"),
        ("no/such/file", "no such file or directory"),
        ("kind: Service", "a text needs a line break"),
        ('{"kind": "Service"}', "a text needs a line break"),
        ("a\0b", "null byte"),
        ("x" * 5000, "file name too long"),
    ],
)
def test_a_path_that_leads_nowhere_is_a_problem_of_no_document(source: str, message: str) -> None:
    (problem,) = read_manifests(source).problems

    assert isinstance(problem, Problem)
    assert (problem.document, problem.line) == (0, 0)
    assert message in problem.message
    assert len(str(problem)) < 500


def test_what_is_neither_path_nor_text_is_a_wrong_argument() -> None:
    with pytest.raises(TypeError, match="bytes"):
        read_manifests(b"a: b\n")  # type: ignore[arg-type]


def test_a_secret_is_not_in_what_is_said_about_it() -> None:
    text = """\
apiVersion: v1
kind: Secret
metadata: {name: cilium-clustermesh, namespace: kube-system}
data:
  key: !!int hush
---
hush
"""
    read = read_manifests(text)

    assert len(read.problems) == 2
    assert "hush" not in "".join(map(str, read.problems))


def test_an_address_of_a_service_that_is_none_is_told() -> None:
    read = read_manifests(
        "apiVersion: v1\nkind: Service\nmetadata: {name: echo, namespace: shop}\n"
        "spec: {clusterIP: 10.300.0.1, externalIPs: [198.51.100.1, moon], ports: [{port: 80}]}\n"
    )

    assert [each.message for each in problem_findings(read.problems)] == [
        "spec.clusterIP: expected an IP address, got '10.300.0.1'",
        "spec.externalIPs[1]: expected an IP address, got 'moon'",
    ]

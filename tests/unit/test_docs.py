"""
The documents tell the truth: every example in them runs, every list is complete, every link leads somewhere.
"""

from __future__ import annotations

import difflib
import doctest
import io
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import fleetmesh
from fleetmesh import errors
from fleetmesh.cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")])
PROMPT = "$ "


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def run(command: str) -> tuple[str, int]:
    """
    What `fleetmesh ...` prints, to either stream, and its exit code.
    """
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        code = app.main(shlex.split(command)[1:], prog_name="fleetmesh", standalone_mode=False)
    return printed.getvalue(), code


def commands(block: str) -> list[tuple[str, str]]:
    """
    The commands of a block and what the document says that each prints.
    """
    found: list[tuple[str, str]] = []
    for line in block.splitlines(keepends=True):
        if line.startswith(PROMPT):
            found.append((line.removeprefix(PROMPT).strip(), ""))
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def evaluate_console(example: Example) -> str | None:
    """
    Runs the commands of a ```console block that are fleetmesh's; `...` stands for any text.

    A command must exit with 0, unless `$ echo $?` follows it. Other programs' commands are not run.
    """
    checker = doctest.OutputChecker()
    listed = commands(example.parsed)
    code = 0
    for index, (command, expected) in enumerate(listed):
        if command.startswith("fleetmesh "):
            actual, code = run(command)
            following = listed[index + 1][0] if index + 1 < len(listed) else ""
            if code and following != "echo $?":
                return f"{command}: exit code {code}\n{actual}"
        elif command == "echo $?":
            actual = f"{code}\n"
        else:
            continue
        if not checker.check_output(expected.rstrip("\n"), actual.rstrip("\n"), doctest.ELLIPSIS):
            difference = difflib.unified_diff(
                expected.splitlines(), actual.splitlines(), "document", "printed", lineterm=""
            )
            return "\n".join([command, *difference])
    return None


SYBIL = Sybil(
    [
        PythonCodeBlockParser(future_imports=["annotations"]),
        CodeBlockParser("console", evaluate_console),
    ]
)


def check(path: Path) -> int:
    """
    Run the examples of a document in order, all in one namespace, and count them.
    """
    document = SYBIL.parse(path)
    examples = list(document.examples())
    for example in examples:
        example.evaluate()
    return len(examples)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_example_of_a_document_runs_and_prints_what_it_says(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("COLUMNS", raising=False)

    check(path)


@pytest.mark.parametrize(
    "text",
    [
        "```python\nassert False\n```\n",
        "```console\n$ fleetmesh status examples/shop\nMesh of somebody else\n```\n",
        "```console\n$ fleetmesh status examples/missing\n...\n```\n",
        "```console\n$ fleetmesh status examples/shop\n...\n$ echo $?\n2\n```\n",
    ],
    ids=["python", "output", "failure", "exit code"],
)
def test_an_example_that_is_not_true_is_seen(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The test above can fail.
    """
    path = tmp_path / "page.md"
    path.write_text(text)
    monkeypatch.chdir(ROOT)

    with pytest.raises(AssertionError):
        check(path)


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *(DOCS / name for name in ("concepts.md", "preference.md", "what-if.md"))]
)
def test_pages_that_explain_have_examples(path: Path) -> None:
    assert len(list(SYBIL.parse(path).examples())) > 0


def test_the_page_of_findings_lists_the_registry() -> None:
    """
    After a change of the registry: `python scripts/generate_docs.py --write`.
    """
    script = [sys.executable, str(ROOT / "scripts" / "generate_docs.py")]
    generated = subprocess.run(script, check=True, capture_output=True, text=True).stdout

    assert (DOCS / "findings.md").read_text() == generated


def test_the_page_of_errors_lists_every_class_with_its_bases() -> None:
    """
    After a change of errors.py: write the row by hand, what to do included.
    """
    rows = re.findall(
        r"^\| `(\w+Error)` \| (.+?) \| (.+?) \| (.+?) \|$", (DOCS / "errors.md").read_text(), re.MULTILINE
    )
    classes = {
        name: ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }

    assert {name: bases for name, bases, _, _ in rows} == classes
    assert len(rows) == len(classes)


def test_every_error_is_a_public_name() -> None:
    """
    As the page of errors says.
    """
    classes = {name for name in vars(errors) if name.endswith("Error")}

    assert classes <= set(fleetmesh.__all__)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_to_a_file_leads_to_one(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", path.read_text())

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_table_of_contents_names_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "index.md").read_text()))

    assert linked == {path.name for path in DOCS.glob("*.md")} - {"index.md"}


def test_the_map_names_every_folder_of_the_package() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    package = ROOT / "src" / "fleetmesh"
    parts = [path.name for path in package.iterdir() if (path / "__init__.py").exists()]
    files = [path.name for path in package.glob("*.py") if path.name != "__init__.py"]

    assert [name for name in [*(f"{part}/" for part in parts), *files] if f"`{name}`" not in text] == []


def test_files_that_the_guide_names_exist() -> None:
    named = set(re.findall(r"`((?:src|cpp|tests|scripts|docs|benchmarks|examples)/[\w./-]+)`", guide()))

    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_table_of_commands_has_every_command_that_make_lists() -> None:
    listed = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    in_guide = set(re.findall(r"^\| `make ([a-z-]+)` ", guide(), re.MULTILINE))

    assert in_guide == listed - {"help"}


def test_the_requirements_in_the_readme_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    readme = (ROOT / "README.md").read_text()

    assert project["requires-python"] == ">=3.11"
    assert "Python 3.11 or newer" in readme
    names = [re.split(r"[><=]", requirement)[0] for requirement in project["dependencies"]]
    assert [name for name in names if f"`{name}`" not in readme] == []


def guide() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text()

"""
Wrong use, findings and defects: one line on stderr, and an exit code that scripts can tell apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import PROGRAM, SHOP, run, run_alone

BROKEN = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: [\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("status", "no-such-folder"), "'no-such-folder' does not exist"),
        (("status",), "Missing argument 'PATH'"),
        (("stats", SHOP), "No such command 'stats'"),
        (("status", SHOP, "-o", "xml"), "'xml' is not one of"),
        (("status", SHOP, "--mode", "loose"), "'loose' is not one of"),
        (("backends", SHOP, "cart"), "'cart' is not NAMESPACE/NAME, such as shop/cart"),
        (("backends", SHOP, "shop/cat"), "there is no service 'shop/cat'; did you mean shop/cart"),
        (("services", SHOP, "--seen-from", "wst"), "there is no member 'wst'; did you mean west"),
        (("services", SHOP, "--seen-from", "west/"), "'west/' is not CLUSTER or CLUSTER/NODE"),
        (("resolve", SHOP, "cart", "--type", "MX"), "'MX' is not one of"),
        (("compare", SHOP), "give either --with PATH, or changes"),
        (("compare", SHOP, "--with", SHOP, "--drain", "west"), "give either --with PATH, or changes"),
        (("compare", SHOP, "--with", "no-such-folder"), "'no-such-folder' does not exist"),
        (("compare", SHOP, "--with", SHOP, "--traffic"), "--traffic goes with changes, not with --with"),
        (("compare", SHOP, "--fail", "nort"), "there is no member 'nort'; did you mean north"),
        (("compare", SHOP, "--unshare", "shop/cart@"), "'shop/cart@' names no cluster after @"),
        (("compare", SHOP, "--unshare", "cart@east"), "'cart' is not NAMESPACE/NAME"),
        (("compare", SHOP, "--affinity", "shop/cart=near"), "write shop/cart=local, =remote or =none"),
        (("compare", SHOP, "--affinity", "shop/cart"), "write shop/cart=local, =remote or =none"),
        (("compare", SHOP, "--share", "shop/crt"), "did you mean shop/cart"),
        (("up", "no-such-folder"), "'no-such-folder' does not exist"),
    ],
    ids=lambda value: " ".join(value).replace(SHOP, "DIR") if isinstance(value, tuple) else "",
)
def test_wrong_use_is_one_line_and_code_2(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("fleetmesh: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


def test_no_command_is_wrong_use_and_shows_the_help() -> None:
    result = run()

    assert result.exit_code == 2
    assert "Commands:" in result.stderr


@pytest.mark.parametrize("arguments", [("--debug", "backends"), ("backends", "--debug")], ids=" ".join)
def test_debug_shows_the_traceback(arguments: tuple[str, ...]) -> None:
    result = run_alone(*arguments, SHOP, "shop/cat")

    assert result.returncode == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("fleetmesh: there is no service")


def broken(folder: Path) -> str:
    """
    A folder in which one file is good and another is not.
    """
    (folder / "good.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: good}\nspec: {}\n")
    (folder / "broken.yaml").write_text(BROKEN)
    return str(folder)


@pytest.mark.parametrize("command", ["status", "findings"])
def test_a_finding_of_severity_error_is_code_1_and_the_answer_is_given(command: str, tmp_path: Path) -> None:
    result = run(command, broken(tmp_path), "-o", "json")

    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found.get("counts", found["findings"])["error"] == 1


@pytest.mark.parametrize(
    "arguments",
    [("services",), ("backends", "default/good"), ("resolve", "a.b"), ("explain", "default/good")],
    ids=lambda arguments: arguments[0],
)
def test_answers_that_show_no_findings_say_on_stderr_that_there_are_errors(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    command, *rest = arguments
    result = run(command, broken(tmp_path), *rest, "-o", "json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)
    assert "a finding of severity error; see: fleetmesh findings" in result.stderr


def test_compare_is_code_1_if_what_it_compares_with_has_an_error(tmp_path: Path) -> None:
    assert run("compare", SHOP, "--with", broken(tmp_path)).exit_code == 1


def test_up_once_is_code_1_for_an_error(tmp_path: Path) -> None:
    assert run("up", broken(tmp_path), "--once").exit_code == 1


def test_severity_hides_findings_but_not_the_exit_code(tmp_path: Path) -> None:
    assert run("findings", broken(tmp_path), "--severity", "error").exit_code == 1


def test_a_defect_is_one_line_with_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetmesh.mesh.Mesh.from_directory", lambda *_, **__: 1 / 0)

    result = run("status", SHOP)

    assert result.exit_code == 70
    assert result.stderr == (
        "fleetmesh: defect: ZeroDivisionError: division by zero; --debug shows the traceback\n"
    )


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(13, "Permission denied", "east/"), 2, "east/: permission denied"),
        (OSError(28, "No space left on device"), 3, "no space left on device"),
    ],
)
def test_an_unreadable_path_is_wrong_use_and_other_failures_of_the_system_are_not(
    error: OSError, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("fleetmesh.mesh.Mesh.from_directory", fail)

    result = run("status", SHOP)

    assert (result.exit_code, result.stderr) == (code, f"fleetmesh: {said}\n")


@pytest.mark.parametrize("arguments", [("explain", "shop/cart"), ("up",)], ids=lambda value: value[0])
def test_a_reader_that_goes_away_is_no_traceback(arguments: tuple[str, ...]) -> None:
    command, *rest = arguments
    ours, theirs = os.pipe()
    os.close(ours)

    process = subprocess.run(
        [*PROGRAM, command, SHOP, *rest], stdout=theirs, stderr=subprocess.PIPE, timeout=50, check=False
    )
    os.close(theirs)

    assert (process.returncode, process.stderr) == (0, b"")


@pytest.mark.parametrize(("missing", "arguments"), [("click", "[]"), ("rich", f"['status', {SHOP!r}]")])
def test_without_the_extra_one_line_says_how_to_install_it(missing: str, arguments: str) -> None:
    script = f"""
import sys
sys.modules[{missing!r}] = None
sys.argv = ['fleetmesh', *{arguments}]
from fleetmesh.cli import main
main()
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert result.stderr == (
        f"fleetmesh: the command line needs {missing}; install it with: pip install 'fleetmesh[cli]'\n"
    )


def test_compare_says_on_stderr_that_there_were_errors_before(tmp_path: Path) -> None:
    folder = broken(tmp_path)
    cluster = run("status", folder, "-o", "json")
    name = json.loads(cluster.stdout)["members"][0]["name"]

    result = run("compare", folder, "--drain", name)

    assert result.exit_code == 1
    assert f"a finding of severity error; see: fleetmesh findings {folder} --severity error" in result.stderr

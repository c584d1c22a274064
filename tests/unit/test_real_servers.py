"""How the real programs of tests/real come to be: built once, kept by what they were built from."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from real import servers

FAKE_GO = """#!/bin/sh
echo "$@" >> "$FAKE_GO_LOG"
case "$1" in
version) echo "go version go9.99" ;;
build)
  if [ -n "$FAKE_GO_ERROR" ]; then echo "$FAKE_GO_ERROR" >&2; exit 1; fi
  sleep 0.2
  while [ "$1" != "-o" ]; do shift; done
  echo built > "$2" ;;
esac
"""


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module and a `go` of this test's own; what `go` was asked."""
    module, tools = tmp_path / "module", tmp_path / "tools"
    for folder in (module / "cmd" / "kvstore", tools):
        folder.mkdir(parents=True)
    for name in ("go.mod", "go.sum", "cmd/kvstore/main.go"):
        (module / name).write_text("one")
    go = tools / "go"
    go.write_text(FAKE_GO)
    go.chmod(go.stat().st_mode | stat.S_IXUSR)
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setattr(servers, "MODULE", module)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_GO_LOG", str(log))
    monkeypatch.delenv("FLEETMESH_REAL_BIN", raising=False)
    return log


def built(log: Path) -> int:
    return sum(line.startswith("build") for line in log.read_text().splitlines())


def test_a_program_is_built_once(builds: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(servers.path_of, ["etcd"] * 4))

    (path,) = paths
    assert path.read_text() == "built\n"
    assert built(builds) == 1


def test_processes_wait_for_each_other(builds: Path) -> None:
    code = "from real import servers, servers as s; import pathlib, os; "
    code += "s.MODULE = pathlib.Path(os.environ['MODULE']); print(s.path_of('etcd'))"
    environment = {**os.environ, "MODULE": str(servers.MODULE), "PYTHONPATH": str(Path(__file__).parents[1])}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]

    assert len({each.communicate()[0] for each in running}) == 1
    assert built(builds) == 1


@pytest.mark.parametrize("changed", ["go.mod", "go.sum", "cmd/kvstore/main.go"])
def test_another_source_is_another_program(builds: Path, changed: str) -> None:
    names = ("etcd", "kvstore")
    before = {name: servers.path_of(name) for name in names}

    (servers.MODULE / changed).write_text("two")
    after = {name: servers.path_of(name) for name in names}

    assert before["kvstore"] != after["kvstore"]
    assert (before["etcd"] != after["etcd"]) == changed.startswith("go.")


def test_what_is_prebuilt_is_used(builds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETMESH_REAL_BIN", str(tmp_path))
    (tmp_path / "etcd").touch()

    assert servers.path_of("etcd") == tmp_path / "etcd"
    with pytest.raises(servers.UnavailableError, match="has no program kvstore"):
        servers.path_of("kvstore")
    assert built(builds) == 0


def test_who_has_no_modules_skips_and_who_has_mistakes_fails(
    builds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GO_ERROR", "module lookup disabled by GOPROXY=off")
    with pytest.raises(pytest.skip.Exception, match="module lookup disabled"):
        servers.binary("etcd")

    monkeypatch.setenv("FAKE_GO_ERROR", "undefined: x")
    with pytest.raises(RuntimeError, match="undefined: x"):
        servers.binary("etcd")


def test_who_has_no_go_is_told_how_to_get_it(builds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(pytest.skip.Exception, match=r"go\.dev/dl"):
        servers.binary("kube-apiserver")
    with pytest.raises(pytest.skip.Exception, match="apt-get install etcd-server"):
        servers.binary("etcd-3.4")

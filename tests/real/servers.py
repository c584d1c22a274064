"""
The real programs that tests run: etcd, Kubernetes' control plane, Cilium's, and oracles of Cilium's packages.

All are built from one Go module, `go.mod` beside this file, and kept in the user's cache under a name that
says what they were built from. `FLEETMESH_REAL_BIN=DIR` uses the programs that stand there instead. A first
build takes about eight minutes of two cores, mostly for kube-apiserver; `python tests/real/servers.py` builds
all, in an order in which what most tests need comes first.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

MODULE = Path(__file__).parent

# The programs and their packages, cheap and much needed ones first.
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "etcdctl": "go.etcd.io/etcd/etcdctl/v3",
    "kvstore": "./cmd/kvstore",
    "load": "./cmd/load",
    "policy-oracle": "./oracles/policy/cmd/oracle",
    "merge-oracle": "./oracles/merge/cmd/oracle",
    "clustermesh-apiserver": "github.com/cilium/cilium/clustermesh-apiserver",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}

# Kubernetes' clients parse the version that a server tells. -trimpath: the same program from any folder.
VERSIONS = {
    "github.com/cilium/cilium/pkg/version.ciliumVersion": "1.20.2",
    "k8s.io/component-base/version.gitVersion": "v1.36.3",
}
FLAGS = (
    "-trimpath",
    "-ldflags",
    " ".join(["-s -w", *(f"-X {name}={value}" for name, value in VERSIONS.items())]),
)

# How `go` says that a module is not here and can't be had.
_NO_MODULES = (
    "dial tcp",
    "no such host",
    "module lookup disabled",
    "i/o timeout",
    "connection refused",
    "403 Forbidden",
)


class UnavailableError(Exception):
    """A program can't be had on this machine; the text says why, and how to get it."""


def binary(name: str) -> Path:
    """
    The program of that name, built if it is not there yet; skips the test, saying why, where it can't be had.

    `etcd-3.4` is the distribution's etcd: the oldest that Cilium and fleetmesh work with.
    """
    try:
        return path_of(name)
    except UnavailableError as error:
        pytest.skip(str(error))


def path_of(name: str) -> Path:
    """
    As `binary`.

    Raises:
        UnavailableError: there is no such program, and none can be built here.
        RuntimeError: the build failed for another reason than missing modules.
    """
    if name == "etcd-3.4":
        return _distributions_etcd()
    prebuilt = os.environ.get("FLEETMESH_REAL_BIN")
    if prebuilt:
        program = Path(prebuilt).absolute() / name
        if not program.is_file():
            raise UnavailableError(f"FLEETMESH_REAL_BIN={prebuilt} has no program {name}")
        return program
    go = shutil.which("go")
    if go is None:
        raise UnavailableError(f"no program `go` (1.26 or newer) to build {name} with: see go.dev/dl")
    package = PACKAGES[name]
    program = _folder(go, package) / name
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with _locked(program.with_suffix(".lock")):
            if not program.exists():  # another process may have built it meanwhile
                _build(go, package, program)
    return program


def module_folder(module: str) -> Path:
    """
    Where Go keeps the sources of a module that the programs are built from (Cilium's has its CRDs, for
    example); skips the test where it can't be had.
    """
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"no program `go` to find the files of {module} with: see go.dev/dl")
    listed = _go(go, "mod", "download", "-json", module)
    found = re.search(r'"Dir": "([^"]+)"', listed.stdout)
    if listed.returncode or found is None:
        pytest.skip(f"the Go module {module} can't be had here: {_last_line(listed)}")
    return Path(found[1])


def _build(go: str, package: str, program: Path) -> None:
    # `go build` into place would show other processes half a program.
    unfinished = program.with_name(f".{program.name}.{os.getpid()}")
    built = _go(go, "build", *FLAGS, "-o", str(unfinished), package)
    if built.returncode:
        unfinished.unlink(missing_ok=True)
        if any(sign in built.stderr for sign in _NO_MODULES):
            raise UnavailableError(
                f"the Go modules of {package} can't be downloaded here: {_last_line(built)}"
            )
        raise RuntimeError(f"go build {package} failed:\n{built.stderr}")
    unfinished.rename(program)


def _folder(go: str, package: str) -> Path:
    digest = hashlib.sha256()
    for part in ("go.mod", "go.sum"):
        digest.update((MODULE / part).read_bytes())
    digest.update(_go_version(go).encode() + "\0".join(FLAGS).encode())
    if package.startswith("./"):
        for source in sorted(MODULE.rglob("*.go")):
            digest.update(source.relative_to(MODULE).as_posix().encode() + source.read_bytes())
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fleetmesh" / f"real-{digest.hexdigest()[:16]}"


@cache
def _go_version(go: str) -> str:
    # What builds is the toolchain that the module asks for, so it is asked inside the module.
    return _go(go, "version").stdout


def _go(go: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([go, *arguments], cwd=MODULE, capture_output=True, text=True, check=False)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file closes, also when the process is killed
        yield


def _distributions_etcd() -> Path:
    found = shutil.which("etcd")
    hint = "Debian 12 and Ubuntu 24.04: apt-get install etcd-server"
    if found is None:
        raise UnavailableError(f"no program `etcd` of version 3.4 is installed ({hint})")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    if not told.startswith("etcd Version: 3.4."):
        raise UnavailableError(f"{found} is not of version 3.4 but {told.splitlines()[:1]} ({hint})")
    return Path(found)


def main(names: list[str]) -> int:
    """Builds the programs named, or all, and prints where each is or why it can't be had."""
    for name in names or [*PACKAGES]:
        try:
            print(f"{name}: {path_of(name)}", flush=True)
        except UnavailableError as error:
            print(f"{name}: not here, tests that need it are skipped: {error}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""
Cilium's `clustermesh-config` directory: one file a cluster, named as the cluster, that says how its etcd is
reached (Cilium pkg/clustermesh/common config.go; flag `--clustermesh-config`).

It may be the mount of a Kubernetes Secret, in which all files are links through `..data`. What else lies
there, such as certificates, hidden files and folders, is no connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import attrs

from fleetmesh.errors import InvalidClusterNameError
from fleetmesh.findings import Finding, finding
from fleetmesh.mesh.limits import check_name
from fleetmesh.state.connection_file import EtcdConnection, read_connection

_KEPT = "what it said before is in force"


@attrs.frozen
class Connections:
    """
    Attributes:
        clusters: Name of a cluster -> how to reach it, sorted.
        findings: What is wrong with files, and with the directory.
    """

    clusters: Mapping[str, EtcdConnection]
    findings: tuple[Finding, ...] = ()


@attrs.frozen
class ConnectionsUpdate:
    """
    What one look at the directory brought.

    Attributes:
        added, changed: Name of a cluster -> how to reach it now. Other certificates are a change too.
        removed: Names of clusters whose files are gone.
        new_findings: What is to be said now and wasn't before.
        settled: What isn't to be said any more.
    """

    added: Mapping[str, EtcdConnection]
    changed: Mapping[str, EtcdConnection]
    removed: tuple[str, ...]
    new_findings: tuple[Finding, ...]
    settled: tuple[Finding, ...]


def read_directory(path: Path | str, *, own: str = "") -> Connections:
    """
    All connections of a directory, once.

    Args:
        own: Name of the cluster that reads; its own file is passed over.

    Raises:
        OSError: There is no such directory, or it can't be listed.
    """
    return DirectoryOfClusters(path, own=own).connections


class DirectoryOfClusters:
    """
    A directory that is followed: whoever follows calls `poll` as often as is wanted.

    A file that can't be understood any more leaves in force what it said before, and a finding says so; only
    a file that is gone takes its cluster away. (Cilium takes away also those whose file can't be read just
    now.)

    Args:
        own: As for `read_directory`.

    Raises:
        OSError: There is no such directory, or it can't be listed.
    """

    def __init__(self, path: Path | str, *, own: str = "") -> None:
        self.path = Path(path)
        self._own = own
        self._clusters: dict[str, EtcdConnection] = {}
        self._findings: tuple[Finding, ...] = ()
        self._look(self._names())

    @property
    def connections(self) -> Connections:
        """As they are now."""
        return Connections(MappingProxyType(dict(self._clusters)), self._findings)

    def poll(self) -> ConnectionsUpdate | None:
        """Look at the files; `None` if nothing is different."""
        before, said = self._clusters, self._findings
        try:
            self._look(self._names())
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            message = f"it can't be listed: {why}; what its files said before is in force"
            self._findings = (finding("connection-file-problem", str(self.path), message),)
        now = self._clusters
        update = ConnectionsUpdate(
            {name: each for name, each in now.items() if name not in before},
            {name: each for name, each in now.items() if name in before and before[name] != each},
            tuple(name for name in before if name not in now),
            tuple(each for each in self._findings if each not in said),
            tuple(each for each in said if each not in self._findings),
        )
        return update if any(attrs.astuple(update, recurse=False)) else None

    def _names(self) -> list[str]:
        """Of all that could be a connection."""
        own = {self._own} if self._own else set()
        names = {entry.name for entry in self.path.iterdir() if not entry.is_dir()}
        return sorted(name for name in names - own if not name.startswith("."))

    def _look(self, names: list[str]) -> None:
        clusters: dict[str, EtcdConnection] = {}
        findings: list[Finding] = []
        for name in names:
            file = read_connection(self.path / name)
            known = self._clusters.get(name)
            wrong = _name_problem(name)
            if known is None and (not file.counts or (wrong is not None and file.connection is None)):
                continue
            subject = str(self.path / name)
            if wrong is not None:
                findings.append(finding("connection-name-invalid", subject, wrong))
                continue
            if (connection := file.connection or known) is not None:
                clusters[name] = connection
            kept = f"; {_KEPT}" if file.connection is None and known is not None else ""
            if not file.counts:
                findings.append(
                    finding("connection-without-endpoints", subject, f"it has no endpoints any more{kept}")
                )
            findings += (
                finding(each.code, subject, each.message + ("" if each.in_force else kept))
                for each in file.flaws
            )
        self._clusters, self._findings = clusters, tuple(findings)


def _name_problem(name: str) -> str | None:
    try:
        check_name(name, ())
    except InvalidClusterNameError as error:
        return str(error)
    return None

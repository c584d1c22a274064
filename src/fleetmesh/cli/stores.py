"""
The options that say which stores a mesh runs on, and who of it belongs to this process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
import click

from fleetmesh.errors import NotFoundError

if TYPE_CHECKING:
    from fleetmesh.state.connection_file import EtcdConnection
    from fleetmesh.state.connections import DirectoryOfClusters
    from fleetmesh.state.store import Store

PASSWORD = "FLEETMESH_ETCD_PASSWORD"  # noqa: S105 - where it is, not what it is
"""The variable of the environment that has the password: others may read a command line."""

_FILE = click.Path(exists=True, dir_okay=False, readable=True)
_FOLDER = click.Path(exists=True, file_okay=False, readable=True, path_type=Path)


@attrs.frozen(kw_only=True)
class Stores:
    """
    What the options say.

    Attributes:
        shared: The etcd of all members.
        single: Member -> its own etcd.
        only: The members that this process runs; `None` where nothing is said.
        directory: Of Cilium's connection files.
    """

    shared: EtcdConnection | None = None
    single: Mapping[str, EtcdConnection] = MappingProxyType({})
    only: frozenset[str] | None = None
    directory: Path | None = None

    @property
    def given(self) -> bool:
        """Whether there are any, or could be: otherwise the mesh is one process's."""
        return self.shared is not None or bool(self.single) or self.directory is not None

    def follow_directory(self) -> DirectoryOfClusters | None:
        """
        The connection files, read for the first time.

        Raises:
            OSError: The folder can't be listed.
        """
        if self.directory is None:
            return None
        from fleetmesh.state.connections import DirectoryOfClusters  # noqa: PLC0415 - only where it is asked for

        return DirectoryOfClusters(self.directory)

    def check(self, names: Collection[str], own: Collection[str], files: Collection[str] = ()) -> None:
        """
        Whether all members are somewhere.

        Args:
            names: Of all that the mesh could have.
            own: Those that this process runs.
            files: Clusters that have a connection file.

        Raises:
            click.BadParameter, click.UsageError: A name is none of a member, or a member has no store.
        """
        for name in self.single:
            if name not in names:
                raise click.BadParameter(str(NotFoundError("member", name, names)), param_hint="'--store'")
        somewhere = {*own, *files, *self.single}
        lacking = [name for name in names if name not in somewhere]
        if lacking and self.shared is None:
            raise click.UsageError(f"another process runs {', '.join(lacking)}: say where with --store")
        if files and all(name in own for name in files):
            raise click.UsageError(
                f"this process runs every cluster of {self.directory}; --only MEMBER says which are its own"
            )


def open_store(connection: EtcdConnection) -> Store:
    """
    A client of an etcd; the one place where the command line makes one.

    Raises:
        click.ClickException: What it needs is not installed.
    """
    try:
        return connection.store()
    except ImportError as error:
        raise click.ClickException(str(error)) from None


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    `--store`, `--only`, `--clustermesh-config`, `--ca`, `--cert`, `--key`, `--user`: one argument, `stores`.
    """

    @wraps(function)
    def collected(
        *arguments: Any,
        store: tuple[str, ...],
        only: tuple[str, ...],
        clustermesh_config: Path | None,
        ca: str | None,
        cert: str | None,
        key: str | None,
        user: str | None,
        **others: Any,
    ) -> Any:
        found = read(
            store,
            only=only,
            directory=clustermesh_config,
            ca=ca or "",
            cert=cert or "",
            key=key or "",
            user=user,
        )
        return function(*arguments, stores=found, **others)

    for option in reversed(_OPTIONS):
        collected = option(collected)
    return collected


def read(
    texts: Sequence[str],
    *,
    only: Iterable[str] = (),
    directory: Path | None = None,
    ca: str = "",
    cert: str = "",
    key: str = "",
    user: str | None = None,
) -> Stores:
    """
    The options as they were given.

    Raises:
        click.UsageError: They contradict each other, or a URL is none.
    """
    shared: list[tuple[str, ...]] = []
    single: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, urls = text.partition("=")
        if not equals or "://" in name:
            shared.append(_endpoints(text))
        elif name in single:
            raise _wrong(f"{name!r} has two stores; separate the servers of one with commas")
        else:
            single[name] = _endpoints(urls)
    if len(shared) > 1:
        raise _wrong("URL is given twice; separate the servers of one store with commas")
    if shared and single:
        raise _wrong("write either one URL, for a store of all members, or MEMBER=URL for each")
    if shared and directory is not None:
        raise _wrong("beside --clustermesh-config each member has a store of its own: write MEMBER=URL")
    connect = _Connecting(ca=ca, cert=cert, key=key, user=user)
    if texts or ca or cert or key or user is not None:
        connect.check([*shared, *single.values()])
    return Stores(
        shared=connect(shared[0]) if shared else None,
        single=MappingProxyType({name: connect(urls) for name, urls in single.items()}),
        only=frozenset(only) or None,
        directory=directory,
    )


@attrs.frozen(kw_only=True)
class _Connecting:
    """As whom, and trusting whom."""

    ca: str
    cert: str
    key: str
    user: str | None
    password: str = attrs.field(factory=lambda: os.environ.get(PASSWORD, ""), repr=False)

    def check(self, stores: Sequence[tuple[str, ...]]) -> None:
        from fleetmesh.state.etcd.endpoints import Security  # noqa: PLC0415 - only with stores

        files = [f"--{name}" for name in ("ca", "cert", "key") if getattr(self, name)]
        if files and not any(urls[0].startswith("https:") for urls in stores):
            raise click.UsageError(f"{' and '.join(files)} go with stores of https://, and there is none")
        try:
            Security(tls=True, ca=self.ca or None, cert=self.cert or None, key=self.key or None).read()
        except ValueError:
            raise click.UsageError("--cert and --key go together") from None
        if self.user is not None and not stores:
            raise click.UsageError("--user goes with --store, and there is none")
        if self.user is not None and not self.password:
            raise click.UsageError(f"--user needs a password, in the variable {PASSWORD} of the environment")

    def __call__(self, urls: tuple[str, ...]) -> EtcdConnection:
        from fleetmesh.state.connection_file import EtcdConnection  # noqa: PLC0415 - only with stores

        encrypted = urls[0].startswith("https:")
        return EtcdConnection(
            endpoints=urls,
            ca=self.ca if encrypted else "",
            cert=self.cert if encrypted else "",
            key=self.key if encrypted else "",
            username=self.user or "",
            password=self.password if self.user else "",
        )


def _endpoints(text: str) -> tuple[str, ...]:
    from fleetmesh.state.etcd.endpoints import read_endpoints  # noqa: PLC0415 - only with stores

    urls = tuple(each.strip() for each in text.split(","))
    try:
        read_endpoints(urls)
    except ValueError as error:
        raise _wrong(str(error)) from None
    return urls


def _wrong(message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint="'--store'")


_OPTIONS = (
    click.option(
        "--store",
        multiple=True,
        metavar="[MEMBER=]URL",
        help="An etcd, as http://HOST:PORT or https://HOST:PORT, several servers with commas: one for all "
        "members, or MEMBER=URL for each. May be repeated.",
    ),
    click.option(
        "--only",
        multiple=True,
        metavar="MEMBER",
        help="What this process runs of the mesh; the others are heard through stores. May be repeated.",
    ),
    click.option(
        "--clustermesh-config",
        type=_FOLDER,
        metavar="DIR",
        help="Cilium's connection files, one a cluster and named as it; they are followed.",
    ),
    click.option("--ca", type=_FILE, metavar="FILE", help="Who signed the certificates of --store https://…"),
    click.option("--cert", type=_FILE, metavar="FILE", help="The certificate shown to them, with --key."),
    click.option("--key", type=_FILE, metavar="FILE", help="The key of --cert."),
    click.option("--user", metavar="NAME", help=f"A user of --store; the password is in ${PASSWORD}."),
)

"""
The options that say which stores a mesh runs on: what contradicts itself is one line and code 2.
"""

from __future__ import annotations

from pathlib import Path

import click
import pytest
import trustme

from command_line import SHOP, run
from fleetmesh.cli.stores import PASSWORD, read

URL = "http://127.0.0.1:1"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    authority = trustme.CA()
    leaf = authority.issue_cert("remote")
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "key"))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "east").write_text(f"endpoints: [{URL}]\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("up",), "Missing argument 'PATH'"),
        (("status",), "Missing argument 'PATH'"),
        (("up", "--store", URL), "Missing argument 'PATH'"),
        (("up", SHOP, "--store", "127.0.0.1:2379"), "write http://HOST:PORT, or https://HOST:PORT for TLS"),
        (("up", SHOP, "--store", "east=127.0.0.1:2379"), "endpoint '127.0.0.1:2379': write http://HOST:PORT"),
        (("up", SHOP, "--store", "http://127.0.0.1:99999"), "Port out of range"),
        (("up", SHOP, "--store", "east="), "endpoint '': write http://HOST:PORT"),
        (("up", SHOP, "--store", f"{URL},"), "endpoint '': write http://HOST:PORT"),
        (("up", SHOP, "--store", f"{URL},{URL}"), "stands twice"),
        (("up", SHOP, "--store", f"{URL},https://127.0.0.1:2"), "all servers of a store are one kind"),
        (("up", SHOP, "--store", "http://me:secret@127.0.0.1:1"), "user and password are arguments"),
        (("up", SHOP, "--store", URL, "--store", URL), "separate the servers of one store with commas"),
        (("up", SHOP, "--store", URL, "--store", f"east={URL}"), "write either one URL"),
        (("up", SHOP, "--store", f"east={URL}", "--store", f"east={URL}"), "'east' has two stores"),
        (("up", SHOP, "--store", f"est={URL}"), "there is no member 'est'; did you mean west, east"),
        (("up", SHOP, "--store", URL, "--only", "est"), "there is no member 'est'; did you mean west, east"),
        (("status", SHOP, "--only", "east"), "another process runs west, north: say where with --store"),
        (("up", SHOP, "--only", "east"), "another process runs west, north: say where with --store"),
        (("up", SHOP, "--only", "east", "--store", f"west={URL}"), "another process runs north: say where"),
        (("status", SHOP, "--store", f"east={URL}"), "another process runs west, north: say where"),
        (("status", SHOP, "--store", f"est={URL}"), "there is no member 'est'; did you mean west, east"),
        (
            ("up", SHOP, "--store", URL, "--ca", "FILES/ca"),
            "--ca go with stores of https://, and there is none",
        ),
        (
            ("up", SHOP, "--cert", "FILES/cert", "--key", "FILES/key"),
            "--cert and --key go with stores of https",
        ),
        (
            ("up", SHOP, "--store", "https://127.0.0.1:1", "--cert", "FILES/cert"),
            "--cert and --key go together",
        ),
        (("up", SHOP, "--store", "https://127.0.0.1:1", "--ca", "FILES/none"), "does not exist"),
        (("up", SHOP, "--user", "me"), "--user goes with --store, and there is none"),
        (("up", SHOP, "--store", URL, "--user", "me"), f"in the variable {PASSWORD} of the environment"),
        (("up", SHOP, "--clustermesh-config", "FILES/none"), "does not exist"),
        (("up", SHOP, "--clustermesh-config", "FILES/config", "--store", URL), "write MEMBER=URL"),
        (
            ("up", SHOP, "--clustermesh-config", "FILES/config"),
            "this process runs every cluster of FILES/config",
        ),
        (("up", "--clustermesh-config", "FILES/config", "--only", "east"), "--only name members of PATH"),
        (
            ("status", "--clustermesh-config", "FILES/config", "--store", f"west={URL}"),
            "--store name members of PATH, which is missing",
        ),
        (("doctor",), "nothing to look at: give --store or --clustermesh-config"),
        (("doctor", SHOP), "nothing to look at: give --store or --clustermesh-config"),
        (("doctor", SHOP, "--store", f"est={URL}"), "there is no member 'est'; did you mean west, east"),
        (("doctor", "--store", URL, "--only", "east"), "--only names members of PATH, which is missing"),
        (("up", SHOP, "--store", URL, "--timeout", "-1"), "-1.0 is not in the range x>=0"),
    ],
    ids=lambda value: " ".join(value).replace(SHOP, "DIR") if isinstance(value, tuple) else "",
)
def test_wrong_use_is_one_line_and_code_2(
    arguments: tuple[str, ...], said: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)

    result = run(*(each.replace("FILES", str(files)) for each in arguments))

    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("fleetmesh: ")
    assert result.stderr.count("\n") == 1
    assert said.replace("FILES", str(files)) in result.stderr
    assert "secret" not in result.stderr


def test_one_url_is_a_store_of_all_members_and_several_servers_are_one_store() -> None:
    found = read([f"{URL}, http://127.0.0.1:2"])

    assert found.shared is not None
    assert found.shared.endpoints == (URL, "http://127.0.0.1:2")
    assert (dict(found.single), found.only, found.directory) == ({}, None, None)


def test_members_may_have_stores_of_their_own_and_only_who_needs_files_gets_them(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, "secret")
    ca, cert, key = (str(files / name) for name in ("ca", "cert", "key"))

    found = read(
        [f"east={URL}", "west=https://127.0.0.1:2"], only=["east"], user="me", ca=ca, cert=cert, key=key
    )

    east, west = found.single["east"], found.single["west"]
    assert (east.ca, east.cert, east.key) == ("", "", "")
    assert (west.ca, west.cert, west.key) == (ca, cert, key)
    assert (west.username, west.password) == ("me", "secret")
    assert "secret" not in repr(found)
    assert found.only == frozenset(["east"])


def test_nothing_given_is_no_store() -> None:
    assert not read([]).given
    assert not read([], only=["east"]).given


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(self: object) -> None:
        raise ImportError("EtcdStore needs more packages: pip install 'fleetmesh[etcd]'")

    monkeypatch.setattr("fleetmesh.state.connection_file.EtcdConnection.store", without)

    result = run("status", SHOP, "--store", URL)

    assert (result.exit_code, result.stderr) == (
        2,
        "fleetmesh: EtcdStore needs more packages: pip install 'fleetmesh[etcd]'\n",
    )


@pytest.mark.parametrize("command", ["up", "status", "doctor"])
def test_the_password_is_no_option(command: str) -> None:
    assert "--password" not in run(command, "--help").stdout
    with pytest.raises(click.UsageError, match=PASSWORD):
        read([URL], user="me")

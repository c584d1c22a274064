"""Cilium's clustermesh-config directory is read and followed; what is broken changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleetmesh.state.connection_file import MOST_BYTES, EtcdConnection, read_connection
from fleetmesh.state.connections import ConnectionsUpdate, DirectoryOfClusters, read_directory

PLAIN = "endpoints:\n- http://10.0.0.1:2379\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def pem(path: Path, text: str = "one") -> Path:
    path.write_text(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    return path


def read(root: Path, text: str) -> tuple[EtcdConnection | None, list[tuple[str, str]]]:
    """What one file says, and what is wrong with it."""
    write(root, {"west": text})
    found = read_directory(root)
    return found.clusters.get("west"), [(each.code, each.message) for each in found.findings]


def connection(root: Path, text: str) -> EtcdConnection:
    found, wrong = read(root, text)
    assert found is not None
    assert wrong == []
    return found


def problem(root: Path, text: str) -> tuple[str, str]:
    """The one thing that is wrong with a file."""
    found, ((code, message),) = read(root, text)
    assert found is None
    return code, message


# One file


def test_a_file_says_how_etcd_is_reached(tmp_path: Path) -> None:
    ca, cert, key = (pem(tmp_path / name) for name in ("ca.crt", "tls.crt", "tls.key"))
    text = f"""
trusted-ca-file: {ca}
cert-file: {cert}
key-file: {key}
endpoints:
- https://west.mesh.cilium.io:2379
- https://10.0.0.2:2379
username: remote
password: secret
"""
    found = connection(tmp_path, text)

    assert found.endpoints == ("https://west.mesh.cilium.io:2379", "https://10.0.0.2:2379")
    assert (found.ca, found.cert, found.key) == (str(ca), str(cert), str(key))
    assert (found.username, found.password) == ("remote", "secret")
    assert "secret" not in repr(found)
    assert "secret" not in repr(read_connection(tmp_path / "west"))


def test_an_endpoint_without_scheme_is_encrypted_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    assert connection(tmp_path, "endpoints: [10.0.0.1:2379]").endpoints == ("https://10.0.0.1:2379",)
    plain = connection(tmp_path, "endpoints: [10.0.0.1:2379]\ninsecure-transport: true")
    assert plain.endpoints == ("http://10.0.0.1:2379",)


def test_an_insecure_transport_needs_no_certificates(tmp_path: Path) -> None:
    text = "endpoints: [10.0.0.1:2379]\ninsecure-transport: true\ntrusted-ca-file: /nowhere"
    assert connection(tmp_path, text).ca == ""


def test_names_of_fields_are_read_in_any_letters_and_servers_once(tmp_path: Path) -> None:
    text = "endpoints:\n- http://a:1\n- http://a:1\n- http://[fd00::1]:2\nUserName: me\n"
    found = connection(tmp_path, text)
    assert found.endpoints == ("http://a:1", "http://[fd00::1]:2")
    assert found.username == "me"


def test_what_etcd_knows_and_has_no_effect_here_is_nothing_to_tell(tmp_path: Path) -> None:
    connection(tmp_path, PLAIN + "dial-timeout: 5000000000\nreject-old-cluster: true\nca-file: /x\n")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("colour: red\n", "the field 'colour' is not known; it has no effect"),
        ("cert-file: /a\n", "cert-file and key-file have an effect only together"),
        (
            "insecure-skip-tls-verify: true\n",
            "insecure-skip-tls-verify has no effect: the servers' certificates are verified",
        ),
    ],
)
def test_a_field_without_effect_is_told_and_the_rest_is_in_force(
    tmp_path: Path, extra: str, message: str
) -> None:
    found, wrong = read(tmp_path, PLAIN + extra)

    assert found is not None
    assert found.endpoints == ("http://10.0.0.1:2379",)
    assert wrong == [("connection-field-ignored", message)]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("endpoints: []", "connection-without-endpoints", "endpoints names no server"),
        ("endpoints:", "connection-without-endpoints", "endpoints names no server"),
        ("# endpoints:\nusername: x", "connection-without-endpoints", "endpoints names no server"),
        ("- endpoints:", "connection-file-problem", "it is no mapping of fields"),
        ("# endpoints:", "connection-file-problem", "it is no mapping of fields"),
        ("endpoints: http://a:1", "connection-file-problem", "endpoints has to be a list of texts"),
        ("endpoints: [1]", "connection-file-problem", "endpoints has to be a list of texts"),
        ("endpoints: [http://a:1]\nusername: 5", "connection-file-problem", "username has to be a text"),
        ("endpoints: [http://a:1]\npassword: [s3]", "connection-file-problem", "password has to be a text"),
        (
            "endpoints: [http://a:1]\ninsecure-transport: maybe",
            "connection-file-problem",
            "insecure-transport has to be true or false",
        ),
        (
            "endpoints: [http://a:1, https://b:1]",
            "connection-file-problem",
            "endpoints has http:// and https:// mixed; all servers of a store are one kind",
        ),
        (
            "endpoints: ['ftp://a:1']",
            "connection-file-problem",
            "the endpoint 'ftp://a:1' is no http://HOST:PORT and no https://HOST:PORT",
        ),
        (
            "endpoints: ['http://me:s3cret@a:1']",
            "connection-file-problem",
            "the endpoint 'a:1' is no http://HOST:PORT and no https://HOST:PORT",
        ),
        (
            "endpoints: ['http://a:x']",
            "connection-file-problem",
            "the endpoint 'http://a:x' is no http://HOST:PORT and no https://HOST:PORT",
        ),
        (
            PLAIN + "cilium-host-aliases: {}",
            "connection-file-problem",
            "cilium-host-aliases has to be a list",
        ),
        (
            PLAIN + "cilium-host-aliases: [{ips: [10.0.0.1]}]",
            "connection-file-problem",
            "an entry of cilium-host-aliases has no hostname",
        ),
        (
            PLAIN + "cilium-host-aliases: [{hostname: a, ips: []}]",
            "connection-file-problem",
            "cilium-host-aliases: the ips of 'a' are no list of addresses",
        ),
        (
            PLAIN + "cilium-host-aliases: [{hostname: a, ips: [x]}]",
            "connection-file-problem",
            "cilium-host-aliases: the ips of 'a' are no list of addresses",
        ),
        (
            PLAIN + "cilium-host-aliases: [{hostname: a, ips: [10.0.0.1]}, {hostname: a, ips: [10.0.0.1]}]",
            "connection-file-problem",
            "cilium-host-aliases has 'a' twice",
        ),
    ],
)
def test_a_file_that_is_not_understood_is_refused_by_name(
    tmp_path: Path, text: str, code: str, message: str
) -> None:
    assert problem(tmp_path, text) == (code, message)


def test_broken_yaml_names_its_line(tmp_path: Path) -> None:
    code, message = problem(tmp_path, "endpoints:\n- [http://a:1\nx: }\n")
    assert code == "connection-file-problem"
    assert message.startswith("line 3: broken YAML")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "west").write_bytes(b"endpoints: [\xff]")
    (told,) = read_directory(tmp_path).findings
    assert told.message == "it is no UTF-8 at byte 12"


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    assert problem(tmp_path, PLAIN + "#" * MOST_BYTES) == (
        "connection-file-problem",
        f"it is larger than {MOST_BYTES} bytes",
    )


def test_certificates_that_are_not_there_or_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    text = f"endpoints: [https://a:1]\ntrusted-ca-file: {tmp_path}/none.crt\n"
    text += f"cert-file: {tmp_path}/empty.pem\nkey-file: {pem(tmp_path / 'key.pem')}\n"

    found, wrong = read(tmp_path, text)

    assert found is None
    assert wrong == [
        ("connection-credentials-missing", f"{tmp_path}/none.crt can't be read: no such file or directory"),
        ("connection-credentials-missing", f"{tmp_path}/empty.pem is no PEM file"),
    ]


# The client


def test_host_aliases_replace_the_dns_and_keep_the_name_of_the_certificate(tmp_path: Path) -> None:
    text = """
endpoints: [https://west.mesh.cilium.io:2379]
cilium-host-aliases:
- hostname: west.mesh.cilium.io
  ips: [10.0.0.1, fd00::1]
"""
    found = connection(tmp_path, text)

    assert found.host_aliases == {"west.mesh.cilium.io": ("10.0.0.1", "fd00::1")}
    assert found.servers() == (("https://10.0.0.1:2379", "https://[fd00::1]:2379"), "west.mesh.cilium.io")
    assert "10.0.0.1:2379" in repr(found.store())


def test_host_aliases_of_some_servers_in_the_clear_leave_the_others(tmp_path: Path) -> None:
    text = """
endpoints: [http://a:1, http://b]
cilium-host-aliases:
- hostname: b
  ips: [10.0.0.1]
"""
    assert connection(tmp_path, text).servers() == (("http://a:1", "http://10.0.0.1"), "")


def test_host_aliases_of_several_names_of_certificates_are_told_to_have_no_effect(tmp_path: Path) -> None:
    text = """
endpoints: [https://a:1, https://b:1]
cilium-host-aliases:
- hostname: b
  ips: [10.0.0.1]
"""
    found, ((code, message),) = read(tmp_path, text)
    assert found is not None
    assert found.servers() == (("https://a:1", "https://b:1"), "")
    assert code == "connection-field-ignored"
    assert message == "cilium-host-aliases has no effect where several hosts are reached by TLS"


def test_certificates_of_servers_in_the_clear_are_not_used(tmp_path: Path) -> None:
    text = f"{PLAIN}trusted-ca-file: {pem(tmp_path / 'ca.crt')}\nusername: me\npassword: s3cret\n"
    store = connection(tmp_path, text).store()
    assert repr(store) == "EtcdStore(endpoints=['http://10.0.0.1:2379'])"


# The directory


def test_only_files_that_name_endpoints_count(tmp_path: Path) -> None:
    files = {
        "west": PLAIN,
        "north": PLAIN,
        ".hidden": PLAIN,
        "common-etcd-client-ca.crt": "-----BEGIN CERTIFICATE-----",
        "folder/east": PLAIN,
    }
    found = read_directory(write(tmp_path, files))

    assert list(found.clusters) == ["north", "west"]
    assert found.findings == ()


def test_the_file_of_the_own_cluster_is_passed_over(tmp_path: Path) -> None:
    root = write(tmp_path, {"west": PLAIN, "east": PLAIN})
    assert list(read_directory(root, own="east").clusters) == ["west"]


@pytest.mark.parametrize("name", ["West", "default", "a" * 33, "west.yaml", "-west"])
def test_a_name_that_is_no_clusters_is_told(tmp_path: Path, name: str) -> None:
    found = read_directory(write(tmp_path, {name: PLAIN}))

    assert found.clusters == {}
    (told,) = found.findings
    assert (told.code, told.subject) == ("connection-name-invalid", str(tmp_path / name))


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_directory(tmp_path / "none")


# Following


def poll(directory: DirectoryOfClusters) -> ConnectionsUpdate:
    update = directory.poll()
    assert update is not None
    return update


def test_clusters_come_change_and_go_with_their_files(tmp_path: Path) -> None:
    directory = DirectoryOfClusters(write(tmp_path, {"west": PLAIN}))
    assert directory.poll() is None

    write(tmp_path, {"north": PLAIN})
    assert list(poll(directory).added) == ["north"]

    write(tmp_path, {"west": PLAIN.replace("10.0.0.1", "10.0.0.2")})
    update = poll(directory)
    assert update.changed["west"].endpoints == ("http://10.0.0.2:2379",)
    assert (update.added, update.removed) == ({}, ())

    (tmp_path / "north").unlink()
    assert poll(directory).removed == ("north",)
    assert list(directory.connections.clusters) == ["west"]
    assert directory.poll() is None


def test_a_file_that_is_touched_or_rewritten_the_same_is_no_change(tmp_path: Path) -> None:
    directory = DirectoryOfClusters(write(tmp_path, {"west": PLAIN}))
    write(tmp_path, {"west": PLAIN})
    os.utime(tmp_path / "west", (1, 1))
    assert directory.poll() is None


def test_a_file_that_breaks_leaves_in_force_what_it_said(tmp_path: Path) -> None:
    directory = DirectoryOfClusters(write(tmp_path, {"west": PLAIN}))
    for text, code in {
        "endpoints: [": "connection-file-problem",
        "endpoints: []": "connection-without-endpoints",
        "": "connection-without-endpoints",
        "endpoints: [https://a:1]\ntrusted-ca-file: /nowhere/ca.crt": "connection-credentials-missing",
    }.items():
        write(tmp_path, {"west": text})
        update = poll(directory)
        assert (update.added, update.changed, update.removed) == ({}, {}, ()), text
        (told,) = update.new_findings
        assert told.code == code
        assert told.message.endswith("; what it said before is in force")
        assert directory.connections.clusters["west"].endpoints == ("http://10.0.0.1:2379",)

    write(tmp_path, {"west": PLAIN})
    update = poll(directory)
    assert [each.code for each in update.settled] == ["connection-credentials-missing"]
    assert directory.poll() is None


def test_a_file_that_can_not_be_read_leaves_in_force_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = DirectoryOfClusters(write(tmp_path, {"west": PLAIN}))
    opened = Path.open

    def forbidden(path: Path, _mode: str) -> object:
        if path.name == "west":
            raise PermissionError(13, "Permission denied")
        return opened(path, "rb")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", forbidden)
        (told,) = poll(directory).new_findings

    assert told.code == "connection-file-problem"
    assert told.message == "it can't be read: permission denied; what it said before is in force"
    assert list(directory.connections.clusters) == ["west"]
    assert poll(directory).settled == (told,)


def test_a_directory_that_vanishes_leaves_all_in_force(tmp_path: Path) -> None:
    directory = DirectoryOfClusters(write(tmp_path / "config", {"west": PLAIN}))
    (tmp_path / "config").rename(tmp_path / "away")

    update = poll(directory)

    assert update.removed == ()
    assert [each.code for each in update.new_findings] == ["connection-file-problem"]
    assert directory.poll() is None
    (tmp_path / "away").rename(tmp_path / "config")
    assert poll(directory).settled == update.new_findings


def test_certificates_that_are_renewed_are_a_change_and_missing_ones_are_looked_for_again(
    tmp_path: Path,
) -> None:
    ca = tmp_path / "ca.crt"
    text = f"endpoints: [https://a:1]\ntrusted-ca-file: {ca}\n"
    directory = DirectoryOfClusters(write(tmp_path, {"west": text}))
    assert directory.connections.clusters == {}

    pem(ca)
    assert list(poll(directory).added) == ["west"]
    pem(ca, "another")
    assert list(poll(directory).changed) == ["west"]


def test_a_mounted_secret_is_followed_through_its_links(tmp_path: Path) -> None:
    write(
        tmp_path, {"..1/west": PLAIN, "..2/west": PLAIN.replace("10.0.0.1", "10.0.0.2"), "..2/north": PLAIN}
    )
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "west").symlink_to("..data/west")
    directory = DirectoryOfClusters(tmp_path)
    assert list(directory.connections.clusters) == ["west"]

    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    (tmp_path / "north").symlink_to("..data/north")
    update = poll(directory)

    assert list(update.added) == ["north"]
    assert update.changed["west"].endpoints == ("http://10.0.0.2:2379",)
    assert directory.connections.findings == ()

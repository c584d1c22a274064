"""
What `EtcdStore` refuses before it connects, what it shows of itself, and what it needs installed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from fleetmesh.errors import (
    CompactedError,
    LeaseLostError,
    NoSpaceError,
    OtherStoreError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
)
from fleetmesh.state.etcd import EtcdStore
from fleetmesh.state.etcd.endpoints import read_endpoints
from fleetmesh.state.etcd.ranges import range_of
from fleetmesh.state.etcd.trouble import AnswerTooLargeError, meaning


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:2379", "127.0.0.1:2379"),
        ("https://etcd.example.com:443/", "etcd.example.com:443"),
        ("https://etcd.example.com", "etcd.example.com:2379"),
        ("http://[fd00::1]:2380", "[fd00::1]:2380"),
        ("http://[fd00::1]", "[fd00::1]:2379"),
    ],
)
def test_a_url_names_a_server(url: str, target: str) -> None:
    (endpoint,) = read_endpoints([url])
    assert endpoint.target == target
    assert endpoint.tls is url.startswith("https")


@pytest.mark.parametrize(
    ("urls", "says"),
    [
        ([], "no endpoints"),
        ("http://a:1", "a list of URLs"),
        (["etcd:2379"], "write http://HOST:PORT"),
        (["ftp://etcd:2379"], "write http://HOST:PORT"),
        (["unix:///run/etcd"], "write http://HOST:PORT"),
        (["http:etcd"], "write http://HOST:PORT"),
        (["http://"], "a host and a port"),
        (["http://:2379"], "a host and a port"),
        (["http://etcd:0"], "a host and a port"),
        (["http://etcd:65536"], "out of range"),
        (["http://etcd:port"], "port"),
        (["http://[::1"], "Invalid IPv6"),
        (["http://etcd:2379/v3"], "nothing may follow"),
        (["http://etcd:2379?a=b"], "nothing may follow"),
        (["http://etcd:2379#a"], "nothing may follow"),
        (["http://a:1", "https://b:1"], "mix http:// and https://"),
        (["http://a:2379", "http://a"], "stands twice"),
    ],
)
def test_what_is_no_list_of_servers_is_refused(urls: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        EtcdStore(urls)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    for url in (
        "https://root:hunter2@etcd:2379",
        "ftp://root:hunter2@etcd",
        "root:hunter2@etcd",
        "http://hunter2@[",
    ):
        with pytest.raises(ValueError, match="user and password are arguments") as caught:
            EtcdStore([url])
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("given", ["ca", "cert", "key", "server_name"])
def test_what_is_for_tls_is_refused_without(given: str) -> None:
    arguments: dict[str, Any] = {given: "x"}
    with pytest.raises(ValueError, match=f"{given} given, but the endpoints are http://"):
        EtcdStore(["http://a:1"], **arguments)


def test_half_of_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="needs cert and key"):
        EtcdStore(["https://a:1"], cert=b"x")
    with pytest.raises(ValueError, match="needs cert and key"):
        EtcdStore(["https://a:1"], key=b"x")
    with pytest.raises(ValueError, match="a user needs a password"):
        EtcdStore(["https://a:1"], user="reader")
    with pytest.raises(ValueError, match="a user needs a password"):
        EtcdStore(["https://a:1"], password="hunter2")


def test_a_file_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.pem"):
        EtcdStore(["https://a:1"], tmp_path / "missing.pem")


def test_secrets_are_not_shown() -> None:
    store = EtcdStore(
        ["https://a:1"], b"CA", b"CERT", b"hunter1", user="reader", password="hunter2", server_name="b"
    )
    assert repr(store) == "EtcdStore(endpoints=['https://a:1'])"
    connection = store._client._connection
    shown = f"{connection._security!r} {connection._security.read()!r} {connection._credentials!r}"
    assert "hunter" not in shown
    assert "CERT" not in shown


def test_the_class_can_be_named_without_grpc_and_says_what_to_install() -> None:
    script = """
import sys
from fleetmesh.state.etcd import EtcdStore
assert not {"grpc", "google.protobuf", "zstandard"} & set(sys.modules)
sys.modules["grpc"] = None  # as if it were not installed
try:
    EtcdStore(["http://a:1"])
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'fleetmesh[etcd]'" in done.stdout


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("a/", (b"a/", b"a0")),
        ("", (b"\0", b"\0")),
        ("\udcff", (b"\xff", b"\0")),
        ("a\udcff\udcff", (b"a\xff\xff", b"b")),
        ("é", (b"\xc3\xa9", b"\xc3\xaa")),
    ],
)
def test_a_prefix_is_a_range_of_keys(prefix: str, expected: tuple[bytes, bytes]) -> None:
    assert range_of(prefix) == expected


# What etcd says (api/v3rpc/rpctypes/error.go) and gRPC, and what it is.
MEANINGS = [
    (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses", StoreUnavailableError),
    (grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out", StoreUnavailableError),
    (grpc.StatusCode.UNAVAILABLE, "etcdserver: leader changed", StoreUnavailableError),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", StoreUnavailableError),
    (grpc.StatusCode.CANCELLED, "Received RST_STREAM with error code 8", StoreUnavailableError),
    (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2", StoreUnavailableError),
    (grpc.StatusCode.UNKNOWN, "Stream removed", StoreUnavailableError),
    (grpc.StatusCode.UNIMPLEMENTED, "unknown service etcdserverpb.KV", StoreUnavailableError),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests", StoreUnavailableError),
    (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", StoreDeniedError),
    (grpc.StatusCode.PERMISSION_DENIED, "something else", StoreDeniedError),
    (grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token", StoreDeniedError),
    (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty", StoreDeniedError),
    (grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: authentication is not enabled", StoreDeniedError),
    (
        grpc.StatusCode.INVALID_ARGUMENT,
        "etcdserver: authentication failed, invalid user ID or password",
        StoreDeniedError,
    ),
    (
        grpc.StatusCode.OUT_OF_RANGE,
        "etcdserver: mvcc: required revision has been compacted",
        CompactedError,
    ),
    (
        grpc.StatusCode.OUT_OF_RANGE,
        "etcdserver: mvcc: required revision is a future revision",
        OtherStoreError,
    ),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", NoSpaceError),
    (grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found", LeaseLostError),
    (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "CLIENT: Received message larger than max (5 vs. 4)",
        AnswerTooLargeError,
    ),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (5 vs. 4)", StoreError),
    (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large", StoreError),
    (grpc.StatusCode.DATA_LOSS, "etcdserver: corrupt cluster", StoreError),
]


@pytest.mark.parametrize(("code", "details", "kind"), MEANINGS, ids=lambda each: str(each)[:40])
def test_what_an_error_means(code: grpc.StatusCode, details: str, kind: type[StoreError]) -> None:
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details, None)
    found = meaning(error, "http://a:1", asked=7)
    assert type(found) is kind
    if not isinstance(found, CompactedError):
        assert "http://a:1" in str(found)
    if kind is StoreError:
        assert code.name in str(found)


def test_one_that_was_never_used_can_be_closed() -> None:
    async def run() -> None:
        store = EtcdStore(["http://a:1"])
        await store.aclose()
        with pytest.raises(StoreError, match="closed"):
            await store.get("a")

    asyncio.run(run())

"""
What certificates and files say, and what a server shows: compared with another reader of certificates.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from hypothesis import given
from hypothesis import strategies as st

from doubles.version_server import serving
from fleetmesh.state.connection_file import EtcdConnection
from fleetmesh.state.doctor.credentials import check_credentials
from fleetmesh.state.doctor.handshake import shown_by
from fleetmesh.state.doctor.x509 import read_certificate, read_name, read_pem

NOW = datetime(2026, 7, 1, tzinfo=UTC)
AUTHORITY = trustme.CA()
LEAF = AUTHORITY.issue_cert(
    "west.mesh.cilium.io",
    "*.mesh.cilium.io",
    "10.1.0.4",
    "fd00::4",
    common_name="örtlich, 1",
    organization_name='a "name"',
    not_before=NOW - timedelta(days=30),
    not_after=NOW + timedelta(days=60),
)


def der_of(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.decode())


@pytest.mark.parametrize(
    "pem", [LEAF.cert_chain_pems[0].bytes(), AUTHORITY.cert_pem.bytes()], ids=["leaf", "authority"]
)
def test_a_certificate_is_read_as_others_read_it(pem: bytes) -> None:
    expected = x509.load_pem_x509_certificate(pem)
    (found,) = read_pem(pem)

    assert found.subject == expected.subject.rfc4514_string()
    assert found.issuer == expected.issuer.rfc4514_string()
    assert int(found.serial.replace(":", ""), 16) == expected.serial_number
    assert (found.not_before, found.not_after) == (
        expected.not_valid_before_utc,
        expected.not_valid_after_utc,
    )
    extensions = {each.oid: each.value for each in expected.extensions}
    names = extensions.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    assert found.names == (() if names is None else tuple(str(each.value) for each in names))
    constraints = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
    assert found.authority == (constraints is not None and constraints.ca)
    key = extensions.get(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    assert found.subject_key == key.digest.hex(":")  # type: ignore[union-attr]
    signer = extensions.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    signed = None if signer is None else signer.key_identifier
    assert found.authority_key == ("" if signed is None else signed.hex(":"))


def test_a_distinguished_name_is_written_as_others_write_it() -> None:
    subject = x509.load_pem_x509_certificate(LEAF.cert_chain_pems[0].bytes()).subject

    assert read_name(subject.public_bytes()) == subject.rfc4514_string()


def test_a_file_without_certificates_is_refused() -> None:
    with pytest.raises(ValueError, match="it holds no certificate in PEM"):
        read_pem(b"-----BEGIN PRIVATE KEY-----\n")


@given(st.data())
def test_no_bytes_are_more_than_no_certificate(data: st.DataObject) -> None:
    good = der_of(LEAF.cert_chain_pems[0].bytes())
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] = data.draw(st.integers(0, 255))
    try:
        read_certificate(bytes(bad[: data.draw(st.integers(at, len(good)))]))
    except ValueError:
        return


# Files


@pytest.fixture
def files(tmp_path: Path) -> EtcdConnection:
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    LEAF.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    LEAF.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    return EtcdConnection(
        endpoints=("https://10.1.0.4:2379",),
        ca=str(tmp_path / "ca.pem"),
        cert=str(tmp_path / "cert.pem"),
        key=str(tmp_path / "key.pem"),
    )


def told(connection: EtcdConnection, now: datetime = NOW) -> dict[str, tuple[str, str]]:
    return {each.name: (each.outcome, each.seen) for each in check_credentials(connection, now)}


def with_file(connection: EtcdConnection, field: str, content: bytes) -> EtcdConnection:
    Path(getattr(connection, field)).write_bytes(content)
    return connection


def test_a_ca_and_a_certificate_with_its_key_are_good(
    files: EtcdConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The handshake within the process has the machine's time.
    monkeypatch.setattr("fleetmesh.state.doctor.credentials._refusal", lambda connection: "")

    assert told(files) == {
        "authorities": ("ok", "it can be read"),
        "client-certificate": ("ok", "it belongs to its key and is of the CA"),
    }


@pytest.mark.parametrize(
    ("now", "outcome", "seen"),
    [
        (NOW - timedelta(days=31), "error", "it is valid from 2026-06-01 00:00 UTC on"),
        (NOW + timedelta(days=47), "warning", "it runs out at 2026-08-30 00:00 UTC"),
        (NOW + timedelta(days=61), "error", "it ran out at 2026-08-30 00:00 UTC"),
    ],
)
def test_a_certificate_that_is_out_of_date_or_soon_will_be_is_told(
    files: EtcdConnection, now: datetime, outcome: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetmesh.state.doctor.credentials._refusal", lambda connection: "")

    assert told(files, now)["client-certificate"] == (outcome, seen)


def test_a_key_of_another_certificate_is_an_error(files: EtcdConnection) -> None:
    other = AUTHORITY.issue_cert("east")

    assert told(with_file(files, "key", other.private_key_pem.bytes()))["client-certificate"] == (
        "error",
        "it can't be used: key values mismatch",
    )


def test_a_certificate_of_another_ca_is_a_warning(tmp_path: Path, files: EtcdConnection) -> None:
    leaf = trustme.CA().issue_cert("east")
    with_file(files, "key", leaf.private_key_pem.bytes())

    outcome, seen = told(with_file(files, "cert", leaf.cert_chain_pems[0].bytes()))["client-certificate"]

    assert outcome == "warning"
    assert seen == "the CA does not vouch for it: unable to get local issuer certificate"


def test_a_certificate_that_the_ca_has_signed_is_vouched_for(files: EtcdConnection) -> None:
    leaf = AUTHORITY.issue_cert("east")
    with_file(files, "key", leaf.private_key_pem.bytes())

    found = told(with_file(files, "cert", leaf.cert_chain_pems[0].bytes()), datetime.now(UTC))

    assert found["client-certificate"] == ("ok", "it belongs to its key and is of the CA")


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"", "it can't be used: it holds no certificate in PEM"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "it can't be used: a value is cut off",
        ),
    ],
)
def test_a_ca_that_is_none_is_an_error(files: EtcdConnection, content: bytes, seen: str) -> None:
    assert told(with_file(files, "ca", content))["authorities"] == ("error", seen)


def test_what_is_not_given_is_told() -> None:
    found = told(EtcdConnection(endpoints=("https://10.1.0.4:2379",), username="remote"))

    assert found == {
        "authorities": ("warning", "none is given: those of this machine count"),
        "client-certificate": ("skipped", "none is given: servers that ask for one refuse the client"),
        "user": ("error", "it comes without a password"),
    }


def test_in_the_clear_only_the_user_matters() -> None:
    connection = EtcdConnection(endpoints=("http://10.1.0.4:2379",), username="remote", password="secret")

    assert told(connection) == {"user": ("ok", "it comes with a password")}


# Servers


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("asks", [False, True])
def test_a_server_shows_its_certificates_whoever_asks(version: ssl.TLSVersion, asks: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    LEAF.configure_cert(context)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        AUTHORITY.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    with serving(context) as port:
        shown = shown_by(("127.0.0.1", port), "nobody.example", 10)

    assert shown.chain[:1] == read_pem(LEAF.cert_chain_pems[0].bytes())
    if version is ssl.TLSVersion.TLSv1_2:
        assert shown.asks is asks
    else:
        assert shown.asks is None


def test_a_chain_is_shown_with_what_lies_between() -> None:
    between = AUTHORITY.create_child_ca()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    between.issue_cert("east").configure_cert(context)
    with serving(context) as port:
        shown = shown_by(("127.0.0.1", port), "nobody.example", 10)

    assert [each.authority for each in shown.chain] == [False, True]
    assert shown.chain[1] == read_pem(between.cert_pem.bytes())[0]


def long(content: bytes, size: int) -> bytes:
    """With its length before it."""
    return len(content).to_bytes(size, "big") + content


def greeting(*messages: tuple[int, bytes]) -> bytes:
    """What a server of TLS 1.2 says, in records of at most 100 bytes."""
    stream = b"".join(bytes([kind]) + long(content, 3) for kind, content in messages)
    return b"".join(b"\x16\x03\x03" + long(stream[at : at + 100], 2) for at in range(0, len(stream), 100))


def test_the_authorities_that_a_server_accepts_are_told() -> None:
    leaf = der_of(LEAF.cert_chain_pems[0].bytes())
    subject = x509.load_pem_x509_certificate(AUTHORITY.cert_pem.bytes()).subject
    accepted = long(b"\x01\x40", 1) + long(b"\x04\x03", 2) + long(long(subject.public_bytes(), 2), 2)
    with serving(answer=greeting((11, long(long(leaf, 3), 3)), (13, accepted), (14, b""))) as port:
        shown = shown_by(("127.0.0.1", port), "nobody.example", 10)

    assert shown.asks
    assert shown.acceptable == (subject.rfc4514_string(),)
    assert shown.chain == (read_certificate(leaf),)


@pytest.mark.parametrize(
    "message", [(11, b"\x00\x00\xff"), (11, long(long(b"no certificate", 3), 3)), (13, b"\xff")]
)
def test_a_greeting_that_is_cut_off_is_told(message: tuple[int, bytes]) -> None:
    good = (11, long(long(der_of(LEAF.cert_chain_pems[0].bytes()), 3), 3))
    with serving(answer=greeting(good, message)) as port, pytest.raises(ValueError, match=r"cut off|tag"):
        shown_by(("127.0.0.1", port), "nobody.example", 10)


def test_one_that_speaks_no_tls_is_told() -> None:
    with serving() as port, pytest.raises(OSError, match=r"(?i)wrong.version|eof|record"):
        shown_by(("127.0.0.1", port), "nobody.example", 10)

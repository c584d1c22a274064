"""
The registry of checks, and what one of them brought.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

import attrs

from fleetmesh.state.doctor.x509 import Certificate

Outcome = Literal["ok", "warning", "error", "skipped"]


@attrs.frozen
class CheckKind:
    """
    Attributes:
        name: Stable, of small letters and dashes.
        shows: What is so where it is `ok`.
        todo: What to do where it is not.
    """

    name: str
    shows: str
    todo: str


@attrs.frozen(kw_only=True)
class Check:
    """
    What one check brought.

    Attributes:
        name: Of its kind.
        subject: What was looked at: the URL of a server, `Cluster NAME`, or a file.
        outcome: `skipped` where something else keeps it from being seen, which `seen` says.
        seen: In a sentence.
        todo: What to do; "" where nothing has to be done.
        details: More of what was seen, a line each.
        certificates: That were seen.
    """

    name: str
    subject: str
    outcome: Outcome
    seen: str
    todo: str = ""
    details: tuple[str, ...] = ()
    certificates: tuple[Certificate, ...] = ()


_ALL = (
    CheckKind(
        "endpoint-name",
        "The host of a server has an address.",
        "Correct the host, or the DNS that this machine asks.",
    ),
    CheckKind(
        "endpoint-tcp",
        "A server takes connections.",
        "Check host and port, whether the server runs, and what stands between: firewalls, load balancers.",
    ),
    CheckKind(
        "endpoint-tls",
        "A server shows a certificate that is for its host and that the authorities vouch for.",
        "Give the CA that signed it, or a server certificate that is for this host and in date.",
    ),
    CheckKind(
        "endpoint-client-auth",
        "A server takes the client's certificate, or asks for none.",
        "Give a client certificate that one of the CAs that the server accepts has signed.",
    ),
    CheckKind(
        "endpoint-version",
        "A server tells which etcd it is.",
        "Check whether this is the port for clients of an etcd.",
    ),
    CheckKind(
        "endpoint-etcd",
        "A server answers as etcd does, to the user that was given, and has a leader and room.",
        "Do what the answer says; etcdctl endpoint status and alarm list tell more.",
    ),
    CheckKind(
        "authorities",
        "The CA that servers are checked with can be read and is in date.",
        "Give the CA that signed the servers' certificates, as PEM.",
    ),
    CheckKind(
        "client-certificate",
        "The client's certificate belongs to its key, is in date, and is the CA's.",
        "Renew the certificate, and give it with its own key.",
    ),
    CheckKind("user", "A user comes with a password.", "Give both, or neither."),
    CheckKind(
        "store-servers",
        "All servers are of one etcd cluster.",
        "Name the servers of one etcd only; behind a load balancer there must be one etcd.",
    ),
    CheckKind(
        "heartbeat",
        "Somebody has written the store's sign of life within the last two minutes.",
        "Check whether the clustermesh-apiserver (or fleetmesh) that owns the store is running.",
    ),
    CheckKind(
        "cluster-config",
        "The store says what the cluster is, in a form that Cilium's readers take.",
        "Check the cluster's name, and whether its clustermesh-apiserver (or fleetmesh) is running.",
    ),
    CheckKind(
        "records-complete",
        "Every kind of the cluster's records is marked as written in whole.",
        "Wait for whoever publishes the cluster; its log says what keeps it.",
    ),
    CheckKind(
        "records-readable",
        "The cluster's records may be read.",
        "Give the user the role that Cilium's `remote` users have (clustermesh-apiserver etcdinit).",
    ),
    CheckKind(
        "records-writable",
        "The cluster's records may be written.",
        "Give the user the role that Cilium's `admin-NAME` users have (clustermesh-apiserver etcdinit).",
    ),
)

KINDS: Mapping[str, CheckKind] = MappingProxyType({kind.name: kind for kind in _ALL})
"""Every kind of check by name, in the order in which they are made."""


def ok(name: str, subject: str, seen: str, **more: Iterable[str] | Iterable[Certificate]) -> Check:
    """It is as it should be."""
    return _check(name, subject, "ok", seen, more)


def warning(name: str, subject: str, seen: str, **more: Iterable[str] | Iterable[Certificate]) -> Check:
    """It may be as it should be."""
    return _check(name, subject, "warning", seen, more)


def error(name: str, subject: str, seen: str, **more: Iterable[str] | Iterable[Certificate]) -> Check:
    """It is not as it should be."""
    return _check(name, subject, "error", seen, more)


def skipped(name: str, subject: str, because: str) -> Check:
    """It can't be seen now."""
    return _check(name, subject, "skipped", because, {})


def _check(
    name: str,
    subject: str,
    outcome: Outcome,
    seen: str,
    more: Mapping[str, Iterable[str] | Iterable[Certificate]],
) -> Check:
    todo = KINDS[name].todo if outcome in {"warning", "error"} else ""
    made = {key: tuple(values) for key, values in more.items()}
    return Check(name=name, subject=subject, outcome=outcome, seen=seen, todo=todo, **made)  # type: ignore[arg-type]

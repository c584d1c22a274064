"""
Identities (Cilium pkg/kvstore/allocator, pkg/identity/key, pkg/identity/cache/allocator.go).
"""

from __future__ import annotations

from fleetmesh.errors import WireError
from fleetmesh.policy.labels import CLUSTER, K8S, RESERVED
from fleetmesh.records import IdentityRecord
from fleetmesh.state.codecs.exporter import Exporter
from fleetmesh.state.codecs.words import shown

_UNSPECIFIED = "unspec"


def encode(record: IdentityRecord) -> bytes:
    """The labels, each with a semicolon behind it."""
    return record.labels.encode("utf-8", "replace")


def decode(name: str, value: bytes, exporter: Exporter) -> IdentityRecord:
    """
    Labels are put in order where they are in none, and of two with one key the last counts, as in Cilium.

    Raises:
        WireError: The key is no number, or one of another cluster's identities; the labels don't name the
            cluster. Stricter than Cilium: a number with zeros in front.
    """
    if not (name.isascii() and name.isdigit()) or name != str(int(name[:20])):
        raise WireError("", f"the key ends in {shown(name)}, expected the number of an identity")
    number = int(name)
    if number not in exporter.identities:
        raise WireError("", f"{number} is none of cluster {exporter.cluster_id}'s, {exporter.of_identities}")
    if not value:
        raise WireError("", "no labels")
    text = value.decode("utf-8", "fleetmesh-go")
    labels: dict[str, tuple[str, str]] = {}
    named = False
    for each in text.split(";"):
        source, key, held = _parse(each)
        if not key:
            continue
        if key == CLUSTER:
            named = True
            if source != K8S:
                raise WireError(CLUSTER, f"is a label of source {shown(source)}, expected {K8S}")
            if held != exporter.cluster:
                raise WireError(CLUSTER, f"is {shown(held)}, expected {exporter.cluster!r}")
        labels[key] = source, held
    if not named:
        raise WireError(CLUSTER, "is no label of it")
    written = "".join(f"{labels[key][0]}:{key}={labels[key][1]};" for key in sorted(labels))
    return IdentityRecord(
        cluster=exporter.cluster, cluster_id=exporter.cluster_id, number=number, labels=written
    )


def _parse(text: str) -> tuple[str, str, str]:
    """Source, key and value of a label (pkg/labels, `ParseLabel`)."""
    if text.startswith("$"):
        source, rest = RESERVED, text[1:]
    else:
        source, colon, rest = text.partition(":")
        if not colon:
            source, rest = "", text
    key, _, value = rest.partition("=")
    if not key and source == RESERVED:
        key, value = value, ""
    return source or _UNSPECIFIED, key, value

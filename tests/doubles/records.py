"""Records of a small cluster, and the keys that a store has of them."""

from __future__ import annotations

from collections.abc import Iterable

from fleetmesh.records import IdentityRecord, IpRecord, NodeRecord, Record, ServiceRecord
from fleetmesh.state.codecs import encode
from fleetmesh.state.keys import key_of
from fleetmesh.state.store import Store


def address(number: int, *, cluster: str = "east", cluster_id: int = 1, identity: int = 70_000) -> IpRecord:
    """A pod's."""
    text = f"10.{cluster_id}.{number // 256}.{number % 256}"
    return IpRecord(cluster=cluster, cluster_id=cluster_id, address=text, host="10.0.0.1", identity=identity)


def identity(number: int, *, app: str = "cart", cluster: str = "east", cluster_id: int = 1) -> IdentityRecord:
    """The number is within the cluster."""
    labels = f"k8s:app={app};k8s:io.cilium.k8s.policy.cluster={cluster};"
    number += cluster_id << 16
    return IdentityRecord(cluster=cluster, cluster_id=cluster_id, number=number, labels=labels)


def node(name: str, *, cluster: str = "east", cluster_id: int = 1) -> NodeRecord:
    return NodeRecord(name=name, cluster=cluster, cluster_id=cluster_id)


def service(
    name: str, *, backends: Iterable[str] = (), cluster: str = "east", cluster_id: int = 1
) -> ServiceRecord:
    return ServiceRecord(
        cluster=cluster,
        cluster_id=cluster_id,
        namespace="shop",
        name=name,
        frontends={},
        backends={each: {"": ("TCP", 80)} for each in backends},
    )


def as_keys(records: Iterable[Record], *, cached: bool = False) -> dict[str, bytes]:
    """The slow double of a publisher: what the store is to have of records."""
    return {key_of(record, cached=cached): encode(record) for record in records}


async def content(store: Store, prefix: str = "cilium/") -> dict[str, bytes]:
    """What a store has."""
    return {entry.key: entry.value for entry in (await store.list(prefix)).entries}


async def records_in(store: Store, *, cached: bool = False) -> dict[str, bytes]:
    """What a store has of records."""
    return await content(store, "cilium/cache/" if cached else "cilium/state/")

"""
The pods of a member that another process runs: made of the records of their addresses when they are asked
for, as there can be half a million of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar, cast

import attrs

from fleetmesh.resources.model import ContainerPort, Pod, PodTemplate, Protocol

if TYPE_CHECKING:
    from fleetmesh.mesh.heard import Heard
    from fleetmesh.mesh.store import Name
    from fleetmesh.policy.labels import LabelSet
    from fleetmesh.records import IpRecord

V = TypeVar("V")

Records: TypeAlias = "tuple[IpRecord, ...]"
"""Of one pod, one for each address; the first says who it is."""


def name_of(record: IpRecord) -> Name:
    """Whose address it is; an address that is nobody's stands for itself."""
    return (record.namespace, record.pod or record.address)


def with_address(known: Records, address: str, record: IpRecord | None) -> Records:
    """
    What is known of a pod, with another record of one of its addresses, or none. IPv4 is first, as Kubernetes
    has it in most clusters. A peer may give a pod any number of addresses.
    """
    at = bisect_left(known, _place(address), key=lambda each: _place(each.address))
    after = at + (at < len(known) and known[at].address == address)
    return (*known[:at], *(() if record is None else (record,)), *known[after:])


def _place(address: str) -> tuple[bool, str]:
    return (":" in address, address)


@attrs.frozen(eq=False)
class HeardPods(Mapping[str, Mapping[str, V]], Generic[V]):
    """
    Namespace -> name -> what is asked for of a pod.

    Args:
        made: It, of the pod's records.
    """

    _heard: Heard
    _made: Callable[[Heard, Records], V]

    def group(self, namespace: str) -> Mapping[str, V]:
        """Of one namespace; empty where there is none. One that is known by name is found at once."""
        return _OfNamespace(self, namespace)

    def of(self, name: Name) -> V:
        """
        Of one pod.

        Raises:
            KeyError: There is none of that name.
        """
        return self._made(self._heard, self._heard.pods[name])

    @property
    def names(self) -> Mapping[str, Collection[str]]:
        """Of all."""
        return self._heard.pods_by_namespace

    def has(self, name: Name) -> bool:
        """Whether there is a pod of that name."""
        return name in self._heard.pods

    def __getitem__(self, namespace: str) -> Mapping[str, V]:
        if namespace not in self.names:
            raise KeyError(namespace)
        return self.group(namespace)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, HeardPods) and self._made is other._made:
            ours, theirs = self._heard, other._heard
            differing = (ours.pods.differing(theirs.pods), ours.identities.differing(theirs.identities))
            if not any(True for each in differing for _ in each):
                return True  # found without making any
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as of all mappings that change


@attrs.frozen(eq=False)
class _OfNamespace(Mapping[str, V]):
    _all: HeardPods[V]
    _namespace: str

    def __getitem__(self, name: str) -> V:
        return self._all.of((self._namespace, name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._all.has((self._namespace, name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._all.names.get(self._namespace, ()))

    def __len__(self) -> int:
        return len(self._all.names.get(self._namespace, ()))


def pods_of(heard: Heard) -> HeardPods[Pod]:
    """As objects."""
    return HeardPods(heard, _pod)


def labels_of_pods(heard: Heard) -> HeardPods[LabelSet]:
    """The labels of their identities."""
    return HeardPods(heard, _labels)


def _pod(_: Heard, records: Records) -> Pod:
    record = records[0]
    namespace, name = name_of(record)
    return Pod(
        namespace=namespace,
        name=name,
        template=_template(record.service_account, record.named_ports),
        addresses=tuple(each.address for each in records),
        host_address=record.host,
    )


def _labels(heard: Heard, records: Records) -> LabelSet:
    return heard.labels_of(records[0].identity)


@lru_cache(maxsize=4096)
def _template(account: str, ports: tuple[tuple[str, int, str], ...]) -> PodTemplate:
    named = (
        ContainerPort(name=name, container_port=port, protocol=cast("Protocol", protocol))
        for name, port, protocol in ports
    )
    return PodTemplate(service_account=account or "default", ports=tuple(named))

"""
Security labels: what identities are made of (Cilium pkg/labels, pkg/labelsfilter).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from operator import attrgetter

import attrs

from fleetmesh.identity_labels import is_identity_relevant
from fleetmesh.resources.model import ContainerPort, PodTemplate, Protocol

Network = IPv4Network | IPv6Network

ANY, K8S, RESERVED, CIDR, CIDR_GROUP, FQDN, GENERATED = (
    "any",
    "k8s",
    "reserved",
    "cidr",
    "cidrgroup",
    "fqdn",
    "generated",
)

SOURCES = (K8S, RESERVED, CIDR, CIDR_GROUP, FQDN, GENERATED)
"""Of the labels that identities have."""

NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels"
CLUSTER = "io.cilium.k8s.policy.cluster"
SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
NAMED_PORTS = "io.cilium.k8s.named-ports"
METADATA_NAME = "kubernetes.io/metadata.name"
_OWNED = "io.cilium.k8s"
_MOST_LABEL_VALUE = 63
_PROTOCOLS: Mapping[str, Protocol] = {"TCP": "TCP", "UDP": "UDP", "SCTP": "SCTP"}
_SERVICE_NAME = re.compile(r"([a-zA-Z0-9]-?)*[a-zA-Z](-?[a-zA-Z0-9])*")


_PARTS = attrgetter("source", "key", "value")
"""What labels are sorted by: as they are themselves, in a fraction of the time."""


@attrs.frozen(order=True)
class Label:
    """`source:key=value`."""

    source: str
    key: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.key}" + (f"={self.value}" if self.value else "")


@attrs.frozen(cache_hash=True)
class LabelKey:
    """A key as selectors have it; of source `any` it stands for the key of whatever source."""

    source: str
    key: str

    @classmethod
    def parse(cls, text: str, default_source: str = ANY) -> LabelKey:
        """`source:key`, or `key` alone; `$key` is a reserved one (pkg/labels NewSourceEncodedLabelKey)."""
        if text.startswith("$"):
            return cls(RESERVED, text[1:])
        source, colon, key = text.partition(":")
        return cls(source or default_source, key) if colon else cls(default_source, text)

    def __str__(self) -> str:
        return f"{self.source}:{self.key}"

    @cached_property
    def network(self) -> Network | None:
        """Of a key of source `cidr`."""
        return _network(self.key) if self.source == CIDR else None


@attrs.frozen(cache_hash=True)
class LabelSet:
    """The labels of an identity: one for each key, sorted."""

    labels: tuple[Label, ...]

    @classmethod
    def of(cls, labels: Iterable[Label]) -> LabelSet:
        """Of two with one key the last stays, whatever its source."""
        return cls(tuple(sorted({each.key: each for each in labels}.values(), key=_PARTS)))

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __str__(self) -> str:
        return ", ".join(map(str, self.labels))

    @cached_property
    def by_key(self) -> Mapping[str, Label]:
        return {each.key: each for each in self.labels}

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """Of the labels of source `cidr`."""
        found = (_network(each.key) for each in self.labels if each.source == CIDR)
        return tuple(each for each in found if each is not None)

    def lookup(self, key: LabelKey) -> str | None:
        """
        The value; `None` where there is no such label. A network is there where one within it is
        (pkg/labels Label.HasKey).
        """
        if key.network is not None:
            inside = any(is_within(each, key.network) for each in self.networks)
            return "" if inside else None
        found = self.by_key.get(key.key)
        if found is None or (key.source not in {ANY, found.source}):
            return None
        return found.value

    def has(self, source: str, key: str) -> bool:
        return self.lookup(LabelKey(source, key)) is not None


def reserved(name: str) -> Label:
    return Label(RESERVED, name)


def network_label(network: Network, *, dual_stack: bool) -> Label:
    """
    What a selector of that network looks for; of a whole family its world (pkg/labels IPStringToLabel).
    """
    return cidr_label(network) if network.prefixlen else world_label(network.version, dual_stack=dual_stack)


def cidr_label(network: Network) -> Label:
    """
    `cidr:10.0.0.0/8`; in IPv6 a dash stands for a colon, and no dash at either end.
    """
    address = str(network.network_address)
    if network.version == 6:
        address = ("0" if address.startswith(":") else "") + address + ("0" if address.endswith(":") else "")
        address = address.replace(":", "-")
    return Label(CIDR, f"{address}/{network.prefixlen}")


def world_label(version: int, *, dual_stack: bool) -> Label:
    """Without IPv6 all of IPv4 is plainly the world (pkg/labels getWorldLabel)."""
    if version == 6:
        return reserved("world-ipv6")
    return reserved("world-ipv4" if dual_stack else "world")


@attrs.frozen
class NamedPort:
    protocol: Protocol
    number: int


def named_ports(template: PodTemplate) -> Mapping[str, NamedPort]:
    """
    By name in lower case; of two with one name the last counts. What is no service name is none
    (pkg/types NamedPortMap), nor is a port of a sidecar (pkg/k8s NamedPortsIdentityLabels).
    """
    return _named_ports(template.ports)


@lru_cache(maxsize=4096)
def _named_ports(ports: tuple[ContainerPort, ...]) -> Mapping[str, NamedPort]:
    return {
        port.name.lower(): NamedPort(port.protocol, port.container_port)
        for port in ports
        if is_service_name(port.name) and not port.sidecar
    }


@lru_cache(maxsize=4096)
def ports_of(labels: LabelSet) -> Mapping[str, NamedPort]:
    """The named ports that an identity's labels tell, as they are part of it."""
    found = {}
    for label in labels:
        if label.source != GENERATED:
            continue
        for part in label.value.split("_"):
            name, protocol, number = part.split(".")
            found[name] = NamedPort(_PROTOCOLS[protocol], int(number))
    return found


def is_within(inner: Network, outer: Network) -> bool:
    """Whether all addresses of one network are the other's; networks of two families share none."""
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def overlap(one: Network, other: Network) -> bool:
    """Whether two networks share addresses."""
    return one.version == other.version and one.overlaps(other)


def is_service_name(text: str) -> bool:
    """RFC 6335, section 5.1 (pkg/iana)."""
    return len(text) <= 15 and _SERVICE_NAME.fullmatch(text) is not None


def pod_labels(
    template: PodTemplate, namespace: str, namespace_labels: Mapping[str, str], cluster: str
) -> LabelSet:
    """
    The labels of a pod's identity (pkg/k8s GetPodMetadata, NamedPortsIdentityLabels, labelsfilter.Filter).

    Args:
        namespace_labels: Those of its namespace, as far as manifests have them.
    """
    return _pod_labels(
        tuple(template.labels.items()),
        template.service_account,
        template.ports,
        namespace,
        tuple(namespace_labels.items()),
        cluster,
    )


@lru_cache(maxsize=4096)
def _pod_labels(
    labels: tuple[tuple[str, str], ...],
    account: str,
    ports: tuple[ContainerPort, ...],
    namespace: str,
    namespace_labels: tuple[tuple[str, str], ...],
    cluster: str,
) -> LabelSet:
    """The pods of a workload have one."""
    found = {key: value for key, value in labels if not key.startswith(_OWNED)}
    for key, value in (*namespace_labels, (METADATA_NAME, namespace)):
        found[f"{NAMESPACE_LABELS}.{key}"] = value
    found[NAMESPACE] = namespace
    found[SERVICE_ACCOUNT] = account
    found[CLUSTER] = cluster
    kept = (Label(K8S, key, value) for key, value in found.items() if is_identity_relevant(key))
    return LabelSet.of([*kept, *_named_port_labels(_named_ports(ports))])


def _named_port_labels(ports: Mapping[str, NamedPort]) -> Iterator[Label]:
    """As many labels as they need, since the value of each is bounded."""
    values: list[str] = []
    for name in sorted(ports):
        part = f"{name}.{ports[name].protocol}.{ports[name].number}"
        if values and len(values[-1]) + 1 + len(part) <= _MOST_LABEL_VALUE:
            values[-1] += f"_{part}"
        else:
            values.append(part)
    for number, value in enumerate(values):
        yield Label(GENERATED, NAMED_PORTS + (f"-{number}" if number else ""), value)


def _network(key: str) -> Network | None:
    try:
        return ip_network(key.replace("-", ":"))
    except ValueError:
        return None

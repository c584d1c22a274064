"""
What selects identities by their labels (Cilium pkg/policy/types selector.go, requirements.go).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal, TypeAlias

import attrs

from fleetmesh.policy.labels import (
    ANY,
    CIDR_GROUP,
    CLUSTER,
    FQDN,
    K8S,
    RESERVED,
    Label,
    LabelKey,
    LabelSet,
    Network,
    network_label,
)

Operator: TypeAlias = Literal["Equals", "In", "NotIn", "Exists", "DoesNotExist"]

WORLDS = ("world", "world-ipv4", "world-ipv6")
AGGREGATES = ("aggregate-cluster", "aggregate-cluster-mesh", "aggregate-world", "aggregate-remote-node")
_GROUP_NAME = "io.cilium.policy.cidrgroupname"
_GROUP_VALUE = "+"
_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}")


@attrs.frozen(cache_hash=True)
class Requirement:
    """One condition on one key."""

    key: LabelKey
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: LabelSet) -> bool:
        value = labels.lookup(self.key)
        match self.operator:
            case "Equals" | "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None

    def __str__(self) -> str:
        values = ", ".join(sorted(self.values))
        match self.operator:
            case "Equals":
                return f"{self.key}={values}" if values else str(self.key)
            case "In":
                return f"{self.key} in ({values})"
            case "NotIn":
                return f"{self.key} not in ({values})"
            case "Exists":
                return str(self.key)
            case "DoesNotExist":
                return f"!{self.key}"


@attrs.frozen(cache_hash=True)
class LabelSelector:
    """All of the requirements; with none it selects everything."""

    requirements: tuple[Requirement, ...] = ()

    @property
    def is_wildcard(self) -> bool:
        return not self.requirements

    def matches(self, labels: LabelSet) -> bool:
        return all(each.matches(labels) for each in self.requirements)

    def has_key(self, *keys: LabelKey) -> bool:
        return any(each.key in keys for each in self.requirements)

    def has_prefix(self, source: str, prefix: str = "") -> bool:
        """Whether a key of that source begins so."""
        return any(
            each.key.source == source and each.key.key.startswith(prefix) for each in self.requirements
        )

    @property
    def is_negative(self) -> bool:
        """Whether it says only what must not be, so that it selects what has no labels too."""
        return bool(self.requirements) and all(
            each.operator in {"NotIn", "DoesNotExist"} for each in self.requirements
        )

    def without_the_world(self) -> LabelSelector:
        """The same, of those only who have labels: neither the world nor what stands for many."""
        unlabelled = (*WORLDS, *AGGREGATES)
        more = (Requirement(LabelKey(RESERVED, name), "DoesNotExist") for name in unlabelled)
        return LabelSelector((*self.requirements, *more))

    def require(self, key: LabelKey, value: str) -> LabelSelector:
        """Also that label, instead of what `matchLabels` asked of that key."""
        kept = (each for each in self.requirements if (each.key, each.operator) != (key, "Equals"))
        return LabelSelector((*kept, equals(key, value)))

    def require_key(self, key: LabelKey) -> LabelSelector:
        return LabelSelector((*self.requirements, Requirement(key, "Exists")))

    def __str__(self) -> str:
        return ", ".join(map(str, self.requirements)) or "everything"


WILDCARD = LabelSelector()


@lru_cache(maxsize=1 << 16)
def equals(key: LabelKey, value: str) -> Requirement:
    """That label, as `matchLabels` says it; policies say the same ones over and over."""
    return Requirement(key, "Equals", frozenset({value}))


@attrs.frozen(cache_hash=True)
class CidrSelector:
    """
    Addresses outside of the mesh: those in a network, or in the networks of groups, without exceptions.

    Attributes:
        network: `None` where groups are meant.
        groups: What the labels of the groups have to be.
        excepted: Networks that have identities of their own, which are not selected.
        of_pods: Whether pods in it are selected too, whatever the cluster's setting says.
    """

    network: Network | None = None
    groups: tuple[Requirement, ...] = ()
    excepted: tuple[Network, ...] = ()
    of_pods: bool = False

    is_wildcard = False

    def modes(self, match_modes: Collection[str]) -> Collection[str]:
        """Of `nodes` and `pods` those that it selects, where a cluster's setting says these."""
        return (*match_modes, "pods") if self.of_pods else match_modes

    @property
    def networks(self) -> tuple[Network, ...]:
        """
        Those that need an identity, so that this selector can tell them: a whole family is told by its world
        (pkg/policy/types GetCIDRPrefixes).
        """
        named = (*(() if self.network is None else (self.network,)), *self.excepted)
        return tuple(each for each in named if each.prefixlen)

    def matches(self, labels: LabelSet, *, dual_stack: bool, match_modes: Collection[str] = ()) -> bool:
        """
        Args:
            match_modes: Of `nodes` and `pods`, which of them are selected by address too.
        """
        match_modes = self.modes(match_modes)
        if not _has_address(labels, match_modes):
            return False
        if not self._is_in(labels, dual_stack=dual_stack, match_modes=match_modes):
            return False
        return all(_group_matches(each, labels) for each in self.groups) and not any(
            _has(labels, network_label(each, dual_stack=dual_stack)) for each in self.excepted
        )

    def _is_in(self, labels: LabelSet, *, dual_stack: bool, match_modes: Collection[str]) -> bool:
        if self.network is None:
            return True
        if not self.network.prefixlen and "pods" in match_modes:
            version = self.network.version
            if any(each.version == version for each in labels.networks):
                return True
        return _has(labels, network_label(self.network, dual_stack=dual_stack))

    def __str__(self) -> str:
        text = str(self.network) if self.network is not None else f"groups {', '.join(map(str, self.groups))}"
        return text + "".join(f" except {each}" for each in self.excepted)


@attrs.frozen(cache_hash=True)
class FqdnSelector:
    """The addresses that names have resolved to, names being told by a name or by a pattern."""

    name: str = ""
    pattern: str = ""

    is_wildcard = False

    @property
    def label(self) -> Label:
        """What such addresses are labelled with."""
        return Label(FQDN, self.name or self.pattern)

    def matches(self, labels: LabelSet) -> bool:
        return _has(labels, self.label)

    def __str__(self) -> str:
        return f"names {self.name or self.pattern}"


Selector: TypeAlias = LabelSelector | CidrSelector | FqdnSelector


def group_reference(name: str) -> Requirement:
    """The networks of the CiliumCIDRGroup of that name."""
    return Requirement(LabelKey(CIDR_GROUP, f"{_GROUP_NAME}/{name}"), "Exists")


def group_labels(name: str, labels: Mapping[str, str]) -> Iterable[Label]:
    """
    What the networks of a group are labelled with: a label of one group must not hide that of another with
    the same key, so that values are in the keys as well (pkg/labels EncodedCIDRGroupLabel).
    """
    yield Label(CIDR_GROUP, f"{_GROUP_NAME}/{name}")
    for key, value in labels.items():
        yield Label(CIDR_GROUP, key, value)
        yield Label(CIDR_GROUP, f"{key}{_GROUP_VALUE}{value}")


def entity_selectors(entity: str, cluster: str) -> Sequence[Selector]:
    """
    What an entity stands for in a cluster's policies (pkg/policy/api EntitySelectorMapping).

    Raises:
        KeyError: There is no such entity.
    """
    return _ENTITIES[entity] + ((LabelSelector((equals(_CLUSTER, cluster),)),) if entity == "cluster" else ())


def reserved_selector(name: str) -> LabelSelector:
    return LabelSelector((equals(LabelKey(RESERVED, name), ""),))


_CLUSTER = LabelKey(K8S, CLUSTER)
_OF_A_CLUSTER: tuple[Selector, ...] = tuple(
    map(
        reserved_selector,
        (
            "host",
            "remote-node",
            "init",
            "ingress",
            "health",
            "unmanaged",
            "kube-apiserver",
            "aggregate-cluster",
        ),
    )
)
_ENTITIES: Mapping[str, tuple[Selector, ...]] = {
    "all": (WILDCARD,),
    "world": tuple(map(reserved_selector, (*WORLDS, "aggregate-world"))),
    "world-ipv4": (reserved_selector("world-ipv4"),),
    "world-ipv6": (reserved_selector("world-ipv6"),),
    "host": (reserved_selector("host"),),
    "init": (reserved_selector("init"),),
    "ingress": (reserved_selector("ingress"),),
    "remote-node": tuple(map(reserved_selector, ("remote-node", "aggregate-remote-node"))),
    "health": (reserved_selector("health"),),
    "unmanaged": (reserved_selector("unmanaged"),),
    "none": (reserved_selector("none"),),
    "kube-apiserver": (reserved_selector("kube-apiserver"),),
    "cluster": _OF_A_CLUSTER,
    "cluster-mesh": (
        *_OF_A_CLUSTER,
        reserved_selector("aggregate-cluster-mesh"),
        LabelSelector((Requirement(LabelKey(ANY, CLUSTER), "Exists"),)),
    ),
}
ENTITIES = tuple(_ENTITIES)


def _has(labels: LabelSet, label: Label) -> bool:
    return labels.lookup(LabelKey(label.source, label.key)) is not None


def _has_address(labels: LabelSet, match_modes: Collection[str]) -> bool:
    """Whether CIDRs select such an identity at all (CIDRSelector.Matches)."""
    if any(labels.has(RESERVED, world) for world in WORLDS):
        return True
    is_node = labels.has(RESERVED, "host") or labels.has(RESERVED, "remote-node")
    return ("nodes" if is_node else "pods") in match_modes


def group_keys(requirement: Requirement) -> Sequence[LabelKey]:
    """The keys of which networks of a group that is meant, or not meant, have one."""
    if requirement.operator in {"Exists", "DoesNotExist"}:
        return (requirement.key,)
    source, key = requirement.key.source, requirement.key.key
    return [LabelKey(source, f"{key}{_GROUP_VALUE}{value}") for value in sorted(requirement.values)]


def _group_matches(requirement: Requirement, labels: LabelSet) -> bool:
    there = any(labels.lookup(key) is not None for key in group_keys(requirement))
    return there != (requirement.operator in {"NotIn", "DoesNotExist"})


def parse_cidr(text: str) -> Network:
    """
    An address or a prefix (net/netip); host bits don't matter.

    Raises:
        ValueError: It is neither.
    """
    return parse_prefix(text) if "/" in text else ip_network(_address(text))


def parse_prefix(text: str) -> Network:
    """
    Raises:
        ValueError: It is no `address/length`.
    """
    address, slash, length = text.rpartition("/")
    if not slash or not _LENGTH.fullmatch(length):
        raise ValueError(f"is {text!r}; expected a prefix such as 10.0.0.0/8")
    found = _address(address)
    if int(length) > found.max_prefixlen:
        raise ValueError(f"is {text!r}; an IPv{found.version} prefix has at most {found.max_prefixlen} bits")
    return ip_network((found, int(length)), strict=False)


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        found = ip_address(text)
    except ValueError:
        raise ValueError(f"is {text!r}; expected an address or a prefix such as 10.0.0.0/8") from None
    if "%" in text:
        raise ValueError(f"is {text!r}; an address with a zone is none of a policy's")
    return found

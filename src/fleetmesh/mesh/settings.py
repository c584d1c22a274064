"""
What a cluster's Cilium is configured with, as far as an answer of fleetmesh hangs on it.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Literal, get_args

import attrs

from fleetmesh.maglev import DEFAULT_SEED, DEFAULT_SIZE, SIZES

Enforcement = Literal["default", "always", "never"]
Localhost = Literal["always", "policy"]
CidrMatch = Literal["nodes", "pods"]

_SEED_BYTES = 12
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "policy_enforcement": get_args(Enforcement),
    "allow_localhost": get_args(Localhost),
}


def _checked(value: object, name: str) -> object:
    """The value of a setting, or ValueError with what was expected."""
    default = _DEFAULTS[name]
    if name == "policy_cidr_match_mode":
        modes = get_args(CidrMatch)
        if not isinstance(value, (list, tuple)) or any(mode not in modes for mode in value):
            raise ValueError(f"{name} is {value!r}; expected a list out of {', '.join(modes)}")
        return tuple(value)
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(_CHOICES[name])}")
    elif isinstance(default, bool) != isinstance(value, bool) or not isinstance(value, type(default)):
        expected = {bool: "true or false", int: "a whole number", str: "a string"}[type(default)]
        raise ValueError(f"{name} is {value!r}; expected {expected}")
    elif isinstance(value, int) and value < 0:
        raise ValueError(f"{name} is {value!r}; expected 0 or more")
    elif name == "maglev_table_size" and value not in SIZES:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(str, SIZES))}")
    elif name == "maglev_hash_seed":
        _check_seed(str(value))
    return value


def _check_seed(value: str) -> None:
    """As Cilium, which wants standard base64 with padding."""
    try:
        seed = b64decode(value, validate=True)
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise ValueError(f"maglev_hash_seed is {value!r}; expected the base64 of {_SEED_BYTES} bytes")


def _check(_settings: object, field: attrs.Attribute[Any], value: object) -> None:
    _checked(value, field.name)


def _modes(value: object) -> Any:
    return _checked(value, "policy_cidr_match_mode")


def _setting(default: Any) -> Any:
    return attrs.field(default=default, validator=_check)


@attrs.frozen(kw_only=True)
class ClusterSettings:
    """
    The settings of one cluster, under the names of Cilium's flags.

    Attributes:
        policy_enforcement: `default` (pods that a policy selects), `always` or `never`.
        policy_default_local_cluster: Whether a peer selector that names no cluster means this one.
        allow_localhost: Whether the node may always reach its pods, or only if policy says so.
        policy_cidr_match_mode: What CIDR rules match besides the world: `nodes`, `pods`.
        disable_non_default_deny: `enableDefaultDeny: false` of policies is not honoured.
        default_global_namespace: Whether a namespace without annotation is global.
        service_topology: Whether zone hints and traffic distribution are honoured.
        enable_ipv6: Whether IPv6 backends and frontends are used at all.
        cache_ttl: Seconds after which a lost cluster's services are withdrawn; 0: they are kept for ever.
        enable_endpoint_sync: Whether EndpointSlices of other clusters are written into this one, so that
            its DNS knows their headless endpoints.
        maglev_table_size: Entries of a Maglev table, one of `fm.maglev.SIZES`.
        maglev_hash_seed: 12 bytes in base64.

    Raises:
        ValueError: A value is none that the setting knows.
    """

    policy_enforcement: Enforcement = _setting("default")
    policy_default_local_cluster: bool = _setting(True)
    allow_localhost: Localhost = _setting("always")
    enable_ipv6: bool = _setting(True)
    enable_host_firewall: bool = _setting(False)
    policy_cidr_match_mode: tuple[CidrMatch, ...] = attrs.field(default=(), converter=_modes)
    disable_non_default_deny: bool = _setting(False)
    default_global_namespace: bool = _setting(True)
    service_topology: bool = _setting(False)
    cache_ttl: int = _setting(0)
    enable_endpoint_sync: bool = _setting(False)
    maglev_table_size: int = _setting(DEFAULT_SIZE)
    maglev_hash_seed: str = _setting(DEFAULT_SEED)

    @classmethod
    def aks(cls, **changed: Any) -> ClusterSettings:
        """
        The defaults of Azure Kubernetes Service: there a namespace is global only if it says so.
        """
        return cls(**{"default_global_namespace": False, **changed})

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> ClusterSettings:
        """
        Settings from plain values, as `fleet.yaml` has them.

        Raises:
            ValueError: A key or a value is none of those above; the message names it.
        """
        unknown = [name for name in values if name not in _DEFAULTS]
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r}; there are {', '.join(_DEFAULTS)}")
        return cls(**values)


_DEFAULTS: Mapping[str, object] = {field.name: field.default for field in attrs.fields(ClusterSettings)}

"""
Fleets of one service for tests of single rules, in a few words, on either core.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from doubles import core as double
from fleetmesh import _core

READY = (True, True, False)
TERMINATING = (False, True, True)
ONLY_NOT_READY = (False, True, False)
NAMESPACE, NAME = "shop", "cart"

CORES: Mapping[str, Any] = {"double": double, "core": _core}


@attrs.frozen
class Slice:
    """
    A slice of the service.

    Attributes:
        ports: (name, port); all TCP.
        conditions: ready, serving, terminating.
    """

    addresses: Sequence[str]
    ports: Sequence[tuple[str, int]] = (("http", 8080),)
    conditions: tuple[bool, bool, bool] = READY
    node: str = ""
    zone: str = ""
    for_zones: Sequence[str] = ()
    weight: int = 100


@attrs.frozen(kw_only=True)
class Member:
    """
    One cluster with the service.

    Attributes:
        service: Arguments of its `ServiceSpec`; None where it has no such Service.
        slices: Its slices, called a, b, c, ...
    """

    service: Mapping[str, Any] | None = None
    slices: Sequence[Slice] = ()
    nodes: Mapping[str, str] = attrs.field(factory=dict)
    topology: bool = False
    ipv6: bool = True


def cluster_ip(number: int, *names: str) -> list[tuple[int, bool, str, int, int, str]]:
    """ClusterIP frontends of a cluster, one for each port name, from port 80 on."""
    return [(0, False, f"10.100.{number}.1", 80 + at, 6, name) for at, name in enumerate(names or ("http",))]


def service(number: int, **changes: Any) -> dict[str, Any]:
    """A global ClusterIP service with a port `http`."""
    return {"is_global": True, "frontends": cluster_ip(number), **changes}


def build(
    cores: Any,
    members: Mapping[str, Member],
    *,
    links: Iterable[tuple[str, str]] | None = None,
    strict: bool = False,
) -> tuple[Any, dict[int, str]]:
    """A snapshot and the names by cluster id, from 1 on in the order given. `links` None: all hear all."""
    core = cores.Core(strict=strict)
    names = dict(enumerate(members, 1))
    ids = {name: number for number, name in names.items()}
    linked = {frozenset(link) for link in links} if links is not None else None
    transaction = core.begin()
    for number, name in names.items():
        member = members[name]
        transaction.join(number, name, enable_ipv6=member.ipv6, service_topology=member.topology)
    for viewer in members:
        others = [o for o in members if o != viewer and (linked is None or frozenset((viewer, o)) in linked)]
        transaction.hear(ids[viewer], [ids[other] for other in others])
    for number, name in names.items():
        member = members[name]
        for node, zone in member.nodes.items():
            transaction.set_node(number, node, zone)
        if member.service is not None:
            transaction.set_service(number, NAMESPACE, NAME, cores.ServiceSpec(**member.service))
        for label, piece in zip("abcdef", member.slices, strict=False):
            ready, serving, ending = piece.conditions
            bits = ready | serving << 1 | ending << 2
            transaction.set_slice(
                number,
                NAMESPACE,
                NAME,
                label,
                [((a,), bits, piece.node, "", piece.zone, tuple(piece.for_zones)) for a in piece.addresses],
                [(port_name, 6, port) for port_name, port in piece.ports],
                weight=piece.weight,
            )
    transaction.commit()
    return core.snapshot(), names

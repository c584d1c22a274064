"""
What `compare` may change in a copy of a mesh, as its options name it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import click

from fleetmesh.cli.options import split_service
from fleetmesh.errors import NotFoundError
from fleetmesh.mesh import Mesh, ResourceChanges

AFFINITIES = ("local", "remote", "none")


@attrs.frozen
class Target:
    """
    A service, and in which cluster of it; `None` for all that have it.
    """

    namespace: str
    name: str
    cluster: str | None = None
    affinity: str = ""

    def __str__(self) -> str:
        value = f"={self.affinity}" if self.affinity else ""
        return f"{self.namespace}/{self.name}{value}{f'@{self.cluster}' if self.cluster else ''}"


class TargetType(click.ParamType[Target]):
    """
    `NAMESPACE/NAME[@CLUSTER]`.
    """

    name = "NAMESPACE/NAME[@CLUSTER]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        """
        Take it apart.
        """
        return _target(str(value), lambda message: self.fail(message, param, ctx))


class AffinityType(click.ParamType[Target]):
    """
    `NAMESPACE/NAME=AFFINITY[@CLUSTER]`.
    """

    name = "NAMESPACE/NAME=AFFINITY[@CLUSTER]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        """
        Take it apart.
        """

        def fail(message: str) -> Any:
            return self.fail(message, param, ctx)

        head, at, cluster = str(value).partition("@")
        service, equals, affinity = head.partition("=")
        if not equals or affinity not in AFFINITIES:
            fail(f"{value!r} has no affinity; write shop/cart=local, =remote or =none, before any @CLUSTER")
        return attrs.evolve(_target(f"{service}{at}{cluster}", fail), affinity=affinity)


def _target(text: str, fail: Callable[[str], Any]) -> Target:
    service, at, cluster = text.partition("@")
    if at and not cluster:
        fail(f"{text!r} names no cluster after @")
    return Target(*split_service(service, fail), cluster or None)


@attrs.frozen
class WhatIf:
    """
    The changes to try, in this order.
    """

    share: tuple[Target, ...] = ()
    unshare: tuple[Target, ...] = ()
    affinity: tuple[Target, ...] = ()
    drain: tuple[str, ...] = ()
    fail: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words())

    def words(self) -> list[str]:
        """
        Each change in words, such as `drain west`.
        """
        return [
            f"{field.name} {value}" for field in attrs.fields(WhatIf) for value in getattr(self, field.name)
        ]

    def carry_out(self, mesh: Mesh) -> list[str]:
        """
        Change the mesh; the result is what keeps changes from having effect.

        Raises:
            NotFoundError: There is no such member or service.
        """
        notes: list[str] = []
        for target in self.share:
            notes += _apply(mesh, target, mesh.service(target.namespace, target.name).share(_in(target)))
        for target in self.unshare:
            notes += _apply(mesh, target, mesh.service(target.namespace, target.name).unshare(_in(target)))
        for target in self.affinity:
            service = mesh.service(target.namespace, target.name)
            affinity = next(each for each in ("local", "remote", "none") if each == target.affinity)
            notes += _apply(mesh, target, service.set_affinity(affinity, _in(target)))
        for name in (*self.drain, *self.fail):
            if name not in mesh.members:
                raise NotFoundError("member", name, mesh.members)
        for name in self.drain:
            mesh.members[name].drain()
        for name in self.fail:
            mesh.members[name].fail()
        return notes


def _in(target: Target) -> list[str] | None:
    return None if target.cluster is None else [target.cluster]


def _apply(mesh: Mesh, target: Target, changes: ResourceChanges) -> list[str]:
    mesh.apply(changes)
    return [*changes.notes, *(() if changes else (f"{target} is so already",))]

"""
What `compare` may change in a copy of a mesh, as its options name it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

import attrs
import click

from fleetmesh.cli.options import split_service
from fleetmesh.errors import NotFoundError
from fleetmesh.mesh import Mesh

Kind: TypeAlias = Literal["share", "unshare", "affinity", "drain", "fail"]
KINDS: tuple[Kind, ...] = ("share", "unshare", "affinity", "drain", "fail")
AFFINITIES: tuple[Literal["local", "remote", "none"], ...] = ("local", "remote", "none")
_ORDER = "fleetmesh.order"


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
class Step:
    """
    One change to try: an option's name, and what it was given.
    """

    kind: Kind
    target: Target | str

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"


def carry_out(steps: Iterable[Step], mesh: Mesh) -> list[str]:
    """
    Change the mesh, one step after the other; the result is what keeps steps from having effect.

    Raises:
        NotFoundError: There is no such member or service.
    """
    notes: list[str] = []
    for step in steps:
        if isinstance(step.target, Target):
            notes += _annotate(mesh, step.kind, step.target)
        else:
            notes += _take_away(mesh, step.kind, step.target)
    return notes


def _annotate(mesh: Mesh, kind: Kind, target: Target) -> list[str]:
    service = mesh.service(target.namespace, target.name)
    clusters = None if target.cluster is None else [target.cluster]
    if kind == "share":
        changes = service.share(clusters)
    elif kind == "unshare":
        changes = service.unshare(clusters)
    else:
        affinity = next(each for each in AFFINITIES if each == target.affinity)
        changes = service.set_affinity(affinity, clusters)
    mesh.apply(changes)
    return [*changes.notes, *(() if changes else (f"{target} is so already",))]


def _take_away(mesh: Mesh, kind: Kind, name: str) -> list[str]:
    member = mesh.members.get(name)
    if member is None:
        raise NotFoundError("member", name, mesh.members)
    change = member.drain if kind == "drain" else member.fail
    said = member.drained if kind == "drain" else member.failed
    change()
    return [f"{name} is {'drained' if kind == 'drain' else 'cut off'} already"] if said else []


class InOrder(click.Command):
    """
    A command that knows in which order its options stood, for those whose order has a meaning.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """
        As the base class does. Values come sorted by option from there, so that the order is asked first.
        """
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        ctx.meta[_ORDER] = [option.name for option in order]
        return super().parse_args(ctx, args)


def steps_of(ctx: click.Context) -> list[Step]:
    """
    The changes that the options of an `InOrder` command name, in the order of the command line.
    """
    given = {kind: iter(ctx.params[kind]) for kind in KINDS}
    return [Step(kind, next(given[kind])) for name in ctx.meta[_ORDER] for kind in KINDS if kind == name]

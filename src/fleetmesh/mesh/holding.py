"""
What stays in force for pods whose policies can't be resolved any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fleetmesh.mesh.policies import conflicting, read_policies

if TYPE_CHECKING:
    from fleetmesh.mesh.viewpoint import Viewpoint


def hold(before: Viewpoint, view: Viewpoint, names: Iterable[str]) -> None:
    """
    Keep the rules of before for those identities of members whose rules are now in conflict and were not
    before: a regeneration that fails leaves an endpoint its old policy (pkg/endpoint regenerate).
    """
    for name in names:
        member = view.members[name]
        held = member._store.held
        if not len(held) and not len(member._store.asking):
            continue
        broken = conflicting(view, member, read_policies(view, member))
        for labels in [each for each in held if each not in broken]:
            held.pop(labels)
        fresh = [labels for labels in broken if labels not in held]
        old = before.members.get(name)
        if not fresh or old is None:
            continue
        read = read_policies(before, old)
        were_broken = conflicting(before, old, read)
        for labels in fresh:
            if labels in old._store.identities and labels not in were_broken:
                held[labels] = read.rules

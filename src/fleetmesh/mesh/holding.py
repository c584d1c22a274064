"""
What stays in force for pods whose policies can't be resolved any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fleetmesh.mesh.policies import PolicyReader, conflicting, read_policies
from fleetmesh.policy import KINDS

if TYPE_CHECKING:
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint
    from fleetmesh.policy.selectors import LabelSelector


def hold(before: Viewpoint, view: Viewpoint, change: Change) -> None:
    """
    Keep the rules of before for those identities of members whose rules are now in conflict and were not
    before: a regeneration that fails leaves an endpoint its old policy (pkg/endpoint regenerate).
    """
    for name, dirty in change.dirty.items():
        member, old = view.members[name], before.members.get(name)
        held = member._store.held
        if not dirty.policies or not (len(held) or len(member._store.asking)):
            continue
        concerned = {labels for each, labels in change.renumbered if each == name} | set(held)
        subjects = set(_changed_subjects(change, (before, old), (view, member)))
        for labels in member._store.identities if subjects else ():
            if any(subject.matches(labels) for subject in subjects):
                concerned.add(labels)
        broken = conflicting(view, member, concerned)
        for labels in [each for each in held if each not in broken]:
            held.pop(labels)
        fresh = [labels for labels in broken if labels not in held]
        if not fresh or old is None:
            continue
        were_broken = conflicting(before, old, fresh)
        for labels in fresh:
            if labels in old._store.identities and labels not in were_broken:
                held[labels] = read_policies(before, old).rules


def _changed_subjects(
    change: Change, *states: tuple[Viewpoint, MemberView | None]
) -> Iterator[LabelSelector]:
    """Whom the policies are about that changed, before and after."""
    for view, member in states:
        if member is None:
            continue
        reader = PolicyReader(view, member)
        for key in change.dirty[member.name].policy_objects:
            if key[0] in KINDS:
                yield from (rule.subject for rule in reader.rules(member._store.policies.get(key)))

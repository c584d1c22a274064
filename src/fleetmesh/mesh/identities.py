"""
The security identities of a member: a number for each set of labels that its pods have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import RangeExhaustedError
from fleetmesh.findings import finding
from fleetmesh.mesh import cilium_objects
from fleetmesh.policy.labels import LabelSet, pod_labels

if TYPE_CHECKING:
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.dirty import Dirty
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Store
    from fleetmesh.resources.model import Pod

IDENTITY_BITS = 16
"""Of an identity's number below its cluster's id; in a mesh of 511 members one less (pkg/identity)."""

UNNUMBERED = 0


@attrs.frozen
class Numbered:
    """
    Attributes:
        number: Within the cluster; `UNNUMBERED` where none is free.
        pods: How many have these labels; of a member that is heard, its `carriers` say so.
        reserved: Whether the number is one that all clusters have.
    """

    number: int
    pods: int
    reserved: bool = False


def identify(change: Change) -> None:
    """Number what the pods are that a transaction touched, and take back what no pod is any more."""
    for name, dirty in list(change.dirty.items()):
        member = change.members[name]
        pods = dirty.running_pods or dirty.namespaces
        numbers = dirty.relabelled or dirty.renumbered or dirty.unnumbered
        if (pods or numbers) and member._store.heard is None:
            _identify(change, member, dirty)


def _identify(change: Change, member: Member, dirty: Dirty) -> None:
    store = change.store(member)
    pods = dirty.running_pods | {
        (namespace, name) for namespace in dirty.namespaces for name in store.pods.group(namespace)
    }
    pods.update(cilium_objects.relabelled(store, dirty.relabelled))
    steps: Counter[LabelSet] = Counter()
    for namespace, name in sorted(pods):
        old = store.identified.group(namespace).get(name)
        pod = store.pods.group(namespace).get(name)
        new = None if pod is None else _labels(store, pod, member.name)
        if old == new:
            continue
        dirty.identified.add((namespace, name))
        if old is not None:
            steps[old] -= 1
        if new is None:
            store.identified.pop(namespace, name)
        else:
            steps[new] += 1
            store.identified.put(namespace, name, new)
    change.renumbered |= {(member.name, labels) for labels, step in steps.items() if step}
    _count(change, member, steps, dirty)
    if any(labels in steps for labels in store.held) or any(steps.values()):
        dirty.policies = True


def _labels(store: Store, pod: Pod, cluster: str) -> LabelSet | None:
    """As Cilium says; nothing on its node's network, where it is the node."""
    if pod.template.host_network:
        return None
    claim = cilium_objects.claim_of(store, (pod.namespace, pod.name))
    if claim is not None and claim.identity:
        return cilium_objects.labels_of(store, claim.identity)
    declared = store.namespaces.get(pod.namespace)
    return pod_labels(pod.template, pod.namespace, {} if declared is None else declared.labels, cluster)


def _count(change: Change, member: Member, steps: Counter[LabelSet], dirty: Dirty) -> None:
    identities = change.store(member).identities
    new: dict[str, LabelSet] = {}
    for labels, step in steps.items():
        known = identities.get(labels)
        count = step + (0 if known is None else known.pods)
        if not count:
            identities.pop(labels)
            change.allocations.release_identities(member.name, [str(labels)])
        else:
            identities[labels] = attrs.evolve(known or Numbered(UNNUMBERED, 0), pods=count)
            if known is None:
                new[str(labels)] = labels
    _number(change, member, new, dirty)


def _number(change: Change, member: Member, new: dict[str, LabelSet], dirty: Dirty) -> None:
    """Give numbers to labels that are new, and to those that have lost theirs or may have another now."""
    identities = change.store(member).identities
    topic = ("identity", ("Cluster", "", member.name))
    again = {labels for labels in dirty.renumbered if labels in identities}
    if dirty.unnumbered:
        again.update(labels for labels in identities if str(labels) in dirty.unnumbered)
    if topic in change.store(member).trouble:
        again.update(labels for labels, each in identities.items() if each.number == UNNUMBERED)
    wanted = new | {str(labels): labels for labels in again}
    given = {text: cilium_objects.given_number(change, member, labels) for text, labels in wanted.items()}
    rest = [text for text, number in given.items() if number is None]
    change.allocations.release_identities(member.name, wanted.keys() - set(rest))
    try:
        numbers = change.allocations.identities(member.name, rest, change.identity_bits)
    except RangeExhaustedError:
        numbers = _as_many_as_there_are(change, member, rest)
    moved: set[LabelSet] = set()
    for text, labels in wanted.items():
        number, reserved = given[text] or (numbers.get(text, UNNUMBERED), False)
        change.renumbered.add((member.name, labels))
        if text not in new and number != identities[labels].number:
            moved.add(labels)
        identities[labels] = attrs.evolve(identities[labels], number=number, reserved=reserved)
    for namespace, pods in member._store.identified.items() if moved else ():
        dirty.identified |= {(namespace, name) for name, labels in pods.items() if labels in moved}
    without = len(rest) - len(numbers)
    change.trouble(
        member,
        topic,
        finding(
            "range-exhausted",
            f"Cluster {member.name}",
            f"its pods have {without} more sets of labels than there are numbers for identities; to policies "
            "they are reserved:init",
        )
        if without
        else None,
    )


def _as_many_as_there_are(change: Change, member: Member, wanted: Iterable[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for text in sorted(wanted):
        try:
            numbers |= change.allocations.identities(member.name, [text], change.identity_bits)
        except RangeExhaustedError:
            break
    return numbers

"""
The security identities of a member: a number for each set of labels that its pods have.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import RangeExhaustedError
from fleetmesh.findings import finding
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
        if (dirty.running_pods or dirty.namespaces) and member._store.heard is None:
            _identify(change, member, dirty)


def _identify(change: Change, member: Member, dirty: Dirty) -> None:
    store = change.store(member)
    pods = dirty.running_pods | {
        (namespace, name) for namespace in dirty.namespaces for name in store.pods.group(namespace)
    }
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
    """Nothing on its node's network, where it is the node."""
    if pod.template.host_network:
        return None
    declared = store.namespaces.get(pod.namespace)
    return pod_labels(pod.template, pod.namespace, {} if declared is None else declared.labels, cluster)


def _count(change: Change, member: Member, steps: Counter[LabelSet], dirty: Dirty) -> None:
    identities = change.store(member).identities
    wanted: dict[str, LabelSet] = {}
    for labels, step in steps.items():
        known = identities.get(labels)
        count = step + (0 if known is None else known.pods)
        if not count:
            identities.pop(labels)
            change.allocations.release_identities(member.name, [str(labels)])
        else:
            identities[labels] = Numbered(UNNUMBERED if known is None else known.number, count)
            if known is None:
                wanted[str(labels)] = labels
    topic = ("identity", ("Cluster", "", member.name))
    if topic in change.store(member).trouble:
        unnumbered = {labels for labels, each in identities.items() if each.number == UNNUMBERED}
        wanted.update((str(labels), labels) for labels in unnumbered)
        for namespace, pods in member._store.identified.items():
            dirty.identified |= {(namespace, name) for name, labels in pods.items() if labels in unnumbered}
    try:
        numbers = change.allocations.identities(member.name, wanted, change.identity_bits)
    except RangeExhaustedError:
        numbers = _as_many_as_there_are(change, member, wanted)
    for text, labels in wanted.items():
        change.renumbered.add((member.name, labels))
        identities[labels] = attrs.evolve(identities[labels], number=numbers.get(text, UNNUMBERED))
    without = len(wanted) - len(numbers)
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


def _as_many_as_there_are(change: Change, member: Member, wanted: dict[str, LabelSet]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for text in sorted(wanted):
        try:
            numbers |= change.allocations.identities(member.name, [text], change.identity_bits)
        except RangeExhaustedError:
            break
    return numbers

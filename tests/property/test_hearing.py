"""
A member is the same to others whether its objects are here or only its records are heard.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.effort import examples
from doubles.hearing import Listener, key_of_record
from doubles.mesh_histories import IDS, NAMES, SPACE, TOPOLOGIES, new_mesh, rebuilt, setting, steps, take
from fleetmesh.mesh import Mesh, Topology
from fleetmesh.records import IpRecord, Record

Taken = list[tuple[str, str, Any]]


def hearing_mesh(whole: Mesh, own: str) -> tuple[Mesh, list[Listener]]:
    """A mesh in which one member is at home, with what it has in the whole one, and the others are heard."""
    mesh = Mesh("m", topology=whole.topology, mode=whole.mode, allocations=whole.allocations)
    listeners = []
    for name, number in IDS.items():
        member = mesh.join(
            name, cluster_id=number, settings=setting(name) if name == own else None, outside=name != own
        )
        if name == own:
            for resource in whole.members[name].resources.values():
                member.apply(resource)
        else:
            listeners.append(Listener(whole.members[name], member))
    return mesh, listeners


def published(mesh: Mesh, name: str) -> dict[tuple[str, str], Record]:
    return {key_of_record(record): record for record in mesh.members[name].records()}


def ends_of(mesh: Mesh, name: str) -> list[str]:
    """Its pods, as others can know them: those of namespaces that aren't global are not published."""
    records = (record for record in mesh.members[name].records("ip") if isinstance(record, IpRecord))
    return [f"{name}/{record.namespace}/{record.pod}" for record in records]


def seen(mesh: Mesh, own: str) -> dict[str, Any]:
    """What a viewer can ask of others."""
    mine = ends_of(mesh, own)[:2]
    ends = mine + [end for name in NAMES if name != own for end in ends_of(mesh, name)[:3]]
    return {
        "frontends": {
            key: [mesh.service(*key).frontends(place) for place in (own, f"{own}/n1")]
            for key in mesh.services(own)
        },
        "names": {
            (kind, name): mesh.resolve(name, seen_from=own, type=kind)
            for kind in ("A", "SRV")
            for name in (f"web.{SPACE}.svc.cluster.local", f"manual.{SPACE}.svc.clusterset.local")
        },
        "sides": {
            (one, other): (
                mesh.decide(one, other, port=8080).egress,
                mesh.decide(other, one, port=8080).ingress,
            )
            for one in mine
            for other in ends
            if one != other
        },
    }


@settings(max_examples=examples(60), deadline=None)
@given(st.sampled_from(TOPOLOGIES), st.lists(steps(strict=True), max_size=10), st.sampled_from(NAMES))
def test_whoever_is_heard_is_as_if_he_were_here(topology: Topology, taken: Taken, own: str) -> None:
    whole = new_mesh(topology, "strict")
    for step in taken:
        whole = take(whole, step)
    for member in whole.members.values():
        member.restore()
    # A mesh of the same facts in any order, without what became of the way there.
    whole = rebuilt(whole)
    mesh, listeners = hearing_mesh(whole, own)

    for listener in listeners:
        listener.listen()

    assert seen(mesh, own) == seen(whole, own)


@settings(max_examples=examples(40), deadline=None)
@given(st.sampled_from(TOPOLOGIES), st.lists(steps(strict=True), min_size=1, max_size=10))
def test_what_is_heard_step_by_step_is_what_is_heard_at_once(topology: Topology, taken: Taken) -> None:
    whole = new_mesh(topology, "strict")
    mesh, listeners = hearing_mesh(whole, "east")
    for step in taken:
        if step[0] == "fork" or step[1] == "east":
            continue
        whole = take(whole, step)
        for listener in listeners:
            listener.there = whole.members[listener.there.name]
            listener.listen()
    anew, again = hearing_mesh(whole, "east")
    for listener in again:
        listener.listen()

    assert seen(mesh, "east")["frontends"] == seen(anew, "east")["frontends"]
    for name in ("west", "north"):
        assert published(mesh, name) == published(anew, name) == published(whole, name)
        assert dict(mesh.members[name]._store.identities) == dict(anew.members[name]._store.identities)


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(steps(strict=True), min_size=1, max_size=8), st.sampled_from(["west", "north"]))
def test_draining_and_failing_one_who_is_heard_is_draining_and_failing_him(taken: Taken, other: str) -> None:
    whole = new_mesh(Topology.full(), "strict")
    for step in taken:
        whole = take(whole, step)
    for member in whole.members.values():
        member.restore()
    whole = rebuilt(whole)
    mesh, listeners = hearing_mesh(whole, "east")
    for listener in listeners:
        listener.listen()

    for what in ("drain", "fail", "restore"):
        getattr(whole.members[other], what)()
        getattr(mesh.members[other], what)()
        assert seen(mesh, "east")["frontends"] == seen(whole, "east")["frontends"]

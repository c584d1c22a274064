"""
Whatever way Cilium's objects, pods and nodes came and went, the mesh is the one that is made of what is left.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.effort import examples
from doubles.followed_records import FollowedRecords
from doubles.mesh_histories import (
    IDS,
    NAMES,
    SPACE,
    namespaces,
    new_mesh,
    nodes,
    rebuilt,
    take,
    template,
    whole,
)
from fleetmesh.mesh import Mesh, Topology
from fleetmesh.policy.labels import LabelSet, pod_labels
from fleetmesh.resources import (
    CiliumEndpoint,
    CiliumEndpointSlice,
    CiliumIdentity,
    CiliumNode,
    Pod,
    PodEndpoint,
    Resource,
    Workload,
)

PODS = ("own-1", "own-2", "web-0")  # the last is what a StatefulSet makes


def labels_like(cluster: str, app: str) -> dict[str, str]:
    """Those that a pod without CiliumEndpoint has too."""
    found = pod_labels(template(app), SPACE, {}, cluster)
    return {f"{each.source}:{each.key}": each.value for each in found}


@st.composite
def numbers(draw: st.DrawFn, cluster: str) -> int:
    """Of the cluster, of all clusters, of another one."""
    own = IDS[cluster] << 16
    return draw(st.sampled_from([own | 256, own | 257, own | 258, 5, (IDS[cluster] + 1) << 16 | 300]))


@st.composite
def identities(draw: st.DrawFn, cluster: str) -> Resource:
    number = draw(numbers(cluster))
    spread = {"k8s:io.kubernetes.pod.namespace": SPACE, "k8s:role": draw(st.sampled_from(["a", "b"]))}
    labels = draw(st.sampled_from([spread, labels_like(cluster, "web"), {}]))
    return CiliumIdentity(name=str(number), number=number, security_labels=labels)


@st.composite
def endpoints(draw: st.DrawFn, cluster: str) -> PodEndpoint:
    number = draw(st.integers(1, 3))
    return PodEndpoint(
        pod=draw(st.sampled_from(PODS)),
        identity=draw(st.one_of(st.just(0), numbers(cluster))),
        addresses=draw(
            st.sampled_from([(), (f"10.{IDS[cluster]}.9.{number}",), (f"10.{IDS[cluster]}.9.9",)])
        ),
        host_address=draw(st.sampled_from(["", "192.168.0.1"])),
        encryption_key=draw(st.integers(0, 1)),
        named_ports=(("http", 8080, "TCP"),),
    )


@st.composite
def cilium_endpoints(draw: st.DrawFn, cluster: str) -> Resource:
    endpoint = draw(endpoints(cluster))
    return CiliumEndpoint(namespace=SPACE, name=endpoint.pod, endpoint=endpoint)


@st.composite
def cilium_slices(draw: st.DrawFn, cluster: str) -> Resource:
    found = draw(st.lists(endpoints(cluster), max_size=2, unique_by=lambda each: each.pod))
    return CiliumEndpointSlice(
        name=draw(st.sampled_from(["s1", "s2"])),
        pod_namespace=draw(st.sampled_from([SPACE, SPACE, ""])),
        endpoints=tuple(found),
    )


@st.composite
def cilium_nodes(draw: st.DrawFn) -> Resource:
    name = draw(st.sampled_from(["n1", "n2"]))
    return CiliumNode(
        name=name,
        labels=draw(st.sampled_from([{}, {"topology.kubernetes.io/zone": "c"}])),
        addresses=draw(st.sampled_from([(), (("InternalIP", f"192.168.1.{name[1]}"),)])),
        encryption_key=draw(st.integers(0, 1)),
    )


@st.composite
def pods(draw: st.DrawFn, cluster: str) -> Resource:
    name, app = draw(st.sampled_from(PODS)), draw(st.sampled_from(["web", "db"]))
    return Pod(
        namespace=SPACE,
        name=name,
        labels={"app": app},
        template=template(app, draw(st.sampled_from(["", "n1"]))),
        addresses=draw(st.sampled_from([(), (f"10.{IDS[cluster]}.9.{name[-1]}",)])),
        owners=(("Nobody", "x"),),
    )


def workloads() -> st.SearchStrategy[Resource]:
    return st.builds(
        Workload,
        kind=st.just("StatefulSet"),
        api_version=st.just("apps/v1"),
        namespace=st.just(SPACE),
        name=st.just("web"),
        replicas=st.integers(0, 2),
        selector_labels=st.just({"app": "web"}),
        template=st.just(template("web")),
        service_name=st.just("web"),
    )


def resources(cluster: str) -> st.SearchStrategy[Resource]:
    return st.one_of(
        identities(cluster),
        identities(cluster),
        cilium_endpoints(cluster),
        cilium_endpoints(cluster),
        cilium_slices(cluster),
        cilium_nodes(),
        nodes(),
        pods(cluster),
        workloads(),
        namespaces(),
    )


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, str, Any]:
    cluster = draw(st.sampled_from(NAMES[:2]))
    what = draw(
        st.sampled_from(["apply"] * 6 + ["delete"] * 3 + ["replace", "leave", "drain", "restore", "fork"])
    )
    given: Any = None
    if what in ("apply", "delete", "replace"):
        given = draw(st.lists(resources(cluster), min_size=1, max_size=6))
    return (what, cluster, given)


def identified(mesh: Mesh) -> dict[str, tuple[int, LabelSet]]:
    """Whom each pod is to the policies of its own cluster."""
    found = {}
    for name, member in mesh.members.items():
        for pod in member.pods:
            end = f"{name}/{pod.namespace}/{pod.name}"
            subject = mesh.decide(end, "ip:203.0.113.1", port=80).source
            found[end] = (subject.identity, subject.labels)
    return found


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(steps(), st.booleans()), max_size=14))
def test_differences_of_records_add_up_to_all(taken: list[tuple[tuple[str, str, Any], bool]]) -> None:
    mesh, followed = new_mesh(Topology.full(), "cilium"), FollowedRecords()
    followed.look(mesh)
    for step, looked in taken:
        mesh = take(mesh, step)
        if looked:
            followed.look(mesh)
    followed.look(mesh)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(steps(), max_size=14))
def test_incremental_equals_rebuilt(taken: list[tuple[str, str, Any]]) -> None:
    mesh = new_mesh(Topology.full(), "cilium")
    for step in taken:
        mesh = take(mesh, step)
        mesh.reachability()  # so that what decides has followed every step

    other = rebuilt(mesh)

    assert whole(mesh) == whole(other)
    assert identified(mesh) == identified(other)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(steps(), max_size=14))
def test_no_two_sets_of_labels_of_a_cluster_share_a_number(taken: list[tuple[str, str, Any]]) -> None:
    mesh = new_mesh(Topology.full(), "cilium")
    for step in taken:
        mesh = take(mesh, step)

    labels_of: dict[int, set[LabelSet]] = {}
    for number, labels in identified(mesh).values():
        labels_of.setdefault(number, set()).add(labels)
    assert all(len(found) == 1 for found in labels_of.values())

"""
Random histories of small meshes, as hypothesis draws and shrinks them, and all that can be asked of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from fleetmesh.mesh import ClusterSettings, Mesh, Topology
from fleetmesh.resources import (
    Endpoint,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    Namespace,
    Node,
    Pod,
    PodTemplate,
    Resource,
    Service,
    ServiceExport,
    ServicePort,
    Workload,
)
from fleetmesh.resources.model import ContainerPort

NAMES = ("east", "west", "north")
IDS = {name: number for number, name in enumerate(NAMES, 1)}
SPACE = "shop"
TOPOLOGIES = (Topology.full(), Topology.hub("west"), Topology.pairs([("east", "north")]))


def template(app: str, node: str = "") -> PodTemplate:
    ports = (ContainerPort(container_port=8080, name="http"),)
    return PodTemplate(labels={"app": app}, ports=ports, node_name=node)


booleans = st.booleans()
apps = st.sampled_from(["web", "db"])
flags = st.sampled_from([None, "true", "false"])


@st.composite
def namespaces(draw: st.DrawFn) -> Resource:
    said = draw(flags)
    annotations = {} if said is None else {"clustermesh.cilium.io/global": said}
    return Namespace(name=SPACE, annotations=annotations)


@st.composite
def nodes(draw: st.DrawFn) -> Resource:
    name = draw(st.sampled_from(["n1", "n2"]))
    labels = draw(
        st.sampled_from([{}, {"topology.kubernetes.io/zone": "a"}, {"topology.kubernetes.io/zone": "b"}])
    )
    addresses = draw(st.sampled_from([(), (("InternalIP", f"192.168.0.{name[1]}"),)]))
    return Node(name=name, labels=labels, addresses=addresses)


@st.composite
def workloads(draw: st.DrawFn) -> Resource:
    app = draw(apps)
    kind = draw(st.sampled_from(["Deployment", "StatefulSet", "DaemonSet"]))
    return Workload(
        kind=kind,
        api_version="apps/v1",
        namespace=SPACE,
        name=app,
        replicas=None if kind == "DaemonSet" else draw(st.integers(0, 3)),
        selector_labels={"app": app},
        template=template(app),
        service_name=app,
    )


@st.composite
def pods(draw: st.DrawFn, cluster: str) -> Resource:
    app = draw(apps)
    number = draw(st.integers(1, 2))
    owned = draw(booleans)
    return Pod(
        namespace=SPACE,
        name=f"own-{number}",
        labels={"app": app},
        template=template(app, draw(st.sampled_from(["", "n1"]))),
        addresses=draw(st.sampled_from([(), (f"10.{IDS[cluster]}.9.{number}",)])),
        ready=draw(st.sampled_from([None, False])),
        terminating=draw(booleans),
        owners=(("StatefulSet", app),) if owned else (),
    )


@st.composite
def services(draw: st.DrawFn, *, strict: bool) -> Resource:
    name = draw(st.sampled_from(["web", "db", "manual"]))
    annotations = {}
    for key, values in (
        ("service.cilium.io/global", [None, "true", "true", "true"]),
        ("service.cilium.io/shared", [None, None, "false"]),
        ("service.cilium.io/affinity", [None, "local", "remote"]),
        ("fleetmesh.io/prefer-clusters", [None, None, None, "north", "west, nobody, east"]),
        ("fleetmesh.io/cluster-weights", [None, None, "east=80, west=20", "west=0, north=7", "east=-1"]),
        ("fleetmesh.io/min-local-backends", [None, "2", "3"]),
    ):
        said = draw(st.sampled_from(values))
        if said is not None:
            annotations[key] = said
    headless = draw(st.sampled_from([False, False, True]))
    kind = draw(st.sampled_from(["ClusterIP", "NodePort"])) if not headless else "ClusterIP"
    node_port = draw(st.sampled_from([0, {"web": 30080, "db": 30081, "manual": 30082}[name]]))
    # Who claimed an address first has it in mode cilium, which the order of the resources doesn't tell.
    own = "100.64.1.9" if strict else {"web": "100.64.1.9", "db": "100.64.1.8", "manual": "100.64.1.7"}[name]
    external = draw(st.sampled_from([(), ("198.51.100.7",)])) if strict and not headless else ()
    return Service(
        namespace=SPACE,
        name=name,
        annotations=annotations,
        type=kind,
        cluster_ip="None" if headless else draw(st.sampled_from(["", "", own])),
        ip_family_policy=draw(st.sampled_from(["", "PreferDualStack"])),
        ports=(
            ServicePort(
                port=80,
                name="http",
                target_port="http" if draw(booleans) else 8080,
                node_port=node_port if kind == "NodePort" else 0,
            ),
        ),
        selector=None if name == "manual" else {"app": name},
        external_ips=external,
        internal_traffic_policy=draw(st.sampled_from(["Cluster", "Cluster", "Local"])),
    )


@st.composite
def slices(draw: st.DrawFn, cluster: str, *, strict: bool) -> Resource:
    service = draw(st.sampled_from(["manual", "web"]))
    # In strict mode clusters may claim one address: the answer doesn't hang on who came first.
    owner = 1 if strict and draw(booleans) else IDS[cluster]
    address = f"10.{owner}.8.{draw(st.integers(1, 2))}"
    return EndpointSlice(
        namespace=SPACE,
        name=f"slice-{draw(st.integers(1, 2))}",
        labels={"kubernetes.io/service-name": service},
        endpoints=(Endpoint(addresses=(address,), ready=draw(st.sampled_from([None, True, False]))),),
        ports=(EndpointPort(port=draw(st.sampled_from([8080, 9090])), name="http"),),
    )


@st.composite
def hand_made_endpoints(draw: st.DrawFn, cluster: str) -> Resource:
    subset = EndpointSubset(
        addresses=((f"10.{IDS[cluster]}.7.{draw(st.integers(1, 2))}", "", ""),),
        ports=(EndpointPort(port=7070, name="http"),),
    )
    return Endpoints(namespace=SPACE, name=draw(st.sampled_from(["manual", "web"])), subsets=(subset,))


def exports() -> st.SearchStrategy[Resource]:
    return st.builds(ServiceExport, namespace=st.just(SPACE), name=st.sampled_from(["web", "manual"]))


def resources(cluster: str, *, strict: bool) -> st.SearchStrategy[Resource]:
    return st.one_of(
        services(strict=strict),
        slices(cluster, strict=strict),
        pods(cluster),
        workloads(),
        nodes(),
        namespaces(),
        hand_made_endpoints(cluster),
        exports(),
    )


@st.composite
def steps(draw: st.DrawFn, *, strict: bool) -> tuple[str, str, Any]:
    cluster = draw(st.sampled_from(NAMES))
    what = draw(
        st.sampled_from(
            ["apply"] * 6 + ["delete", "delete", "replace", "leave", "drain", "fail", "restore", "fork"]
        )
    )
    given: Any = None
    if what in ("apply", "delete", "replace"):
        given = draw(st.lists(resources(cluster, strict=strict), min_size=1, max_size=6))
    return (what, cluster, given)


def new_mesh(topology: Topology, mode: Any, **more: Any) -> Mesh:
    mesh = Mesh("m", topology=topology, mode=mode, **more)
    for name in NAMES:
        mesh.join(name, cluster_id=IDS[name], settings=setting(name))
    return mesh


def setting(name: str) -> ClusterSettings:
    return ClusterSettings(
        enable_ipv6=name != "north", default_global_namespace=name != "north", service_topology=name == "east"
    )


def take(mesh: Mesh, step: tuple[str, str, Any]) -> Mesh:
    what, name, given = step
    if what == "fork":
        return mesh.fork()
    member = mesh.members[name]
    if what == "leave":
        mesh.join(mesh.leave(name))
    elif what == "replace":
        member.replace(given, source="files")
    elif given is not None:
        getattr(member, what)(given)
    else:
        getattr(member, what)()
    return mesh


def answers(mesh: Mesh, viewers: Iterable[str] = NAMES) -> dict[str, Any]:
    return {
        viewer: {
            key: [mesh.service(*key).frontends(place) for place in (viewer, f"{viewer}/n1")]
            for key in mesh.services(viewer)
        }
        for viewer in viewers
    }


def whole(mesh: Mesh) -> dict[str, Any]:
    """Everything that can be asked, but for order of arrival."""
    keys = sorted({key for viewer in NAMES for key in mesh.services(viewer)})
    return {
        "answers": answers(mesh),
        "explanations": {
            (place, key): mesh.service(*key).explain(place)
            for viewer in NAMES
            for place in (viewer, f"{viewer}/n1")
            for key in keys
        },
        "clusters": {key: mesh.service(*key).clusters for key in keys},
        "pods": {name: member.pods for name, member in mesh.members.items()},
        "records": {name: member.records() for name, member in mesh.members.items()},
        # That an object was given twice at once is about the giving.
        "findings": [each for each in mesh.findings if each.code != "duplicate-object"],
        "names": {
            (viewer, kind, name): mesh.resolve(name, seen_from=viewer, type=kind)
            for viewer in NAMES
            for kind in ("A", "AAAA", "SRV")
            for name in (
                f"web.{SPACE}.svc.cluster.local",
                f"_http._tcp.web.{SPACE}.svc.cluster.local",
                f"manual.{SPACE}.svc.clusterset.local",
            )
        },
    }


def rebuilt(mesh: Mesh, order: Any = list) -> Mesh:
    """Another mesh of the same facts, history and flags."""
    other = new_mesh(mesh.topology, mesh.mode, allocations=mesh.allocations)
    for name, member in mesh.members.items():
        for resource in order(member.resources.values()):
            other.members[name].apply(resource)
        if member.drained:
            other.members[name].drain()
        if member.failed:
            other.members[name].fail()
    return other

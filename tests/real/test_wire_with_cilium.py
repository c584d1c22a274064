"""
Cilium's clustermesh-apiserver and kvstoremesh, on real API servers and etcds: what they write is read, what
is written here they take, and for the same objects both write the same.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

import fleetmesh as fm
from fleetmesh.errors import WireError
from fleetmesh.records import EndpointsRecord, ServiceRecord
from fleetmesh.state import codecs, keys
from fleetmesh.state.codecs import Exporter, zstd
from fleetmesh.state.etcd import EtcdStore
from fleetmesh.state.live import run
from real import servers
from real.clusters import Cluster, KubeControllerManager, KvStoreMesh
from real.etcd_server import Etcd

pytestmark = [
    pytest.mark.real(*servers.PACKAGES, "etcd-3.4"),
    pytest.mark.timeout(300),
]

OBJECTS = Path(__file__).parents[1] / "golden" / "kvstore-objects"
IDS = {"alpha": 1, "beta": 2, "gamma": 3}
FLAGS = {"gamma": ("--enable-cilium-endpoint-slice",)}
EXTERNAL = "shop/extname"  # of which Cilium's own readers refuse what Cilium writes
PATIENCE = 60.0  # seconds until what is written elsewhere never will be

Objects = list[dict[str, Any]]


def objects_of(name: str) -> Objects:
    return list(yaml.safe_load_all((OBJECTS / f"{name}.yaml").read_text()))


def started(folder: Path, name: str) -> Cluster:
    """A cluster with its objects, published by Cilium; gamma has everything switched on."""
    cluster = Cluster(folder / name, name, IDS[name], mcs_api=name == "gamma")
    cluster.api.apply(objects_of(name))
    cluster.publish(*FLAGS.get(name, ()))
    return cluster


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Cluster]]:
    folder = tmp_path_factory.mktemp("clusters")
    for name in ("etcd", "clustermesh-apiserver", "kube-apiserver"):
        servers.binary(name)
    with ExitStack() as stack, ThreadPoolExecutor(len(IDS)) as pool:
        starting = {name: pool.submit(started, folder, name) for name in IDS}
        yield {name: stack.enter_context(each.result()) for name, each in starting.items()}


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    server = Etcd(servers.binary("etcd"), tmp_path / "etcd")
    server.start()
    yield server
    server.stop()


def below(url: str, prefix: str) -> dict[str, bytes]:
    async def read() -> dict[str, bytes]:
        store = EtcdStore([url])
        try:
            return {each.key: each.value for each in (await store.list(prefix)).entries}
        finally:
            await store.aclose()

    return asyncio.run(read())


def plain(values: Mapping[str, bytes]) -> dict[str, bytes]:
    """
    What has to be the same: of slices what is compressed, of an ExternalName's Service all but the frontend
    without an address for which Cilium's own readers refuse it.
    """
    return {
        key: zstd.decompress(value)
        if "/endpointslices/" in key
        else value.replace(b'"frontends":{"":{}}', b'"frontends":{}')
        for key, value in values.items()
    }


def own_mesh(clusters: Mapping[str, Cluster]) -> fm.Mesh:
    """A mesh of the objects that the API servers have now."""
    mesh = fm.Mesh("m")
    for name, cluster in clusters.items():
        text = "".join(f"---\n{json.dumps(each)}\n" for each in cluster.api.objects(objects_of(name)))
        mesh.join(name, cluster_id=cluster.cluster_id).apply(text)
    return mesh


def without_derived(records: tuple[Any, ...]) -> list[Any]:
    """Cilium's operator, which makes Services of exports that are heard, runs in none of the clusters."""
    made = (ServiceRecord, EndpointsRecord)
    return [each for each in records if not (isinstance(each, made) and each.name.startswith("derived-"))]


def written_here(mesh: fm.Mesh, name: str) -> dict[str, bytes]:
    """The keys and values of a member's records."""
    records = without_derived(mesh.members[name].records())
    return plain({keys.key_of(each, cached=False): codecs.encode(each) for each in records})


def until(found: Callable[[], Any], expected: Callable[[], Any]) -> None:
    """Wait until two things are equal; they are compared once more to tell how they differ."""
    deadline = time.monotonic() + PATIENCE
    while found() != expected() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found() == expected()


def refusals(values: Mapping[str, bytes], cluster: str) -> dict[str, str]:
    """Key -> why, of those that Cilium's own decoders and validators refuse."""
    lines = [
        json.dumps(
            {
                "key": key,
                "value": base64.b64encode(value).decode(),
                "cluster": cluster,
                "clusterID": IDS[cluster],
            }
        )
        for key, value in values.items()
    ]
    done = subprocess.run(
        [servers.binary("kvstore")], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(lines), done.stderr
    return {each["key"]: each["err"] for each in answers if each["err"]}


# Both write the same


@pytest.mark.parametrize("name", IDS)
def test_of_the_same_objects_cilium_writes_the_same_keys_and_bytes(
    clusters: dict[str, Cluster], name: str
) -> None:
    mesh = own_mesh(clusters)
    assert len(written_here(mesh, name)) > 35

    until(lambda: plain(below(clusters[name].etcd, "cilium/state/")), lambda: written_here(mesh, name))


def test_what_changes_changes_alike(clusters: dict[str, Cluster]) -> None:
    """One change after the other, each seen in the etcd before the next, and back again."""
    alpha = {"alpha": clusters["alpha"]}
    api, etcd = clusters["alpha"].api, clusters["alpha"].etcd
    known = {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each
        for each in objects_of("alpha")
    }
    shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    closed = {
        **shop,
        "metadata": {"name": "shop", "annotations": {"clustermesh.cilium.io/global": "false"}},
    }
    not_shared = {"service.cilium.io/global": "true", "service.cilium.io/shared": "false"}
    plain_service = known["Service", "shop", "plain"]
    endpoint = known["CiliumEndpoint", "shop", "plain-0"]
    moved = {
        **endpoint["status"],
        "networking": {"addressing": [{"ipv4": "10.1.1.77"}], "node": "172.18.1.2"},
    }
    node = known["CiliumNode", "", "alpha-node-1"]
    rekeyed = {**node["spec"], "encryption": {"key": 9}, "health": {}}
    steps: list[Objects] = [
        [{**plain_service, "metadata": {**plain_service["metadata"], "annotations": not_shared}}],
        [{**endpoint, "status": moved}, {**node, "spec": rekeyed}],
        [closed],
        [shop, plain_service, endpoint, node],
    ]
    seen = set()
    for changed in steps:
        api.apply(changed)
        wanted = written_here(own_mesh(alpha), "alpha")
        seen.add(len(wanted))
        until(lambda: plain(below(etcd, "cilium/state/")), partial(dict, wanted))
    assert len(seen) > 2


# What Cilium writes is read


@pytest.mark.parametrize("name", IDS)
def test_what_cilium_writes_is_read_as_the_records_of_the_objects(
    clusters: dict[str, Cluster], name: str
) -> None:
    expected = without_derived(own_mesh(clusters).members[name].records())
    exporter = Exporter(name, IDS[name])
    external = keys.prefix("services", name, cached=False) + EXTERNAL

    def read() -> list[Any]:
        values = below(clusters[name].etcd, "cilium/state/")
        refused = values.pop(external)
        with pytest.raises(WireError, match="no IP address"):
            codecs.decode("services", EXTERNAL, refused, exporter)
        return [
            codecs.decode(kind, key.removeprefix(start), value, exporter)
            for kind in keys.KINDS
            if (start := keys.prefix(kind, name, cached=False))
            for key, value in values.items()
            if key.startswith(start)
        ]

    until(
        lambda: {keys.name_of(each): each for each in read()},
        lambda: {keys.name_of(each): each for each in expected if keys.name_of(each)[1] != EXTERNAL},
    )


def test_a_mesh_that_hears_cilium_sees_what_one_with_all_objects_sees(clusters: dict[str, Cluster]) -> None:
    whole = own_mesh(clusters)

    def seen(mesh: fm.Mesh) -> dict[str, Any]:
        return {
            name: mesh.service("shop", name).frontends(seen_from="alpha")
            for namespace, name in mesh.services("alpha")
            if namespace == "shop" and not name.startswith("derived-")
        }

    def decided(mesh: fm.Mesh) -> dict[str, Any]:
        found = {}
        for other in ("beta", "gamma"):
            for pod in ("plain-0", "mp-0"):
                end = mesh.decide("alpha/shop/plain-0", f"{other}/shop/{pod}", port=8080).destination
                found[f"{other}/{pod}"] = (end.identity, end.labels)
        return found

    async def listen() -> tuple[dict[str, Any], dict[str, Any]]:
        mesh = fm.Mesh("m")
        mesh.join("alpha", cluster_id=1).apply(list(whole.members["alpha"].resources.values()))
        stores = {name: EtcdStore([clusters[name].etcd]) for name in ("beta", "gamma")}
        async with AsyncExitStack() as stack:
            for store in stores.values():
                stack.push_async_callback(store.aclose)
            live = await stack.enter_async_context(run(mesh, store=stores))
            await asyncio.wait_for(live.synced(), PATIENCE)
            assert {name: each.phase for name, each in live.remotes.items()} == dict.fromkeys(stores, "ready")
            assert [each for each in live.findings if each.severity == "error"] == []
            return seen(mesh), decided(mesh)

    services, ends = asyncio.run(listen())

    assert services == seen(whole)
    assert ends == decided(whole)
    assert {number >> 16 for number, _ in ends.values()} == {2, 3}


# What is written here Cilium takes


@pytest.mark.parametrize("version", ["etcd", "etcd-3.4"])
def test_kvstoremesh_mirrors_what_is_published_here(
    clusters: dict[str, Cluster], version: str, tmp_path: Path
) -> None:
    whole = own_mesh(clusters)
    gamma = fm.Mesh("m")
    gamma.join("gamma", cluster_id=3).apply(list(whole.members["gamma"].resources.values()))
    remote, local = (Etcd(servers.binary(version), tmp_path / name) for name in ("remote", "local"))

    async def publish() -> None:
        store = EtcdStore([remote.url])
        try:
            async with run(gamma, store={"gamma": store}) as live:
                await asyncio.wait_for(live.synced(), PATIENCE)
        finally:
            await store.aclose()

    with ExitStack() as stack:
        for server in (remote, local):
            stack.callback(server.stop)
            server.start()
        mirror = KvStoreMesh(tmp_path / "mirror", "omega", 9, local.url)
        stack.callback(mirror.stop)
        mirror.add("gamma", remote.url)
        asyncio.run(publish())

        status = mirror.until_ready("gamma")
        published = below(remote.url, "cilium/")

        state = {key: value for key, value in published.items() if key.startswith("cilium/state/")}
        assert refusals(state, "gamma") == {}
        assert status["config"]["cluster-id"] == 3
        assert all(status["synced"].values())
        counted = {
            "num-nodes": "nodes",
            "num-identities": "identities",
            "num-endpoints": "ip",
            "num-shared-services": "services",
            "num-endpoint-slices": "endpointslices",
            "num-service-exports": "serviceexports",
        }
        for field, kind in counted.items():
            wanted = sum(key.startswith(f"cilium/state/{kind}/") for key in state)
            assert wanted > 0
            assert status[field] == wanted, field
        copies = {
            keys.key_of(each, cached=True): state[keys.key_of(each, cached=False)]
            for each in gamma.members["gamma"].records()
        }
        until(lambda: below(local.url, "cilium/cache/"), lambda: copies)

        # Beside the records: the same keys, and what the cluster says of itself.
        theirs = below(clusters["gamma"].etcd, "cilium/")
        for prefix in ("cilium/cluster-config/", "cilium/synced/"):
            assert {key for key in published if key.startswith(prefix)} == {
                key for key in theirs if key.startswith(prefix)
            }
        assert published["cilium/cluster-config/gamma"] == theirs["cilium/cluster-config/gamma"]


# What Kubernetes' controllers make of pods


def running_pod(name: str, node: str, *addresses: str, ready: bool = True, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {
            "nodeName": node,
            "containers": [
                {"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": 8080}]},
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": addresses[0],
            "podIPs": [{"ip": each} for each in addresses],
            "hostIP": "172.18.4.1",
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def test_what_is_made_of_pods_is_published_alike(tmp_path: Path) -> None:
    """By Kubernetes' own controllers, and by those of a mesh that has nothing but the pods."""
    node = {"topology.kubernetes.io/zone": "z1"}
    objects: Objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": node}},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2"}},
        running_pod("cart-0", "n1", "10.4.1.1", app="cart"),
        running_pod("cart-1", "n2", "10.4.1.2", "fd00:4::2", app="cart"),
        running_pod("cart-2", "n2", "10.4.1.3", app="cart", ready=False),
        running_pod("db-0", "n1", "10.4.1.4", app="db"),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "cart",
                "namespace": "shop",
                "annotations": {"service.cilium.io/global": "true"},
            },
            "spec": {
                "selector": {"app": "cart"},
                "ports": [{"name": "http", "port": 80, "targetPort": "web"}],
                "clusterIP": "10.99.0.9",
                "ipFamilyPolicy": "PreferDualStack",
            },
        },
    ]
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(tmp_path / "delta", "delta", 4))
        controllers = KubeControllerManager(tmp_path, cluster.api)
        stack.callback(controllers.stop)
        cluster.api.apply(objects)
        cluster.publish()

        def written(kind: str) -> dict[str, bytes]:
            return plain(below(cluster.etcd, f"cilium/state/{kind}/"))

        def made_here(kind: str, *, slices: bool) -> dict[str, bytes]:
            slice_kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
            found = cluster.api.objects([*objects, *([slice_kind] * slices)])
            mesh = fm.Mesh("m")
            text = "".join(f"---\n{json.dumps(each)}\n" for each in found)
            mesh.join("delta", cluster_id=4).apply(text)
            values = written_here(mesh, "delta")
            return {key: value for key, value in values.items() if key.startswith(f"cilium/state/{kind}/")}

        until(lambda: len(written("endpointslices")), lambda: 2)
        until(lambda: written("services"), lambda: made_here("services", slices=False))
        assert b"10.4.1.2" in written("services")["cilium/state/services/v1/delta/shop/cart"]
        assert written("services") == made_here("services", slices=True)
        until(lambda: written("endpointslices"), lambda: made_here("endpointslices", slices=True))

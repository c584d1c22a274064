"""
What decides in a mesh follows its changes: the same verdicts as one that is made anew of the same state.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import fleetmesh as fm
from fleetmesh.mesh.deciding import Deciding, decide, flow_of

CLUSTERS = {"east": 1, "west": 2}
APPS = ("web", "db", "cache")


def pod(cluster: str, app: str, version: int) -> dict[str, Any]:
    address = f"10.{CLUSTERS[cluster]}.0.{APPS.index(app) + 10}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": app, "namespace": "shop", "labels": {"app": app, "version": str(version)}},
        "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 80 + version}]}]},
        "status": {"podIP": address},
    }


def namespace(team: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": team}}}


def policy(name: str, app: str, peer: dict[str, Any], direction: str) -> dict[str, Any]:
    peers = {"fromEndpoints" if direction == "ingress" else "toEndpoints": [peer]}
    ports = {"toPorts": [{"ports": [{"port": "http"}]}]} if name == "b" else {}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"endpointSelector": {"matchLabels": {"app": app}}, direction: [peers | ports]},
    }


PEERS = st.sampled_from(
    [
        {"matchLabels": {"app": "web"}},
        {"matchLabels": {"version": "1"}},
        {"matchLabels": {"io.cilium.k8s.policy.cluster": "west"}},
        {"matchLabels": {"io.cilium.k8s.namespace.labels.team": "a"}},
        {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]},
    ]
)
DOCUMENTS = st.one_of(
    st.builds(pod, st.just("east"), st.sampled_from(APPS), st.integers(0, 1)),
    st.builds(namespace, st.sampled_from(["a", "b"])),
    st.builds(
        policy, st.sampled_from("ab"), st.sampled_from(APPS), PEERS, st.sampled_from(["ingress", "egress"])
    ),
)
STEPS = st.tuples(
    st.sampled_from(["apply", "apply", "delete", "leave", "fail", "ask"]), st.sampled_from(list(CLUSTERS))
)


def there(mesh: fm.Mesh, name: str, app: str) -> bool:
    return mesh.viewpoint().members[name]._store.pods.group("shop").get(app) is not None


def verdicts(mesh: fm.Mesh, fresh: bool) -> dict[str, Any]:
    pods = [f"{name}/shop/{app}" for name in mesh.members for app in APPS if there(mesh, name, app)]
    anew = Deciding(mesh.viewpoint(), {}) if fresh else None
    found = {}
    for source in pods:
        for destination in [*pods, "ip:10.1.0.10", "ip:192.0.2.1"]:
            for port in (80, 81):
                if anew is None:
                    decision = mesh.decide(source, destination, port=port)
                else:
                    decision = decide(mesh, anew, source, destination, flow_of("TCP", port))
                sides = [
                    each and (each.verdict, each.enforced, each.matched)
                    for each in (decision.egress, decision.ingress)
                ]
                found[f"{source} {destination} {port}"] = (decision.verdict, *sides, decision.source.identity)
    return found


def check_reachability(mesh: fm.Mesh) -> None:
    pods = [f"{name}/shop/{app}" for name in mesh.members for app in APPS if there(mesh, name, app)]
    matrix = mesh.reachability()
    for port in (80, 81):
        for one, other, verdict in matrix.pairs(port=port):
            assert verdict == mesh.decide(one, other, port=port).verdict
    for end in [*pods, *(f"host:{name}" for name in mesh.members), "ip:10.1.0.10", "ip:192.0.2.1"]:
        for port in (80, 81):
            others = [pod for pod in pods if pod != end]
            to = mesh.reachability(to=end, port=port)
            assert dict(to.pairs()) == {pod: mesh.decide(pod, end, port=port).verdict for pod in others}
            source = mesh.reachability(source=end, port=port)
            assert dict(source.pairs()) == {pod: mesh.decide(end, pod, port=port).verdict for pod in others}


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_what_decides_follows_the_changes_of_its_mesh(data: st.DataObject) -> None:
    mesh = fm.Mesh("shop")
    for kind, name in data.draw(st.lists(STEPS, min_size=3, max_size=12)):
        if name not in mesh.members:
            number = CLUSTERS[name]
            mesh.join(name, cluster_id=number, pod_cidrs=[f"10.{number}.0.0/16"])
            for app in APPS[:2]:
                mesh.members[name].apply(f"---\n{json.dumps(pod(name, app, 0))}\n")
        member = mesh.members[name]
        if kind == "leave":
            mesh.leave(name)
        elif kind == "fail":
            member.fail() if not mesh.viewpoint().members[name].failed else member.restore()
        elif kind in ("apply", "delete"):
            document = data.draw(DOCUMENTS)
            if document["kind"] == "Pod":
                document = pod(
                    name, document["metadata"]["name"], int(document["metadata"]["labels"]["version"])
                )
            resources = fm.load_manifests(f"---\n{json.dumps(document)}\n")
            (member.apply if kind == "apply" else member.delete)(resources)
        if kind == "ask":
            assert verdicts(mesh, fresh=False) == verdicts(mesh, fresh=True)
            mesh.reachability()  # and what is worked out for it has to follow, too
    assert verdicts(mesh, fresh=False) == verdicts(mesh, fresh=True)
    assert verdicts(mesh.fork(), fresh=False) == verdicts(mesh, fresh=True)
    check_reachability(mesh)

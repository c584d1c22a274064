"""
Who can reach whom in a mesh at the size of the issue: 255 clusters x 200 workloads, 500 policies in each.

    python benchmarks/reachability.py [--clusters N] [--pairs N]

Prints the seconds and megabytes of declaring all of it, of the matrix when it is first asked for (policies
are read and compiled then), when everything is there, and after changes; of one end; and of counting all
pairs. Then asks for random pairs of pods at random ports, and stops if one differs from `Mesh.decide`.

Each cluster has 10 namespaces of 20 workloads: a default deny, DNS, who calls whom by app, calls from other
clusters by name or from any, ranges of ports, HTTP rules, and denies; the same everywhere but for names of
clusters.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from typing import Any

from measuring import timed

import fleetmesh as fm

NAMESPACES, APPS = 10, 20
CLUSTER = "io.cilium.k8s.policy.cluster"
NAMESPACE = "k8s:io.kubernetes.pod.namespace"
PORTS = (53, 80, 443, 5432, 8080, 8443, 9090, 9100)


def cluster(number: int) -> str:
    return f"c{number:03}"


def pods(number: int) -> Iterator[dict[str, Any]]:
    for space in range(NAMESPACES):
        yield {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": f"team-{space}", "labels": {"team": f"{space}", "tier": f"{space % 3}"}},
        }
        for app in range(APPS):
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"app-{app}",
                    "namespace": f"team-{space}",
                    "labels": {"app": f"app-{app}", "role": f"{app % 4}", "version": f"v{number % 7}"},
                },
                "spec": {"containers": [{"name": "main", "image": "it", "ports": [{"containerPort": 8080}]}]},
                "status": {"podIP": f"10.{number}.{space}.{app + 10}"},
            }


def policy(space: int, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": f"team-{space}"},
        "spec": spec,
    }


def app(number: int) -> dict[str, Any]:
    return {"matchLabels": {"app": f"app-{number % APPS}"}}


def ports(*numbers: int, end: int = 0, http: str = "") -> list[dict[str, Any]]:
    entries = [{"port": str(each), "protocol": "TCP"} | ({"endPort": end} if end else {}) for each in numbers]
    return [{"ports": entries} | ({"rules": {"http": [{"method": "GET", "path": http}]}} if http else {})]


def policies(number: int, clusters: int) -> Iterator[dict[str, Any]]:
    """50 for each namespace."""
    for space in range(NAMESPACES):
        yield {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "default-deny", "namespace": f"team-{space}"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
        }
        dns = {"matchLabels": {NAMESPACE: "team-0", "app": "app-0"}}
        udp = [{"ports": [{"port": "53", "protocol": "UDP"}], "rules": {"dns": [{"matchPattern": "*"}]}}]
        before = {"matchLabels": {NAMESPACE: f"team-{(space - 1) % NAMESPACES}"}}
        rules = [
            {"toEndpoints": [dns], "toPorts": udp},
            {"toEndpoints": [before], "toPorts": ports(8443)},
        ]
        yield policy(space, "everybody", endpointSelector={}, egress=rules)
        for each in range(APPS):
            callers = [app(each + 1), app(each + 7)]
            called = [app(each - 1), app(each - 7)]
            yield policy(
                space,
                f"to-{each}",
                endpointSelector=app(each),
                ingress=[{"fromEndpoints": callers, "toPorts": ports(8080, 9090)}],
            )
            yield policy(
                space,
                f"from-{each}",
                endpointSelector=app(each),
                egress=[{"toEndpoints": called, "toPorts": ports(8080, 9090)}],
            )
        near = [cluster((number + step) % clusters + 1) for step in range(3)]
        by_name = {"matchExpressions": [{"key": CLUSTER, "operator": "In", "values": near}]}
        anywhere = {"matchExpressions": [{"key": CLUSTER, "operator": "Exists"}]}
        for each, way, peers in ((2, "ingress", by_name), (3, "egress", by_name), (4, "ingress", anywhere)):
            side = "fromEndpoints" if way == "ingress" else "toEndpoints"
            peer = {"matchLabels": {"app": f"app-{5 - each % 2}"}} | peers
            spec = {way: [{side: [peer], "toPorts": ports(5432)}]}
            yield policy(space, f"far-{each}", endpointSelector=app(each), **spec)
        for each in (8, 9):
            yield policy(
                space,
                f"range-{each}",
                endpointSelector=app(each),
                ingress=[{"fromEndpoints": [{}], "toPorts": ports(9000, end=9200)}],
            )
        for each in (10, 11):
            peers = {"matchLabels": {NAMESPACE: f"team-{(space + 1) % NAMESPACES}"}}
            yield policy(
                space,
                f"http-{each}",
                endpointSelector=app(each),
                ingress=[{"fromEndpoints": [peers], "toPorts": ports(8443, http="/public/.*")}],
            )
        yield policy(
            space,
            "deny",
            endpointSelector={"matchLabels": {"role": "1"}},
            ingressDeny=[{"fromEndpoints": [{"matchLabels": {"role": "3"}}], "toPorts": ports(9100)}],
        )


def text(documents: Iterator[dict[str, Any]]) -> str:
    return "---\n" + "\n---\n".join(map(json.dumps, documents)) + "\n"


def declared(clusters: int) -> fm.Mesh:
    mesh = fm.Mesh("scale")
    for number in range(1, clusters + 1):
        member = mesh.join(cluster(number), cluster_id=number, pod_cidrs=[f"10.{number}.0.0/16"])
        member.apply(text(pods(number)) + text(policies(number, clusters)))
    return mesh


def pod(choose: random.Random, clusters: int) -> str:
    space, app = choose.randrange(NAMESPACES), choose.randrange(APPS)
    return f"{cluster(choose.randint(1, clusters))}/team-{space}/app-{app}"


def compare(mesh: fm.Mesh, clusters: int, pairs: int) -> None:
    """Random pairs at random ports, of the matrix and decided one by one."""
    matrix = mesh.reachability()
    choose = random.Random(1)
    found = dict.fromkeys(("allow", "redirect", "deny"), 0)
    spent = 0.0
    for at in range(pairs):
        source, destination = (pod(choose, clusters) for _ in range(2))
        protocol, port = choose.choice(["TCP", "TCP", "TCP", "UDP", "ICMP"]), choose.choice(PORTS)
        if at % 2:
            # Nearly all pairs of a mesh are denied; of every other one something passes.
            cell = choose.choice(list(matrix.cells(source=source)))
            destination = choose.choice(choose.choice(cell.destinations).pods)
            span = choose.choice(cell.spans)
            protocol, port = span.protocol, choose.choice([span.first, span.last])
        began = time.perf_counter()
        verdict = matrix.verdict(source, destination, protocol=protocol, port=port)
        spent += time.perf_counter() - began
        decided = mesh.decide(source, destination, protocol=protocol, port=port).verdict
        if verdict != decided:
            pair = f"{source} to {destination} at {protocol} {port}"
            raise SystemExit(f"{pair}: {verdict} in the matrix, {decided} decided")
        found[verdict] += 1
    print(f"{pairs} random pairs equal decide: {found}; {spent / pairs * 1e6:.1f} us each in the matrix")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clusters", type=int, default=255)
    parser.add_argument("--pairs", type=int, default=1000)
    asked = parser.parse_args()
    with timed("declare"):
        mesh = declared(asked.clusters)
    with timed("matrix, the first question"):
        matrix = mesh.reachability()
    sides, peers = matrix._core.size()
    print(f"{len(matrix)} classes, {sides} different sides with {peers} peers")
    with timed("matrix at one port, all is there"):
        narrow = mesh.reachability(port=8080)
    print(f"{len(narrow)} classes")
    member = mesh.members[cluster(1)]
    member.apply(text(iter([policy(1, "dns", endpointSelector={}, egress=[{"toEntities": ["all"]}])])))
    with timed("matrix after one policy changed"):
        mesh.reachability()
    end = f"{cluster(asked.clusters)}/team-1/app-4"
    with timed("who can reach one pod"):
        print(len(mesh.who_can_reach(end, port=5432)), "pods")
    with timed("who can reach a node"):
        print(len(mesh.who_can_reach(f"host:{cluster(1)}")), "pods")
    with timed("all pairs of pods counted at one port"):
        print({verdict: f"{count:,}" for verdict, count in matrix.counts(port=8080).items()})
    compare(mesh, asked.clusters, asked.pairs)


if __name__ == "__main__":
    main()

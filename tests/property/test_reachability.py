"""
The matrix of a mesh says of every pair of pods at every port what `decide` says of it.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import fleetmesh as fm
from doubles.effort import examples
from doubles.policy_fleets import PORTS, cases

ASKED = [*(("TCP", port) for port in PORTS), ("UDP", 53), ("SCTP", 80), ("ICMP", 8), ("ICMP", 3)]

ENDS = ["cluster1/prod/web", "cluster1/prod/agent", "cluster2/prod/edge", "host:cluster2", "ip:203.0.113.200"]


def more_pods(cluster: int) -> str:
    """A replica of another pod, one in the node's network, one in a network that rules name."""
    pods = {
        "web-2": ({"app": "web", "tier": "front"}, {}, f"10.{cluster}.0.30"),
        "agent": ({"app": "agent"}, {"hostNetwork": True}, f"192.168.{cluster}.1"),
        "edge": ({"app": "web"}, {}, f"203.0.113.{cluster}"),
    }
    documents = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "prod", "labels": labels},
            "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
            "status": {"podIP": address},
        }
        for name, (labels, spec, address) in pods.items()
    ]
    return "\n---\n".join(map(json.dumps, documents))


def pods_of(mesh: fm.Mesh) -> list[str]:
    return [
        f"{member.name}/{namespace}/{name}"
        for member in mesh.viewpoint().members.values()
        for namespace, pods in member._store.pods.items()
        for name in pods
    ]


def by_pairs(mesh: fm.Mesh, protocol: str, port: int) -> dict[tuple[str, str], str]:
    """The matrix, the slow way."""
    pods = pods_of(mesh)
    return {
        (source, to): mesh.decide(source, to, protocol=protocol, port=port).verdict
        for source in pods
        for to in pods
        if source != to
    }


def check(mesh: fm.Mesh, *asked: tuple[str, int]) -> None:
    matrix = mesh.reachability()
    assert sorted(pod for each in matrix.classes for pod in each.pods) == sorted(pods_of(mesh))
    whole = {}
    for protocol, port in asked:
        wanted = by_pairs(mesh, protocol, port)
        found = {(one, other): verdict for one, other, verdict in matrix.pairs(protocol=protocol, port=port)}
        assert found == wanted, (protocol, port)
        narrow = mesh.reachability(protocol=protocol, port=port)
        assert {(one, other): verdict for one, other, verdict in narrow.pairs()} == wanted
        verdicts = list(wanted.values())
        counts = {each: verdicts.count(each) for each in ("deny", "redirect", "allow")}
        assert counts == narrow.counts() == matrix.counts(protocol=protocol, port=port)
        for (one, other), verdict in wanted.items():
            assert matrix.verdict(one, other, protocol=protocol, port=port) == verdict
            whole[one, other, protocol, port] = verdict
    passing = {}
    for cell in matrix.cells():
        for one, other in cell.pairs():
            assert matrix.spans(one, other) == cell.spans
            passing[one, other] = cell.spans
    for (one, other, protocol, port), verdict in whole.items():
        found_at = [
            span.verdict
            for span in passing.get((one, other), ())
            if span.protocol == protocol and span.first <= port <= span.last
        ]
        assert found_at == ([verdict] if (one, other) in passing else []), (one, other, protocol, port)
        assert (one, other) in passing or verdict == "deny"


def check_end(mesh: fm.Mesh, end: str, protocol: str, port: int) -> None:
    others = [pod for pod in pods_of(mesh) if pod != end]
    to = mesh.reachability(to=end, protocol=protocol, port=port)
    source = mesh.reachability(source=end, protocol=protocol, port=port)
    for pod in others:
        there = mesh.decide(pod, end, protocol=protocol, port=port)
        back = mesh.decide(end, pod, protocol=protocol, port=port)
        assert dict(to.pairs())[pod] == there.verdict, (pod, end)
        assert dict(source.pairs())[pod] == back.verdict, (end, pod)
        group = next(each for each in to.groups if pod in each.pods)
        if there.ingress is not None:
            assert (group.identity, group.labels) == (there.source.identity, there.source.labels)
    assert set(to.allowed) == {pod for pod, verdict in to.pairs() if verdict != "deny"}
    assert set(to.denied) == set(others) - set(to.allowed)


@settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(data=st.data())
def test_the_matrix_says_what_is_decided(data: st.DataObject) -> None:
    case: dict[str, Any] = data.draw(cases())
    first_asked, asked = data.draw(st.sampled_from(ASKED)), data.draw(st.sampled_from(ASKED))
    end = data.draw(st.sampled_from(ENDS))
    mode: Literal["cilium", "strict"] = data.draw(st.sampled_from(["cilium", "cilium", "strict"]))
    apart = data.draw(st.sampled_from([False, False, True]))
    topology = fm.Topology.pairs([]) if apart else fm.Topology.full()
    fails = data.draw(st.booleans())
    mesh = fm.Mesh("random", mode=mode, topology=topology)
    mesh.dns.update(case["dns"])
    late = []
    for name, declared in case["clusters"].items():
        member = mesh.join(name, cluster_id=declared["id"], settings=fm.ClusterSettings(**declared["config"]))
        *first, last = declared["manifests"].split("\n---\n")
        member.apply("\n---\n".join([*first, more_pods(declared["id"])]))
        late.append((member, last))
        note(declared["config"])
        note("\n".join(each for each in (*first, last) if "Policy" in each))
    check(mesh, first_asked)
    for member, document in late:
        member.apply(f"---\n{document}\n")
    check(mesh, asked)
    check_end(mesh, end, *asked)
    if fails:
        mesh.members["cluster2"].fail()
    else:
        mesh.members["cluster1"].delete(fm.load_manifests(f"---\n{late[0][1]}\n"))
    check(mesh, asked)

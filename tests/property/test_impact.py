"""
What `compare` says of flows is what asking about every pair at every port in both states says.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import fleetmesh as fm
from doubles.effort import examples
from doubles.flow_changes import expanded, inside_of, ports_to_ask, turned, turned_outside, verdict
from doubles.policy_fleets import (
    ADDRESSES,
    CLUSTERS,
    DNS,
    cilium_policies,
    cluster_policies,
    configs,
    network_policies,
    population,
)

KEPT = {"Namespace", "Node", "CiliumCIDRGroup", "Service"}
PARTS = {"pod": "Pod", "label": "Pod", "space": "Namespace"}
TOPOLOGIES = [fm.Topology.full(), fm.Topology.full(), fm.Topology.pairs([])]
KINDS = ("policy", "policy", "policy", *PARTS, "config", "topology", "failed", "dns", "leave")
LABELS: list[dict[str, str]] = [
    {},
    {"app": "web"},
    {"app": "db", "tier": "back"},
    {"env": "dev"},
    {"team": "a"},
]
Fleet = dict[str, Any]


@st.composite
def policies(draw: st.DrawFn, name: str) -> dict[str, Any]:
    kinds = [cilium_policies(name, auth=False), network_policies(name), cluster_policies(name)]
    found: dict[str, Any] = draw(st.one_of(kinds[0], *kinds))
    return found


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Two clusters of few pods: documents, settings, who hears whom, what names have resolved to."""
    clusters = {}
    for number, name in enumerate(CLUSTERS, 1):
        everything = population(number)
        pods = draw(
            st.lists(
                st.sampled_from([each for each in everything if each["kind"] == "Pod"]),
                max_size=3,
                unique_by=str,
            )
        )
        chosen = [draw(policies(f"p{at}")) for at in range(draw(st.integers(0, 2)))]
        documents = [each for each in everything if each["kind"] in KEPT] + pods + chosen
        clusters[name] = {"id": number, "config": draw(configs), "documents": documents}
    return {"clusters": clusters, "topology": draw(st.sampled_from(TOPOLOGIES)), "failed": [], "dns": {}}


@st.composite
def changed(draw: st.DrawFn, fleet: Fleet) -> Fleet:
    """The same with one thing another, or a few."""
    other: Fleet = json.loads(json.dumps(fleet | {"topology": None}))
    other["topology"] = fleet["topology"]
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(CLUSTERS))
        cluster = other["clusters"].get(name)
        kinds = [
            "policy",
            "policy",
            "policy",
            "pod",
            "label",
            "space",
            "config",
            "topology",
            "failed",
            "dns",
            "leave",
        ]
        kind = draw(st.sampled_from(kinds))
        if kind == "topology":
            other["topology"] = draw(st.sampled_from(TOPOLOGIES))
        elif kind == "dns":
            other["dns"] = draw(st.sampled_from([DNS, {"api.example.com": ["203.0.113.7", "10.1.0.10"]}]))
        elif kind == "failed" and name in other["clusters"]:
            other["failed"] = [name]
        elif kind == "leave":
            other["clusters"].pop(name, None)
        elif cluster is not None:
            draw(documents_changed(cluster, kind))
    return other


@st.composite
def documents_changed(draw: st.DrawFn, cluster: dict[str, Any], kind: str) -> None:
    documents = cluster["documents"]
    found = [
        each
        for each in documents
        if each["kind"] == {"pod": "Pod", "label": "Pod", "space": "Namespace"}.get(kind)
    ]
    if kind == "config":
        cluster["config"] = draw(configs)
    elif kind == "policy":
        name = draw(st.sampled_from(["p0", "p1", "p2"]))
        documents[:] = [each for each in documents if each["metadata"]["name"] != name]
        if draw(st.booleans()):
            documents.append(draw(policies(name)))
    elif found and kind == "pod":
        documents.remove(draw(st.sampled_from(found)))
    elif found:
        draw(st.sampled_from(found))["metadata"]["labels"] = draw(st.sampled_from(LABELS))


def made(fleet: Fleet) -> fm.Mesh:
    mesh = fm.Mesh("random", topology=fleet["topology"])
    for name, cluster in fleet["clusters"].items():
        mesh.join(
            name,
            cluster_id=cluster["id"],
            pod_cidrs=[f"10.{cluster['id']}.0.0/16"],
            settings=fm.ClusterSettings.from_mapping(cluster["config"]),
        ).apply(text_of(cluster["documents"]))
    for name in fleet["failed"]:
        if name in mesh.members:
            mesh.members[name].fail()
    for name, addresses in fleet["dns"].items():
        mesh.dns[name] = addresses
    return mesh


def text_of(documents: list[dict[str, Any]]) -> str:
    return "\n---\n".join(map(json.dumps, documents)) + "\n"


def check(before: fm.Mesh, after: fm.Mesh) -> None:
    flows = before.compare(after).flows
    asked = ports_to_ask(before, after)
    found = list(expanded(flows, asked))
    inside = inside_of(before) | inside_of(after)
    named = turned_outside(before, after, asked, ADDRESSES)

    assert len(dict(found)) == len(found)
    assert {key: value for key, value in found if {*key[:2]} <= inside} == turned(before, after, asked)
    assert {key: dict(found).get(key) for key in named} == named
    for change in flows:
        assert change.witness in set(change.each_pair())
        assert change.pairs == sum(1 for _ in change.each_pair())
        for mesh, said in ((before, change.before), (after, change.after)):
            assert verdict(mesh, *change.witness, change.protocol, change.port) == said


@settings(deadline=None, max_examples=examples(6))
@given(data=st.data())
def test_flows_gained_and_lost_are_those_that_each_pair_tells(data: st.DataObject) -> None:
    before = data.draw(fleets())
    after = data.draw(changed(before))

    check(made(before), made(after))

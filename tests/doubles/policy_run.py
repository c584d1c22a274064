"""
Carries out a history of `doubles.fleet_histories` on a mesh, as users would, and keeps what is declared in
plain sight, so that the same fleet can be made anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

import fleetmesh as fm
from doubles.fleet_histories import ENTITIES, Document, History, Start, Step, some_flows
from doubles.policy_fleets import ADDRESSES
from fleetmesh.mesh.deciding import Deciding, decide, flow_of

Key = tuple[str, str, str]


def key_of(document: Document) -> Key:
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", ""), metadata["name"]


def is_policy(document: Document) -> bool:
    return "Policy" in document["kind"]


def text_of(documents: Iterable[Document]) -> str:
    return "".join(f"---\n{json.dumps(each)}\n" for each in documents)


@attrs.define
class Declared:
    """
    What is declared of a cluster.

    Attributes:
        left: The member as it left, if it did.
    """

    number: int
    config: dict[str, Any]
    documents: dict[Key, Document]
    joined: bool = False
    failed: bool = False
    left: fm.Member | None = None

    @classmethod
    def of(cls, start: Start) -> Declared:
        documents = {key_of(each): each for each in start.documents}
        return cls(start.number, start.config, documents)

    def policies(self) -> list[Document]:
        return [each for each in self.documents.values() if is_policy(each)]


class PolicyRun:
    """
    Attributes:
        mesh: Which everything is done to, and which is asked in between.
        behind: Forks, or what was gone on from with a fork, each with flows and what was decided on them.
    """

    def __init__(self, history: History, **how: Any) -> None:
        self._how = how
        self.mesh = fm.Mesh("fleet", **how)
        self.dns: dict[str, list[str]] = {}
        self.declared = {name: Declared.of(start) for name, start in history.clusters.items()}
        self.behind: list[tuple[fm.Mesh, list[dict[str, Any]], list[Any]]] = []
        for name, start in history.clusters.items():
            if start.joined:
                self._join(name)

    # Steps

    def take(self, step: Step) -> None:
        """All but `ask`, which is for a test; what is about a cluster that is not there is passed over."""
        match step.what:
            case "learn":
                self.dns[step.name] = self.mesh.dns[step.name] = step.given
                return
            case "fork":
                self._fork(onwards=step.given)
                return
        declared = self.declared[step.cluster]
        if step.what == "join" and not declared.joined:
            if step.given is not None:
                declared.number, declared.config, lost = step.given
                left = [each for at, each in enumerate(declared.documents.items()) if at not in lost]
                declared.documents, declared.left = dict(left), None
            self._join(step.cluster)
        if not declared.joined:
            return
        match step.what:
            case "apply" | "delete":
                self._set(step.cluster, step.given, present=step.what == "apply")
            case "policy":
                self._set(step.cluster, self._in_place(declared, step), present=True)
            case "withdraw":
                there = declared.policies()
                if there:
                    self._set(step.cluster, there[(step.place or 0) % len(there)], present=False)
            case "leave":
                declared.joined = declared.failed = False
                declared.left = self.mesh.leave(step.cluster)
            case "fail" | "restore":
                declared.failed = step.what == "fail"
                getattr(self.mesh.members[step.cluster], step.what)()

    def _join(self, name: str) -> None:
        declared = self.declared[name]
        declared.joined = True
        if declared.left is not None:
            self.mesh.join(declared.left)
            return
        settings = fm.ClusterSettings(**declared.config)
        member = self.mesh.join(name, cluster_id=declared.number, settings=settings)
        member.apply(text_of(declared.documents.values()))

    def _set(self, name: str, document: Document, *, present: bool) -> None:
        documents, member = self.declared[name].documents, self.mesh.members[name]
        if present:
            documents[key_of(document)] = document
            member.apply(text_of([document]))
        else:
            documents.pop(key_of(document), None)
            member.delete(text_of([document]))

    @staticmethod
    def _in_place(declared: Declared, step: Step) -> Document:
        """The policy that a step gives, as another version of one that is there."""
        document: Document = step.given
        alike = [each for each in declared.policies() if each["kind"] == document["kind"]]
        if step.place is None or not alike:
            return document
        return document | {"metadata": alike[step.place % len(alike)]["metadata"]}

    def _fork(self, *, onwards: bool) -> None:
        fork = self.mesh.fork()
        flows = self.flows(len(self.behind), 10)
        stays = self.mesh if onwards else fork
        self.behind.append((stays, flows, decisions(stays, flows)))
        if onwards:
            self.mesh = fork
            for declared in self.declared.values():
                declared.left = None

    # Questions

    def flows(self, seed: int, count: int) -> list[dict[str, Any]]:
        """Between what there is."""
        members = self.mesh.members
        pods = [f"{name}/{pod.namespace}/{pod.name}" for name, each in members.items() for pod in each.pods]
        own = [
            address for each in members.values() for pod in each.pods[::2] for address in pod.addresses[:1]
        ]
        others = [
            *(f"ip:{address}" for address in (*ADDRESSES, *own)),
            *(f"entity:{name}" for name in ENTITIES),
        ]
        return some_flows(seed, [*pods, *(f"host:{name}" for name in members)], others, count)

    def case(self, flows: list[dict[str, Any]]) -> dict[str, Any]:
        """The fleet that there is now, in golden/policy.json's schema."""
        clusters = {
            name: {
                "id": each.number,
                "config": each.config,
                "manifests": "\n---\n".join(json.dumps(document) for document in each.documents.values()),
            }
            for name, each in self.declared.items()
            if each.joined
        }
        return {"id": "history", "clusters": clusters, "dns": self.dns, "queries": flows}

    def rebuilt(self) -> fm.Mesh:
        """Another mesh that is declared as this one is now."""
        other = fm.Mesh("fleet", **self._how, allocations=self.mesh.allocations)
        for name, address in self.dns.items():
            other.dns[name] = address
        for name, each in self.declared.items():
            if not each.joined:
                continue
            settings = fm.ClusterSettings(**each.config)
            member = other.join(name, cluster_id=each.number, settings=settings)
            member.apply(text_of(each.documents.values()))
            if each.failed:
                member.fail()
        return other

    def holds_on(self) -> bool:
        """Whether anything is in force that is declared no more, as rules since are in conflict."""
        return any(len(each._store.held) for each in self.mesh.viewpoint().members.values())


def decisions(mesh: fm.Mesh, flows: Iterable[Mapping[str, Any]]) -> list[Any]:
    """What a mesh decides on each flow, as it has it."""
    return [_comparable(mesh.decide(flow["from"], flow["to"], **_asked(flow))) for flow in flows]


def decisions_anew(mesh: fm.Mesh, flows: Iterable[Mapping[str, Any]]) -> list[Any]:
    """The same by what is made for this question alone."""
    anew = Deciding(mesh.viewpoint(), mesh.dns.parsed())
    found = []
    for flow in flows:
        asked = _asked(flow)
        checked = flow_of(asked.pop("protocol"), asked.pop("port"), **asked)
        found.append(_comparable(decide(mesh, anew, flow["from"], flow["to"], checked)))
    return found


def _asked(flow: Mapping[str, Any]) -> dict[str, Any]:
    l7 = {name: flow[name] for name in ("http", "dns_query") if name in flow}
    return {"protocol": flow["proto"], "port": flow["port"], **l7}


def _comparable(decision: Any) -> Any:
    """All but the numbers of identities: those of addresses are given in the order in which they are met."""
    ends = [(each.name, each.labels, each.because) for each in (decision.source, decision.destination)]
    return decision.verdict, decision.egress, decision.ingress, ends

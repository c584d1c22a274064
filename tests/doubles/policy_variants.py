"""
The same policies said otherwise, and others made of them, as golden/policy.json's documents have them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Document = dict[str, Any]

DIRECTIONS = ("ingress", "egress")
DENIALS = ("ingressDeny", "egressDeny")
CLUSTER_POLICY = "ClusterNetworkPolicy"


def is_cilium(document: Document) -> bool:
    return str(document["kind"]).startswith("Cilium") and "Policy" in document["kind"]


# Whom they are about


def of_everybody(document: Document) -> Document:
    """With all that it may have as its subject."""
    everybody: Document = {"namespaces": {}} if document["kind"] == CLUSTER_POLICY else {}
    subjects = ("endpointSelector", "nodeSelector", "podSelector", "subject")
    spec = {name: everybody if name in subjects else each for name, each in document["spec"].items()}
    return document | {"spec": spec}


def at_all_ports(document: Document) -> Document:
    """With rules that are about every port."""
    spec = {
        name: [_without(rule, "toPorts", "icmps", "ports", "protocols") for rule in each]
        if name in (*DIRECTIONS, *DENIALS)
        else each
        for name, each in document["spec"].items()
    }
    return document | {"spec": spec}


# What they do


def allowing(document: Document) -> Document:
    """All that it denies or passes on is accepted."""
    spec = dict(document["spec"])
    if document["kind"] == CLUSTER_POLICY:
        for direction in DIRECTIONS:
            spec[direction] = [each | {"action": "Accept"} for each in spec.get(direction) or ()]
    for direction in DIRECTIONS:
        denied = spec.pop(f"{direction}Deny", None)
        if denied is not None:
            spec[direction] = [*spec.get(direction, ()), *denied]
    return document | {"spec": spec}


def denying(document: Document) -> Document:
    """All that it accepts is denied, as far as denials can say that. Of a NetworkPolicy there is none."""
    spec = dict(document["spec"])
    if document["kind"] == CLUSTER_POLICY:
        for direction in DIRECTIONS:
            spec[direction] = [each | {"action": "Deny"} for each in spec.get(direction) or ()]
        return document | {"spec": spec}
    for direction in DIRECTIONS:
        allowed = [_denied(each) for each in spec.pop(direction, ())]
        if allowed:
            spec[f"{direction}Deny"] = [*spec.get(f"{direction}Deny", ()), *allowed]
    return document | {"spec": spec}


def _denied(rule: Document) -> Document:
    """Names, Services, requests and authentication are nothing that is denied."""
    left = _without(rule, "toFQDNs", "toServices", "authentication")
    if "toPorts" in left:
        left["toPorts"] = [{"ports": each["ports"]} for each in left["toPorts"]]
    return left


def without_isolation(document: Document) -> Document:
    """The same, but that it isolates nobody."""
    return document | {"spec": document["spec"] | {"enableDefaultDeny": dict.fromkeys(DIRECTIONS, False)}}


def without_authentication(document: Document) -> Document:
    """The same, but that nobody is asked who they are."""
    spec = {
        name: [_without(rule, "authentication") for rule in each] if name in DIRECTIONS else each
        for name, each in document["spec"].items()
    }
    return document | {"spec": spec}


def _without(rule: Document, *names: str) -> Document:
    return {name: each for name, each in rule.items() if name not in names}


def isolating() -> list[Document]:
    """Which isolate everything, in both directions, and allow nothing."""
    rules: Document = {"ingress": [{}], "egress": [{}]}
    return [
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumClusterwideNetworkPolicy",
            "metadata": {"name": f"isolate-{subject.lower()}"},
            "spec": {subject: {}} | rules,
        }
        for subject in ("endpointSelector", "nodeSelector")
    ]


# Their names


def renamed(documents: Sequence[Document]) -> list[Document]:
    """With other names, such that the last of a kind becomes the first."""
    return [
        each | {"metadata": each["metadata"] | {"name": f"z{len(documents) - at:02}"}}
        for at, each in enumerate(documents)
    ]


# Ranges of ports


def ranged(document: Document, drawn: random.Random) -> Document:
    """Single ports become ranges around them, but those of DNS rules, which are about one port each."""

    def around(first: int, last: int) -> list[tuple[int, int]]:
        return [(max(1, first - drawn.randrange(2000)), min(65535, last + drawn.randrange(2000)))]

    return _with_ports(document, around)


def by_ports(document: Document) -> Document:
    """Rules that name ports are about all peers."""
    peers = ("Endpoints", "Entities", "CIDR", "CIDRSet", "FQDNs", "Services", "")
    named = {way + peer for way in ("from", "to") for peer in peers}
    everybody: Document = {} if document["kind"] != CLUSTER_POLICY else {"namespaces": {}}

    def about_all(rule: Document) -> Document:
        if not any(name in rule for name in ("toPorts", "ports", "protocols")):
            return rule
        left = _without(rule, *named)
        return left | {name: [everybody] for name in named & set(rule)} if everybody else left

    spec = {
        name: list(map(about_all, each)) if name in (*DIRECTIONS, *DENIALS) else each
        for name, each in document["spec"].items()
    }
    return document | {"spec": spec}


def split(document: Document, drawn: random.Random) -> Document:
    """Each range of ports becomes two, one beside the other."""

    def halves(first: int, last: int) -> list[tuple[int, int]]:
        if first == last:
            return [(first, last)]
        middle = drawn.randrange(first, last)
        return [(first, middle), (middle + 1, last)]

    return _with_ports(document, halves)


def _with_ports(document: Document, change: Any) -> Document:
    spec = dict(document["spec"])
    for name in (*DIRECTIONS, *DENIALS):
        if name in spec:
            spec[name] = [_rule_with_ports(each, change) for each in spec[name]]
    return document | {"spec": spec}


def _rule_with_ports(rule: Document, change: Any) -> Document:
    found = dict(rule)
    for name, read, write in (
        ("ports", _port, _port_of),
        ("protocols", _protocol, _protocol_of),
    ):
        if name in found:
            found[name] = list(_changed(found[name], read, write, change))
    if "toPorts" in found:
        found["toPorts"] = [
            each
            if "dns" in each.get("rules", ())
            else each | {"ports": list(_changed(each["ports"], _port, _port_of, change))}
            for each in found["toPorts"]
        ]
    return found


def _changed(entries: Sequence[Document], read: Any, write: Any, change: Any) -> Iterator[Document]:
    for entry in entries:
        ends = read(entry)
        if ends is None:
            yield entry
        else:
            yield from (write(entry, *each) for each in change(*ends))


def _port(entry: Document) -> tuple[int, int] | None:
    """Of Cilium's policies and of NetworkPolicy; names and 0, which is all, are left as they are."""
    text = str(entry.get("port", 0))
    if not text.isdecimal() or text == "0":
        return None
    return int(text), entry.get("endPort") or int(text)


def _port_of(entry: Document, first: int, last: int) -> Document:
    port = str(first) if isinstance(entry["port"], str) else first
    kept = {name: each for name, each in entry.items() if name != "endPort"}
    return kept | {"port": port} | ({"endPort": last} if last > first else {})


def _protocol(entry: Document) -> tuple[int, int] | None:
    port = next(iter(entry.values())).get("destinationPort") if "destinationNamedPort" not in entry else None
    if port is None:
        return None
    ends = port.get("range") or {"start": port["number"], "end": port["number"]}
    return ends["start"], ends["end"]


def _protocol_of(entry: Document, first: int, last: int) -> Document:
    port: Document = {"number": first} if first == last else {"range": {"start": first, "end": last}}
    return {next(iter(entry)): {"destinationPort": port}}


# Labels


def relabelled(document: Document, words: Mapping[str, str]) -> Document:
    """With other words for keys and values of labels, and for namespaces, pods and whatever has a name."""
    if document["kind"] != CLUSTER_POLICY:
        return dict(_relabelled(document, words))
    # Where a tier is none of a label.
    spec = {name: each for name, each in document["spec"].items() if name != "tier"}
    made = dict(_relabelled(document | {"spec": spec}, words))
    return made | {"spec": made["spec"] | {"tier": document["spec"]["tier"]}}


def _relabelled(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {_key(key, words): _relabelled(each, words) for key, each in value.items()}
    if isinstance(value, list):
        return [_relabelled(each, words) for each in value]
    return _key(value, words) if isinstance(value, str) else value


def _key(text: str, words: Mapping[str, str]) -> str:
    """Also behind a source, and behind the prefix of namespaces' labels."""
    for mark in (":", "labels."):
        head, found, tail = text.rpartition(mark)
        if found and tail in words:
            return head + found + words[tail]
    return words.get(text, text)


GROUPS = (
    ("app", "tier", "version"),
    ("env", "team"),
    ("web", "api", "db", "client"),
    ("front", "back"),
    ("prod", "dev"),
    ("emea", "apac"),
)
"""Words that may stand for each other, where all of them do so everywhere."""


def other_words(drawn: random.Random) -> dict[str, str]:
    words = {"cluster1": "north", "cluster2": "east", "site": "place", "role": "part"}
    for group in GROUPS:
        words.update(zip(group, drawn.sample(group, len(group)), strict=True))
    return words


def other_end(end: str, words: Mapping[str, str]) -> str:
    """An end of a flow, in other words."""
    kind, colon, name = end.partition(":")
    if colon:
        return f"{kind}:{words.get(name, name)}" if kind == "host" else end
    return "/".join(words.get(each, each) for each in end.split("/"))

"""
The calls that lead from nothing to the facts of a double, in another order than that they came in.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from doubles.calls import Call
from doubles.core import Core
from doubles.facts import Facts, Key, Slice, Socket

TOGGLE: tuple[Any, ...] = ("zz", [(["10.255.255.255"], 3, "", "", "", [])], [("", 6, 9)])


def base(facts: Facts) -> list[Call]:
    """Members and their nodes."""
    out = []
    for cluster, member in facts.members.items():
        flags = {"enable_ipv6": member.enable_ipv6, "service_topology": member.service_topology}
        out.append(Call("join", (cluster, member.name), flags))
        out += [Call("set_node", (cluster, node, zone)) for node, zone in member.nodes.items()]
    return out


def slice_call(cluster: int, key: Key, name: str, part: Slice) -> Call:
    return Call("set_slice", (cluster, *key, name, part.endpoints, part.ports, part.weight))


def load_call(cluster: int, key: Key, states: dict[Socket, int]) -> Call:
    rows = list(states.items())
    column = {
        "service": np.zeros(len(rows), np.uint32),
        "cluster": np.full(len(rows), cluster, np.uint16),
        "address": np.array([number(socket[0]) for socket, _ in rows], np.uint32),
        "port": np.array([socket[1] for socket, _ in rows], np.uint16),
        "protocol": np.array([socket[2] for socket, _ in rows], np.uint8),
        "state": np.array([state for _, state in rows], np.uint8),
    }
    return Call("load", ([key],), column)


def number(address: str) -> int:
    return int.from_bytes(bytes(map(int, address.split("."))), "big")


def endpoints(facts: Facts) -> list[tuple[int, Call]]:
    """What slices and loads say, with the revisions."""
    out = []
    for cluster, member in facts.members.items():
        for key, slices in member.slices.items():
            out += [(part.revision, slice_call(cluster, key, name, part)) for name, part in slices.items()]
        out += [
            (loaded.revision, load_call(cluster, key, loaded.states)) for key, loaded in member.loaded.items()
        ]
    return out


def in_order(core: Core) -> list[Call]:
    """
    For a core that goes by arrival: equal facts with equal orders of arrival.

    Three orders count, each by itself: of the slices of a service, of the claims of a member's services to
    addresses, and of records and links. So each has a phase of its own; in the last, a record is written
    anew by adding an address and taking it away.
    """
    facts = core.facts
    out = base(facts)
    out += [call for _, call in sorted(endpoints(facts), key=lambda item: item[0])]
    versions = [
        (revision, Call("set_service", (cluster, *key, spec)))
        for cluster, member in facts.members.items()
        for key, history in member.specs.items()
        for revision, spec in history
    ]
    out += [call for _, call in sorted(versions, key=lambda item: item[0])]
    arrivals: list[tuple[int, int, list[Call]]] = []
    for cluster, member in facts.members.items():
        for key, record in member.records.items():
            again = [
                Call("set_slice", (cluster, *key, *TOGGLE)),
                Call("remove_slice", (cluster, *key, TOGGLE[0])),
            ]
            arrivals.append((record.revision, cluster, again))
        for revision in set(member.hears.values()):
            heard = [other for other, since in member.hears.items() if since <= revision]
            arrivals.append((revision, cluster, [Call("hear", (cluster, heard))]))
    for _, _, again in sorted(arrivals, key=lambda item: item[:2]):
        out += again
    return out


def shuffled(core: Core, seed: int) -> list[Call]:
    """For a strict core, to which order is nothing."""
    facts = core.facts
    out = [call for _, call in endpoints(facts)]
    for cluster, member in facts.members.items():
        out += [Call("set_service", (cluster, *key, history[-1][1])) for key, history in member.specs.items()]
        out.append(Call("hear", (cluster, sorted(member.hears))))
    random.Random(seed).shuffle(out)
    return base(facts) + out

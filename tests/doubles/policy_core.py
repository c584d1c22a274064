"""
The fleet of `doubles.policy`, judged by the core.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from doubles.policy import AUTHENTICATION_NAMES, Agent, Identity, Packet, Side, World
from fleetmesh import _core
from fleetmesh.policy.compile import Compiler, Statements
from fleetmesh.policy.labels import LabelSet
from fleetmesh.policy.registry import RESERVED, labels_of_reserved

PARSERS = {254 - 101: "http", 254 - 116: "tls", 254 - 121: "dns", 254 - 126: "crd"}
MODES = ("default", "always", "never")


@attrs.define
class CoreAgent:
    """One cluster's policies in the core."""

    agent: Agent
    number: int
    statements: Statements = attrs.field(factory=Statements)
    compiler: Compiler = attrs.field(init=False)
    identities: _core.PolicyIdentities = attrs.field(init=False)
    repository: _core.PolicyRepository = attrs.field(init=False)
    numbers: dict[Identity, int] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        config = self.agent.config
        self.compiler = Compiler(self.statements, config.enable_ipv6, config.policy_cidr_match_mode)
        self.identities = _core.PolicyIdentities()
        self.repository = _core.PolicyRepository(
            self.identities,
            enforcement=MODES.index(config.policy_enforcement),
            allow_host=config.allow_localhost == "always",
            host_firewall=config.enable_host_firewall,
            isolation_is_final=False,
            cluster=self.number,
            cluster_shift=16,
        )
        self.repository.hear(list(range(1, 256)))
        for name, number in RESERVED.items():
            self.add(Identity(labels_of_reserved(name), ""), number)
        self.repository.set_rules("", *self.compiler.rules(self.agent.rules))

    def add(self, identity: Identity, number: int) -> None:
        self.numbers[identity] = number
        terms, ports = (
            self.statements.terms(identity.labels),
            self.statements.named_ports(identity.named_ports),
        )
        self.identities.set(number, terms, ports)

    def number_of(self, identity: Identity) -> int:
        """One of an address that is met for the first time gets the next."""
        if identity not in self.numbers:
            labels = identity.labels.labels
            alone = len(labels) == 1 and labels[0].source == "reserved"
            self.add(identity, RESERVED[labels[0].key] if alone else (1 << 24) + len(self.numbers))
        return self.numbers[identity]

    def conflicts(self) -> list[str]:
        """Of all pods of the cluster: why rules can't be carried out."""
        own = [each for each in self.numbers if each.aggregate == "aggregate-cluster"]
        found = [
            self.repository.resolve(
                self.statements.terms(each.labels),
                self.statements.named_ports(each.named_ports),
                False,
                False,
            ).conflict
            for each in own
        ]
        return [each[2] for each in found if each is not None]

    def decide(
        self, subject: Identity, peer: Identity, packet: Packet, direction: str, *, on_host: bool = False
    ) -> Side:
        """All but what is left to proxies."""
        number = self.number_of(peer)
        is_init = subject.labels.has("reserved", "init")
        terms, ports = (
            self.statements.terms(subject.labels),
            self.statements.named_ports(subject.named_ports),
        )
        policy = self.repository.resolve(terms, ports, on_host, is_init)
        ingress = direction == "ingress"
        found, precedence, auth, explicit, _ = policy.lookup(ingress, number, packet.protocol, packet.port)
        byte = precedence & 255
        enforced = policy.enforced(ingress)
        if not found or byte == 255:
            return Side("deny", enforced, found)
        said = AUTHENTICATION_NAMES[auth] if explicit or auth else None
        return Side("redirect" if byte > 1 else "allow", enforced, True, PARSERS.get(byte), said)


class CoreWorld:
    """As `World`, but for what proxies decide."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.agents = {
            name: CoreAgent(agent, number) for number, (name, agent) in enumerate(world.agents.items(), 1)
        }
        numbers: dict[str, dict[LabelSet, int]] = {name: {} for name in world.agents}
        for agent in self.agents.values():
            for key, (cluster, labels, _) in world.pods.items():
                known = numbers[cluster].setdefault(labels, len(numbers[cluster]) + 256)
                number = (list(world.agents).index(cluster) + 1) << 16 | known
                agent.add(world.peer(agent.agent, key), number)

    def decide(self, source: str, to: str, packet: Packet) -> Mapping[str, Side | None]:
        sides: dict[str, Side | None] = {}
        for direction, own, other in (("egress", source, to), ("ingress", to, source)):
            found = self._world.subject(own)
            if found is None or own == other:
                sides[direction] = None
                continue
            agent, subject, on_host = found
            peer = self._world.peer(agent, other)
            sides[direction] = self.agents[agent.name].decide(
                subject, peer, packet, direction, on_host=on_host
            )
        return sides

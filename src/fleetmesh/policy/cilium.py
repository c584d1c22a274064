"""
CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (pkg/policy/api rule_validation.go,
pkg/k8s/apis/cilium.io/utils, pkg/policy/utils parserules.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import attrs

from fleetmesh.policy.l7 import check_name, check_pattern, read_l7
from fleetmesh.policy.labels import (
    ANY,
    CLUSTER,
    K8S,
    NAMESPACE,
    NAMESPACE_LABELS,
    RESERVED,
    Label,
    LabelKey,
    LabelSet,
    is_service_name,
    is_within,
)
from fleetmesh.policy.ports import MOST, read_icmp, read_port
from fleetmesh.policy.reading import Field, Refused, read_selector
from fleetmesh.policy.rule import Direction, Parser, PortRange, PortRule, Rule, Source, Verdict
from fleetmesh.policy.selectors import (
    ENTITIES,
    CidrSelector,
    FqdnSelector,
    LabelSelector,
    Selector,
    entity_selectors,
    equals,
    group_reference,
    parse_cidr,
    parse_prefix,
)
from fleetmesh.policy.settings import Reading
from fleetmesh.resources.model import PolicyObject, Service

_SPEC = (
    *("endpointSelector", "nodeSelector", "ingress", "ingressDeny", "egress", "egressDeny"),
    *("enableDefaultDeny", "labels", "description", "log"),
)
_LISTS: tuple[tuple[str, Direction, Verdict], ...] = (
    ("ingress", "ingress", "allow"),
    ("ingressDeny", "ingress", "deny"),
    ("egress", "egress", "allow"),
    ("egressDeny", "egress", "deny"),
)
_KINDS: Mapping[Direction, tuple[str, ...]] = {
    "ingress": ("fromEndpoints", "fromCIDR", "fromCIDRSet", "fromEntities", "fromNodes", "fromGroups"),
    "egress": (
        "toEndpoints",
        "toCIDR",
        "toCIDRSet",
        "toEntities",
        "toServices",
        "toGroups",
        "toNodes",
        "toFQDNs",
    ),
}
_REMOVED = {
    "fromRequires": "takes nothing since Cilium 1.19",
    "toRequires": "takes nothing since Cilium 1.19",
}
_NODES_FLAG = "needs the flag enable-node-selector-labels, which fleetmesh does not know"
_GROUPS = "asks a cloud for addresses, which fleetmesh does not do"
_TLS = ("terminatingTLS", "originatingTLS")

_NAMESPACE_KEYS = (LabelKey(K8S, NAMESPACE), LabelKey(ANY, NAMESPACE))
_CLUSTER_KEYS = (LabelKey(K8S, CLUSTER), LabelKey(ANY, CLUSTER))
_AUTHENTICATION = ("disabled", "required", "test-always-fail")


def read_cilium_policy(policy: PolicyObject, reading: Reading) -> tuple[Rule, ...]:
    """
    Raises:
        Refused: Cilium would not take it; it has no effect then.
    """
    document = Field("", policy.document)
    specs = [document["spec"]] if document["spec"].is_set else []
    if document["specs"].is_set:
        specs += document["specs"].items()
    elif not specs:
        raise Refused("spec", "is missing, as is specs; expected one of them")
    found: list[Rule] = []
    for spec in specs:
        found += _Spec(policy, spec, reading).rules()
    return tuple(found)


@attrs.frozen
class _Spec:
    """One `spec`, or one of `specs`."""

    policy: PolicyObject
    spec: Field
    reading: Reading

    @property
    def is_namespaced(self) -> bool:
        return self.policy.kind == "CiliumNetworkPolicy"

    def rules(self) -> Iterator[Rule]:
        spec = self.spec
        spec.object(_SPEC)
        lists = {name: tuple(spec[name].items()) for name, _, _ in _LISTS}
        if not any(lists.values()):
            raise spec.refuse("has no rule; expected one of ingress, ingressDeny, egress and egressDeny")
        subject, on_host = self._subject()
        for name, direction, verdict in _LISTS:
            deny_by_default = self._default_deny(direction, lists)
            for each in lists[name]:
                yield Rule(
                    direction=direction,
                    verdict=verdict,
                    subject=subject,
                    peers=self._peers(each, direction, verdict, subject),
                    source=Source(self.policy.subject, each.path, self.policy.origin),
                    ports=self._ports(each, direction, verdict, on_host=on_host),
                    authentication=_authentication(each) if verdict == "allow" else "",
                    of_services=verdict == "allow" and each["toServices"].is_set,
                    default_deny=deny_by_default,
                    on_host=on_host,
                )

    def _subject(self) -> tuple[LabelSelector, bool]:
        endpoints, nodes = self.spec["endpointSelector"], self.spec["nodeSelector"]
        if endpoints.is_set == nodes.is_set:
            raise self.spec.refuse(
                f"has {'both' if nodes.is_set else 'neither'} of endpointSelector and nodeSelector; "
                "expected one"
            )
        if nodes.is_set:
            if self.is_namespaced:
                raise nodes.refuse("is for CiliumClusterwideNetworkPolicy only")
            return read_selector(nodes), True
        subject = read_selector(endpoints)
        if self.is_namespaced:
            subject = subject.require(LabelKey(K8S, NAMESPACE), self.policy.namespace)
        return subject, False

    def _default_deny(self, direction: Direction, lists: Mapping[str, tuple[Field, ...]]) -> bool:
        settings = self.spec["enableDefaultDeny"]
        settings.object(("ingress", "egress"))
        given = settings[direction].truth()
        if not self.reading.non_default_deny:
            return True
        return bool(lists[direction] or lists[f"{direction}Deny"]) if given is None else given

    # Peers

    def _peers(
        self, rule: Field, direction: Direction, verdict: Verdict, subject: LabelSelector
    ) -> tuple[Selector, ...] | None:
        for name, why in _REMOVED.items():
            if rule[name].is_set:
                raise rule[name].refuse(why)
        kinds = _KINDS[direction]
        known = [*kinds, "toPorts", "icmps"]
        if verdict == "allow":
            known.append("authentication")
        else:
            known = [each for each in known if each != "toFQDNs"]
        rule.object(known)
        used = [name for name in kinds if tuple(rule[name].items())]
        if len(used) > 1:
            raise rule.refuse(f"combines {used[0]} and {used[1]}; expected one of them in a rule")
        readers: Mapping[str, Callable[[Field], Iterator[Selector]]] = {
            "Endpoints": lambda each: self._endpoints(each, subject),
            "CIDR": self._cidr,
            "CIDRSet": self._cidr_rule,
            "Entities": self._entity,
            "Services": self._services,
            "Nodes": _refuse_because(_NODES_FLAG),
            "Groups": _refuse_because(_GROUPS),
            "FQDNs": self._fqdn,
        }
        peers: list[Selector] = []
        for name in kinds:
            field = rule[name]
            if field.is_set and not tuple(field.items()) and name not in {"toServices", "toFQDNs"}:
                return None  # an empty list is nobody, a missing one everybody
            read = readers[name.removeprefix("from").removeprefix("to")]
            if name == "toServices" and verdict == "deny":
                continue  # Cilium resolves those of `egress` only
            for each in field.items():
                peers += read(each)
        return tuple(peers)

    def _endpoints(self, field: Field, subject: LabelSelector) -> Iterator[Selector]:
        yield self._scoped(read_selector(field), subject)

    def _scoped(self, peer: LabelSelector, subject: LabelSelector) -> LabelSelector:
        """Within the policy's namespace and cluster, where it names none (getEndpointSelector)."""
        if peer.has_prefix(RESERVED):
            return peer
        if not peer.has_key(*_NAMESPACE_KEYS):
            if not self.is_namespaced:
                if not subject.has_key(LabelKey(RESERVED, "init")):
                    peer = peer.require_key(LabelKey(K8S, NAMESPACE))
            elif not any(peer.has_prefix(source, NAMESPACE_LABELS) for source in (K8S, ANY)):
                peer = peer.require(LabelKey(K8S, NAMESPACE), self.policy.namespace)
        if self.reading.peer_cluster is not None and not peer.has_key(*_CLUSTER_KEYS):
            peer = peer.require(LabelKey(K8S, CLUSTER), self.reading.peer_cluster)
        return peer

    def _cidr(self, field: Field) -> Iterator[Selector]:
        yield CidrSelector(field.parsed(parse_cidr))

    def _cidr_rule(self, field: Field) -> Iterator[Selector]:
        field.object(("cidr", "cidrGroupRef", "cidrGroupSelector", "except"))
        cidr, reference, selector = field["cidr"], field["cidrGroupRef"], field["cidrGroupSelector"]
        given = bool(cidr.text()) + bool(reference.text()) + selector.is_set
        if given != 1:
            raise field.refuse(
                f"has {given} of cidr, cidrGroupRef and cidrGroupSelector; expected exactly one"
            )
        excepted = tuple(each.parsed(parse_prefix) for each in field["except"].items())
        if reference.text():
            yield CidrSelector(groups=(group_reference(reference.text()),), excepted=excepted)
        elif selector.is_set:
            groups = read_selector(selector, source="cidrgroup").requirements
            yield CidrSelector(groups=groups, excepted=excepted)
        else:
            network = cidr.parsed(parse_prefix)
            for each, hole in zip(field["except"].items(), excepted, strict=True):
                if not is_within(hole, network):
                    raise each.refuse(f"is {hole}, which is not within {network}")
            yield CidrSelector(network, excepted=excepted)

    def _entity(self, field: Field) -> Iterator[Selector]:
        name = field.text()
        if name not in ENTITIES:
            raise field.refuse(f"is {name!r}; expected one of {', '.join(ENTITIES)}")
        yield from entity_selectors(name, self.reading.cluster)

    def _fqdn(self, field: Field) -> Iterator[Selector]:
        field.object(("matchName", "matchPattern"))
        name = field["matchName"].parsed(check_name)
        pattern = field["matchPattern"].parsed(check_pattern)
        if name and pattern:
            raise field.refuse("has both of matchName and matchPattern; expected one")
        yield FqdnSelector(name, pattern)

    def _services(self, field: Field) -> Iterator[Selector]:
        """Selectors of the pods behind the services that there are now (pkg/policy/k8s service.go)."""
        field.object(("k8sService", "k8sServiceSelector"))
        chosen = _service_filter(field)
        for service in self.reading.services:
            if not chosen(service):
                continue
            if service.selector:
                peer = LabelSelector(
                    tuple(equals(LabelKey.parse(key, K8S), value) for key, value in service.selector.items())
                )
                yield self._scoped(peer.require(LabelKey(K8S, NAMESPACE), service.namespace), peer)
            else:
                for address in self.reading.backends(service):
                    yield CidrSelector(parse_cidr(address))

    # Ports

    def _ports(
        self, rule: Field, direction: Direction, verdict: Verdict, *, on_host: bool
    ) -> tuple[PortRule, ...]:
        to_ports, icmps = tuple(rule["toPorts"].items()), tuple(rule["icmps"].items())
        if to_ports and icmps:
            raise rule["icmps"].refuse("stands beside toPorts; expected a rule of its own")
        found = [self._port_rule(each, direction, verdict, on_host=on_host) for each in to_ports]
        return (*found, *(PortRule(read_icmp(each)) for each in icmps))

    def _port_rule(self, field: Field, direction: Direction, verdict: Verdict, *, on_host: bool) -> PortRule:
        if verdict == "deny":
            field.object(("ports",))
            return PortRule(_port_list(field["ports"]))
        field.object(("ports", *_TLS, "serverNames", "listener", "rules"))
        parser, l7 = read_l7(field["rules"])
        ports = _port_list(field["ports"])
        self._check_l7(field, parser, direction, on_host=on_host)
        names = tuple(each.text() for each in field["serverNames"].items())
        if "" in names:
            raise field["serverNames"].refuse("has an empty name")
        terminated = field["terminatingTLS"].is_set
        if names and parser is not None and not terminated:
            raise field["serverNames"].refuse("stands beside rules, which needs terminatingTLS")
        listener = _listener(field["listener"], direction, parser)
        if listener is not None:
            return PortRule(ports, "crd", (), names, listener)
        if parser is None and (names or any(field[name].is_set for name in _TLS)):
            parser = "tls"
        return PortRule(ports, parser, l7, names, terminates_tls=terminated)

    def _check_l7(self, field: Field, parser: Parser | None, direction: Direction, *, on_host: bool) -> None:
        if parser is None:
            return
        rules = field["rules"]
        if on_host and (direction == "ingress" or parser == "http"):
            raise rules.refuse(f"is of HTTP or DNS, which {direction} of nodes does not take")
        if parser == "dns" and direction == "ingress":
            raise rules["dns"].refuse("is for egress only")
        if parser == "dns" and not tuple(field["ports"].items()):
            raise field["ports"].refuse("is missing; DNS rules need port 53 to be named")
        for each in field["ports"].items():
            text, protocol = each["port"].text(), (each["protocol"].text() or "ANY").upper()
            if parser == "http" and protocol != "TCP":
                raise each["protocol"].refuse(f"is {protocol}; HTTP rules need TCP")
            is_number = not is_service_name(text)
            if is_number and int(text, 0) == 0:
                raise each["port"].refuse("is 0; L7 rules need a port")
            if parser == "dns" and is_number and each["endPort"].number() > int(text, 0):
                raise each["endPort"].refuse("makes a range, which DNS rules don't take")


def _port_list(field: Field) -> tuple[PortRange, ...]:
    ports = tuple(field.items())
    if len(ports) > MOST:
        raise field.refuse(f"has {len(ports)} ports; at most {MOST} are allowed")
    return tuple(each for port in ports for each in read_port(port))


def _listener(field: Field, direction: Direction, parser: Parser | None) -> tuple[str, int] | None:
    """Name and priority; 0: that of its kind."""
    if not field.is_set:
        return None
    field.object(("envoyConfig", "name", "priority"))
    if direction == "ingress":
        raise field.refuse("is for egress only")
    if parser is not None:
        raise field.refuse("stands beside rules; expected one of them")
    name = f"{field['envoyConfig']['name'].text()}/{field['name'].text()}"
    return name, field["priority"].number()


def _authentication(rule: Field) -> str:
    field = rule["authentication"]
    if not field.is_set:
        return ""
    field.object(("mode",))
    mode = field["mode"].text()
    if mode not in _AUTHENTICATION:
        raise field["mode"].refuse(f"is {mode!r}; expected one of {', '.join(_AUTHENTICATION)}")
    return mode


def _service_filter(field: Field) -> Callable[[Service], bool]:
    selector, named = field["k8sServiceSelector"], field["k8sService"]
    if selector.is_set:
        selector.object(("selector", "namespace"))
        wanted = read_selector(selector["selector"])
        # Cilium looks at keys only, not at their source.
        keyed = LabelSelector(
            tuple(attrs.evolve(each, key=LabelKey(ANY, each.key.key)) for each in wanted.requirements)
        )
        namespace = selector["namespace"].text()
        return lambda service: (
            namespace in {"", service.namespace}
            and keyed.matches(LabelSet.of(Label(K8S, *each) for each in service.labels.items()))
        )
    named.object(("serviceName", "namespace"))
    name, namespace = named["serviceName"].text(), named["namespace"].text()
    return lambda service: namespace in {"", service.namespace} and service.name == name


def _refuse_because(why: str) -> Callable[[Field], Iterator[Selector]]:
    def refuse(field: Field) -> Iterator[Selector]:
        raise field.refuse(why)

    return refuse

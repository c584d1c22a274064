"""
Random fleets in the schema of tests/golden/merge.json, for which Cilium has one answer.

Left out is what Cilium itself answers at random (one address in two slices with other ports, zones or host
names) and what depends on the way that led there (a withdrawn export of a shared address, addresses that move
between slices, services that change into ExternalName or give up a contested frontend). A fleet is therefore
of one of three kinds: `steps` (everything may change, nothing is shared), `shared` (addresses that several
clusters export; changes only add or rewrite) and `static` (also contested frontends and overlapping slices).
"""

from __future__ import annotations

import random
from typing import Any

import attrs
import yaml

Document = dict[str, Any]

NAMESPACES = ("shop", "bank")
NAMES = ("cart", "echo", "pay")
NODES = ("node-1", "node-2")
ZONES = ("z1", "z2")
CLUSTERS = ("east", "north", "south", "west", "isle")
TRUE, FALSE = ("true", "True", "TRUE"), ("false", "False", "no", "", "1")


def text(documents: list[Document]) -> str:
    return "---\n".join(yaml.safe_dump(document, sort_keys=False) for document in documents)


def key(document: Document) -> tuple[str, str, str]:
    metadata = document["metadata"]
    return (document["kind"], metadata.get("namespace", ""), metadata["name"])


@attrs.define
class Shape:
    """
    What a service is like in all clusters of a fleet, so that most of them fit together.

    Attributes:
        number: Which service of the fleet it is; its cluster IPs end in it.
        ports: Name, protocol, port, target port.
    """

    number: int
    namespace: str
    name: str
    ports: list[tuple[str, str, int, int]]
    families: list[str]
    zoned: bool


class Fleet:
    """One random fleet; equal seeds give equal fleets."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._kind = self._random.choices(("steps", "shared", "static"), (50, 25, 25))[0]
        self._objects: dict[str, dict[tuple[str, str, str], Document]] = {}
        self._ids: dict[str, int] = {}
        self.case = self._case(seed)

    def _chance(self, percent: int) -> bool:
        return self._random.randrange(100) < percent

    def _case(self, seed: int) -> dict[str, Any]:
        choose = self._random
        names = sorted(choose.sample(CLUSTERS, choose.choices((2, 3, 4), (45, 40, 15))[0]))
        self._ids = dict(zip(names, choose.sample((1, 2, 3, 4, 5, 9, 200, 255), len(names)), strict=True))
        shapes = self._shapes()
        later = [name for name in names if self._kind != "static" and len(names) > 2 and self._chance(12)]
        clusters: dict[str, Any] = {}
        for name in names:
            settings = self._settings()
            documents = self._manifests(name, shapes)
            self._objects[name] = {key(document): document for document in documents}
            clusters[name] = {"id": self._ids[name], "settings": settings, "manifests": text(documents)}
            if name in later:
                clusters[name]["joins_later"] = True
        steps = [] if self._kind == "static" else self._steps(names, later, shapes)
        return {
            "id": f"random-{seed}",
            "doc": f"A random fleet ({self._kind}).",
            "tags": [],
            "topology": self._topology(names),
            "clusters": clusters,
            "steps": steps,
        }

    def _topology(self, names: list[str]) -> Any:
        if len(names) == 2 or self._chance(70):
            return "full"
        if self._chance(50):
            return {"hub": self._random.choice(names)}
        pairs = [[a, b] for a in names for b in names if a < b]
        return {"pairs": self._random.sample(pairs, self._random.randint(1, len(pairs)))}

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        if self._chance(15):
            settings["default_global_namespace"] = False
        if self._chance(60):
            settings["service_topology"] = True
        if self._chance(20):
            settings["node"] = self._random.choice(NODES)
        if self._chance(15):
            settings["enable_ipv6"] = False
        return settings

    def _shapes(self) -> list[Shape]:
        choose = self._random
        found = choose.sample([(space, name) for space in NAMESPACES for name in NAMES], choose.randint(1, 3))
        return [
            Shape(number, *where, self._ports(), self._families(), self._chance(40))
            for number, where in enumerate(sorted(found), 1)
        ]

    def _ports(self) -> list[tuple[str, str, int, int]]:
        kinds: list[list[tuple[str, str, int, int]]] = [
            [("http", "TCP", 80, 8080)],
            [("http", "TCP", 80, 8080), ("admin", "TCP", 81, 8081)],
            [("dns", "UDP", 53, 5353), ("dns-tcp", "TCP", 53, 5353)],
            [("", "TCP", 80, 8080)],
            [("sctp", "SCTP", 7, 7), ("http", "TCP", 80, 8080)],
        ]
        return self._random.choices(kinds, (40, 25, 12, 13, 10))[0]

    def _families(self) -> list[str]:
        return self._random.choices((["IPv4"], ["IPv4", "IPv6"], ["IPv6"]), (65, 28, 7))[0]

    # ---- documents

    def _manifests(self, cluster: str, shapes: list[Shape]) -> list[Document]:
        head: list[Document] = [self._node(node) for node in NODES if self._chance(75)]
        head += [self._namespace(namespace) for namespace in NAMESPACES if self._chance(20)]
        tail: list[Document] = []
        for shape in shapes:
            if self._chance(88):
                tail.append(self._service(cluster, shape))
            slices = self._random.choices((0, 1, 2, 3), (8, 55, 27, 10))[0]
            tail += [self._slice(cluster, shape, number) for number in range(1, 1 + slices)]
        self._random.shuffle(tail)
        return head + tail

    def _node(self, name: str) -> Document:
        labels = {"role": self._random.choice(("web", "db"))}
        if self._chance(85):
            labels["topology.kubernetes.io/zone"] = self._random.choice(ZONES)
        if self._chance(50):
            labels["service.cilium.io/node"] = self._random.choice(("a", "b"))
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}

    def _namespace(self, name: str) -> Document:
        value = self._random.choice(TRUE + FALSE)
        annotations = {"clustermesh.cilium.io/global": value} if self._chance(80) else {}
        metadata = {"name": name, "annotations": annotations}
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}

    def _annotations(self) -> dict[str, str]:
        choose, given = self._random, {}
        if self._chance(85):
            name = choose.choices(("service.cilium.io/global", "io.cilium/global-service"), (80, 20))[0]
            given[name] = choose.choice(TRUE if self._chance(88) else FALSE)
        if self._chance(4):
            given["io.cilium/global-service"] = choose.choice(TRUE + FALSE)
        if self._chance(20):
            name = choose.choice(("service.cilium.io/shared", "io.cilium/shared-service"))
            given[name] = choose.choice(TRUE + FALSE)
        if self._chance(50):
            name = choose.choices(("service.cilium.io/affinity", "io.cilium/service-affinity"), (80, 20))[0]
            given[name] = choose.choice(("local", "remote", "Local", "REMOTE", "none", "nearest"))
        if self._chance(8):
            given["service.cilium.io/node"] = choose.choice(("a", "b"))
        if self._chance(5):
            given["service.cilium.io/node-selector"] = choose.choice(("role=web", "role!=web", "!absent"))
        if self._chance(8):
            given["service.cilium.io/type"] = choose.choice(
                ("ClusterIP", "NodePort", "LoadBalancer", "Other")
            )
        if self._chance(8):
            mode = choose.choice(("auto", "Auto", "disabled", "Disabled", ""))
            given["service.kubernetes.io/topology-mode"] = mode
        return given

    def _service(self, cluster: str, shape: Shape) -> Document:
        choose, number = self._random, self._ids[cluster]
        families = shape.families if self._chance(85) else self._families()
        known = {"IPv4": f"10.100.{number}.{shape.number}", "IPv6": f"fd00:100:{number:x}::{shape.number:x}"}
        addresses = [known[family] for family in families]
        kind = choose.choices(("ClusterIP", "NodePort", "LoadBalancer", "Headless"), (50, 17, 23, 10))[0]
        if self._kind == "static" and self._chance(4):
            kind = "ExternalName"
        ports = shape.ports if self._chance(88) else self._ports()
        spec: Document = {"type": "ClusterIP" if kind == "Headless" else kind}
        if kind == "Headless":
            spec |= {"clusterIP": "None", "clusterIPs": ["None"]}
        elif kind == "ExternalName":
            spec["externalName"] = "example.com"
        else:
            spec |= {"clusterIP": addresses[0], "clusterIPs": addresses, "ipFamilies": families}
        spec["ports"] = [self._service_port(port, at, shape, kind) for at, port in enumerate(ports)]
        self._policies(spec, kind)
        if self._chance(10):
            own = f"203.0.113.{shape.number}"
            spec["externalIPs"] = ["203.0.113.99" if self._kind == "static" and self._chance(60) else own]
        if self._chance(40):
            spec["selector"] = {"app": shape.name}
        metadata: Document = {"name": shape.name, "namespace": shape.namespace}
        if self._chance(20):
            metadata["labels"] = {"team": choose.choice(("red", "blue"))}
        metadata["annotations"] = self._annotations()
        service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
        if kind == "LoadBalancer" and self._chance(80):
            ingress = [{"ip": f"198.51.100.{shape.number}"}]
            if "IPv6" in families:
                ingress.append({"ip": f"2001:db8::{shape.number}"})
            if self._chance(15):
                ingress.append({"ip": f"198.51.100.{shape.number + 100}", "ipMode": "Proxy"})
            service["status"] = {"loadBalancer": {"ingress": ingress}}
        return service

    def _service_port(self, port: tuple[str, str, int, int], at: int, shape: Shape, kind: str) -> Document:
        name, protocol, number, target = port
        found: Document = {"port": number, "protocol": protocol, "targetPort": target}
        if name:
            found["name"] = name
        if kind in ("NodePort", "LoadBalancer") and self._chance(85):
            found["nodePort"] = 30000 + 10 * shape.number + at
        return found

    def _policies(self, spec: Document, kind: str) -> None:
        if self._chance(15):
            spec["internalTrafficPolicy"] = self._random.choice(("Local", "Cluster"))
        if kind in ("NodePort", "LoadBalancer") and self._chance(40):
            spec["externalTrafficPolicy"] = self._random.choice(("Local", "Cluster"))
        if self._chance(35):
            spec["trafficDistribution"] = self._random.choice(
                ("PreferClose", "PreferSameZone", "PreferSameNode")
            )
        if self._chance(10):
            spec["sessionAffinity"] = "ClientIP"

    def _slice(self, cluster: str, shape: Shape, number: int) -> Document:
        choose = self._random
        family = choose.choice(shape.families) if self._chance(90) else choose.choice(("IPv4", "IPv6"))
        overlapping = self._kind == "static" and self._chance(15)
        metadata: Document = {
            "name": f"{shape.name}-{number}",
            "namespace": shape.namespace,
            "labels": {"kubernetes.io/service-name": shape.name},
        }
        if self._chance(10):
            metadata["annotations"] = {
                "service.cilium.io/weight": choose.choice(("0", "50", "100", "x", "70000"))
            }
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata,
            "addressType": family,
            "endpoints": [
                self._overlapping(cluster, family)
                if overlapping
                else self._endpoint(cluster, shape, number, family)
                for _ in range(choose.choices((0, 1, 2, 3), (6, 44, 35, 15))[0])
            ],
            "ports": self._slice_ports(
                [("http", "TCP", 80, 8080)] if overlapping else shape.ports, overlapping
            ),
        }

    def _overlapping(self, cluster: str, family: str) -> Document:
        """An endpoint whose address other slices of the service may have, with the same ports."""
        number, last = self._ids[cluster], self._random.randint(1, 2)
        address = f"10.{number}.77.{last}" if family == "IPv4" else f"fd00:{number:x}::77:{last}"
        return {"addresses": [address], "conditions": self._conditions()}

    def _slice_ports(self, ports: list[tuple[str, str, int, int]], exact: bool) -> list[Document]:
        if exact:
            return [{"name": name, "protocol": protocol, "port": port} for name, protocol, _, port in ports]
        if self._chance(3):
            return []
        if self._chance(6):
            return [{"name": "", "port": 9000, "protocol": "TCP"}]
        found: list[Document] = []
        for name, protocol, _, target in ports:
            shown = name
            if self._chance(6):
                shown = "other-" + name
            port: Document = {"name": shown, "port": target, "protocol": protocol}
            if self._chance(8):
                port["port"] = target + self._random.randint(1, 2)
            if self._chance(2):
                port["port"] = None
            found.append(port)
        if self._chance(5) and found[0]["name"]:
            found.append({**found[0], "name": "alias"})
        return found

    def _conditions(self) -> Document:
        if self._chance(55):
            return {"ready": True, "serving": True, "terminating": False}
        found: Document = {}
        for name in ("ready", "serving", "terminating"):
            if self._chance(75):
                found[name] = self._chance(45)
        return found

    def _endpoint(self, cluster: str, shape: Shape, number: int, family: str) -> Document:
        choose = self._random
        addresses = [self._address(cluster, number, family) for _ in range(2 if self._chance(6) else 1)]
        found: Document = {"addresses": addresses, "conditions": self._conditions()}
        if self._chance(70):
            found["nodeName"] = choose.choice(NODES)
        if self._chance(85 if shape.zoned else 15):
            found["zone"] = choose.choice(ZONES)
        if self._chance(92 if shape.zoned else 10):
            count = choose.choices((1, 2), (80, 20))[0]
            found["hints"] = {"forZones": [{"name": zone} for zone in choose.sample(ZONES, count)]}
        if self._chance(15):
            found["hostname"] = choose.choice(("a-0", "a-1"))
        return found

    def _address(self, cluster: str, number: int, family: str) -> str:
        """An address of the slice's own, so that no two slices of a service have the same."""
        owner, last = self._ids[cluster], self._random.randint(1, 5)
        if self._kind != "steps" and self._chance(45):
            owner = 77
        return f"10.{owner}.{number}.{last}" if family == "IPv4" else f"fd00:{owner:x}::{number:x}:{last}"

    # ---- steps

    def _steps(self, names: list[str], later: list[str], shapes: list[Shape]) -> list[Document]:
        absent = set(later)
        steps = []
        for _ in range(self._random.randint(1, 4)):
            step: Document = {"doc": "random"}
            if absent and self._chance(60):
                step["join"] = [self._random.choice(sorted(absent))]
                absent -= set(step["join"])
            elif self._kind == "steps" and len(absent) < len(names) - 1 and self._chance(10):
                step["leave"] = [self._random.choice([name for name in names if name not in absent])]
                absent |= set(step["leave"])
            for name in self._random.sample(names, self._random.choice((1, 1, 2))):
                self._change(step, name, shapes)
            steps.append(step)
        return steps

    def _change(self, step: Document, cluster: str, shapes: list[Shape]) -> None:
        known = self._objects[cluster]
        if self._kind == "steps" and self._chance(25):
            there = [found for found in known if found[0] in ("Service", "EndpointSlice")]
            if there:
                gone = known.pop(self._random.choice(there))
                step.setdefault("delete", {})[cluster] = text([gone])
                return
        document = self._rewritten(cluster, shapes)
        known[key(document)] = document
        step.setdefault("apply", {})[cluster] = text([document])

    def _rewritten(self, cluster: str, shapes: list[Shape]) -> Document:
        shape, known = self._random.choice(shapes), self._objects[cluster]
        where = ("Service", shape.namespace, shape.name)
        if self._kind == "shared":
            if where in known and self._chance(70):
                return self._touched(known[where])
            return self._slice(cluster, shape, 10 + len(known))
        if self._chance(10):
            return self._namespace(self._random.choice(NAMESPACES))
        if where in known and self._chance(35):
            return {
                **known[where],
                "metadata": {**known[where]["metadata"], "annotations": self._annotations()},
            }
        if self._chance(40):
            return self._service(cluster, shape)
        return self._slice(cluster, shape, self._random.randint(1, 3))

    def _touched(self, service: Document) -> Document:
        """The same service with another label: its record is written again, and owns shared addresses."""
        labels = {"touched": str(self._random.randrange(1000))}
        return {**service, "metadata": {**service["metadata"], "labels": labels}}


def fleet(seed: int) -> dict[str, Any]:
    return Fleet(seed).case

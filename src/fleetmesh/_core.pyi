"""
The core of fleetmesh: facts stored once, views by mask.
"""

from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing

__all__: list[str] = [
    "AddressBook",
    "Core",
    "Datapath",
    "Delta",
    "EndpointPolicy",
    "PolicyIdentities",
    "PolicyRepository",
    "PolicyTables",
    "PolicyTablesMaker",
    "Reachability",
    "Selection",
    "ServiceSpec",
    "Snapshot",
    "Tables",
    "Transaction",
    "WireReader",
    "maglev_fill",
    "maglev_fills",
    "maglev_movement",
    "maglev_murmur3",
    "maglev_sizes",
    "maglev_table",
    "maglev_text",
    "process_chain",
    "source_digest",
    "tables",
]

class ServiceSpec:
    """
    What one member's Service says. Numbers: affinity 0 none, 1 local, 2 remote; distribution 0 none, 1 same zone, 2 same node; frontends are (type, internal scope, address, port, protocol, port name), types 0 ClusterIP, 1 NodePort, 2 LoadBalancer, 3 ExternalIPs; exposed_on names nodes, None is everywhere; prefer_clusters and cluster_weights go by the names of clusters.
    """
    def __eq__(self, arg0: typing.Any) -> bool: ...
    def __hash__(self) -> int: ...
    def __init__(
        self,
        *,
        is_global: bool = False,
        shared: bool = True,
        namespace_global: bool = True,
        affinity: typing.SupportsInt | typing.SupportsIndex = 0,
        headless: bool = False,
        external_name: bool = False,
        record_valid: bool = True,
        internal_local: bool = False,
        external_local: bool = False,
        distribution: typing.SupportsInt | typing.SupportsIndex = 0,
        session_affinity_seconds: typing.SupportsInt | typing.SupportsIndex = 0,
        frontends: collections.abc.Sequence[
            tuple[
                typing.SupportsInt | typing.SupportsIndex,
                bool,
                str,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                str,
            ]
        ] = [],
        exposed_on: collections.abc.Sequence[str] | None = None,
        record_digest: typing.SupportsInt | typing.SupportsIndex = 0,
        created: str = "",
        prefer_clusters: collections.abc.Sequence[str] = [],
        cluster_weights: collections.abc.Sequence[tuple[str, typing.SupportsInt | typing.SupportsIndex]] = [],
        min_local_backends: typing.SupportsInt | typing.SupportsIndex = 1,
    ) -> None: ...
    @property
    def affinity(self) -> int: ...
    @property
    def cluster_weights(self) -> list[tuple[str, int]]: ...
    @property
    def created(self) -> str: ...
    @property
    def distribution(self) -> int: ...
    @property
    def exposed_on(self) -> list[str] | None: ...
    @property
    def external_local(self) -> bool: ...
    @property
    def external_name(self) -> bool: ...
    @property
    def frontends(self) -> list[tuple[int, bool, str, int, int, str]]: ...
    @property
    def headless(self) -> bool: ...
    @property
    def internal_local(self) -> bool: ...
    @property
    def is_global(self) -> bool: ...
    @property
    def min_local_backends(self) -> int: ...
    @property
    def namespace_global(self) -> bool: ...
    @property
    def prefer_clusters(self) -> list[str]: ...
    @property
    def record_digest(self) -> int: ...
    @property
    def record_valid(self) -> bool: ...
    @property
    def session_affinity_seconds(self) -> int: ...
    @property
    def shared(self) -> bool: ...

class Snapshot:
    """
    The facts at one generation. Never changes.
    """
    def backends(
        self, cluster_id: typing.SupportsInt | typing.SupportsIndex, namespace: str, name: str
    ) -> list[tuple[str, str, int, int, tuple[str, ...], int, int, str, str, str]]:
        """
        Own rows: (slice, address, port, protocol, names, state, weight, node, zone, hostname).
        """
    def candidates(
        self,
        cluster_id: typing.SupportsInt | typing.SupportsIndex,
        namespace: str,
        name: str,
        node: str | None = None,
    ) -> list[tuple[int, tuple[int, str, int, int, tuple[str, ...], int, int, tuple[str, ...]], str, str]]:
        """
        (frontend or -1, backend, rule, detail) for every backend of every member.
        """
    def changed_since(self, other: Snapshot) -> list[tuple[str, str]]:
        """
        (namespace, name) of the services whose facts differ; skips what both share.
        """
    def duplicates(self, namespace: str, name: str) -> list[tuple[str, int, int, list[int]]]:
        """
        (address, port, protocol, cluster ids) that several members list.
        """
    def exporters(self, namespace: str, name: str) -> list[int]:
        """
        Members whose record of the service receivers accept.
        """
    def frontends(
        self,
        cluster_id: typing.SupportsInt | typing.SupportsIndex,
        namespace: str,
        name: str,
        node: str | None = None,
    ) -> list[
        tuple[
            int,
            bool,
            str,
            int,
            int,
            str,
            list[tuple[int, str, int, int, tuple[str, ...], int, int, tuple[str, ...]]],
            int,
        ]
    ]:
        """
        (type, internal, address, port, protocol, port name, backends, in_use) each; a backend is (cluster id, address, port, protocol, port names, state, weight, nodes that have it in use, none: all).
        """
    def hears(self, viewer: typing.SupportsInt | typing.SupportsIndex) -> list[int]: ...
    def holders(self, namespace: str, name: str) -> list[int]:
        """
        Members with a Service or endpoints of that name.
        """
    def record(
        self, cluster_id: typing.SupportsInt | typing.SupportsIndex, namespace: str, name: str
    ) -> list[tuple[str, str, str, tuple[str, ...], list[tuple[str, int, int]]]] | None:
        """
        (address, hostname, zone, zones of hints, ports) each; None without a record.
        """
    def services(self, cluster_id: typing.SupportsInt | typing.SupportsIndex) -> list[tuple[str, str]]:
        """
        (namespace, name) of every Service of a member, sorted.
        """
    def spec(
        self, cluster_id: typing.SupportsInt | typing.SupportsIndex, namespace: str, name: str
    ) -> ServiceSpec | None: ...
    def used(
        self,
        backend: type,
        cluster_id: typing.SupportsInt | typing.SupportsIndex,
        namespace: str,
        name: str,
        node: str | None = None,
    ) -> tuple[typing.Any, ...]:
        """
        The union of what the frontends have in use, as instances of the class `backend`, which has the slots cluster, address, port, port_names, protocol, state, weight and nodes; in order of cluster id, address, port and protocol.
        """
    @property
    def generation(self) -> int: ...

class Selection:
    """
    The backends that a frontend selects, in the order of their Maglev table. Two that are equal select the same.
    """
    def __eq__(self, arg0: typing.Any) -> bool: ...
    def __hash__(self) -> int: ...
    def backends(self) -> list[tuple[int, str, int, int, int, int]]:
        """
        (cluster id, address, port, protocol, state, weight) each.
        """
    def movement(self, after: Selection) -> tuple[float, float] | None:
        """
        (the part of the table that leads to another backend after, the least that has to), 0..1; None if sizes or seeds differ.
        """
    def ranks(self) -> numpy.ndarray:
        """
        Entry -> index into backends(): uint16, or uint32 beyond 65,535 backends. Read-only and not copied; empty where nothing is in use.
        """
    @property
    def in_use(self) -> int:
        """
        How many, from the first, take new connections.
        """

class Tables:
    """
    What one viewer decides with at one generation. Never changes.
    """
    def advance(self, snapshot: Snapshot) -> Tables:
        """
        The same viewer at another state; what did not change is kept.
        """
    def changed_since(self, older: Tables) -> list[tuple[str, str]]:
        """
        (namespace, name) of the services that are not the same in older tables of the viewer.
        """
    def filled(
        self, services: collections.abc.Sequence[tuple[str, str]]
    ) -> list[list[tuple[int, bool, str, int, int, str, Selection]]]:
        """
        `frontends` of each (namespace, name), with the Maglev tables filled. The interpreter is let go of once.
        """
    def frontends(self, namespace: str, name: str) -> list[tuple[int, bool, str, int, int, str, Selection]]:
        """
        (type, internal, address, port, protocol, port name, selection) each.
        """
    def services(self) -> list[tuple[str, str]]:
        """
        (namespace, name) of every service with a frontend, sorted.
        """
    @property
    def cluster_id(self) -> int: ...
    @property
    def generation(self) -> int: ...

class Delta:
    """
    What one transaction changed.
    """
    def services(self, entry: type) -> tuple[typing.Any, ...]:
        """
        One for each class of viewers of a service whose answer may have changed, as instances of the class `entry`, which has the slots namespace, name and viewers: the names of clusters.
        """
    @property
    def new(self) -> int: ...
    @property
    def old(self) -> int: ...

class Transaction:
    """
    One change of a mesh: all of it or, without commit, nothing.
    """
    def commit(self) -> Delta: ...
    def hear(
        self,
        viewer: typing.SupportsInt | typing.SupportsIndex,
        publishers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    ) -> None: ...
    def join(
        self,
        cluster_id: typing.SupportsInt | typing.SupportsIndex,
        name: str,
        *,
        enable_ipv6: bool = True,
        service_topology: bool = False,
    ) -> None: ...
    def leave(self, cluster_id: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def load(
        self,
        services: collections.abc.Sequence[tuple[str, str]],
        *,
        service: numpy.ndarray,
        cluster: typing.Any,
        address: numpy.ndarray,
        port: typing.Any,
        protocol: typing.Any = 6,
        state: typing.Any = 0,
        remove: typing.Any = False,
    ) -> None:
        """
        Upserts and removes single backends, by columns.
        """
    def remove_node(self, cluster_id: typing.SupportsInt | typing.SupportsIndex, node: str) -> None: ...
    def remove_service(
        self, cluster_id: typing.SupportsInt | typing.SupportsIndex, namespace: str, name: str
    ) -> None: ...
    def remove_slice(
        self, cluster_id: typing.SupportsInt | typing.SupportsIndex, namespace: str, service: str, slice: str
    ) -> None: ...
    def set_backends(
        self,
        cluster_id: typing.SupportsInt | typing.SupportsIndex,
        namespace: str,
        service: str,
        backends: dict[str, typing.Any],
        hostnames: dict[str, typing.Any],
        zones: dict[str, typing.Any],
        before: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """
        The endpoints of a service as its record has them: address -> port name -> (protocol, port); address -> hostname; address -> (zone, zones of hints). They are slices `"0"`, `"1"` and so on, one for each set of ports, in the place of the `before` ones that there were. All are ready and serving, and of weight 100; protocols that services don't have are left out.
        """
    def set_node(
        self, cluster_id: typing.SupportsInt | typing.SupportsIndex, node: str, zone: str
    ) -> None: ...
    def set_service(
        self,
        cluster_id: typing.SupportsInt | typing.SupportsIndex,
        namespace: str,
        name: str,
        spec: ServiceSpec,
    ) -> None: ...
    def set_service_in(
        self, cluster_ids: numpy.ndarray, namespace: str, name: str, spec: ServiceSpec
    ) -> None:
        """
        The same Service in many members, kept once.
        """
    def set_slice(
        self,
        cluster_id: typing.SupportsInt | typing.SupportsIndex,
        namespace: str,
        service: str,
        slice: str,
        endpoints: collections.abc.Sequence[
            tuple[
                collections.abc.Sequence[str],
                typing.SupportsInt | typing.SupportsIndex,
                str,
                str,
                str,
                collections.abc.Sequence[str],
            ]
        ],
        ports: collections.abc.Sequence[
            tuple[str, typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
        ],
        weight: typing.SupportsInt | typing.SupportsIndex = 100,
    ) -> None:
        """
        Endpoints are (addresses, conditions, node, hostname, zone, zones of hints), conditions bits 1 ready, 2 serving, 4 terminating; ports are (name, protocol, port); weight 0 is maintenance. Addresses that can't be parsed are left out.
        """

class Core:
    """
    The facts of one mesh and the right to change them.
    """
    def __init__(
        self, *, strict: bool = False, capacity: typing.SupportsInt | typing.SupportsIndex = 255
    ) -> None: ...
    def begin(self) -> Transaction: ...
    def fork(self) -> Core:
        """
        A mesh of its own that shares what neither changes.
        """
    def snapshot(self) -> Snapshot: ...
    @property
    def generation(self) -> int: ...

class PolicyIdentities:
    """
    The identities of a mesh, for the policies of all its clusters.
    """
    def __init__(self) -> None: ...
    def remove(self, number: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def set(
        self,
        number: typing.SupportsInt | typing.SupportsIndex,
        terms: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        named_ports: collections.abc.Sequence[
            tuple[
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
            ]
        ],
    ) -> None:
        """
        Terms: numbers of what is true of its labels; named ports: (name, protocol, port) each.
        """
    def spread(
        self,
        selector: collections.abc.Sequence[
            tuple[bool, collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]]
        ],
        cluster_shift: typing.SupportsInt | typing.SupportsIndex,
    ) -> dict[int, int]:
        """
        Cluster id -> how many of its identities a list of (negated, terms) selects; 0: those of none.
        """

class EndpointPolicy:
    """
    What one endpoint is judged by.
    """
    def __len__(self) -> int: ...
    def answers(
        self, ingress: bool, peer: typing.SupportsInt | typing.SupportsIndex
    ) -> list[tuple[int, bool, int, int]]:
        """
        (protocol << 16 | port from which on it holds, found, precedence, number of the rule) each.
        """
    def enforced(self, ingress: bool) -> bool:
        """
        Whether any rule speaks about that direction.
        """
    def entries(self) -> list[tuple[bool, int, int, int, int, int, int, bool, int]]:
        """
        (ingress, identity, protocol, port, bits of protocol and port that count, precedence, authentication, whether that is explicit, number of the rule) each.
        """
    def isolated(self, ingress: bool) -> bool:
        """
        Whether what no rule allows is refused.
        """
    def lookup(
        self,
        ingress: bool,
        peer: typing.SupportsInt | typing.SupportsIndex,
        protocol: typing.SupportsInt | typing.SupportsIndex,
        port: typing.SupportsInt | typing.SupportsIndex,
    ) -> tuple[bool, int, int, bool, int]:
        """
        (found, precedence, authentication, whether that is explicit, number of the rule).
        """
    def shares(self, other: EndpointPolicy) -> bool:
        """
        Whether the very same rule sets decide.
        """
    @property
    def conflict(self) -> tuple[int, int, str] | None:
        """
        (number of a rule, of another, why they can't both be carried out), or None.
        """

class PolicyRepository:
    """
    The policies of one cluster, over the identities of a mesh.
    """
    def __init__(
        self,
        identities: PolicyIdentities,
        *,
        enforcement: typing.SupportsInt | typing.SupportsIndex,
        allow_host: bool,
        host_firewall: bool,
        isolation_is_final: bool,
        cluster: typing.SupportsInt | typing.SupportsIndex,
        cluster_shift: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...
    def aggregate_of(self, identity: typing.SupportsInt | typing.SupportsIndex) -> int:
        """
        Of whom an entry is asked for besides the identity's own.
        """
    def hear(self, clusters: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> None:
        """
        The ids of the other clusters whose identities it knows.
        """
    def remove_rules(self, policy: str) -> None: ...
    def resolve(
        self,
        terms: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        named_ports: collections.abc.Sequence[
            tuple[
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
            ]
        ],
        is_host: bool,
        is_init: bool,
    ) -> EndpointPolicy:
        """
        What it returns follows the identities that come and go afterwards.
        """
    def resolve_known(self, number: typing.SupportsInt | typing.SupportsIndex) -> EndpointPolicy:
        """
        Of a pod with that identity, whose terms and ports are known. Raises IndexError if it is not.
        """
    def set_rules(
        self,
        policy: str,
        selectors: collections.abc.Sequence[
            collections.abc.Sequence[
                tuple[bool, collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]]
            ]
        ],
        rules: collections.abc.Sequence[
            tuple[
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsFloat | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                bool,
                bool,
                bool,
                collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
                collections.abc.Sequence[
                    tuple[
                        collections.abc.Sequence[
                            tuple[
                                typing.SupportsInt | typing.SupportsIndex,
                                typing.SupportsInt | typing.SupportsIndex,
                                typing.SupportsInt | typing.SupportsIndex,
                                typing.SupportsInt | typing.SupportsIndex,
                            ]
                        ],
                        typing.SupportsInt | typing.SupportsIndex,
                        typing.SupportsInt | typing.SupportsIndex,
                        typing.SupportsInt | typing.SupportsIndex,
                        bool,
                        typing.SupportsInt | typing.SupportsIndex,
                    ]
                ],
                typing.SupportsInt | typing.SupportsIndex,
            ]
        ],
    ) -> int:
        """
        The rules of a policy, in the place of those it had; selectors are lists of (negated, terms of which any is enough). Returns the number of the first rule; the others follow.
        """

class AddressBook:
    """
    Who has which address, of pods and nodes.
    """
    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def copy(self) -> AddressBook:
        """
        Costs nothing, and is not changed with the original.
        """
    def remove(self, address: str) -> None: ...
    def set(
        self,
        address: str,
        identity: typing.SupportsInt | typing.SupportsIndex,
        cluster: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...
    def set_all(
        self,
        addresses: collections.abc.Sequence[str],
        whom: collections.abc.Sequence[
            tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
        ],
    ) -> None:
        """
        (identity, cluster) at each address.
        """

class PolicyTables:
    """
    What the nodes of one cluster decide with, at one moment.
    """
    def entries(
        self,
    ) -> tuple[
        list[tuple[int, int, int, int, int]],
        list[tuple[int, int, int, int, int, int, int, int, int, bool, int]],
    ]:
        """
        What the kernel's maps hold. Of endpoints (identity, endpoint, bits of prefix lengths at egress, at ingress, bits of directions enforced); of policies (endpoint, direction, identity, protocol, port, prefix length, precedence, proxy port, authentication, whether that is explicit, 1 + number of the rule or 0) each.
        """
    def find(self, address: str) -> typing.Any:
        """
        (identity, cluster id) of whom the cluster takes an address for, or None.
        """
    @property
    def cluster_id(self) -> int: ...

class PolicyTablesMaker:
    """
    Makes newer and newer tables of one cluster.
    """
    def __init__(
        self,
        cluster: typing.SupportsInt | typing.SupportsIndex,
        identity_bits: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...
    def forget_own(self) -> None: ...
    def hear(self, clusters: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> None:
        """
        The ids of the other clusters whose addresses it knows.
        """
    def locate(
        self,
        clusters: collections.abc.Sequence[
            tuple[str, typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
        ],
        identities: collections.abc.Sequence[
            tuple[str, typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
        ],
    ) -> None:
        """
        Where clusters are, and what addresses are that nobody in the mesh has.
        """
    def make(self, book: AddressBook) -> PolicyTables: ...
    def remove_endpoint(self, identity: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def set_endpoint(
        self, identity: typing.SupportsInt | typing.SupportsIndex, policy: EndpointPolicy
    ) -> None: ...
    def set_own(
        self,
        address: str,
        identity: typing.SupportsInt | typing.SupportsIndex,
        cluster: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """
        An address that this cluster takes for somebody else than the book says.
        """

class Datapath:
    """
    Services, connections and translation over columns of packets, for one viewer.
    """
    def __init__(
        self,
        tables: Tables,
        policy: PolicyTables,
        *,
        tcp_connections: typing.SupportsInt | typing.SupportsIndex,
        other_connections: typing.SupportsInt | typing.SupportsIndex,
        affinities: typing.SupportsInt | typing.SupportsIndex,
        shards: typing.SupportsInt | typing.SupportsIndex,
        secret: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...
    def adopt(self, tables: Tables, policy: PolicyTables) -> None:
        """
        Take a newer state of the same viewer.
        """
    def backend(self, id: typing.SupportsInt | typing.SupportsIndex) -> typing.Any:
        """
        (cluster id, address, port, protocol, state, weight), or None.
        """
    def connections(self) -> tuple[int, int, int]:
        """
        (tcp, other, evicted).
        """
    def counters(self) -> list[tuple[str, str, int, int, int]]:
        """
        (namespace, name, cluster id or 0, packets, connections) each.
        """
    def frontend(self, number: typing.SupportsInt | typing.SupportsIndex) -> typing.Any:
        """
        (namespace, name, type, internal, address, port, protocol, port name), or None.
        """
    def process(
        self,
        source: numpy.ndarray,
        destination: numpy.ndarray,
        source_port: numpy.typing.NDArray[numpy.uint16],
        destination_port: numpy.typing.NDArray[numpy.uint16],
        protocol: numpy.typing.NDArray[numpy.uint8],
        tcp_flags: numpy.typing.NDArray[numpy.uint8],
        time: numpy.typing.NDArray[numpy.uint64],
    ) -> tuple[numpy.ndarray, ...]:
        """
        The columns of decisions. Addresses are uint32 (n,) or uint8 (n, 16); `time` has n values or one.
        """

class Reachability:
    """
    Who can reach whom, by classes of pods; what it says never changes.
    """
    def __init__(
        self,
        clusters: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        *,
        cluster_shift: typing.SupportsInt | typing.SupportsIndex,
        groups: collections.abc.Sequence[
            tuple[
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                EndpointPolicy | None,
            ]
        ],
        eyes: collections.abc.Sequence[
            tuple[
                typing.SupportsInt | typing.SupportsIndex,
                collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
            ]
        ],
        looks: collections.abc.Sequence[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]],
        window: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex],
    ) -> None:
        """
        Groups: (place of its cluster, number, place of its eyes, pods, EndpointPolicy or None, which refuses everything). Eyes: (place of their cluster, for each cluster 0 or 1 + place of a look). Window: first and last protocol << 16 | port. Raises IndexError if a place is none.
        """
    def __len__(self) -> int: ...
    def around(
        self,
        end: typing.SupportsInt | typing.SupportsIndex,
        ingress: bool,
        key: typing.SupportsInt | typing.SupportsIndex,
    ) -> bytes:
        """
        The outcome for each class, a byte each.
        """
    def around_end(
        self,
        numbers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        eyes: typing.SupportsInt | typing.SupportsIndex | None,
        policy: EndpointPolicy | None,
        ingress: bool,
        key: typing.SupportsInt | typing.SupportsIndex,
    ) -> bytes:
        """
        The same of an end that is no pod: whom each pair of eyes takes it for, and its own eyes and policy if it is in a cluster of the mesh.
        """
    def cells(
        self, of: typing.SupportsInt | typing.SupportsIndex, ingress: bool
    ) -> list[tuple[int, list[int]]]:
        """
        (number of a list of spans, classes) each: whom it reaches or, of ingress, who reaches it.
        """
    def class_of(self) -> list[int]:
        """
        The class of each group.
        """
    def count(
        self, key: typing.SupportsInt | typing.SupportsIndex
    ) -> typing.Annotated[list[int], "FixedSize(3)"]:
        """
        How many ordered pairs of different pods have each outcome.
        """
    def outcome(
        self,
        source: typing.SupportsInt | typing.SupportsIndex,
        destination: typing.SupportsInt | typing.SupportsIndex,
        key: typing.SupportsInt | typing.SupportsIndex,
    ) -> int:
        """
        At one port.
        """
    def sides(self, of: typing.SupportsInt | typing.SupportsIndex) -> tuple[int, int]:
        """
        Numbers of what its egress and its ingress say; equal ones say the same.
        """
    def size(self) -> tuple[int, int]:
        """
        (different sides, peers that they name).
        """
    def span_list(self, number: typing.SupportsInt | typing.SupportsIndex) -> list[tuple[int, int]]:
        """
        (protocol << 16 | port from which on it holds, outcome) each; 0 deny, 1 redirect, 2 allow.
        """
    def spans(
        self,
        source: typing.SupportsInt | typing.SupportsIndex,
        destination: typing.SupportsInt | typing.SupportsIndex,
    ) -> int:
        """
        The number of a list of spans.
        """

class WireReader:
    """
    Reads values of a store, of the kinds ip and services, where they are in exactly the form in which Cilium writes them and pass all checks; all else it leaves to others, and refuses nothing.
    """
    def __init__(
        self,
        ip_record: type,
        service_record: type,
        nothing: typing.Any,
        most_bytes: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """
        The classes of records; what a map without entries is; how long a value may be.
        """
    def ips(
        self,
        names: list[str],
        values: list[bytes],
        cluster: str,
        cluster_id: int,
        first_identity: typing.SupportsInt | typing.SupportsIndex,
        end_of_identities: typing.SupportsInt | typing.SupportsIndex,
    ) -> list[typing.Any | None]:
        """
        A record for each name and value, None for what it leaves. Raises ValueError if there are not as many of the ones as of the others, TypeError if one is no str or bytes.
        """
    def services(
        self, names: list[str], values: list[bytes], cluster: str, cluster_id: int
    ) -> list[typing.Any | None]:
        """
        As `ips`.
        """

def maglev_fill(
    how: str,
    size: typing.SupportsInt | typing.SupportsIndex,
    walks: collections.abc.Sequence[
        tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
    ],
    weights: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
) -> list[int]:
    """
    The rank that has each entry; walks are (offset, skip) by rank. All ways give the same.
    """

def maglev_fills() -> list[str]:
    """
    The ways to fill a table that this machine can run: plain, and fast ones.
    """

def maglev_movement(
    before: typing.Annotated[numpy.typing.ArrayLike, numpy.uint32],
    after: typing.Annotated[numpy.typing.ArrayLike, numpy.uint32],
) -> tuple[int, int]:
    """
    How many entries changed, and how many would have had to for the shares that they have after.
    """

def maglev_murmur3(text: str, seed: typing.SupportsInt | typing.SupportsIndex) -> tuple[int, int]:
    """
    MurmurHash3 x64 128.
    """

def maglev_sizes() -> list[int]:
    """
    The table sizes that Cilium takes.
    """

def maglev_table(
    candidates: collections.abc.Sequence[
        tuple[
            typing.SupportsInt | typing.SupportsIndex,
            str,
            typing.SupportsInt | typing.SupportsIndex,
            str,
            typing.SupportsInt | typing.SupportsIndex,
            bool,
            typing.SupportsInt | typing.SupportsIndex,
        ]
    ],
    size: typing.SupportsInt | typing.SupportsIndex,
    seed: str,
) -> numpy.typing.NDArray[numpy.uint32]:
    """
    The ids of Cilium's table, read-only and shared with who asked for the same. Candidates are (id, address, port, protocol, weight, internal, cluster id).
    """

def maglev_text(
    candidate: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        str,
        typing.SupportsInt | typing.SupportsIndex,
        str,
        typing.SupportsInt | typing.SupportsIndex,
        bool,
        typing.SupportsInt | typing.SupportsIndex,
    ],
) -> str:
    """
    The text by which Cilium sorts and hashes a backend; ValueError if it can't be one.
    """

def process_chain(
    paths: collections.abc.Sequence[tuple[typing.SupportsInt | typing.SupportsIndex, Datapath]],
    book: AddressBook,
    clusters: collections.abc.Sequence[
        tuple[str, typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
    ],
    source: numpy.ndarray,
    destination: numpy.ndarray,
    source_port: numpy.typing.NDArray[numpy.uint16],
    destination_port: numpy.typing.NDArray[numpy.uint16],
    protocol: numpy.typing.NDArray[numpy.uint8],
    tcp_flags: numpy.typing.NDArray[numpy.uint8],
    time: numpy.typing.NDArray[numpy.uint64],
) -> tuple[numpy.ndarray, ...]:
    """
    Each packet through the data path of its source's cluster, then through that of its destination's.
    """

def tables(
    snapshot: Snapshot,
    cluster_id: typing.SupportsInt | typing.SupportsIndex,
    node: str | None,
    size: typing.SupportsInt | typing.SupportsIndex,
    seed: str,
) -> Tables:
    """
    The tables of a member, as the union over its nodes or of one of them.
    """

__version__: str
source_digest: str

"""
What a pod gets from DNS: Kubernetes' names, headless services across clusters, and the cluster set's names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import pytest

from fleetmesh.records import ServiceRecord, service_record
from fleetmesh.resources.model import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort
from fleetmesh.services.dns import DnsAnswer, resolve
from fleetmesh.services.mcs import derived_name

GLOBAL = {"service.cilium.io/global": "true"}
HTTP = ServicePort(port=80, name="http")


@attrs.frozen
class View:
    """A viewer with one namespace, `shop`, given by what it has."""

    services: Iterable[Service] = ()
    own: Mapping[str, Iterable[EndpointSlice]] = attrs.field(factory=dict)
    remote: Iterable[ServiceRecord] = ()
    endpoint_sync: bool = True
    cluster: str = "east"

    def has_namespace(self, namespace: str) -> bool:
        return namespace == "shop"

    def service(self, namespace: str, name: str) -> Service | None:
        found = (one for one in self.services if (one.namespace, one.name) == (namespace, name))
        return next(found, None)

    def slices(self, namespace: str, name: str) -> Iterable[EndpointSlice]:
        return self.own.get(name, ()) if namespace == "shop" else ()

    def remote_records(self, namespace: str, name: str) -> Iterable[ServiceRecord]:
        return [one for one in self.remote if (one.namespace, one.name) == (namespace, name)]


def cart(**changes: Any) -> Service:
    facts = {"cluster_ip": "10.100.0.1", "cluster_ips": ("10.100.0.1",), "ports": (HTTP,), **changes}
    return Service(namespace="shop", name="cart", **facts)


def database(**changes: Any) -> Service:
    facts = {"cluster_ip": "None", "ports": (ServicePort(port=5432, name="sql"),), "annotations": GLOBAL}
    return Service(namespace="shop", name="db", **{**facts, **changes})


def piece(*endpoints: Endpoint, **changes: Any) -> EndpointSlice:
    facts = {"name": "db-1", "ports": (EndpointPort(port=5432, name="sql"),), **changes}
    return EndpointSlice(namespace="shop", endpoints=endpoints, **facts)


DB_0 = Endpoint(addresses=("10.1.0.1",), ready=True, hostname="db-0")
DB_1 = Endpoint(addresses=("10.1.0.2",))
OWN = {"db": [piece(DB_0, DB_1)]}
WEST = service_record(
    "west",
    2,
    database(),
    [
        ("10.2.0.1", "db-0", "", (), [("sql", 6, 5432)]),
        ("10.2.0.2", "", "", (), [("sql", 6, 5432)]),
        ("fd00:2::1", "", "", (), [("sql", 6, 5432)]),
    ],
)
DB = "db.shop.svc.cluster.local"
CART = "cart.shop.svc.cluster.local"


def asked(view: View, name: str, kind: str = "A") -> tuple[str, tuple[str, ...]]:
    answer = resolve(view, name, kind)
    assert answer.reason, "an answer says why"
    return answer.code, answer.records


# ---- services with a cluster IP


@pytest.mark.parametrize("name", [CART, f"{CART}.", CART.upper(), f" {CART} "])
def test_a_service_has_the_viewers_own_cluster_ip(name: str) -> None:
    answer = resolve(View([cart()]), name, "a")

    assert answer == DnsAnswer(CART, "A", ("10.100.0.1",), "NOERROR", "the cluster IP of Service shop/cart")
    assert list(answer) == ["10.100.0.1"]
    assert len(answer) == 1


def test_each_family_has_its_record_type() -> None:
    view = View([cart(cluster_ips=("10.100.0.1", "fd00::100"))])

    assert asked(view, CART) == ("NOERROR", ("10.100.0.1",))
    assert asked(view, CART, "AAAA") == ("NOERROR", ("fd00::100",))


def test_a_name_without_records_of_the_type_exists_all_the_same() -> None:
    assert asked(View([cart()]), CART, "AAAA") == ("NOERROR", ())


def test_a_global_service_answers_with_the_own_cluster_ip_only() -> None:
    west = service_record("west", 2, cart(cluster_ips=("10.200.0.1",)), [])

    assert asked(View([cart(annotations=GLOBAL)], remote=[west]), CART) == ("NOERROR", ("10.100.0.1",))


def test_an_external_name_is_an_alias() -> None:
    view = View(
        [Service(namespace="shop", name="bank", type="ExternalName", external_name="bank.example.com.")]
    )

    answer = resolve(view, "bank.shop.svc.cluster.local", "AAAA")

    assert (answer.type, answer.records, answer.code) == ("CNAME", ("bank.example.com",), "NOERROR")


@pytest.mark.parametrize("name", ["_http._tcp.bank", "host.bank"])
def test_an_external_name_has_neither_ports_nor_hosts(name: str) -> None:
    view = View(
        [Service(namespace="shop", name="bank", type="ExternalName", external_name="bank.example.com")]
    )

    assert asked(view, f"{name}.shop.svc.cluster.local", "SRV") == ("NXDOMAIN", ())


def test_an_external_name_that_is_an_address_is_no_alias() -> None:
    view = View([Service(namespace="shop", name="bank", type="ExternalName", external_name="192.0.2.1")])

    assert asked(view, "bank.shop.svc.cluster.local") == ("NXDOMAIN", ())


# ---- SRV


PORTS = (HTTP, ServicePort(port=443, name="https"), ServicePort(port=53, name="dns", protocol="UDP"))


@pytest.mark.parametrize(
    ("name", "records"),
    [
        (f"_http._tcp.{CART}", (f"0 100 80 {CART}",)),
        (f"_DNS._udp.{CART}", (f"0 100 53 {CART}",)),
        (CART, (f"0 33 80 {CART}", f"0 33 443 {CART}", f"0 33 53 {CART}")),
    ],
)
def test_srv_records_of_named_ports(name: str, records: tuple[str, ...]) -> None:
    assert asked(View([cart(ports=PORTS)]), name, "SRV") == ("NOERROR", records)


@pytest.mark.parametrize("name", [f"_dns._tcp.{CART}", f"_none._tcp.{CART}"])
def test_a_port_that_the_service_does_not_have_is_no_name(name: str) -> None:
    assert asked(View([cart(ports=PORTS)]), name, "SRV") == ("NXDOMAIN", ())


def test_ports_without_names_have_no_srv_records() -> None:
    view = View([cart(ports=(ServicePort(port=80),))])

    answer = resolve(view, CART, "SRV")

    assert (answer.code, answer.records) == ("NOERROR", ())
    assert "have no names" in answer.reason


def test_the_name_of_a_port_has_no_address() -> None:
    assert asked(View([cart()]), f"_http._tcp.{CART}") == ("NOERROR", ())
    assert asked(View([database()], OWN), f"_sql._tcp.{DB}") == ("NOERROR", ())


# ---- headless services


def test_a_headless_service_has_the_addresses_of_its_ready_endpoints() -> None:
    unready = Endpoint(addresses=("10.1.0.3",), ready=False)
    view = View([database()], {"db": [piece(DB_0, unready), piece(DB_1, name="db-2")]})

    assert asked(view, DB) == ("NOERROR", ("10.1.0.1", "10.1.0.2"))


def test_unready_endpoints_count_where_the_service_publishes_them() -> None:
    unready = Endpoint(addresses=("10.1.0.3",), ready=False)
    view = View([database(publish_not_ready_addresses=True)], {"db": [piece(unready)]})

    assert asked(view, DB) == ("NOERROR", ("10.1.0.3",))


def test_a_headless_service_without_ready_endpoint_is_no_name() -> None:
    assert asked(View([database()], {"db": [piece(attrs.evolve(DB_0, ready=False))]}), DB) == ("NXDOMAIN", ())
    assert asked(View([database()]), DB) == ("NXDOMAIN", ())


def test_a_headless_service_without_ports_has_addresses_all_the_same() -> None:
    view = View([database(ports=())], {"db": [piece(DB_0, ports=())]})

    assert asked(view, DB) == ("NOERROR", ("10.1.0.1",))
    assert asked(view, DB, "SRV") == ("NOERROR", ())


def test_slices_of_names_and_what_is_no_address_are_passed_over() -> None:
    names = piece(Endpoint(addresses=("db.example.com",)), address_type="FQDN")
    view = View([database()], {"db": [names, piece(attrs.evolve(DB_0, addresses=("10.1.0.1", "x")))]})

    assert asked(view, DB) == ("NOERROR", ("10.1.0.1",))


def test_families_of_a_headless_service() -> None:
    view = View(
        [database()], {"db": [piece(DB_0), piece(Endpoint(addresses=("fd00::1",)), address_type="IPv6")]}
    )

    assert asked(view, DB, "AAAA") == ("NOERROR", ("fd00::1",))
    assert asked(View([database()], OWN), DB, "AAAA") == ("NOERROR", ())


@pytest.mark.parametrize(
    ("label", "records"),
    [("db-0", ("10.1.0.1",)), ("DB-0", ("10.1.0.1",)), ("10-1-0-2", ("10.1.0.2",))],
    ids=["host name", "in capitals", "address with dashes"],
)
def test_each_endpoint_has_a_name(label: str, records: tuple[str, ...]) -> None:
    assert asked(View([database()], OWN), f"{label}.{DB}") == ("NOERROR", records)


@pytest.mark.parametrize("label", ["db-9", "10-1-0-1"], ids=["unknown", "an address that has a host name"])
def test_a_name_that_no_endpoint_has(label: str) -> None:
    assert asked(View([database()], OWN), f"{label}.{DB}") == ("NXDOMAIN", ())


def test_srv_records_of_a_headless_service_name_its_endpoints() -> None:
    view = View([database()], OWN)

    assert asked(view, f"_sql._tcp.{DB}", "SRV") == (
        "NOERROR",
        (f"0 50 5432 10-1-0-2.{DB}", f"0 50 5432 db-0.{DB}"),
    )
    assert asked(view, DB, "SRV") == asked(view, f"_sql._tcp.{DB}", "SRV")
    assert asked(view, f"_web._tcp.{DB}", "SRV") == ("NXDOMAIN", ())


def test_an_endpoint_of_a_service_with_a_cluster_ip_has_a_name_too() -> None:
    view = View([cart()], {"cart": [piece(Endpoint(addresses=("10.1.0.7",)))]})

    assert asked(view, f"10-1-0-7.{CART}") == ("NOERROR", ("10.1.0.7",))


# ---- headless services across clusters


def test_endpoints_of_other_clusters_come_through_endpoint_slice_sync() -> None:
    view = View([database(ip_families=("IPv4",))], OWN, [WEST])

    assert asked(view, DB) == ("NOERROR", ("10.1.0.1", "10.1.0.2", "10.2.0.1", "10.2.0.2"))
    assert "in east, west" in resolve(view, DB).reason


def test_families_that_the_own_service_does_not_have_are_not_synchronised() -> None:
    assert asked(View([database(ip_families=("IPv4",))], OWN, [WEST]), DB, "AAAA") == ("NOERROR", ())
    assert asked(View([database(ip_families=("IPv4", "IPv6"))], OWN, [WEST]), DB, "AAAA")[1] == ("fd00:2::1",)


@pytest.mark.parametrize(
    ("annotations", "sync", "why"),
    [
        ({}, True, 'without the annotation service.cilium.io/global: "true"'),
        (
            {"service.cilium.io/global": "false"},
            True,
            'without the annotation service.cilium.io/global: "true"',
        ),
        (
            {"io.cilium/global-service": "true"},
            True,
            'without the annotation service.cilium.io/global: "true"',
        ),
        (GLOBAL, False, "east has enable_endpoint_sync off"),
        (
            {**GLOBAL, "service.cilium.io/global-sync-endpoint-slices": "false"},
            True,
            "service.cilium.io/global-sync-endpoint-slices is 'false'",
        ),
    ],
    ids=["not global", "global is false", "global by the alias only", "setting off", "annotated not to"],
)
def test_without_sync_only_own_endpoints_are_listed_and_the_reason_says_why(
    annotations: dict[str, str], sync: bool, why: str
) -> None:
    answer = resolve(View([database(annotations=annotations)], OWN, [WEST], endpoint_sync=sync), DB)

    assert answer.records == ("10.1.0.1", "10.1.0.2")
    assert why in answer.reason


def test_the_same_host_name_in_two_clusters_gives_both_addresses() -> None:
    assert asked(View([database()], OWN, [WEST]), f"db-0.{DB}") == ("NOERROR", ("10.1.0.1", "10.2.0.1"))


@pytest.mark.parametrize(
    ("extra", "records"),
    [({}, ()), ({"service.cilium.io/global-sync-endpoint-slices": "True"}, ("10.2.0.2",))],
    ids=["by default not", "annotated"],
)
def test_sync_of_a_service_with_a_cluster_ip(extra: dict[str, str], records: tuple[str, ...]) -> None:
    view = View([database(cluster_ip="10.100.0.2", annotations={**GLOBAL, **extra})], remote=[WEST])

    assert asked(view, f"10-2-0-2.{DB}")[1] == records


def test_every_endpoint_of_a_synchronised_cluster_has_every_port_of_it() -> None:
    uneven = service_record(
        "west",
        2,
        database(),
        [("10.2.0.1", "", "", (), [("sql", 6, 5432)]), ("10.2.0.2", "", "", (), [("ui", 6, 80)])],
    )

    records = asked(View([database()], remote=[uneven]), f"_ui._tcp.{DB}", "SRV")[1]

    assert records == (f"0 50 80 10-2-0-1.{DB}", f"0 50 80 10-2-0-2.{DB}")


# ---- the cluster set's names


def derived(**changes: Any) -> Service:
    marks = {**GLOBAL, "clustermesh.cilium.io/supported-ip-families": "IPv4"}
    facts = {"cluster_ip": "10.100.0.9", "cluster_ips": ("10.100.0.9", "fd00::9"), "annotations": marks}
    return Service(namespace="shop", name=derived_name("shop", "db"), ports=(HTTP,), **{**facts, **changes})


SET = "db.shop.svc.clusterset.local"
HEADLESS = derived(cluster_ip="None", cluster_ips=())
MIRRORED = {HEADLESS.name: [piece(DB_0)]}
SET_WEST = attrs.evolve(WEST, name=HEADLESS.name)


def test_an_imported_service_has_the_cluster_ip_of_the_derived_one() -> None:
    assert asked(View([derived()]), SET) == ("NOERROR", ("10.100.0.9",))
    assert asked(View([derived()]), f"_http._tcp.{SET}", "SRV") == ("NOERROR", (f"0 100 80 {SET}",))


def test_families_that_the_import_does_not_have_are_not_answered() -> None:
    assert asked(View([derived()]), SET, "AAAA") == ("NOERROR", ())


def test_a_headless_import_has_the_endpoints_of_all_clusters() -> None:
    view = View([HEADLESS], MIRRORED, [SET_WEST])

    assert asked(view, SET) == ("NOERROR", ("10.1.0.1", "10.2.0.1", "10.2.0.2"))
    assert asked(attrs.evolve(view, endpoint_sync=False), SET) == ("NOERROR", ("10.1.0.1",))


@pytest.mark.parametrize(
    ("label", "records"),
    [("db-0.east", ("10.1.0.1",)), ("db-0.west", ("10.2.0.1",)), ("10-2-0-2.west", ("10.2.0.2",))],
)
def test_an_endpoint_of_a_headless_import_is_called_with_its_cluster(
    label: str, records: tuple[str, ...]
) -> None:
    assert asked(View([HEADLESS], MIRRORED, [SET_WEST]), f"{label}.{SET}") == ("NOERROR", records)


@pytest.mark.parametrize("label", ["db-0.north", "db-0", "west"])
def test_names_that_a_headless_import_does_not_have(label: str) -> None:
    assert asked(View([HEADLESS], MIRRORED, [SET_WEST]), f"{label}.{SET}") == ("NXDOMAIN", ())


def test_srv_records_of_a_headless_import_name_endpoint_and_cluster() -> None:
    records = asked(View([HEADLESS], MIRRORED, [SET_WEST]), f"_sql._tcp.{SET}", "SRV")[1]

    assert records == (
        f"0 33 5432 10-2-0-2.west.{SET}",
        f"0 33 5432 db-0.east.{SET}",
        f"0 33 5432 db-0.west.{SET}",
    )


def test_a_service_that_is_not_imported_is_no_name_in_the_cluster_set() -> None:
    answer = resolve(View([database()], OWN), SET)

    assert (answer.code, answer.records) == ("NXDOMAIN", ())
    assert answer.reason == "east imports no service shop/db: it hears no ServiceExport of it"


# ---- names that are not there


def test_a_service_that_only_others_have_is_no_name_and_the_reason_says_who_has_it() -> None:
    answer = resolve(View(remote=[WEST]), DB)

    assert (answer.code, answer.records) == ("NXDOMAIN", ())
    assert answer.reason == (
        "east has no Service shop/db; west exports it, and it takes a Service of that name here to use it"
    )


def test_a_namespace_that_is_not_there() -> None:
    answer = resolve(View(), "cart.bank.svc.cluster.local")

    assert (answer.code, answer.reason) == ("NXDOMAIN", "east has no namespace bank")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("shop.svc.cluster.local", "NOERROR"),
        ("bank.svc.cluster.local", "NXDOMAIN"),
        ("svc.cluster.local", "NOERROR"),
        ("cluster.local", "NOERROR"),
        ("clusterset.local.", "NOERROR"),
        ("10-1-0-1.shop.pod.cluster.local", "NXDOMAIN"),
        ("a.b.c.cart.shop.svc.cluster.local", "NXDOMAIN"),
        ("a.b.cart.shop.svc.cluster.local", "NXDOMAIN"),
        ("a.b.c.cart.shop.svc.clusterset.local", "NXDOMAIN"),
    ],
)
def test_names_that_are_no_service(name: str, code: str) -> None:
    assert asked(View([cart()]), name) == (code, ())


def test_a_service_that_several_others_have_is_told_of_in_the_plural() -> None:
    answer = resolve(View(remote=[WEST, attrs.evolve(WEST, cluster="north")]), DB)

    assert "; north, west export it, and it takes" in answer.reason


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cart", "write cart.NAMESPACE.svc.cluster.local"),
        ("cart.shop", "write cart.shop.svc.cluster.local"),
        ("cart.shop.svc", "write cart.shop.svc.cluster.local"),
        ("api.example.com", "api.example.com is outside of cluster.local and clusterset.local"),
        (
            "google.com",
            "google.com is outside of cluster.local and clusterset.local: the mesh doesn't answer it",
        ),
        ("example.com.", "example.com is outside of cluster.local"),
        ("notcluster.local.", "notcluster.local is outside of cluster.local"),
        ("", ". is outside of cluster.local"),
    ],
)
def test_a_name_that_the_zones_do_not_answer_is_refused_with_a_hint(name: str, hint: str) -> None:
    answer = resolve(View([cart()]), name)

    assert (answer.code, answer.records) == ("REFUSED", ())
    assert hint in answer.reason


def test_other_record_types_are_an_error() -> None:
    with pytest.raises(ValueError, match="record type 'MX' is not one of A, AAAA, SRV"):
        resolve(View(), CART, "MX")

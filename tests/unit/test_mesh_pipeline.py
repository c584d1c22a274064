"""
From manifests to backends: workloads become pods, pods become slices, Services get what they lack, and
what is declared wins.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from doubles.mesh_manifests import SERVED, deployment, endpoint_slice, pod, service
from fleetmesh.mesh import ClusterSettings, Member, Mesh
from fleetmesh.records import ServiceRecord
from fleetmesh.resources import Service, ServicePort, load_manifests


@pytest.fixture
def mesh() -> Mesh:
    mesh = Mesh("shop")
    mesh.join("east", cluster_id=1, pod_cidrs=["10.1.0.0/16"], service_cidrs=["10.100.0.0/16"])
    mesh.join("west", cluster_id=2, pod_cidrs=["10.2.0.0/16"], service_cidrs=["10.100.0.0/16"])
    return mesh


def used(mesh: Mesh, viewer: str, name: str = "web") -> list[tuple[str, str]]:
    return [(each.cluster, each.address) for each in mesh.service("shop", name).backends(viewer)]


def codes(member: Member) -> list[str]:
    return [each.code for each in member.findings]


def test_a_workload_serves_without_any_declared_pod(mesh: Mesh) -> None:
    east, west = mesh.members["east"], mesh.members["west"]
    east.apply(SERVED)
    west.apply(SERVED)

    assert [cluster for cluster, _ in used(mesh, "east")] == ["east", "east", "west", "west"]
    for member in (east, west):
        (network,) = (ip_network(cidr) for cidr in member.ranges.pod_cidrs)
        assert len(member.pods) == 2
        assert all(ip_address(each.addresses[0]) in network for each in member.pods)
    (frontend,) = mesh.service("shop", "web").frontends("east")
    assert ip_address(frontend.address) in ip_network("10.100.0.0/16")
    assert (frontend.port, frontend.port_name, frontend.in_use) == (80, "http", 4)
    assert {backend.port for backend in frontend.backends} == {8080}


def test_scaling_to_nothing_takes_the_pods_away_and_back_they_have_their_addresses(mesh: Mesh) -> None:
    east = mesh.members["east"]
    east.apply(SERVED)
    before = used(mesh, "east")

    east.apply(deployment(replicas=0))

    assert east.pods == ()
    assert used(mesh, "east") == []

    east.apply(deployment(replicas=2))

    assert used(mesh, "east") == before


def test_scaling_keeps_the_pods_that_are(mesh: Mesh) -> None:
    east = mesh.members["east"]
    east.apply(SERVED)
    before = set(used(mesh, "east"))

    east.apply(deployment(replicas=5))

    assert before < set(used(mesh, "east"))
    assert len(east.pods) == 5


def test_a_daemon_set_has_a_pod_on_each_node(mesh: Mesh) -> None:
    east = mesh.members["east"]
    east.apply(service() + deployment(kind="DaemonSet"))
    assert [each.template.node_name for each in east.pods] == ["node-1"]

    for name in ("a", "b", "c"):
        east.apply(f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n")

    assert sorted(each.template.node_name for each in east.pods) == ["a", "b", "c"]
    assert len(used(mesh, "east")) == 3


def test_a_declared_pod_wins_over_the_expansion(mesh: Mesh) -> None:
    east = mesh.members["east"]
    east.apply(SERVED)

    east.apply(pod("web-own", "10.1.0.77"))

    assert [each.name for each in east.pods] == ["web-own"]
    assert used(mesh, "east") == [("east", "10.1.0.77")]

    east.delete(pod("web-own"))

    assert len(used(mesh, "east")) == 2


def test_a_declared_pod_without_a_status_is_given_an_address(mesh: Mesh) -> None:
    east = mesh.members["east"]
    east.apply(service() + pod("web-own"))

    ((_, address),) = used(mesh, "east")
    assert ip_address(address) in ip_network("10.1.0.0/16")


def test_a_declared_slice_wins_over_pods(mesh: Mesh) -> None:
    east = mesh.members["east"]
    east.apply(SERVED)

    east.apply(endpoint_slice("web-1", "10.1.0.5"))

    assert used(mesh, "east") == [("east", "10.1.0.5")]

    east.delete(endpoint_slice("web-1", "10.1.0.5"))

    assert len(used(mesh, "east")) == 2


def test_a_slice_that_goes_over_to_another_service_leaves_the_first(mesh: Mesh) -> None:
    east = mesh.members["east"]
    east.apply(service() + service("other") + endpoint_slice("one", "10.1.0.5"))

    east.apply(endpoint_slice("one", "10.1.0.5", service_name="other"))

    assert used(mesh, "east") == []
    assert used(mesh, "east", "other") == [("east", "10.1.0.5")]


def test_an_address_that_a_pod_declares_is_taken_from_whom_it_was_given_to(mesh: Mesh) -> None:
    """Also from a pod of another member: the network is flat."""
    east, west = mesh.members["east"], mesh.members["west"]
    east.apply(SERVED)
    taken = east.pods[0].addresses[0]

    west.apply(service() + pod("web-own", taken))

    assert taken not in {each.addresses[0] for each in east.pods}
    assert [pair for pair in used(mesh, "east") if pair[1] == taken] == [("west", taken)]
    assert len(used(mesh, "west")) == 3


def test_a_cluster_ip_that_a_service_declares_is_taken_from_whom_it_was_given_to(mesh: Mesh) -> None:
    east = mesh.members["east"]
    east.apply(service("first"))
    (given,) = mesh.service("shop", "first").frontends("east")

    east.apply(service("second", spec=f"clusterIP: {given.address}"))

    (declared,) = mesh.service("shop", "second").frontends("east")
    (moved,) = mesh.service("shop", "first").frontends("east")
    assert declared.address == given.address
    assert moved.address != given.address


def test_a_cluster_ip_stays_while_its_service_changes(mesh: Mesh) -> None:
    east = mesh.members["east"]
    east.apply(service())
    before = mesh.service("shop", "web").frontends("east")

    east.apply(service(affinity="local"))

    assert [each.address for each in mesh.service("shop", "web").frontends("east")] == [before[0].address]


def test_dual_stack_services_get_a_cluster_ip_of_each_family() -> None:
    mesh = Mesh("shop")
    for number, (name, ipv6) in enumerate((("east", True), ("west", False)), 1):
        member = mesh.join(name, cluster_id=number, settings=ClusterSettings(enable_ipv6=ipv6))
        member.apply(service(spec="ipFamilyPolicy: PreferDualStack") + deployment())

    east, west = (mesh.service("shop", "web").frontends(name) for name in ("east", "west"))
    assert [":" in each.address for each in east] == [False, True]
    assert [":" in each.address for each in west] == [False]
    assert [{backend.cluster for backend in each.backends} for each in east] == [{"east", "west"}, {"east"}]


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_a_port_without_node_port_has_no_node_port_frontend(mesh: Mesh, kind: str) -> None:
    """Of two ports of one Service, the one that names its node port has the only frontend of that type."""
    named, bare = "{name: http, port: 80, nodePort: 30080}", "{name: admin, port: 81}"
    text = service(spec=f"type: {kind}").replace(
        "[{name: http, port: 80, targetPort: http}]", f"[{named}, {bare}]"
    )
    mesh.members["east"].apply(text)

    assert {
        (each.type, each.port, each.port_name) for each in mesh.service("shop", "web").frontends("east")
    } == {("ClusterIP", 80, "http"), ("ClusterIP", 81, "admin"), ("NodePort", 30080, "http")}


def test_hand_made_endpoints_serve_a_service_without_selector(mesh: Mesh) -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {ports: [{name: sql, port: 5432}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: db, namespace: shop}
subsets: [{addresses: [{ip: 192.0.2.10}], ports: [{name: sql, port: 5432}]}]
"""
    mesh.members["east"].apply(text)

    assert used(mesh, "east", "db") == [("east", "192.0.2.10")]


def test_the_namespace_gate_of_the_publisher_decides(mesh: Mesh) -> None:
    mesh.members["east"].apply(SERVED)
    mesh.members["west"].apply(SERVED)

    gate = 'annotations: {clustermesh.cilium.io/global: "false"}'
    mesh.members["west"].apply(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, {gate}}}\n")

    assert {cluster for cluster, _ in used(mesh, "east")} == {"east"}
    assert {cluster for cluster, _ in used(mesh, "west")} == {"east", "west"}
    assert mesh.service("shop", "web").clusters == ("east",)


def test_the_defaults_of_aks_publish_nothing_until_a_namespace_says_so() -> None:
    mesh = Mesh("shop")
    for number, name in enumerate(("east", "west"), 1):
        mesh.join(name, cluster_id=number, settings=ClusterSettings.aks()).apply(SERVED)

    assert mesh.service("shop", "web").clusters == ()
    assert {cluster for cluster, _ in used(mesh, "east")} == {"east"}


def test_ranges_that_are_used_up_are_told_and_the_rest_is_served() -> None:
    mesh = Mesh("shop")
    east = mesh.join("east", cluster_id=1, pod_cidrs=["10.1.0.0/30"])
    east.apply(service() + deployment(replicas=6))

    assert len(used(mesh, "east")) == 4
    found = [each for each in east.findings if each.code == "range-exhausted"]
    assert len(found) == 2
    assert "10.1.0.0/30" in found[0].message

    east.apply(deployment(replicas=3))

    assert "range-exhausted" not in codes(east)


def test_default_ranges_give_way_to_declared_ones_and_come_back() -> None:
    mesh = Mesh("shop")
    east = mesh.join("east", cluster_id=1)
    east.apply(SERVED)
    before, pods = east.ranges, east.pods

    mesh.join("west", cluster_id=2, pod_cidrs=[next(each for each in before.pod_cidrs if "." in each)])

    assert east.ranges.pod_cidrs != before.pod_cidrs
    assert {each.addresses[0] for each in east.pods}.isdisjoint(each.addresses[0] for each in pods)
    assert len(used(mesh, "east")) == 2

    mesh.leave("west")

    assert east.ranges == before


def test_what_one_apply_says_twice_is_a_finding_and_the_later_wins(mesh: Mesh) -> None:
    east = mesh.members["east"]
    once, twice = (load_manifests(service(affinity=value))[0] for value in ("local", "remote"))

    east.apply([once, twice])

    assert codes(east) == ["duplicate-object"]
    assert east.resources["Service", "shop", "web"] == twice

    east.apply(service())

    assert codes(east) == []


def test_an_object_that_can_not_be_stops_no_other_and_the_valid_one_stays(mesh: Mesh) -> None:
    east = mesh.members["east"]
    good = Service(namespace="shop", name="web", ports=(ServicePort(port=80),))
    east.apply(good)
    bad = Service(namespace="shop", name="web", ports=(ServicePort(port=70000),))

    east.apply([bad, Service(namespace="shop", name="late", ports=(ServicePort(port=81),))])

    assert east.resources[good.key] == good
    assert mesh.services("east") == (("shop", "late"), ("shop", "web"))
    (found,) = east.findings
    assert found.code == "invalid-resource"
    assert "70000" in found.message


def test_text_that_is_half_wrong_applies_the_other_half(mesh: Mesh) -> None:
    east = mesh.members["east"]

    east.apply(service() + "---\nkind: Service\napiVersion: v1\nmetadata: {name: 7}\n")

    assert mesh.services("east") == (("shop", "web"),)
    assert codes(east) == ["manifest-problem"]


def test_kinds_that_no_rule_reads_are_told_once_a_kind(mesh: Mesh) -> None:
    text = "".join(
        f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s{n}, namespace: a}}\n" for n in range(3)
    )
    mesh.members["east"].apply(text)
    mesh.members["east"].apply("apiVersion: v1\nkind: Secret\nmetadata: {name: more, namespace: a}\n")

    (found,) = mesh.members["east"].findings
    assert (found.code, found.severity) == ("unknown-kind", "info")
    assert found.message.startswith("4 of")


def test_a_foreign_kind_may_be_called_as_one_of_kubernetes(mesh: Mesh) -> None:
    foreign = (
        "---\napiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n"
    )
    mesh.members["east"].apply(service() + foreign)

    assert mesh.services("east") == (("shop", "web"),)
    mesh.members["east"].delete(foreign)
    assert mesh.services("east") == (("shop", "web"),)


def test_a_source_takes_away_what_it_gave_and_gives_no_more(mesh: Mesh) -> None:
    east = mesh.members["east"]
    east.replace(service("a") + service("b"), source="files")
    east.apply(service("c"))

    east.replace(service("b"), source="files")

    assert mesh.services("east") == (("shop", "b"), ("shop", "c"))

    east.apply(service("b", affinity="local"))
    east.replace("---\n", source="files")

    assert mesh.services("east") == (("shop", "b"), ("shop", "c"))


def test_applying_the_same_again_changes_nothing(mesh: Mesh) -> None:
    east = mesh.members["east"]
    assert east.apply(SERVED).services != ()

    delta = east.apply(SERVED)

    assert delta.services == ()
    assert (delta.old + 1, delta.new) == (delta.new, mesh.generation)


def test_deleting_what_is_not_there_is_no_error(mesh: Mesh) -> None:
    assert not mesh.members["east"].delete(service("nobody"))


def test_a_member_that_left_comes_back_with_what_it_had(mesh: Mesh) -> None:
    mesh.members["east"].apply(SERVED)
    mesh.members["west"].apply(SERVED)
    before = used(mesh, "east")

    west = mesh.leave("west")

    assert {cluster for cluster, _ in used(mesh, "east")} == {"east"}
    assert list(mesh.members) == ["east"]
    assert ("Service", "shop", "web") in west.resources

    assert mesh.join(west) is west
    assert used(mesh, "east") == before


def test_members_are_in_order_of_their_ids() -> None:
    mesh = Mesh("shop")
    for number, name in ((7, "a"), (3, "c"), (5, "b")):
        mesh.join(name, cluster_id=number)

    assert list(mesh.members) == ["c", "b", "a"]


def test_records_are_what_others_may_know(mesh: Mesh) -> None:
    east = mesh.members["east"]
    east.apply(SERVED + service("private", **{"global": "false"}))

    assert [type(each).__name__ for each in east.records()] == [
        "ServiceRecord",
        "EndpointsRecord",
        "IdentityRecord",
        "IpRecord",
        "IpRecord",
    ]
    (record,) = east.records("service")
    assert isinstance(record, ServiceRecord)
    assert sorted(record.backends) == sorted(each.addresses[0] for each in east.pods)
    with pytest.raises(ValueError, match="node, service, endpoints"):
        east.records("secret")


def test_an_exported_service_is_imported_where_its_namespace_is(mesh: Mesh) -> None:
    export = "---\napiVersion: multicluster.x-k8s.io/v1beta1\nkind: ServiceExport\n"
    export += "metadata: {name: web, namespace: shop}\n"
    plain = service(**{"global": "false"}) + deployment()
    mesh.members["east"].apply(plain + export)
    name = "web.shop.svc.clusterset.local"

    assert list(mesh.resolve(name, seen_from="west")) == []
    assert [each.code for each in mesh.findings] == ["unresolvable-name"]

    mesh.members["west"].apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")

    (address,) = mesh.resolve(name, seen_from="west")
    assert ip_address(address) in ip_network("10.100.0.0/16")
    (derived,) = mesh.services("west")
    assert {each.cluster for each in mesh.service(*derived).backends("west")} == {"east"}

    mesh.members["east"].delete(export)

    assert list(mesh.resolve(name, seen_from="west")) == []
    assert mesh.services("west") == ()


def test_a_broken_document_takes_nothing_away(mesh: Mesh) -> None:
    east = mesh.members["east"]
    service = """
apiVersion: v1
kind: Service
metadata: {name: kept, namespace: shop}
spec: {ports: [{port: 80}]}
"""
    east.replace(service, source="dir")

    east.replace(service.replace("port: 80", 'port: "eighty"'), source="dir")

    assert ("shop", "kept") in mesh.services("east")
    assert "manifest-problem" in {each.code for each in east.findings}

    east.replace("---\n", source="dir")

    assert ("shop", "kept") not in mesh.services("east")


def test_two_services_that_declare_one_cluster_ip_are_a_finding(mesh: Mesh) -> None:
    east = mesh.members["east"]
    for name in ("first", "second"):
        east.apply(f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{clusterIP: 100.64.0.9, ports: [{{port: 80}}]}}
""")

    assert mesh.service("shop", "second").frontends("east") == ()
    assert [each.subject for each in mesh.findings if each.code == "frontend-conflict"]


def test_a_declared_import_changes_nothing_and_is_told_of(mesh: Mesh) -> None:
    """Cilium makes ServiceImports itself, and would overwrite or remove this one."""
    said = "apiVersion: multicluster.x-k8s.io/v1beta1\nkind: ServiceImport\n"
    said += "metadata: {name: web, namespace: shop}\n"
    before = mesh.services("east")

    mesh.members["east"].apply(said)

    (found,) = [each for each in mesh.findings if each.code == "import-declared"]
    assert mesh.services("east") == before
    assert (found.severity, found.subject) == ("info", "ServiceImport shop/web")
    assert "made of the ServiceExports" in found.message
    assert found.where is not None
    mesh.members["east"].delete(mesh.members["east"].resources.values())
    assert "import-declared" not in {each.code for each in mesh.findings}


def test_a_stateful_sets_pod_comes_when_another_of_its_name_goes() -> None:
    mesh = Mesh("m")
    east = mesh.join("east", cluster_id=1)
    other = "kind: Pod\napiVersion: v1\nmetadata: {name: web-0, ownerReferences: [{kind: Nobody, name: x}]}\n"
    east.apply(other)
    east.apply(
        "kind: StatefulSet\napiVersion: apps/v1\nmetadata: {name: web}\n"
        "spec: {replicas: 2, template: {metadata: {labels: {app: web}}}}\n"
    )
    assert {each.name: each.owners for each in east.pods}["web-0"] == (("Nobody", "x"),)

    east.delete(other)

    assert {each.name: each.owners for each in east.pods}["web-0"] == (("StatefulSet", "web"),)

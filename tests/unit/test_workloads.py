"""The pods that a cluster's controllers would make of workloads."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import attrs
import pytest

from fleetmesh.resources.model import Node, Origin, Pod, PodTemplate, Workload
from fleetmesh.services.workloads import belongs, expand, schedule, superseded, zones

APP = {"app": "cart"}
NODES = (
    Node(name="n1", labels={"disk": "ssd", "topology.kubernetes.io/zone": "a"}),
    Node(name="n2"),
    Node(name="n3", labels={"disk": "ssd"}),
)


def workload(kind: str = "Deployment", /, **fields: Any) -> Workload:
    given: dict[str, Any] = {
        "name": "cart",
        "namespace": "shop",
        "replicas": None if kind == "DaemonSet" else 3,
        "selector_labels": APP,
        "template": PodTemplate(labels=APP, service_account="carter"),
        "origin": Origin("shop.yaml", 1, 1),
    }
    return Workload(kind=kind, **{**given, **fields})


def pods(kind: str = "Deployment", /, nodes: tuple[Node, ...] = NODES, **fields: Any) -> tuple[Pod, ...]:
    return expand(workload(kind, **fields), nodes).pods


class TestNames:
    @pytest.mark.parametrize(
        ("kind", "pattern"),
        [
            ("Deployment", r"cart-[bcdf-hj-np-tv-xz2456789]{10}-[bcdf-hj-np-tv-xz2456789]{5}"),
            ("ReplicaSet", r"cart-[bcdf-hj-np-tv-xz2456789]{5}"),
            ("Job", r"cart-[bcdf-hj-np-tv-xz2456789]{5}"),
            ("DaemonSet", r"cart-[bcdf-hj-np-tv-xz2456789]{5}"),
            ("StatefulSet", r"cart-[012]"),
        ],
    )
    def test_names_look_like_those_of_kubernetes(self, kind: str, pattern: str) -> None:
        names = [pod.name for pod in pods(kind)]
        assert len(set(names)) == 3
        assert all(re.fullmatch(pattern, name) for name in names)

    def test_scaling_up_keeps_the_first_pods_as_they_are(self) -> None:
        for kind in ("Deployment", "StatefulSet", "ReplicaSet", "Job"):
            assert pods(kind, replicas=5)[:3] == pods(kind, replicas=3)

    def test_a_new_template_renames_no_pod(self) -> None:
        other = PodTemplate(labels={**APP, "version": "2"})
        assert [pod.name for pod in pods(template=other)] == [pod.name for pod in pods()]

    def test_a_new_node_renames_no_pod_and_adds_a_daemon(self) -> None:
        more = (*NODES, Node(name="n4"))
        assert [pod.name for pod in pods(nodes=more)] == [pod.name for pod in pods()]
        old, new = ({pod.name for pod in pods("DaemonSet", nodes=nodes)} for nodes in (NODES, more))
        assert len(new - old) == 1
        assert old < new

    def test_equal_names_in_two_namespaces_or_of_two_kinds_differ(self) -> None:
        everything = (*pods(), *pods(namespace="dev"), *pods("ReplicaSet"), *pods("Job"))
        assert len({pod.name for pod in everything}) == len(everything)

    def test_ten_thousand_replicas_have_ten_thousand_names(self) -> None:
        assert len({pod.name for pod in pods(replicas=10_000)}) == 10_000

    def test_a_long_name_is_cut_as_generate_name_does(self) -> None:
        assert {len(pod.name) for pod in pods("ReplicaSet", name="a" * 200)} == {63}


class TestPods:
    def test_a_pod_is_what_the_template_says(self) -> None:
        template = PodTemplate(labels=APP, annotations={"a": "b"}, service_account="carter", hostname="h")
        (pod,) = pods(replicas=1, template=template)
        assert (pod.namespace, pod.labels, pod.annotations) == ("shop", APP, {"a": "b"})
        assert (pod.phase, pod.ready, pod.terminating, pod.addresses) == ("Running", True, False, ())
        assert pod.template == attrs.evolve(template, node_name=pod.template.node_name)
        assert pod.origin == Origin("shop.yaml", 1, 1)

    def test_every_pod_belongs_to_its_workload_and_to_no_other(self) -> None:
        for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"):
            assert all(belongs(pod, workload(kind)) for pod in pods(kind))
            assert not any(belongs(pod, workload(kind, name="web")) for pod in pods(kind))

    def test_stateful_pods_have_names_of_their_own(self) -> None:
        found = pods("StatefulSet", service_name="carts", replicas=2)
        assert [(pod.template.hostname, pod.template.subdomain) for pod in found] == [
            ("cart-0", "carts"),
            ("cart-1", "carts"),
        ]
        assert found[1].labels == {
            **APP,
            "statefulset.kubernetes.io/pod-name": "cart-1",
            "apps.kubernetes.io/pod-index": "1",
        }

    def test_pods_of_a_job_say_so(self) -> None:
        assert pods("Job", replicas=1)[0].labels["batch.kubernetes.io/job-name"] == "cart"

    @pytest.mark.parametrize("replicas", [0, -1])
    def test_scaling_to_zero_takes_the_pods_away(self, replicas: int) -> None:
        assert expand(workload(replicas=replicas), NODES).pods == ()


class TestNodes:
    def test_pods_are_spread_evenly(self) -> None:
        spread = Counter(pod.template.node_name for pod in pods(replicas=9))
        assert spread == {"n1": 3, "n2": 3, "n3": 3}

    def test_the_order_of_the_nodes_has_no_part_in_it(self) -> None:
        assert pods(nodes=NODES[::-1]) == pods()

    def test_a_node_selector_is_respected(self) -> None:
        template = PodTemplate(labels=APP, node_selector={"disk": "ssd"})
        assert {pod.template.node_name for pod in pods(replicas=8, template=template)} == {"n1", "n3"}
        assert {pod.template.node_name for pod in pods("DaemonSet", template=template)} == {"n1", "n3"}

    @pytest.mark.parametrize(
        ("selector", "expected"),
        [({"kubernetes.io/os": "linux"}, {"n1", "n2", "n3"}), ({"kubernetes.io/hostname": "n2"}, {"n2"})],
    )
    def test_every_node_has_the_labels_that_kubelets_set(
        self, selector: dict[str, str], expected: set[str]
    ) -> None:
        template = PodTemplate(labels=APP, node_selector=selector)
        assert {pod.template.node_name for pod in pods(template=template)} == expected

    def test_a_node_name_binds_whether_that_node_is_declared_or_not(self) -> None:
        template = PodTemplate(labels=APP, node_name="elsewhere", node_selector={"disk": "ssd"})
        found = expand(workload(template=template), NODES)
        assert {pod.template.node_name for pod in found.pods} == {"elsewhere"}
        assert found.findings == ()

    def test_a_cluster_without_nodes_has_one_that_takes_everything(self) -> None:
        template = PodTemplate(labels=APP, node_selector={"disk": "ssd"})
        assert {pod.template.node_name for pod in pods(nodes=(), template=template)} == {"node-1"}
        assert [pod.template.node_name for pod in pods("DaemonSet", nodes=())] == ["node-1"]

    def test_pods_that_fit_no_node_wait_and_one_finding_says_so(self) -> None:
        template = PodTemplate(labels=APP, node_selector={"disk": "tape"})
        found = expand(workload(template=template), NODES)
        assert [(pod.phase, pod.ready, pod.template.node_name) for pod in found.pods] == [
            ("Pending", False, "")
        ] * 3
        (said,) = found.findings
        assert (said.code, said.subject) == ("unscheduled-pod", "Deployment shop/cart")
        assert (
            "its 3 pods are on no node: none of the 3 declared ones has the labels disk=tape" in said.message
        )

    def test_neither_no_pods_nor_a_daemon_without_nodes_is_worth_a_finding(self) -> None:
        template = PodTemplate(labels=APP, node_selector={"disk": "tape"})
        assert expand(workload(replicas=0, template=template), NODES).findings == ()
        found = expand(workload("DaemonSet", template=template), NODES)
        assert (found.pods, found.findings) == ((), ())

    def test_zones_are_those_of_the_labels(self) -> None:
        assert zones(NODES) == {"n1": "a"}


class TestSchedule:
    def test_a_declared_pod_without_a_node_gets_one_that_fits(self) -> None:
        pod = Pod(name="a", namespace="shop", template=PodTemplate(node_selector={"disk": "ssd"}))
        (found,) = schedule(pod, NODES).pods
        assert found.template.node_name in {"n1", "n3"}
        assert schedule(pod, NODES[::-1]).pods == (found,)

    def test_one_that_fits_none_waits(self) -> None:
        pod = Pod(name="a", namespace="shop", template=PodTemplate(node_selector={"disk": "tape"}))
        found = schedule(pod, NODES)
        assert (found.pods[0].phase, found.pods[0].ready) == ("Pending", False)
        assert [said.subject for said in found.findings] == ["Pod shop/a"]

    @pytest.mark.parametrize(
        "pod",
        [
            Pod(name="a", namespace="shop", template=PodTemplate(node_name="n9")),
            Pod(name="a", namespace="shop", phase="Succeeded"),
            Pod(name="a", namespace="shop", phase="Pending"),
        ],
    )
    def test_one_that_has_a_node_or_does_not_run_is_left_as_it_is(self, pod: Pod) -> None:
        assert schedule(pod, NODES).pods == (pod,)


class TestBelonging:
    def pod(self, **fields: Any) -> Pod:
        return Pod(**{"name": "cart-x", "namespace": "shop", "labels": APP, **fields})

    @pytest.mark.parametrize(
        ("kind", "owner", "expected"),
        [
            ("Deployment", ("ReplicaSet", "cart-5d8c7"), True),
            ("Deployment", ("ReplicaSet", "cart-web-5d8c7"), False),
            ("Deployment", ("ReplicaSet", "cart-api"), False),
            ("Deployment", ("ReplicaSet", "cart"), False),
            ("Deployment", ("StatefulSet", "cart"), False),
            ("ReplicaSet", ("ReplicaSet", "cart"), True),
            ("ReplicaSet", ("ReplicaSet", "cart-5d8c7"), False),
            ("StatefulSet", ("StatefulSet", "cart"), True),
            ("DaemonSet", ("DaemonSet", "web"), False),
        ],
    )
    def test_owner_references_decide(self, kind: str, owner: tuple[str, str], expected: bool) -> None:
        assert belongs(self.pod(owners=(owner,)), workload(kind)) is expected

    def test_labels_decide_for_a_pod_without_owners(self) -> None:
        assert belongs(self.pod(labels={**APP, "more": "1"}), workload())
        assert not belongs(self.pod(labels={"app": "web"}), workload())

    def test_a_pod_of_another_namespace_never_does(self) -> None:
        assert not belongs(self.pod(namespace="dev"), workload())
        assert not belongs(self.pod(namespace="dev", owners=(("ReplicaSet", "cart-5d8c7"),)), workload())

    def test_a_workload_without_selector_has_no_pods_by_label(self) -> None:
        assert not belongs(self.pod(), workload("Job", selector_labels={}))


class TestSuperseded:
    def test_a_deployment_whose_replica_set_is_declared_makes_no_pods_itself(self) -> None:
        child = workload("ReplicaSet", name="cart-5d8c7", owners=(("Deployment", "cart"),))
        assert superseded(workload(), (child,))
        assert not superseded(child, (workload(), child))

    def test_a_replica_set_without_owners_is_known_by_name_and_labels(self) -> None:
        assert superseded(workload(), (workload("ReplicaSet", name="cart-5d8c7"),))
        assert not superseded(workload(), (workload("ReplicaSet", name="web-5d8c7"),))
        other = PodTemplate(labels={"app": "web"})
        assert not superseded(workload(), (workload("ReplicaSet", name="cart-5d8c7", template=other),))

    def test_one_of_another_deployment_or_namespace_has_no_part_in_it(self) -> None:
        foreign = workload("ReplicaSet", name="cart-5d8c7", owners=(("Deployment", "web"),))
        elsewhere = workload(
            "ReplicaSet", name="cart-5d8c7", namespace="dev", owners=(("Deployment", "cart"),)
        )
        assert not superseded(workload(), (foreign, elsewhere, workload()))

"""
What each command answers, as JSON: its shape is a promise, and its values are the mesh's.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from command_line import EXAMPLES, GUARDED, SHOP, answer, run

BACKEND = {"cluster", "address", "port", "protocol", "port_names", "state", "weight", "nodes"}
FINDING = {"code", "severity", "subject", "message", "evidence", "fix", "where"}


def test_status_has_the_members_in_order_of_their_ids() -> None:
    found = answer("status", SHOP)

    assert set(found) == {
        "mesh",
        "mode",
        "topology",
        "max_connected_clusters",
        "generation",
        "members",
        "findings",
    }
    assert (found["mesh"], found["mode"], found["max_connected_clusters"]) == ("shop", "cilium", 255)
    assert found["topology"] == {"kind": "full", "hub": None, "pairs": []}
    assert [(each["name"], each["id"]) for each in found["members"]] == [
        ("east", 1),
        ("west", 2),
        ("north", 3),
    ]
    east = found["members"][0]
    assert east == {
        "name": "east",
        "id": 1,
        "labels": {"region": "east", "tier": "stateful"},
        "services": 6,
        "exported": 4,
        "pods": 11,
        "nodes": 0,
        "hears": ["west", "north"],
        "pod_ranges": ["10.1.0.0/16"],
        "service_ranges": ["10.101.0.0/16"],
        "node_ranges": east["node_ranges"],
        "drained": False,
        "failed": False,
    }
    assert found["findings"] == {"error": 0, "warning": 0, "info": 2}


def test_status_names_the_hub() -> None:
    found = answer("status", str(EXAMPLES / "shared-services"))

    assert found["topology"] == {"kind": "hub", "hub": "platform", "pairs": []}
    assert [each["hears"] for each in found["members"]] == [
        ["payments", "search"],
        ["platform"],
        ["platform"],
    ]


def test_services_tells_who_is_global_who_exports_and_what_each_cluster_uses() -> None:
    found = {each["name"]: each for each in answer("services", SHOP)["services"]}

    assert list(found) == ["cart", "catalog", "checkout", "orders-db", "orders-db-nodes", "storefront"]
    assert found["orders-db"] == {
        "namespace": "shop",
        "name": "orders-db",
        "import_of": None,
        "global_in": ["east", "west", "north"],
        "exported_by": ["east", "west", "north"],
        "views": [
            {"seen_from": viewer, "kind": "virtual", "backends": 2, "clusters": {"east": 2}}
            for viewer in ("east", "west", "north")
        ],
    }
    assert found["storefront"]["global_in"] == []
    assert found["orders-db-nodes"]["views"] == [
        {"seen_from": "east", "kind": "headless", "backends": 0, "clusters": {}}
    ]


def test_services_of_one_viewer_are_those_that_it_has() -> None:
    found = answer("services", SHOP, "--seen-from", "west")["services"]

    assert "orders-db-nodes" not in [each["name"] for each in found]
    assert {view["seen_from"] for each in found for view in each["views"]} == {"west"}


def test_services_names_what_an_import_was_made_of() -> None:
    found = answer("services", str(EXAMPLES / "stateful"))["services"]

    assert [each["import_of"] for each in found if each["name"].startswith("derived-")] == [
        "accounts/ledger-audit"
    ]


def test_backends_has_a_view_of_every_cluster() -> None:
    found = answer("backends", SHOP, "shop/cart")

    assert set(found) == {"mesh", "members", "namespace", "name", "exported_by", "views"}
    assert [view["seen_from"] for view in found["views"]] == ["east", "west", "north"]
    for view in found["views"]:
        assert {each["cluster"] for each in view["backends"]} == {view["seen_from"]}
        assert all(set(each) == BACKEND for each in view["backends"])
        assert [each["type"] for each in view["frontends"]] == ["ClusterIP"]
        assert view["frontends"][0]["in_use"] == len(view["backends"])


def test_backends_tells_a_cluster_without_the_service_from_one_without_backends() -> None:
    views = answer("backends", SHOP, "shop/orders-db-nodes")["views"]

    assert [(view["has_service"], view["backends"]) for view in views] == [
        (True, []),
        (False, []),
        (False, []),
    ]


def test_backends_seen_from_a_node() -> None:
    views = answer("backends", SHOP, "shop/checkout", "--seen-from", "east/node-1")["views"]

    assert [view["seen_from"] for view in views] == ["east/node-1"]
    assert len(views[0]["backends"]) == 8


def test_resolve_answers_for_every_cluster() -> None:
    found = answer("resolve", SHOP, "cart.shop.svc.cluster.local")

    assert [each["seen_from"] for each in found["answers"]] == ["east", "west", "north"]
    assert {each["code"] for each in found["answers"]} == {"NOERROR"}
    records = [record for each in found["answers"] for record in each["records"]]
    assert [record.split(".")[1] for record in records] == ["101", "102", "103"]


def test_resolve_of_a_type() -> None:
    name = "_http._tcp.cart.shop.svc.cluster.local"
    (found,) = answer("resolve", SHOP, name, "--seen-from", "west", "--type", "srv")["answers"]

    assert found["records"] == ["0 100 80 cart.shop.svc.cluster.local"]


def test_resolve_of_a_name_that_is_not_there_is_an_answer() -> None:
    (found,) = answer("resolve", SHOP, "nobody.shop.svc.cluster.local", "--seen-from", "west")["answers"]

    assert (found["code"], found["records"]) == ("NXDOMAIN", [])


def test_explain_has_every_candidate_and_the_rule_that_decided() -> None:
    (found,) = answer("explain", SHOP, "shop/cart", "--seen-from", "north")["explanations"]

    assert set(found) == {"seen_from", "frontends", "candidates", "silent"}
    rules = {each["cluster"]: each["verdicts"][0]["rule"] for each in found["candidates"]}
    assert rules == {"north": "in-use", "east": "affinity-local", "west": "affinity-local"}


def test_explain_names_the_clusters_without_candidates() -> None:
    (found,) = answer("explain", SHOP, "shop/orders-db", "--seen-from", "west")["explanations"]

    assert {each["cluster"]: each["rule"] for each in found["silent"]} == {
        "west": "no-endpoints",
        "north": "no-endpoints",
    }


def test_compare_says_what_becomes_of_open_connections() -> None:
    found = answer("compare", SHOP, "--fail", "east", "--traffic")
    rows = {(row["viewer"], row["name"]): row for row in found["traffic"]}

    assert {viewer for viewer, _ in rows} == {"west", "north"}
    catalog, database = rows["west", "catalog"], rows["west", "orders-db"]
    assert set(catalog["before"]) == {"east", "west"}
    assert sum(catalog["before"].values()) == catalog["connections"] == 1000
    assert catalog["after"] == {"west": 1000}
    assert catalog["moved"] == catalog["before"]["east"]  # those to west stay with their backends
    assert (database["after"], database["without_backend"], database["moved"]) == ({}, 1000, 1000)
    assert rows["west", "cart"]["moved"] == 0


def test_compare_of_a_drained_cluster() -> None:
    found = answer("compare", SHOP, "--drain", "west")
    row = next(each for each in found["rows"] if (each["viewer"], each["name"]) == ("west", "cart"))

    assert set(found) == {
        "mesh",
        "members",
        "changes",
        "notes",
        "blind",
        "rows",
        "flows",
        "traffic",
        "new_findings",
        "settled_findings",
    }
    assert found["changes"] == ["drain west"]
    assert found["flows"] == {"lost": [], "gained": [], "changed": []}
    assert found["blind"] == []
    assert set(row) == {
        "viewer",
        "namespace",
        "name",
        "status",
        "moved",
        "table_moved",
        "table_excess",
        "backends_in",
        "backends_out",
        "share_before",
        "share_after",
        "frontends_in",
        "frontends_out",
    }
    assert row["share_before"] == {"west": 1.0}
    assert row["share_after"] == pytest.approx({"east": 2 / 3, "north": 1 / 3})
    assert {each["cluster"] for each in row["backends_out"]} == {"west"}
    assert all(set(each) == BACKEND for each in row["backends_in"] + row["backends_out"])
    assert all(set(each) == FINDING for each in found["new_findings"])


def test_compare_of_a_failed_cluster_names_who_sees_nothing_any_more() -> None:
    found = answer("compare", SHOP, "--fail", "east")

    assert found["blind"] == ["east"]
    assert "cluster-failed-kept" in [each["code"] for each in found["new_findings"]]


def test_compare_of_annotations_tried_together() -> None:
    found = answer("compare", SHOP, "--unshare", "shop/catalog@west", "--affinity", "shop/cart=none")

    assert found["changes"] == ["unshare shop/catalog@west", "affinity shop/cart=none"]
    assert {(each["viewer"], each["name"]) for each in found["rows"]} == {
        ("east", "cart"),
        ("west", "cart"),
        ("north", "cart"),
        ("east", "catalog"),
        ("north", "catalog"),
    }


def test_compare_carries_out_its_changes_in_the_order_of_the_command_line() -> None:
    share, keep = ("--share", "shop/catalog"), ("--unshare=shop/catalog",)
    there = answer("compare", *keep, "--drain", "west", *share, SHOP)
    back = answer("compare", *share, SHOP, "--drain=west", *keep)

    assert there["changes"] == ["unshare shop/catalog", "drain west", "share shop/catalog"]
    assert back["changes"] == ["share shop/catalog", "drain west", "unshare shop/catalog"]
    assert [row["share_after"] for row in there["rows"] if row["name"] == "catalog"] == [{"east": 1.0}] * 3
    assert {row["viewer"]: row["share_after"] for row in back["rows"] if row["name"] == "catalog"} == {
        "east": {"east": 1.0},
        "west": {},
        "north": {},
    }


def test_compare_tells_what_a_repeated_change_does_not_do() -> None:
    found = answer(
        "compare", SHOP, "--drain", "west", "--fail", "north", "--drain", "west", "--fail", "north"
    )

    assert found["notes"] == ["west is drained already", "north is cut off already"]


def test_compare_of_what_is_so_already_moves_nothing_and_says_so() -> None:
    found = answer("compare", SHOP, "--affinity", "shop/cart=local")

    assert found["rows"] == []
    assert found["notes"] == ["shop/cart=local is so already"]


def test_compare_with_another_folder(tmp_path: Path) -> None:
    other = tmp_path / "shop"
    for file in (EXAMPLES / "shop").rglob("*.yaml"):
        copy = other / file.relative_to(EXAMPLES / "shop")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text().replace("replicas: 3", "replicas: 6"))

    rows = answer("compare", SHOP, "--with", str(other))["rows"]

    assert [(each["viewer"], each["name"]) for each in rows] == [
        ("east", "checkout"),
        ("west", "checkout"),
        ("north", "checkout"),
    ]
    assert rows[0]["share_after"] == pytest.approx({"east": 6 / 14, "north": 2 / 14, "west": 6 / 14})


def test_compare_has_the_flows_that_policies_gain_and_lose() -> None:
    lost = answer("compare", SHOP, "--with", GUARDED)["flows"]["lost"]
    gained = answer("compare", GUARDED, "--with", SHOP)["flows"]["gained"]
    first = lost[0]

    assert all(
        set(each)
        == {
            "from",
            "to",
            "sources",
            "destinations",
            "ports",
            "before",
            "after",
            "pairs",
            "witness",
            "because",
        }
        for each in lost
    )
    assert first["witness"] == {
        "source": "entity:world-ipv4",
        "destination": first["destinations"][0]["first"],
        "protocol": "TCP",
        "port": 80,
    }
    assert (first["from"], first["to"]) == ("the world", "shop/storefront in north")
    assert (first["before"], first["after"], first["pairs"]) == ("allow", "deny", 2)
    assert [set(each) for each in first["sources"]] == 2 * [
        {"kind", "cluster", "namespace", "name", "labels", "ends", "first"}
    ]
    assert first["ports"][0] == {"protocol": "TCP", "first": 1, "last": 65535}
    assert set(first["because"]) == {"text", "rule", "side", "state"}
    assert (first["because"]["side"], first["because"]["state"]) == ("ingress", "after")
    assert first["because"]["rule"]["path"] == "spec.ingressDeny[0]"
    assert first["because"]["rule"]["where"].startswith(str(EXAMPLES / "shop-guarded" / "storefront.yaml"))
    assert [(each["before"], each["after"], each["pairs"]) for each in gained] == [
        ("deny", "allow", each["pairs"]) for each in lost
    ]
    assert gained[0]["because"]["state"] == "before"


def test_findings_are_those_of_the_mesh_and_severity_leaves_some_out() -> None:
    folder = str(EXAMPLES / "shared-services")
    found = answer("findings", folder)

    assert [each["severity"] for each in found["findings"]] == ["warning", "info", "info"]
    assert all(set(each) == FINDING for each in found["findings"])
    only = answer("findings", folder, "--severity", "warning")
    assert [each["code"] for each in only["findings"]] == ["tenants-reachable"]
    assert only["counts"] == found["counts"] == {"error": 0, "warning": 1, "info": 2}


def test_a_finding_says_where_it_was_read(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: 7\n")

    result = run("findings", str(tmp_path), "--severity", "error", "-o", "yaml")
    (found,) = yaml.safe_load(result.stdout)["findings"]

    assert found["code"] == "manifest-problem"
    assert found["where"]["file"] == str(tmp_path / "web.yaml")
    assert found["where"]["line"] == 4


def test_mode_strict_is_a_choice() -> None:
    assert answer("status", SHOP, "--mode", "strict")["mode"] == "strict"


def test_a_single_manifest_is_a_cluster() -> None:
    found = answer("services", str(EXAMPLES / "shop" / "east" / "orders-db.yaml"))

    assert found["members"] == ["east"]
    assert [each["name"] for each in found["services"]] == ["orders-db-nodes"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", SHOP),
        ("services", SHOP),
        ("backends", SHOP, "shop/cart"),
        ("resolve", SHOP, "cart.shop.svc.cluster.local"),
        ("explain", SHOP, "shop/cart"),
        ("compare", SHOP, "--with", GUARDED),
        ("findings", SHOP),
        ("demo",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_yaml_says_the_same_as_json(arguments: tuple[str, ...]) -> None:
    assert yaml.safe_load(run(*arguments, "-o", "yaml").stdout) == answer(*arguments)


def test_the_demo_is_the_commands_it_names_one_after_the_other() -> None:
    found = answer("demo")

    assert len(found["steps"]) >= 8
    for step in found["steps"]:
        program, *arguments = step["command"].split()
        assert program == "fleetmesh"
        assert step["result"] == answer(*arguments)

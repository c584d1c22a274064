"""
Directories: which clusters they hold, and what is wrong with them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from doubles.directories import SELF_MANAGED, clusters, codes, forbid, write
from doubles.mesh_manifests import SERVED, deployment, service
from fleetmesh.errors import NotFoundError
from fleetmesh.mesh import Mesh, Topology

SECRET = """---
apiVersion: v1
kind: Secret
metadata: {name: cilium-clustermesh, namespace: kube-system}
"""

FLEET = """
name: my-shop
topology: {hub: east}
maxConnectedClusters: 511
common: [base.yaml]
clusters:
- name: east
  id: 7
  manifests: [e/, extra.yaml]
  labels: {env: prod}
  podCIDRs: [10.7.0.0/16]
  serviceCIDRs: [10.107.0.0/16]
  settings: {policy_enforcement: always, enable_ipv6: false}
- name: west
  id: 3
"""


def test_a_fleet_file_says_everything(tmp_path: Path) -> None:
    files = {
        "fleet.yaml": FLEET,
        "base.yaml": service(),
        "e/a.yaml": deployment(),
        "extra.yaml": service("extra"),
        "west/deep/a.yaml": deployment(replicas=1),
    }
    mesh = Mesh.from_directory(write(tmp_path, files))

    assert (mesh.name, mesh.topology, mesh.max_connected_clusters) == ("my-shop", Topology.hub("east"), 511)
    assert [(name, member.cluster_id) for name, member in mesh.members.items()] == [("west", 3), ("east", 7)]
    east = mesh.members["east"]
    assert dict(east.labels) == {"env": "prod"}
    assert (east.ranges.pod_cidrs, east.ranges.service_cidrs) == (("10.7.0.0/16",), ("10.107.0.0/16",))
    assert (east.settings.policy_enforcement, east.settings.enable_ipv6) == ("always", False)
    assert mesh.services("east") == (("shop", "extra"), ("shop", "web"))
    assert mesh.services("west") == (("shop", "web"),)
    assert clusters(mesh, "west") == ["east", "west"]
    assert "fleet-file-problem" not in codes(mesh)


def test_folders_are_clusters_and_the_top_goes_to_all(tmp_path: Path) -> None:
    files = {
        "service.yaml": service(),
        "b/x.yaml": deployment(),
        "a/x.yaml": deployment(),
        ".git/x.yaml": "{",
    }
    mesh = Mesh.from_directory(write(tmp_path, files))

    assert [(name, member.cluster_id) for name, member in mesh.members.items()] == [("a", 1), ("b", 2)]
    assert clusters(mesh, "a") == ["a", "b"]
    assert mesh.findings == ()


@pytest.mark.parametrize(
    "files",
    [
        {"one/x.yaml": SERVED},
        {"one/x.yaml": SERVED, "two/x.yaml": service("other")},
        {"x.yaml": SERVED},
    ],
    ids=["one folder", "a folder where nothing runs", "no folder"],
)
def test_other_directories_are_one_cluster_and_say_so(tmp_path: Path, files: dict[str, str]) -> None:
    mesh = Mesh.from_directory(write(tmp_path / "My_Shop", files))

    assert list(mesh.members) == ["my-shop"]
    assert clusters(mesh, "my-shop") == ["my-shop"]
    assert "single-cluster-directory" in codes(mesh)


def test_one_file_is_one_cluster(tmp_path: Path) -> None:
    mesh = Mesh.from_directory(write(tmp_path / "shop", {"x.yaml": SERVED}) / "x.yaml")

    assert list(mesh.members) == ["shop"]


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Mesh.from_directory(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("colour: red", "unknown key 'colour'"),
        ("topology: ring", "topology 'ring'"),
        ("maxConnectedClusters: 300", "255 or 511"),
        ("mode: lenient", "cilium or strict"),
        ("common: {a: b}", "a list of paths"),
        ("name: [a]", "a text"),
    ],
)
def test_an_entry_at_the_top_that_is_not_understood_is_refused_by_name_and_the_rest_holds(
    tmp_path: Path, line: str, told: str
) -> None:
    fleet = f"clusters: [{{name: east, id: 1}}]\n{line}\n"
    mesh = Mesh.from_directory(write(tmp_path, {"fleet.yaml": fleet, "east/x.yaml": SERVED}))

    (found,) = (each for each in mesh.findings if each.code == "fleet-file-problem")
    assert told in found.message
    assert found.severity == "error"
    assert found.subject == str(tmp_path / "fleet.yaml")
    assert found.where is not None
    assert found.where.line == 2
    assert clusters(mesh, "east") == ["east"]


@pytest.mark.parametrize(
    "line",
    [
        "topology: ring",
        "topology:",
        "topology: {hub: east, pairs: [[east, west]]}",
        "colour: red",
        "topolgy: {hub: east}",
        "mode: lenient",
        "maxConnectedClusters: 300",
        "common: 7",
        "topology: full\ntopology: {hub: east}",
        "topology: full\n1: 2",
    ],
)
def test_where_the_top_is_not_understood_nobody_hears_anybody(tmp_path: Path, line: str) -> None:
    fleet = f"{line}\nclusters: [{{name: east, id: 1}}, {{name: west, id: 2}}]\n"
    files = {"fleet.yaml": fleet, "east/x.yaml": SERVED, "west/x.yaml": SERVED}
    mesh = Mesh.from_directory(write(tmp_path, files))

    assert [clusters(mesh, name) for name in mesh.members] == [["east"], ["west"]]
    (found,) = (each for each in mesh.findings if each.code == "fleet-file-problem")
    assert found.message.endswith("; no cluster hears another until this is mended")


def test_a_name_that_is_not_understood_is_no_reason_to_keep_clusters_apart(tmp_path: Path) -> None:
    fleet = "name: 7\nclusters: [{name: east, id: 1}, {name: west, id: 2}]\n"
    files = {"fleet.yaml": fleet, "east/x.yaml": SERVED, "west/x.yaml": SERVED}
    mesh = Mesh.from_directory(write(tmp_path, files))

    assert clusters(mesh, "east") == ["east", "west"]
    assert [each.message for each in mesh.findings] == ["name is 7; expected a text"]


def test_what_merge_keys_override_is_not_given_twice(tmp_path: Path) -> None:
    fleet = "clusters:\n- &one {name: east, id: 1}\n- {<<: *one, name: west, id: 2}\n"
    files = {"fleet.yaml": fleet, "east/x.yaml": SERVED, "west/x.yaml": SERVED}
    mesh = Mesh.from_directory(write(tmp_path, files))

    assert mesh.findings == ()
    assert clusters(mesh, "east") == ["east", "west"]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("podCidrs: [10.0.0.0/8]", "clusters[1] has the unknown key 'podCidrs'"),
        ("labels: {a: b}, labels: {c: d}", "clusters[1].labels is given twice"),
        ("labels: [a]", "a mapping of texts"),
        ("settings: {policy: always}", "unknown setting 'policy'"),
        ("settings: {policy_enforcement: sometimes}", "default, always, never"),
        ("settings: {cache_ttl: '5'}", "a whole number"),
        ("settings: 7", "expected a mapping"),
        ("podCIDRs: 7", "a list of CIDRs"),
    ],
)
def test_an_entry_of_a_cluster_is_refused_likewise_with_its_line(
    tmp_path: Path, entry: str, told: str
) -> None:
    fleet = f"name: a\nclusters:\n- {{name: west, id: 2}}\n- {{name: east, id: 1, {entry}}}\n"
    files = {"fleet.yaml": fleet, "east/x.yaml": SERVED, "west/x.yaml": SERVED}
    mesh = Mesh.from_directory(write(tmp_path, files))

    (found,) = (each for each in mesh.findings if each.code == "fleet-file-problem")
    assert told in found.message
    assert found.subject == str(tmp_path / "fleet.yaml")
    assert "clusters[1]" in found.message
    assert found.where is not None
    assert found.where.line == 4
    assert clusters(mesh, "east") == ["east", "west"]


@pytest.mark.parametrize("fleet", ["clusters: [", "- a", "", "x: *nobody"])
def test_a_fleet_file_that_is_none_makes_an_empty_mesh_that_says_so(tmp_path: Path, fleet: str) -> None:
    mesh = Mesh.from_directory(write(tmp_path, {"fleet.yaml": fleet}))

    assert list(mesh.members) == []
    assert codes(mesh) == ["fleet-file-problem"]


def test_clusters_that_the_mesh_refuses_are_told_and_the_others_join(tmp_path: Path) -> None:
    others = "{name: west, id: 1}, {name: EAST, id: 2}, {name: n}, {name: x, id: '3'}"
    fleet = f"clusters: [{{name: east, id: 1}}, {others}]"
    mesh = Mesh.from_directory(write(tmp_path, {"fleet.yaml": fleet, "east/x.yaml": SERVED}))

    assert list(mesh.members) == ["east"]
    told = [each.subject for each in mesh.findings if each.code == "member-refused"]
    assert sorted(told) == ["Cluster EAST", "Cluster west", "Cluster x"]
    assert [each.message for each in mesh.findings if each.code == "fleet-file-problem"] == [
        "clusters[3] has no id; the cluster is left out until this is mended"
    ]


@pytest.mark.parametrize("evidence", [SELF_MANAGED, SECRET], ids=["config", "secret"])
def test_a_self_managed_cluster_does_not_join_and_says_so(tmp_path: Path, evidence: str) -> None:
    mesh = Mesh.from_directory(write(tmp_path, {"a/x.yaml": SERVED + evidence, "b/x.yaml": SERVED}))

    assert list(mesh.members) == ["b"]
    assert clusters(mesh, "b") == ["b"]
    (found,) = mesh.findings
    assert (found.code, found.subject) == ("self-managed-mesh", "Cluster a")
    assert found.message.startswith("it does not join: 'a' has a self-managed mesh: ")


def test_manifests_that_are_missing_or_broken_are_told(tmp_path: Path) -> None:
    fleet = "common: [gone.yaml]\nclusters: [{name: east, id: 1, manifests: [x.yaml, nowhere/]}]\n"
    files = {"fleet.yaml": fleet, "x.yaml": SERVED + "---\nkind: Service\napiVersion: v1\nmetadata: 7\n"}
    mesh = Mesh.from_directory(write(tmp_path, files))

    assert clusters(mesh, "east") == ["east"]
    assert [(each.code, each.subject, each.message) for each in mesh.findings] == [
        ("manifest-problem", str(tmp_path / "x.yaml"), "metadata: expected a mapping, got the number 7"),
        ("source-missing", str(tmp_path / "gone.yaml"), "there is no such file or folder"),
        ("source-missing", str(tmp_path / "nowhere"), "there is no such file or folder"),
    ]


def test_a_cluster_may_have_only_what_is_common(tmp_path: Path) -> None:
    fleet = "common: [base.yaml]\nclusters: [{name: east, id: 1}, {name: west, id: 2}]\n"
    files = {"fleet.yaml": fleet, "base.yaml": service(), "east/x.yaml": deployment()}
    mesh = Mesh.from_directory(write(tmp_path, files))

    assert "source-missing" not in codes(mesh)
    assert clusters(mesh, "west") == ["east"]


def test_a_cluster_that_has_nothing_at_all_is_told(tmp_path: Path) -> None:
    fleet = "clusters: [{name: east, id: 1}, {name: west, id: 2}]\n"
    mesh = Mesh.from_directory(write(tmp_path, {"fleet.yaml": fleet, "east/x.yaml": SERVED}))

    assert [each.subject for each in mesh.findings if each.severity == "error"] == [str(tmp_path / "west")]
    assert codes(mesh)[0] == "source-missing"


def test_a_folder_that_can_not_be_listed_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = "clusters: [{name: east, id: 1}, {name: west, id: 2}]\n"
    files = {"fleet.yaml": fleet, "east/x.yaml": SERVED, "west/x.yaml": SERVED}
    write(tmp_path, files)
    forbid(monkeypatch, tmp_path / "west")
    mesh = Mesh.from_directory(tmp_path)

    assert clusters(mesh, "east") == ["east"]
    found = mesh.findings[0]
    assert (found.code, found.message) == ("source-missing", "it can't be read: permission denied")


def test_of_a_directory_some_clusters_may_be_run_elsewhere(tmp_path: Path) -> None:
    files = {
        "fleet.yaml": "clusters: [{name: east, id: 1, podCIDRs: [10.7.0.0/16]}, {name: west, id: 2}]",
        "east/x.yaml": SERVED,
    }
    mesh = Mesh.from_directory(write(tmp_path, files), only=["east"])

    assert [(each.name, each.cluster_id, each.outside) for each in mesh.members.values()] == [
        ("east", 1, False),
        ("west", 2, True),
    ]
    assert clusters(mesh, "east") == ["east"]
    assert "source-missing" not in codes(mesh)  # west/ is not looked for


def test_a_cluster_to_run_that_the_directory_has_not_is_wrong_use(tmp_path: Path) -> None:
    files = {"fleet.yaml": "clusters: [{name: east, id: 1}, {name: west, id: 2}]"}

    with pytest.raises(NotFoundError, match="there is no member 'wst'; did you mean west"):
        Mesh.from_directory(write(tmp_path, files), only=["wst"])

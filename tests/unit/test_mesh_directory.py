"""
Directories: which clusters they hold, what is wrong with them, and what follows when files change.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from doubles.mesh_manifests import SERVED, deployment, service
from fleetmesh.mesh import Mesh, Topology
from fleetmesh.mesh.watch import DirectoryWatcher
from fleetmesh.resources import Manifests, read_manifests


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def clusters(mesh: Mesh, viewer: str, name: str = "web") -> list[str]:
    return sorted({each.cluster for each in mesh.service("shop", name).backends(viewer)})


def codes(mesh: Mesh) -> list[str]:
    return [each.code for each in mesh.findings]


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
def test_an_entry_that_is_not_understood_is_refused_by_name_and_the_rest_holds(
    tmp_path: Path, line: str, told: str
) -> None:
    fleet = f"{line}\nclusters: [{{name: east, id: 1}}]\n"
    mesh = Mesh.from_directory(write(tmp_path, {"fleet.yaml": fleet, "east/x.yaml": SERVED}))

    (found,) = (each for each in mesh.findings if each.code == "fleet-file-problem")
    assert told in found.message
    assert found.severity == "error"
    assert clusters(mesh, "east") == ["east"]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("podCidrs: [10.0.0.0/8]", "unknown key 'podCidrs'"),
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
    assert found.subject.startswith("fleet.yaml clusters[1].")
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
        "has no id; the cluster is left out"
    ]


def test_a_self_managed_cluster_joins_with_nothing_and_says_so(tmp_path: Path) -> None:
    config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\n"
    config += 'data: {cluster-id: "4", cluster-name: a}\n'
    files = {"a/x.yaml": SERVED + config, "b/x.yaml": SERVED}
    mesh = Mesh.from_directory(write(tmp_path, files))

    assert mesh.services("a") == ()
    assert clusters(mesh, "b") == ["b"]
    assert "self-managed-mesh" in codes(mesh)


def test_manifests_that_are_missing_or_broken_are_told(tmp_path: Path) -> None:
    fleet = "common: [gone.yaml]\nclusters: [{name: east, id: 1, manifests: [x.yaml, nowhere/]}]\n"
    files = {"fleet.yaml": fleet, "x.yaml": SERVED + "---\nkind: Service\napiVersion: v1\nmetadata: 7\n"}
    mesh = Mesh.from_directory(write(tmp_path, files))

    assert clusters(mesh, "east") == ["east"]
    assert codes(mesh) == ["manifest-problem"] * 3


# Following


@pytest.fixture
def followed(tmp_path: Path) -> tuple[Path, DirectoryWatcher]:
    files = {
        "service.yaml": service(),
        "a/x.yaml": deployment(),
        "b/x.yaml": deployment(),
        "b/y.yaml": service("b"),
    }
    write(tmp_path, files)
    return tmp_path, DirectoryWatcher(tmp_path)


def test_where_nothing_changes_nothing_is_done(followed: tuple[Path, DirectoryWatcher]) -> None:
    _, watcher = followed
    before = watcher.mesh.generation

    assert watcher.poll() is None
    assert watcher.mesh.generation == before


def test_a_change_is_applied_and_what_it_moved_is_told(followed: tuple[Path, DirectoryWatcher]) -> None:
    root, watcher = followed
    write(root, {"a/x.yaml": deployment(replicas=5)})

    update = watcher.poll()

    assert update is not None
    assert update.files == (str(root / "a/x.yaml"),)
    assert [(row.viewer, len(row.backends_in)) for row in update.comparison] == [("a", 3), ("b", 3)]
    assert watcher.poll() is None


def test_a_file_that_goes_takes_its_objects_along(followed: tuple[Path, DirectoryWatcher]) -> None:
    root, watcher = followed
    (root / "b/y.yaml").unlink()

    update = watcher.poll()

    assert update is not None
    assert [(row.viewer, row.name, row.status) for row in update.comparison] == [("b", "b", "disappeared")]
    assert watcher.mesh.services("b") == (("shop", "web"),)


def test_a_file_that_is_half_written_leaves_in_force_what_it_gave(
    followed: tuple[Path, DirectoryWatcher],
) -> None:
    root, watcher = followed
    write(root, {"a/x.yaml": "apiVersion: apps/v1\nkind: Deploy: ["})

    update = watcher.poll()

    assert update is not None
    assert not update.comparison
    assert [each.code for each in update.new_findings] == ["manifest-problem"]
    assert clusters(watcher.mesh, "b") == ["a", "b"]

    write(root, {"a/x.yaml": deployment(replicas=1)})
    update = watcher.poll()

    assert update is not None
    assert [each.code for each in update.settled] == ["manifest-problem"]
    assert len(watcher.mesh.members["a"].pods) == 1


def test_a_folder_that_vanishes_leaves_the_last_good_state(followed: tuple[Path, DirectoryWatcher]) -> None:
    root, watcher = followed
    (root / "b").rename(root.parent / "away")

    update = watcher.poll()

    assert update is not None
    assert not update.comparison
    assert [each.code for each in update.new_findings] == ["source-missing"]
    assert clusters(watcher.mesh, "a") == ["a", "b"]
    assert watcher.poll() is None

    (root.parent / "away").rename(root / "b")
    update = watcher.poll()

    assert update is not None
    assert [each.code for each in update.settled] == ["source-missing"]
    assert "source-missing" not in codes(watcher.mesh)


def test_a_directory_that_vanishes_leaves_the_last_good_state(
    followed: tuple[Path, DirectoryWatcher],
) -> None:
    root, watcher = followed
    root.rename(root.parent / "elsewhere")

    update = watcher.poll()

    assert update is not None
    assert "source-missing" in [each.code for each in update.new_findings]
    assert clusters(watcher.mesh, "a") == ["a", "b"]
    (root.parent / "elsewhere").rename(root)


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_look(
    followed: tuple[Path, DirectoryWatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, watcher = followed

    def interrupted(path: Path) -> Manifests:
        found = read_manifests(path)
        path.write_text(deployment(replicas=4))
        return found

    write(root, {"a/x.yaml": deployment(replicas=3)})
    monkeypatch.setattr("fleetmesh.mesh.reader.read_manifests", interrupted)
    update = watcher.poll()
    pods = [len(watcher.mesh.members["a"].pods)]
    monkeypatch.undo()
    later = watcher.poll()
    pods.append(len(watcher.mesh.members["a"].pods))

    assert update is not None
    assert later is not None
    assert pods == [2, 4]
    assert [each.code for each in update.new_findings] == ["source-unstable"]
    assert [each.code for each in later.settled] == ["source-unstable"]


def test_clusters_come_and_go_with_the_fleet_file(tmp_path: Path) -> None:
    one, two = "{name: east, id: 1}", "{name: west, id: 2}"
    files = {"fleet.yaml": f"clusters: [{one}]", "east/x.yaml": SERVED, "west/x.yaml": SERVED}
    watcher = DirectoryWatcher(write(tmp_path, files))
    east = watcher.mesh.members["east"]

    write(tmp_path, {"fleet.yaml": f"clusters: [{one}, {two}]"})
    update = watcher.poll()

    assert update is not None
    assert {(row.viewer, row.status) for row in update.comparison} == {
        ("east", "changed"),
        ("west", "appeared"),
    }
    assert watcher.mesh.members["east"] is east

    write(tmp_path, {"fleet.yaml": f"clusters: [{two}]"})
    watcher.poll()

    assert list(watcher.mesh.members) == ["west"]

    write(tmp_path, {"fleet.yaml": "clusters: ["})
    update = watcher.poll()

    assert update is not None
    assert [each.code for each in update.new_findings] == ["fleet-file-problem"]
    assert list(watcher.mesh.members) == ["west"]


def test_another_topology_is_another_mesh(tmp_path: Path) -> None:
    entries = "clusters: [{name: hub, id: 1}, {name: a, id: 2}, {name: b, id: 3}]"
    files = {"fleet.yaml": entries} | {f"{name}/x.yaml": SERVED for name in ("hub", "a", "b")}
    watcher = DirectoryWatcher(write(tmp_path, files))
    assert clusters(watcher.mesh, "a") == ["a", "b", "hub"]

    write(tmp_path, {"fleet.yaml": f"topology: {{hub: hub}}\n{entries}"})
    update = watcher.poll()

    assert update is not None
    assert clusters(watcher.mesh, "a") == ["a", "hub"]
    assert [row.viewer for row in update.comparison] == ["a", "b"]

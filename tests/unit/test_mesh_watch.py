"""
Following a directory: what changes is applied, and what can't be taken over leaves in force what was there.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from doubles.directories import SELF_MANAGED, clusters, codes, forbid, write
from doubles.mesh_manifests import SERVED, deployment, service
from fleetmesh.mesh.baseline import Update
from fleetmesh.mesh.watch import DirectoryWatcher
from fleetmesh.resources import Manifests, read_manifests


def look(watcher: DirectoryWatcher) -> Update:
    """A look that finds something."""
    update = watcher.poll()
    assert update is not None
    return update


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


TWO = "clusters: [{name: east, id: 1}, {name: west, id: 2}]\n"


@pytest.fixture
def fleet(tmp_path: Path) -> tuple[Path, DirectoryWatcher]:
    files = {"fleet.yaml": TWO, "east/x.yaml": SERVED, "west/x.yaml": SERVED}
    write(tmp_path, files)
    return tmp_path, DirectoryWatcher(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        f"topology: ring\n{TWO}",
        f"topolgy: full\n{TWO}",
        f"{TWO}colour: red\n",
        "clusters: {}",
        "clusters: [{name: east, id: 1, podCIDR: [10.9.0.0/16]}, {name: west, id: 2}]",
        "clusters: [{name: east, id: 1}, {name: west}]",
    ],
)
def test_a_fleet_file_that_is_not_understood_any_more_leaves_the_last_one_in_force(
    fleet: tuple[Path, DirectoryWatcher], text: str
) -> None:
    root, watcher = fleet
    write(root, {"fleet.yaml": text})

    update = look(watcher)

    assert not update.comparison
    assert {each.code for each in update.new_findings} == {"fleet-file-problem"}
    assert update.new_findings[0].message.endswith("; what the file said before is in force")
    assert clusters(watcher.mesh, "east") == ["east", "west"]

    write(root, {"fleet.yaml": TWO, "east/x.yaml": deployment()})
    assert {each.code for each in look(watcher).settled} == {"fleet-file-problem"}


def test_a_fleet_file_that_was_never_understood_is_followed(tmp_path: Path) -> None:
    files = {"fleet.yaml": f"colour: red\n{TWO}", "east/x.yaml": SERVED, "west/x.yaml": SERVED}
    watcher = DirectoryWatcher(write(tmp_path, files))
    assert clusters(watcher.mesh, "east") == ["east"]

    write(tmp_path, {"fleet.yaml": f"topology: ring\n{TWO}"})
    look(watcher)
    assert clusters(watcher.mesh, "east") == ["east"]

    write(tmp_path, {"fleet.yaml": TWO})
    look(watcher)
    assert clusters(watcher.mesh, "east") == ["east", "west"]
    assert codes(watcher.mesh) == []


@pytest.mark.parametrize(
    "entry", ["{name: west, id: 1}", "{name: west, id: 300}", "{name: west, id: 2, podCIDRs: [10.7.0.0/8]}"]
)
def test_a_member_whose_new_entry_is_refused_stays_as_it_was(
    fleet: tuple[Path, DirectoryWatcher], entry: str
) -> None:
    root, watcher = fleet
    west = watcher.mesh.members["west"]
    write(root, {"fleet.yaml": f"clusters: [{{name: east, id: 1}}, {entry}]"})

    update = look(watcher)

    assert not update.comparison
    assert watcher.mesh.members["west"] is west
    (found,) = update.new_findings
    assert (found.code, found.subject) == ("member-refused", "Cluster west")
    assert found.message.endswith("; what it gave last is in force")

    write(root, {"west/x.yaml": SERVED.replace("replicas: 2", "replicas: 3")})
    assert [len(row.backends_in) for row in look(watcher).comparison] == [1, 1]

    write(root, {"fleet.yaml": TWO})
    assert look(watcher).settled == (found,)


def test_ids_may_be_swapped(fleet: tuple[Path, DirectoryWatcher]) -> None:
    root, watcher = fleet
    write(root, {"fleet.yaml": "clusters: [{name: east, id: 2}, {name: west, id: 1}]"})

    update = look(watcher)

    assert update.joined == {"east": 2, "west": 1}
    assert update.left == ()
    assert codes(watcher.mesh) == []
    assert clusters(watcher.mesh, "east") == ["east", "west"]


def test_a_name_that_stands_twice_leaves_the_first_in_force(fleet: tuple[Path, DirectoryWatcher]) -> None:
    root, watcher = fleet
    east = watcher.mesh.members["east"]
    write(root, {"fleet.yaml": TWO.replace("]", ", {name: east, id: 3}, {name: [east], id: 4}]")})

    assert [each.subject for each in look(watcher).new_findings] == ["Cluster ['east']", "Cluster east"]
    assert watcher.mesh.members["east"] is east
    assert list(watcher.mesh.members) == ["east", "west"]


def test_a_member_that_turns_self_managed_stays_as_it_was(fleet: tuple[Path, DirectoryWatcher]) -> None:
    root, watcher = fleet
    write(root, {"west/config.yaml": SELF_MANAGED, "west/more.yaml": service("more")})

    update = look(watcher)

    assert not update.comparison
    (found,) = update.new_findings
    assert (found.code, found.subject) == ("self-managed-mesh", "Cluster west")
    assert found.message.startswith("its change is refused: 'west' has a self-managed mesh: ")
    assert found.message.endswith("; what it gave last is in force")
    assert clusters(watcher.mesh, "east") == ["east", "west"]

    (root / "west/config.yaml").unlink()
    update = look(watcher)
    assert update.settled == (found,)
    assert [row.name for row in update.comparison] == ["more"]


@pytest.mark.parametrize("text", [f"topology: {{pairs: [[east, west]]}}\n{TWO}", TWO.replace("2", "3")])
def test_a_member_that_turns_self_managed_stays_even_if_it_joins_anew(
    fleet: tuple[Path, DirectoryWatcher], text: str
) -> None:
    root, watcher = fleet
    write(root, {"west/x.yaml": SERVED + SELF_MANAGED, "fleet.yaml": text})

    update = look(watcher)

    assert [each.code for each in update.new_findings] == ["self-managed-mesh"]
    assert clusters(watcher.mesh, "east") == ["east", "west"]


def test_a_self_managed_cluster_joins_once_it_is_none(tmp_path: Path) -> None:
    files = {"fleet.yaml": TWO, "east/x.yaml": SERVED, "west/x.yaml": SERVED, "west/y.yaml": SELF_MANAGED}
    watcher = DirectoryWatcher(write(tmp_path, files))
    write(tmp_path, {"east/more.yaml": service("more")})
    assert look(watcher).joined == {}
    assert codes(watcher.mesh)[0] == "self-managed-mesh"

    (tmp_path / "west/y.yaml").unlink()
    update = look(watcher)

    assert update.joined == {"west": 2}
    assert clusters(watcher.mesh, "east") == ["east", "west"]


def test_what_is_kept_is_kept_when_the_mesh_is_made_anew(fleet: tuple[Path, DirectoryWatcher]) -> None:
    root, watcher = fleet
    write(root, {"west/x.yaml": "kind: ["})
    look(watcher)
    write(root, {"fleet.yaml": f"topology: {{pairs: [[east, west]]}}\n{TWO}"})

    update = look(watcher)

    assert not update.comparison
    assert clusters(watcher.mesh, "east") == ["east", "west"]


def test_a_folder_of_its_own_may_come_and_go_beside_what_is_common(tmp_path: Path) -> None:
    files = {"fleet.yaml": f"common: [base.yaml]\n{TWO}", "base.yaml": service(), "east/x.yaml": deployment()}
    watcher = DirectoryWatcher(write(tmp_path, files))

    write(tmp_path, {"west/x.yaml": deployment()})
    look(watcher)
    assert clusters(watcher.mesh, "east") == ["east", "west"]

    (tmp_path / "west").rename(tmp_path / "away")
    update = look(watcher)
    assert [each.code for each in update.new_findings] == ["source-missing"]
    assert clusters(watcher.mesh, "east") == ["east", "west"]


def test_what_was_never_there_is_told_in_the_same_words_while_it_is_followed(tmp_path: Path) -> None:
    files = {"fleet.yaml": TWO, "east/x.yaml": SERVED}
    watcher = DirectoryWatcher(write(tmp_path, files))
    write(tmp_path, {"east/more.yaml": service("more")})

    update = look(watcher)

    assert "source-missing" not in {each.code for each in (*update.new_findings, *update.settled)}
    assert "source-missing" in codes(watcher.mesh)


def test_a_folder_that_can_not_be_listed_any_more_leaves_what_it_gave(
    fleet: tuple[Path, DirectoryWatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, watcher = fleet
    with monkeypatch.context() as patch:
        forbid(patch, watcher.path / "west")
        update = look(watcher)

    assert not update.comparison
    assert [each.message for each in update.new_findings] == [
        "it can't be read: permission denied; what it gave last is in force"
    ]
    assert look(watcher).settled == update.new_findings


def same_size_and_time(file: Path, old: str, new: str) -> None:
    """Rewrite a file in place so that only the time of the change of its inode tells."""
    before = file.stat()
    file.write_text(file.read_text().replace(old, new))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size


def test_a_file_that_is_rewritten_with_the_same_size_and_time_is_seen(
    followed: tuple[Path, DirectoryWatcher],
) -> None:
    root, watcher = followed
    same_size_and_time(root / "a/x.yaml", "replicas: 2", "replicas: 5")

    look(watcher)

    assert len(watcher.mesh.members["a"].pods) == 5


# Without a fleet.yaml


def ids(watcher: DirectoryWatcher) -> dict[str, int]:
    return {name: member.cluster_id for name, member in watcher.mesh.members.items()}


def test_a_new_folder_gets_the_next_free_id_and_the_others_keep_theirs(
    followed: tuple[Path, DirectoryWatcher],
) -> None:
    root, watcher = followed
    write(root, {"aa/x.yaml": deployment()})

    update = look(watcher)

    assert ids(watcher) == {"a": 1, "b": 2, "aa": 3}
    assert (update.joined, update.left) == ({"aa": 3}, ())
    assert clusters(watcher.mesh, "a") == ["a", "aa", "b"]


def test_a_new_folder_joins_even_while_another_is_gone(followed: tuple[Path, DirectoryWatcher]) -> None:
    root, watcher = followed
    write(root, {"c/x.yaml": deployment()})
    (root / "b").rename(root.parent / "away")

    update = look(watcher)

    assert ids(watcher) == {"a": 1, "b": 2, "c": 3}
    assert [each.code for each in update.new_findings] == ["source-missing"]


def test_a_new_folder_in_which_nothing_runs_is_told(followed: tuple[Path, DirectoryWatcher]) -> None:
    root, watcher = followed
    write(root, {"docs/x.yaml": service("docs")})

    update = look(watcher)

    assert ids(watcher) == {"a": 1, "b": 2}
    (found,) = update.new_findings
    assert (found.code, found.subject) == ("idle-folder", str(root / "docs"))

    write(root, {"docs/y.yaml": deployment("docs")})
    update = look(watcher)
    assert update.settled == (found,)
    assert ids(watcher) == {"a": 1, "b": 2, "docs": 3}


def test_a_cluster_whose_manifests_are_deleted_one_by_one_stays_without_them(
    followed: tuple[Path, DirectoryWatcher],
) -> None:
    root, watcher = followed
    (root / "b/x.yaml").unlink()

    look(watcher)

    assert ids(watcher) == {"a": 1, "b": 2}
    assert clusters(watcher.mesh, "b") == ["a"]

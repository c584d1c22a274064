"""
Following a directory of which other processes run some clusters: these are heard, never read, and what is
known of them outlives changes of the directory.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from doubles.directories import clusters, codes, write
from doubles.mesh_manifests import SERVED, deployment
from fleetmesh.errors import NotFoundError
from fleetmesh.mesh import Mesh
from fleetmesh.mesh.watch import DirectoryWatcher

EAST, WEST = "{name: east, id: 1}", "{name: west, id: 2}"


def fleet(*entries: str, top: str = "") -> dict[str, str]:
    return {"fleet.yaml": f"{top}\nclusters: [{', '.join(entries)}]"}


def heard(watcher: DirectoryWatcher, name: str = "west", number: int = 2) -> None:
    """The cluster says what it would have, if it were run here."""
    other = Mesh("other")
    other.join(name, cluster_id=number).apply(SERVED)
    watcher.mesh.members[name].hear(put=other.members[name].records())


@pytest.fixture
def watcher(tmp_path: Path) -> DirectoryWatcher:
    files = fleet(EAST, WEST) | {"east/x.yaml": SERVED, "west/x.yaml": deployment(replicas=7)}
    watcher = DirectoryWatcher(write(tmp_path, files), only=["east"])
    heard(watcher)
    return watcher


def test_what_is_heard_is_served_and_what_stands_in_its_folder_is_not_read(watcher: DirectoryWatcher) -> None:
    assert clusters(watcher.mesh, "east") == ["east", "west"]
    assert len(watcher.mesh.members["west"].pods) == 2  # of SERVED, not the seven of the folder
    assert (watcher.names, watcher.outside) == (("east", "west"), ("west",))


def test_changes_of_its_folder_are_no_change(watcher: DirectoryWatcher) -> None:
    write(watcher.path, {"west/x.yaml": deployment(replicas=3)})

    assert watcher.poll() is None


def test_changes_of_an_own_folder_leave_what_is_heard(watcher: DirectoryWatcher) -> None:
    write(watcher.path, {"east/x.yaml": SERVED.replace("replicas: 2", "replicas: 4")})

    update = watcher.poll()

    assert update is not None
    assert [(row.viewer, len(row.backends_in)) for row in update.comparison] == [("east", 2), ("west", 2)]
    assert clusters(watcher.mesh, "east") == ["east", "west"]


def test_it_leaves_with_its_entry_and_comes_back_unknown(watcher: DirectoryWatcher) -> None:
    write(watcher.path, fleet(EAST))
    gone = watcher.poll()
    write(watcher.path, fleet(EAST, WEST))
    back = watcher.poll()

    assert gone is not None
    assert back is not None
    assert (gone.left, back.joined) == (("west",), {"west": 2})
    assert watcher.mesh.members["west"].outside
    assert clusters(watcher.mesh, "east") == ["east"]


def test_with_another_id_nothing_is_known_of_it(watcher: DirectoryWatcher) -> None:
    write(watcher.path, fleet(EAST, "{name: west, id: 5}"))

    update = watcher.poll()

    assert update is not None
    assert update.joined == {"west": 5}
    assert watcher.mesh.members["west"].records() == ()


@pytest.mark.parametrize(
    "files",
    [
        fleet(EAST, "{name: west, id: 2, labels: {env: prod}}"),
        fleet(EAST, WEST, top="topology: {hub: west}"),
        fleet(EAST, WEST, top="name: another"),
    ],
    ids=["labels", "topology", "name"],
)
def test_joining_anew_under_its_id_leaves_what_is_known(
    watcher: DirectoryWatcher, files: dict[str, str]
) -> None:
    before = watcher.mesh.members["west"].records()
    write(watcher.path, files)

    update = watcher.poll()

    assert update is not None
    assert watcher.mesh.members["west"].records() == before
    assert clusters(watcher.mesh, "east") == ["east", "west"]
    assert not update.comparison


def test_another_limit_changes_what_numbers_of_identities_mean_so_that_it_is_heard_anew(
    watcher: DirectoryWatcher,
) -> None:
    write(watcher.path, fleet(EAST, WEST, top="maxConnectedClusters: 511"))

    assert watcher.poll() is not None
    assert watcher.mesh.members["west"].records() == ()


def test_one_that_joins_later_is_heard_too(tmp_path: Path) -> None:
    watcher = DirectoryWatcher(write(tmp_path, fleet(EAST) | {"east/x.yaml": SERVED}), only=["east"])
    write(tmp_path, fleet(EAST, WEST))

    update = watcher.poll()

    assert update is not None
    assert watcher.outside == ("west",)
    assert watcher.mesh.members["west"].outside
    assert "source-missing" not in codes(watcher.mesh)


def test_without_a_fleet_file_folders_of_others_are_clusters_too(tmp_path: Path) -> None:
    watcher = DirectoryWatcher(write(tmp_path, {"a/x.yaml": SERVED, "b/x.yaml": SERVED}), only=["b"])

    assert {each.name: each.outside for each in watcher.mesh.members.values()} == {"a": True, "b": False}


def test_looking_without_comparing_applies_the_same(watcher: DirectoryWatcher) -> None:
    assert watcher.refresh() == ()
    write(watcher.path, {"east/x.yaml": deployment(replicas=5)})

    assert watcher.refresh() == (str(watcher.path / "east/x.yaml"),)
    assert len(watcher.mesh.members["east"].pods) == 5


def test_a_name_that_is_in_no_directory_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no member 'wst'; did you mean west"):
        DirectoryWatcher(write(tmp_path, fleet(EAST, WEST)), only=["wst"])

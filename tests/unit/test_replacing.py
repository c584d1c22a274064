"""
What goes when a source is given again, and what stays because a part of it could not be read.
"""

from __future__ import annotations

from pathlib import Path

import fleetmesh as fm
from fleetmesh.mesh.watch import DirectoryWatcher

BROKEN = "kind: Service\nmetadata: {name: [\n"


def service(name: str) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{ports: [{{port: 80}}]}}
---
"""


def names(member: fm.Member) -> set[str]:
    return {name for kind, _, name in member.resources if kind == "Service"}


def test_a_document_that_cannot_be_read_may_have_held_any_of_what_is_lacking() -> None:
    east = fm.Mesh("shop").join("east", cluster_id=1)
    east.replace(service("web") + service("cart"), source="git")

    east.replace(service("web") + BROKEN, source="git")

    assert names(east) == {"web", "cart"}


def test_who_knows_what_a_broken_document_held_says_that_the_rest_goes() -> None:
    east = fm.Mesh("shop").join("east", cluster_id=1)
    east.replace(service("web") + service("cart"), source="git")

    east.replace(service("web") + BROKEN, source="git", remove=True)

    assert names(east) == {"web"}
    east.replace(service("cart"), source="git", remove=False)
    assert names(east) == {"web", "cart"}


def test_a_broken_file_keeps_its_own_objects_and_nothing_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("web") + service("cart"))
    (tmp_path / "b.yaml").write_text(service("db") + service("queue"))
    watcher = DirectoryWatcher(tmp_path)
    (member,) = watcher.mesh.members.values()
    assert names(member) == {"web", "cart", "db", "queue"}

    (tmp_path / "a.yaml").write_text(service("web") + BROKEN)
    (tmp_path / "b.yaml").write_text(service("db"))
    watcher.poll()

    (member,) = watcher.mesh.members.values()
    assert names(member) == {"web", "cart", "db"}
    assert "manifest-problem" in {each.code for each in watcher.mesh.findings}

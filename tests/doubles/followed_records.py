"""
The records of members, as one knows them who hears of differences only.
"""

from __future__ import annotations

from fleetmesh.mesh import Mesh
from fleetmesh.mesh.publish import records_of
from fleetmesh.mesh.published_records import Key, PublishedRecords, key_of
from fleetmesh.records import Record


class FollowedRecords:
    def __init__(self) -> None:
        self.published: dict[str, PublishedRecords] = {}
        self.known: dict[str, dict[Key, Record]] = {}

    def look(self, mesh: Mesh) -> None:
        """Hear what differs since the last time; that is all, and no more than it."""
        view = mesh.viewpoint()
        for name in view.members:
            published = self.published.setdefault(name, PublishedRecords(name))
            known = self.known.setdefault(name, {})
            put, gone = published.look(view)
            for record in gone:
                assert known.pop(key_of(record)) == record
            for record in put:
                assert known.get(key_of(record)) != record
                known[key_of(record)] = record
            assert known == {key_of(record): record for record in records_of(view, name, None)}

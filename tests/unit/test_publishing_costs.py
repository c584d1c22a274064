"""What a change of a member costs hangs on what has changed, and others get their turns meanwhile."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

import fleetmesh as fm
from doubles.followed_records import FollowedRecords
from doubles.loops import in_loop
from doubles.publishers import Place
from doubles.records import address, as_keys, records_in
from fleetmesh.mesh import published_records
from fleetmesh.mesh.publish import PublishedPod, pod_of
from fleetmesh.mesh.store import Name
from fleetmesh.mesh.viewpoint import MemberView, Viewpoint
from fleetmesh.records import ServiceRecord
from fleetmesh.resources import Service, ServicePort
from fleetmesh.state.live import run
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.publication import Publication


def pods(count: int, app: str = "cart") -> str:
    return "---".join(
        f"""
apiVersion: v1
kind: Pod
metadata: {{name: p{number}, namespace: shop, labels: {{app: {app}}}}}
spec: {{containers: [{{name: c, image: i}}]}}
status: {{podIP: 10.1.0.{number}, podIPs: [{{ip: 10.1.0.{number}}}]}}
"""
        for number in range(count)
    )


@in_loop
async def test_one_pod_of_many_is_looked_at_and_written_alone() -> None:
    asked: list[Name] = []
    given: list[str] = []

    def counted(view: Viewpoint, member: MemberView, name: Name) -> PublishedPod | None:
        asked.append(name)
        return pod_of(view, member, name)

    def put(self: Publication, key: str, wanted: object) -> None:
        given.append(key.rpartition("/")[2])
        whole_put(self, key, wanted)  # type: ignore[arg-type]

    whole_put = Publication.put
    mesh = fm.Mesh("m")
    east = mesh.join("east", cluster_id=1, pod_cidrs=["10.1.0.0/16"])
    east.apply(pods(200))
    async with run(mesh, store={"east": MemoryStore()}) as live:
        await live.synced()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(published_records, "pod_of", counted)
            patch.setattr(Publication, "put", put)
            east.apply(pods(1, "pay"))
            await live.synced()
            assert asked == [("shop", "p0")]
            assert "10.1.0.0" in given
            assert len(given) == 2  # its address, and an identity
            east.apply(pods(1, "pay"))
            west = mesh.join("west", cluster_id=2)
            west.apply(pods(3).replace("10.1", "10.2"))
            await live.synced()
            assert len(given) == 2
        assert live.publications["east"].pending == 0


@in_loop
async def test_others_get_their_turns_while_much_is_published() -> None:
    place = Place()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with place.publisher() as publisher:
        await publisher.publish([address(number) for number in range(3000)])
        await publisher.flushed()
        task = asyncio.create_task(other())
        await publisher.publish([address(number) for number in range(2000, 5000)])
        # Records are sorted, compared with what there is, and given; each time in pieces.
        assert turns >= 2 * 3000 // 200 + 3000 // 200
        task.cancel()
        await publisher.flushed()

    assert await records_in(place.data) == as_keys([address(number) for number in range(2000, 5000)])


def test_what_is_loaded_in_bulk_is_published_too() -> None:
    mesh, followed = fm.Mesh("m"), FollowedRecords()
    service = Service(
        namespace="shop",
        name="web",
        annotations={"service.cilium.io/global": "true"},
        ports=(ServicePort(port=80, name="http"),),
    )
    mesh.join("east", cluster_id=1).apply([service])
    followed.look(mesh)
    for last in (7, 8):
        mesh.load(
            [("shop", "web")],
            service=np.array([0], np.uint32),
            cluster=np.array([1], np.uint16),
            address=np.array([0x0A010000 + last], np.uint32),
            port=np.array([80], np.uint16),
        )
        followed.look(mesh)
    (known,) = [each for each in followed.known["east"].values() if isinstance(each, ServiceRecord)]

    assert set(known.backends) == {"10.1.0.7", "10.1.0.8"}


def test_labels_of_a_service_that_change_no_answer_are_published_too() -> None:
    mesh, followed = fm.Mesh("m"), FollowedRecords()
    east = mesh.join("east", cluster_id=1)
    for label in ("a", "b"):
        service = Service(
            namespace="shop",
            name="web",
            labels={"team": label},
            annotations={"service.cilium.io/global": "true"},
            ports=(ServicePort(port=80, name="http"),),
        )
        east.apply([service])
        followed.look(mesh)
    (known,) = [each for each in followed.known["east"].values() if isinstance(each, ServiceRecord)]

    assert known.labels == {"team": "b"}

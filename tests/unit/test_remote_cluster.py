"""
The states that a remote cluster goes through, on a store in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

import fleetmesh as fm
from doubles.clock import ManualClock
from doubles.flaky_store import FlakyStore
from doubles.wire import beat, config_of, delete_records, write, write_cluster, write_records
from fleetmesh.errors import StoreUnavailableError
from fleetmesh.records import EndpointsRecord, IdentityRecord, IpRecord, NodeRecord, Record, ServiceRecord
from fleetmesh.resources import Endpoint, EndpointPort
from fleetmesh.state.codecs import encode, encode_config
from fleetmesh.state.intake import Intake
from fleetmesh.state.keys import config_key, synced_key
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.remote import RemoteCluster
from fleetmesh.state.seats import Seats
from fleetmesh.state.store import Delete, Put

pytestmark = pytest.mark.asyncio

CLUSTER = "k8s:io.cilium.k8s.policy.cluster"


def records(name: str = "west", number: int = 2, pods: int = 2) -> list[Record]:
    identity = number << 16 | 300
    of: dict[str, Any] = {"cluster": name, "cluster_id": number}
    return [
        NodeRecord(**of, name="n1", ip_addresses=(("InternalIP", f"192.168.{number}.1"),)),
        IdentityRecord(**of, number=identity, labels=f"k8s:app=cart;{CLUSTER}={name};"),
        *(
            IpRecord(
                **of,
                address=f"10.{number}.0.{pod}",
                host="",
                identity=identity,
                namespace="shop",
                pod=f"p-{pod}",
            )
            for pod in range(1, pods + 1)
        ),
        service(name, number, pods),
    ]


def service(name: str = "west", number: int = 2, pods: int = 2) -> ServiceRecord:
    return ServiceRecord(
        cluster=name,
        cluster_id=number,
        namespace="shop",
        name="cart",
        frontends={f"10.100.{number}.1": {"http": ("TCP", 80)}},
        backends={f"10.{number}.0.{pod}": {"http": ("TCP", 8080)} for pod in range(1, pods + 1)},
    )


@attrs.define(eq=False)
class Listening:
    mesh: fm.Mesh
    clock: ManualClock
    intake: Intake
    seats: Seats
    stack: asyncio.TaskGroup

    def hear(self, name: str, store: FlakyStore, *, cache_ttl: float = 0) -> RemoteCluster:
        remote = RemoteCluster(
            name=name,
            cache_ttl=cache_ttl,
            store=store,
            seats=self.seats,
            intake=self.intake,
            clock=self.clock,
            strict=self.mesh.mode == "strict",
            max_connected_clusters=self.mesh.max_connected_clusters,
        )
        self.tasks.append(self.stack.create_task(remote.run()))
        return remote

    tasks: list[asyncio.Task[None]] = attrs.field(factory=list)

    async def until(self, true: Callable[[], bool], seconds: float = 300) -> None:
        """Time passes until it is true."""
        for _ in range(int(seconds / 0.002)):
            for _ in range(20):
                await asyncio.sleep(0)
            await self.intake.call(lambda: None)
            await self.clock.settle()
            if true():
                return
            self.clock.advance(
                0.002 if (self.clock.next_wake or 0) < 0.01 else (self.clock.next_wake or 0.002)
            )
        raise AssertionError("it never was")


@asynccontextmanager
async def listening(mode: str = "cilium", **mesh: object) -> AsyncIterator[Listening]:
    made = fm.Mesh("m", mode=mode, **mesh)  # type: ignore[arg-type]
    clock = ManualClock()
    async with Intake(made, clock) as intake, asyncio.TaskGroup() as stack:
        listener = Listening(made, clock, intake, Seats(made), stack)
        yield listener
        for task in listener.tasks:
            task.cancel()


def addresses(mesh: fm.Mesh, name: str = "west") -> set[str]:
    return set(mesh.members[name].heard_names("ip")) if name in mesh.members else set()


async def test_a_cluster_becomes_ready_when_all_that_it_has_is_in_force() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    await beat(store)
    async with listening() as at:
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "ready")

        status = remote.status

    assert at.mesh.members["west"].outside
    assert addresses(at.mesh) == {"10.2.0.1", "10.2.0.2"}
    assert {kind: each.records for kind, each in status.kinds.items()} == {
        "nodes": 1,
        "identities": 1,
        "ip": 2,
        "services": 1,
        "serviceexports": 0,
    }
    assert all(each.synced for each in status.kinds.values())
    assert status.ready
    assert status.connected
    assert status.cluster_id == 2
    assert status.findings == ()


async def test_what_is_not_marked_as_complete_is_not_looked_at() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    await write(store, [Delete(synced_key("west", "ip", cached=False))])
    async with listening() as at:
        remote = at.hear("west", store)
        await at.until(
            lambda: remote.status.kinds.get("services") is not None and _synced(remote, "services")
        )
        before = addresses(at.mesh)
        phase = remote.phase
        await write(store, [Put(synced_key("west", "ip", cached=False), b"")])
        await at.until(lambda: remote.phase == "ready")

    assert before == set()
    assert phase == "syncing"
    assert addresses(at.mesh) == {"10.2.0.1", "10.2.0.2"}


async def test_changes_are_heard() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    async with listening() as at:
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "ready")
        await write_records(store, records(pods=3))
        await delete_records(store, records()[2:3])
        await at.until(lambda: addresses(at.mesh) == {"10.2.0.2", "10.2.0.3"})


async def test_without_its_config_it_waits_and_a_store_of_somebody_else_is_told() -> None:
    store = FlakyStore(MemoryStore())
    await write(store, [Put("something/else", b"")])
    async with listening() as at:
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "waiting")
        foreign = [each.code for each in remote.status.findings]
        await write_cluster(store, "west", 2, records())
        await at.until(lambda: remote.phase == "ready")
        assert remote.status.findings == ()

    assert foreign == ["store-not-cilium"]


async def test_a_config_that_is_refused_leaves_what_is_known() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    async with listening() as at:
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "ready")
        await write(store, [Put(config_key("west"), encode_config(config_of(300)))])
        await at.until(lambda: remote.phase == "rejected")
        told = remote.status.findings

    assert addresses(at.mesh) == {"10.2.0.1", "10.2.0.2"}
    assert [each.code for each in told] == ["remote-config-rejected"]
    assert "300" in told[0].message


async def test_a_bad_value_keeps_the_older_valid_one() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    async with listening() as at:
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "ready")
        key = "cilium/state/services/v1/west/shop/cart"
        await write(store, [Put(key, b"{")])
        await at.until(lambda: remote.status.rejected == 1)
        kept, told = at.mesh.members["west"].records("service"), remote.status.findings
        await write_records(store, [service(pods=1)])
        await at.until(lambda: remote.status.rejected == 0)
        assert remote.status.findings == ()

    assert [each.backends.keys() for each in kept if isinstance(each, ServiceRecord)] == [
        {"10.2.0.1", "10.2.0.2"}
    ]
    assert [each.code for each in told] == ["remote-value-rejected"]
    assert "services shop/cart" in told[0].message


async def test_a_store_that_is_lost_leaves_what_is_known_and_says_since_when() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    async with listening() as at:
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "ready")
        store.fail(StoreUnavailableError("no server answers"))
        await at.until(lambda: remote.phase == "stale")
        await at.clock.run(50)
        stale, known = remote.status, addresses(at.mesh)
        await write_records(store.inner, records(pods=3))
        store.heal()
        await at.until(lambda: remote.phase == "ready")
        await at.until(lambda: "10.2.0.3" in addresses(at.mesh))

    assert known == {"10.2.0.1", "10.2.0.2"}
    assert stale.stale_for >= 50
    assert not stale.ready
    assert stale.failures == 1
    assert [each.code for each in stale.findings] == ["remote-stale"]
    assert "no server answers" in stale.findings[0].message


async def test_after_cache_ttl_only_services_go_and_come_back_with_the_store() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    async with listening() as at:
        remote = at.hear("west", store, cache_ttl=60)
        await at.until(lambda: remote.phase == "ready")
        store.fail(StoreUnavailableError("no server answers"))
        await at.until(lambda: remote.status.revocations == 1)
        await at.until(lambda: not at.mesh.members["west"].heard_names("service"))
        known, told = addresses(at.mesh), remote.status
        store.heal()
        await at.until(lambda: remote.phase == "ready")

    assert known == {"10.2.0.1", "10.2.0.2"}
    assert told.phase == "stale"
    assert [each.code for each in told.findings] == ["remote-cache-expired"]
    assert list(at.mesh.members["west"].heard_names("service")) == ["shop/cart"]
    assert remote.status.revocations == 1


async def test_a_heartbeat_that_stops_is_staleness() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    await beat(store)
    async with listening() as at:
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "ready")
        await at.clock.run(130)
        stale = remote.phase
        await beat(store, 1)
        await at.until(lambda: remote.phase == "ready")

    assert stale == "stale"
    assert addresses(at.mesh) == {"10.2.0.1", "10.2.0.2"}


async def test_a_heartbeat_that_stops_withdraws_nothing_as_long_as_the_store_answers() -> None:
    """`cache_ttl` counts from the disconnection."""
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    await beat(store)
    async with listening() as at:
        remote = at.hear("west", store, cache_ttl=60)
        await at.until(lambda: remote.phase == "ready")
        await at.clock.run(400)
        stale = remote.status
        store.fail(StoreUnavailableError("no server answers"))
        await at.until(lambda: not remote.status.connected)
        later = remote.status.stale_for

    assert stale.phase == "stale"
    assert stale.revocations == 0
    assert list(at.mesh.members["west"].heard_names("service")) == ["shop/cart"]
    assert [each.code for each in stale.findings] == ["remote-stale"]
    assert later >= stale.stale_for  # it is not younger since the connection broke as well


async def test_a_refused_value_that_goes_during_a_silence_is_settled() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    bad = "cilium/state/services/v1/west/shop/bad"
    await write(store, [Put(bad, b"{")])
    async with listening() as at:
        remote = at.hear("west", store, cache_ttl=60)
        await at.until(lambda: remote.phase == "ready" and remote.status.rejected == 1)
        store.fail(StoreUnavailableError("no server answers"))
        await at.until(lambda: remote.status.revocations == 1)
        await write(store.inner, [Delete(bad)])
        store.heal()
        await at.until(lambda: remote.phase == "ready")

        assert remote.status.rejected == 0


async def test_a_refused_config_that_is_deleted_is_settled_and_what_was_said_before_stays() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    async with listening() as at:
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "ready")
        await write(store, [Put(config_key("west"), b"[]")])
        await at.until(lambda: remote.phase == "rejected")
        await write(store, [Delete(config_key("west"))])
        await at.until(lambda: remote.phase == "ready")

        assert addresses(at.mesh) == {"10.2.0.1", "10.2.0.2"}
        assert [each.code for each in remote.status.findings] == ["remote-config-missing"]
        assert "any more" in remote.status.findings[0].message


async def test_what_goes_with_a_kind_that_is_not_wanted_any_more_is_what_was_told_before() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    only_slices = attrs.evolve(config_of(2), endpoint_slices_export_mode="endpointslices-only")
    late = attrs.evolve(service(), name="late")
    async with listening() as at:
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "ready")
        await write(
            store,
            [
                Put("cilium/state/services/v1/west/shop/late", encode(late)),
                Put(config_key("west"), encode_config(only_slices)),
            ],
        )
        await at.until(lambda: [each.code for each in remote.status.findings] == ["services-not-exported"])
        await at.until(lambda: remote.phase == "ready")
        await at.clock.run(5)

        assert list(at.mesh.members["west"].heard_names("service")) == []


async def test_what_it_says_that_nobody_knows_is_told() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    value = b'{"id":2,"capabilities":{"syncedCanaries":true,"teleport":true}}'
    await write(store, [Put(config_key("west"), value)])
    async with listening() as at:
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "ready")
        told = remote.status.findings

    assert [each.code for each in told] == ["unknown-capability"]
    assert "teleport" in told[0].message


async def test_a_zone_that_the_core_can_not_hold_is_refused_before_it_is_needed() -> None:
    store = FlakyStore(MemoryStore())
    piece = EndpointsRecord(
        cluster="west",
        cluster_id=2,
        namespace="shop",
        name="cart-1",
        labels={"kubernetes.io/service-name": "cart"},
        endpoints=(Endpoint(addresses=("10.2.0.1",)),),
        ports=(EndpointPort(port=8080, name="http"),),
    )
    hostile = attrs.evolve(service(), zones={"10.2.0.1": ("a\0b", ())})
    await write_cluster(store, "west", 2, [*records(), piece])
    async with listening("strict") as at:
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "ready")
        await write_records(store, [hostile])
        await at.until(lambda: remote.status.rejected == 1)
        await delete_records(store, [piece])
        await at.until(lambda: not at.mesh.members["west"].heard_names("endpoints"))

        assert remote.phase == "ready"
        assert at.mesh.members["west"].heard_count("service") == 1


async def test_another_id_drains_what_was_known_under_the_old_one() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    async with listening() as at:
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "ready")
        await write_cluster(store, "west", 3, records(number=3))
        await at.until(lambda: remote.status.cluster_id == 3 and "10.3.0.1" in addresses(at.mesh))
        await at.until(lambda: remote.phase == "ready")

    assert at.mesh.members["west"].cluster_id == 3
    # What is left of the old id is refused, and told.
    assert addresses(at.mesh) == {"10.3.0.1", "10.3.0.2"}
    assert remote.status.rejected == 3


async def test_of_two_with_one_id_the_first_to_come_is_heard() -> None:
    one, other = FlakyStore(MemoryStore()), FlakyStore(MemoryStore())
    await write_cluster(one, "west", 2, records())
    await write_cluster(other, "east", 2, records("east"))
    async with listening() as at:
        first = at.hear("west", one)
        await at.until(lambda: first.phase == "ready")
        second = at.hear("east", other)
        await at.until(lambda: second.phase == "conflict")
        assert "east" not in at.mesh.members
        told = second.status.findings
        at.tasks[0].cancel()
        await at.until(lambda: at.tasks[0].done())
        await first.drain()
        await at.until(lambda: second.phase == "ready")

    assert [each.code for each in told] == ["cluster-id-conflict"]
    assert "'west'" in told[0].message
    assert first.phase == "drained"
    assert list(at.mesh.members) == ["east"]


async def test_in_strict_mode_the_first_by_name_is_heard() -> None:
    one, other = FlakyStore(MemoryStore()), FlakyStore(MemoryStore())
    await write_cluster(one, "west", 2, records())
    await write_cluster(other, "east", 2, records("east"))
    async with listening("strict") as at:
        later = at.hear("west", one)
        await at.until(lambda: later.phase == "ready")
        first = at.hear("east", other)
        await at.until(lambda: first.phase == "ready")
        await at.until(lambda: later.phase == "conflict")

    assert list(at.mesh.members) == ["east"]
    assert addresses(at.mesh, "east") == {"10.2.0.1", "10.2.0.2"}


async def test_a_cluster_of_this_process_is_not_heard() -> None:
    store = FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, records())
    async with listening() as at:
        at.mesh.join("west", cluster_id=2)
        remote = at.hear("west", store)
        await at.until(lambda: remote.phase == "conflict")

    assert "run by this process" in remote.status.findings[0].message


def _synced(remote: RemoteCluster, kind: str) -> bool:
    return any(name == kind and each.synced for name, each in remote.status.kinds.items())

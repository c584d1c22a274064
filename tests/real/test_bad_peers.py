"""
A cluster whose store holds what it should not: each value is told by itself, and the rest goes on.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import zstandard

from doubles.clock import ManualClock
from doubles.records import content
from doubles.running_fleet import going, until
from fleetmesh.records import EndpointsRecord
from fleetmesh.resources.model import Endpoint, EndpointPort
from fleetmesh.state.codecs import encode
from fleetmesh.state.keys import HEARTBEAT, KINDS, config_key, prefix, synced_prefix
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.mirror import Mirror
from real.fleet_faults import open_store
from real.listening_fleet import Listening, listening

pytestmark = [pytest.mark.real("etcd"), pytest.mark.asyncio]

STATE = "cilium/state"
SERVICE = f"{STATE}/services/v1/west/shop/cart"
ROOMY = ("--max-request-bytes", str(20 << 20), "--quota-backend-bytes", str(1 << 30))
RAW = "\udcff\udcfe"
"""Bytes of a key that are no UTF-8."""


def service(**more: Any) -> bytes:
    value = {"cluster": "west", "namespace": "shop", "name": "other", "clusterID": 2, "shared": True}
    return json.dumps(value | {"frontends": {}, "backends": {}} | more).encode()


def address(text: str, **more: Any) -> dict[str, bytes]:
    value = {"IP": text, "HostIP": "", "ID": (2 << 16) + 300, "K8sNamespace": "shop", "K8sPodName": "other"}
    return {f"{STATE}/ip/v1/default/{text}": json.dumps(value | more).encode()}


def garbage() -> dict[str, bytes]:
    """Random bytes, JSON of other kinds, large values, and keys that nobody would write."""
    drawn = Random(1)
    found: dict[str, bytes] = {}
    shapes = [b"", b"null", b"[]", b"1", b'"x"', b"{}", b'{"cluster":1}', b"[" * 100_000, b'{"a":' * 100_000]
    shapes += [drawn.randbytes(size) for size in (1, 50, 3_000, 300_000)]
    for kind in KINDS:
        begin = prefix(kind, "west", cached=False)
        for number, shape in enumerate(shapes):
            found[f"{begin}shop/{number}"] = found[f"{begin}{number}"] = shape
        for name in (
            "",
            "/",
            "a//b",
            "a/b/c/d",
            "..",
            "\0",
            "\n",
            RAW,
            "x" * 1_000,
            "10.2.0.1/99",
            "0070000",
        ):
            found[begin + name] = b"{}"
    found |= {f"{STATE}/nodes/v1/west/bad{number}": drawn.randbytes(20) for number in range(5_000)}
    # What nobody looks at.
    found |= {f"{STATE}/new-kind/v1/west/x": b"?", f"{STATE}/nodes/v1/western/x": b"?", f"cilium/{RAW}": b"?"}
    found |= {f"{synced_prefix('west')}{name}": b"?" for name in ("", "x", RAW, f"{STATE}/ip/v1/default")}
    return found | {f"{config_key('west')}ern": b"?", RAW: b"?", HEARTBEAT: b"yesterday"}


async def test_a_peer_that_sends_garbage(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        valid = await content(at.store)
        bad = garbage()
        assert bad.keys().isdisjoint(valid)
        await at.put(bad)
        await at.put({SERVICE: b"{", f"{STATE}/ip/v1/default/10.2.0.1": Random(2).randbytes(100)})

        await at.all_that_is_refused_is_told()
        await at.fleet.agrees()
        await at.the_rest_goes_on()

        await at.put(valid)
        await at.delete(bad)
        await at.all_is_well()


def of_another_name() -> dict[str, bytes]:
    return {
        f"{STATE}/services/v1/west/shop/other": service(cluster="north"),
        f"{STATE}/nodes/v1/west/n2": json.dumps({"Name": "n2", "Cluster": "north", "ClusterID": 2}).encode(),
        f"{STATE}/nodes/v1/west/n3": json.dumps({"Name": "n4", "Cluster": "west", "ClusterID": 2}).encode(),
        f"{STATE}/services/v1/west/shop/third": service(),
        f"{STATE}/identities/v1/id/131400": b"k8s:io.cilium.k8s.policy.cluster=north;",
    }


def of_another_number() -> dict[str, bytes]:
    return {
        f"{STATE}/services/v1/west/shop/other": service(clusterID=3),
        f"{STATE}/nodes/v1/west/n2": json.dumps({"Name": "n2", "Cluster": "west", "ClusterID": 300}).encode(),
        **address("10.2.200.1", ID=(3 << 16) + 300),
        **address("10.2.200.2", ID=1 << 24),
        **address("10.2.200.3", ID=-1),
        f"{STATE}/identities/v1/id/{(3 << 16) + 1}": b"k8s:io.cilium.k8s.policy.cluster=west;",
        f"{STATE}/identities/v1/id/{1 << 40}": b"k8s:io.cilium.k8s.policy.cluster=west;",
    }


def no_utf_8() -> dict[str, bytes]:
    return {
        f"{STATE}/services/v1/west/shop/{RAW}": service(),
        f"{STATE}/services/v1/west/shop/other": service().replace(b"other", b"oth\xff\xfe"),
        f"{STATE}/nodes/v1/west/{RAW}": b"\xff\xfe",
        f"{STATE}/identities/v1/id/{RAW}": b"k8s:io.cilium.k8s.policy.cluster=west;",
        f"{STATE}/identities/v1/id/131400": b"k8s:io.cilium.k8s.policy.cluster=west\xff;",
        f"{STATE}/ip/v1/default/{RAW}": b"{}",
    }


@pytest.mark.parametrize("values", [of_another_name, of_another_number, no_utf_8])
async def test_each_value_that_is_refused_is_told_with_its_reason(tmp_path: Path, values: Any) -> None:
    async with listening(tmp_path) as at:
        bad = values()
        await at.put(bad)
        assert (await at.refused()).keys() == bad.keys()
        await at.all_that_is_refused_is_told()
        await at.fleet.agrees()
        await at.the_rest_goes_on()
        await at.delete(bad)
        await at.all_is_well()


async def test_bytes_that_are_no_utf_8_within_a_value_are_replaced_as_go_does(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        key = f"{STATE}/services/v1/west/shop/other"
        await at.put({key: service(labels={"a": "b?c"}).replace(b"b?c", b"b\xffc")})
        west = at.east.mesh.members["west"]
        await until(lambda: "shop/other" in west.heard_names("service"))
        (found,) = (each for each in west.records("service") if "other" in repr(each))
        assert "'a': 'b\ufffdc'" in repr(found)
        await at.delete([key])
        await at.all_is_well()


async def test_an_address_that_two_clusters_own_is_told_and_both_stay_members(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        mine, theirs = address("10.1.0.1"), address("10.3.0.1")
        await at.put(mine | theirs)
        await until(lambda: len(at.told("address-of-two-clusters")) == 2)
        texts = " ".join(f"{each.subject}: {each.message}" for each in at.told("address-of-two-clusters"))
        assert "10.1.0.1: east and west" in texts
        assert "10.3.0.1: west and north" in texts
        assert at.west.rejected == 0
        await at.the_rest_goes_on()
        await at.delete(mine | theirs)
        await at.all_is_well()


async def test_values_of_ten_megabytes(tmp_path: Path) -> None:
    """What is valid is in force whatever its size, up to 16 MiB; what isn't is told in few words."""
    async with listening(tmp_path, *ROOMY) as at:
        bad = {}
        for name, value in (
            ("huge", service(name="huge", labels={"a": "x" * (16 << 20)})),
            ("random", Random(3).randbytes(10_000_000)),
            ("deep", b"[" * 10_000_000),
        ):
            bad[f"{STATE}/services/v1/west/shop/{name}"] = value
        good = {f"{STATE}/services/v1/west/shop/other": service(labels={"a": "x" * 10_000_000})}
        await at.put(bad | good)

        assert (await at.refused()).keys() == bad.keys()
        await at.all_that_is_refused_is_told()
        await until(lambda: "shop/other" in at.east.mesh.members["west"].heard_names("service"))
        await at.the_rest_goes_on()
        await at.delete(bad | good)
        await at.all_is_well()


def slices() -> dict[str, bytes]:
    """Good, cut off, damaged, exploding in three ways."""

    def of(name: str) -> bytes:
        return encode(
            EndpointsRecord(
                cluster="west",
                cluster_id=2,
                namespace="shop",
                name=name,
                labels={"kubernetes.io/service-name": "cart"},
                address_type="IPv4",
                endpoints=(Endpoint(addresses=("10.2.0.1",)),),
                ports=(EndpointPort(port=8080, name="http"),),
            )
        )

    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    unsaid = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 28))
    begin = prefix("endpointslices", "west", cached=False) + "shop/"
    return {
        f"{begin}good": of("good"),
        f"{begin}cut": of("cut")[:-7],
        f"{begin}damaged": of("damaged")[:-1] + b"\0",
        f"{begin}empty": b"",
        f"{begin}exploding": bomb,
        f"{begin}unsaid": unsaid,
        f"{begin}many": zstandard.ZstdCompressor().compress(bytes(10 << 20)) * 20,
        f"{begin}no-frame": b"(\xb5/\xfd",
        f"{begin}no-message": zstandard.ZstdCompressor().compress(b"\xff" * 1000),
    }


async def test_slices_that_are_cut_off_or_explode(tmp_path: Path) -> None:
    async with listening(tmp_path, mode="strict") as at:
        values = slices()
        await at.put(values)
        refused = await at.refused()
        assert len(refused) == len(values) - 1
        await at.all_that_is_refused_is_told()
        await until(lambda: "shop/good" in at.east.mesh.members["west"].heard_names("endpoints"))
        await at.the_rest_goes_on()
        await at.delete(values)
        await at.all_is_well()


async def test_in_mode_cilium_nobody_looks_at_slices(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        values = slices()
        await at.put(values)
        await at.put({f"{STATE}/services/v1/west/shop/other": service()})
        await until(lambda: "shop/other" in at.east.mesh.members["west"].heard_names("service"))
        assert at.west.rejected == 0
        await at.delete([*values, f"{STATE}/services/v1/west/shop/other"])
        await at.all_is_well()


async def test_a_mirror_forwards_what_it_can_not_read(tmp_path: Path) -> None:
    """Agents of Cilium may be newer than the mirror: they are the ones to refuse."""
    async with listening(tmp_path) as at:
        await at.put(garbage() | no_utf_8() | slices())
        local, clock = MemoryStore(), ManualClock()
        async with going(clock, 10), Mirror(local, clock=clock) as mirror:
            await mirror.add("west", open_store(at.etcd.url, clock=clock))
            await until(lambda: mirror.status["west"].ready, lambda: mirror.status)
            expected = await mirrored(at)
            await until(lambda: mirror.status["west"].local.phase == "written", lambda: mirror.status)
            assert dict((await content(local, "cilium/cache/")).items()) == expected
        await local.aclose()


async def mirrored(at: Listening) -> dict[str, bytes]:
    """What a copy has to have of the records."""
    there = await content(at.store)
    found: dict[str, bytes] = {}
    for kind in KINDS:
        begin, to = (prefix(kind, "west", cached=cached) for cached in (False, True))
        found |= {
            to + key.removeprefix(begin): value for key, value in there.items() if key.startswith(begin)
        }
    return found

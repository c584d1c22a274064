"""What a mirror copies into an etcd, Cilium's own code reads there."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

import fleetmesh as fm
from fleetmesh.state import keys
from fleetmesh.state.codecs import decode_config
from real import servers
from real.clusters import KvStoreMesh
from real.etcd_server import Etcd

pytestmark = [
    pytest.mark.real("etcd", "clustermesh-apiserver", "kvstore"),
    pytest.mark.timeout(180),
]

OBJECTS = Path(__file__).parents[1] / "golden" / "kvstore-objects" / "gamma.yaml"
PATIENCE = 60.0


async def content(url: str) -> dict[str, bytes]:
    store = fm.EtcdStore([url])
    try:
        return {each.key: each.value for each in (await store.list("cilium/")).entries}
    finally:
        await store.aclose()


async def copies(etcd: Etcd) -> dict[str, bytes]:
    found = await content(etcd.url)
    return {key: value for key, value in found.items() if key.startswith("cilium/cache/")}


async def until_there(etcd: Etcd, values: dict[str, bytes]) -> None:
    """Wait until an etcd has these keys of copies, and no others: kvstoremesh takes its time to write."""
    async with asyncio.timeout(PATIENCE):
        while await copies(etcd) != values:  # noqa: ASYNC110  # another process writes them
            await asyncio.sleep(0.2)


async def copied(remote: Etcd, local: Etcd, reader: KvStoreMesh) -> dict[str, object]:
    """A cluster that is published into one etcd is mirrored into another, where kvstoremesh hears it."""
    mesh = fm.Mesh("m")
    mesh.join("gamma", cluster_id=3).apply(fm.read_manifests(OBJECTS))
    store, target = fm.EtcdStore([remote.url]), fm.EtcdStore([local.url])
    try:
        async with fm.run(mesh, store={"gamma": store}) as live, fm.Mirror(target) as mirror:
            await asyncio.wait_for(live.synced(), PATIENCE)
            await mirror.add("gamma", fm.EtcdStore([remote.url]))
            reader.add("gamma", local.url)
            status = await asyncio.to_thread(reader.until_ready, "gamma")
            assert mirror.status["gamma"].ready
            assert mirror.findings == ()
    finally:
        await store.aclose()
        await target.aclose()
    return status


def refusals(values: dict[str, bytes]) -> list[str]:
    """What Cilium's own decoders and validators say of values that they refuse."""
    lines = [
        json.dumps(
            {"key": key, "value": base64.b64encode(value).decode(), "cluster": "gamma", "clusterID": 3}
        )
        for key, value in values.items()
    ]
    done = subprocess.run(
        [servers.binary("kvstore")], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(lines) > 20, done.stderr
    return [each["err"] for each in answers if each["err"]]


def test_kvstoremesh_reads_the_copy_of_a_mirror(tmp_path: Path) -> None:
    remote, local, third = (Etcd(servers.binary("etcd"), tmp_path / name) for name in ("a", "b", "c"))
    with ExitStack() as stack:
        for server in (remote, local, third):
            stack.callback(server.stop)
            server.start()
        reader = KvStoreMesh(tmp_path / "reader", "omega", 9, third.url)
        stack.callback(reader.stop)

        status = asyncio.run(copied(remote, local, reader))
        published, mirrored = (asyncio.run(content(each.url)) for each in (remote, local))
        copy = asyncio.run(copies(local))
        asyncio.run(until_there(third, copy))

    assert all(status["synced"].values())  # type: ignore[attr-defined]
    assert decode_config(mirrored[keys.config_key("gamma")]).cached
    state = {key: value for key, value in published.items() if key.startswith("cilium/state/")}
    assert copy == {
        key.replace("/state/", "/cache/", 1)
        .replace("/default/", "/gamma/", 1)
        .replace("/v1/id/", "/v1/gamma/id/"): value
        for key, value in state.items()
    }
    assert refusals(state) == []

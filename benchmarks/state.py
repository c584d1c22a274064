"""
A mesh that hears its remote clusters through etcd, at the size of Cilium's CFP-44921: 100 clusters with
500,000 addresses and 20,000 services, all in one etcd, as kvstoremesh keeps them.

    python benchmarks/state.py [--clusters N] [--ips N] [--services N] [--rate N] [--seconds N]

Prints how long it takes until all is heard and in the tables of the one cluster that listens, with the CPU
seconds and the memory of each process. Then others write at a rate, and slowly: how long each change takes
from when its transaction is sent until a reader has it in the tables. At the end the records of the mesh are
compared with those of the store.

Needs etcd and the load generator of tests/real, which are built where there is Go (or
`FLEETMESH_REAL_BIN=DIR`). etcd does not wait for the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import attrs

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import fleetmesh as fm
from fleetmesh.mesh.viewpoint import Viewpoint
from fleetmesh.resources import Service, ServicePort
from fleetmesh.state.codecs import Exporter, decode
from fleetmesh.state.keys import Kind, prefix
from real import servers
from real.etcd_server import Etcd

LOCAL = "local"
FIRST_ID = 2
TICKS = os.sysconf("SC_CLK_TCK")
UNAVAILABLE = 3  # the exit code where etcd or the load generator can't be had
SLOW = 100
"""Changes a second at which delays are measured."""
LONGEST_REST = 0.1
"""Seconds between two readings of the tables."""

# etcd keeps the last 5,000 entries of its log in memory. They are keys where kvstoremesh writes, but here
# transactions of 100 keys.
ETCD_FLAGS = (
    "--quota-backend-bytes=8589934592",
    "--snapshot-count=100",
    "--snapshot-catchup-entries=50",
    "--log-level=error",
)
RECORD_KINDS: dict[Kind, str] = {"nodes": "node", "identities": "identity", "ip": "ip", "services": "service"}


@attrs.frozen
class Size:
    """Of what is loaded; all but the number of clusters of each of them."""

    clusters: int
    ips: int
    identities: int
    nodes: int
    services: int
    backends: int

    @property
    def flags(self) -> list[str]:
        return [word for name, value in attrs.asdict(self).items() for word in (f"-{name}", str(value))]

    @property
    def words(self) -> str:
        counts = {name: getattr(self, name) for name in ("ips", "identities", "nodes", "services")}
        whole = ", ".join(f"{self.clusters * count:,} {name}" for name, count in counts.items())
        return f"{self.clusters} clusters: {whole} of {self.backends} backends"


# What processes use


@attrs.frozen
class Process:
    """One of those that are measured."""

    name: str
    pid: int

    @property
    def cpu(self) -> float:
        """Seconds until now."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def peak(self) -> float:
        """Megabytes of memory at most."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(each.split()[1]) * 1024 / 1e6 for each in lines if each.startswith("VmHWM"))


class Meter:
    """CPU seconds of processes from now on."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._before = {each: each.cpu for each in processes}

    @property
    def words(self) -> str:
        return ", ".join(f"{each.cpu - before:.2f} s {each.name}" for each, before in self._before.items())

    @property
    def spent(self) -> dict[str, float]:
        return {each.name: each.cpu - before for each, before in self._before.items()}


def told(what: str, words: str) -> None:
    print(f"{what:34} {words}", flush=True)


class Load:
    """The load generator."""

    def __init__(self, url: str, size: Size) -> None:
        self._command = [str(servers.path_of("load")), "-endpoint", url, *size.flags]

    async def run(self, *arguments: str | float, out: Path) -> dict[str, float]:
        """What it says of itself; what it has written is in the file."""
        with out.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *self._command, *map(str, arguments), stdout=file, stderr=asyncio.subprocess.PIPE
            )
            _, said = await process.communicate()
        if process.returncode:
            raise SystemExit(f"the load generator failed: {said.decode()}")
        found: dict[str, float] = json.loads(said)
        return found


# The initial sync


def mesh_of(size: Size) -> fm.Mesh:
    """One cluster that has the services of all others, without backends of its own."""
    mesh = fm.Mesh("bench")
    own = mesh.join(LOCAL, cluster_id=1, pod_cidrs=["10.1.0.0/16"], service_cidrs=["172.20.0.0/16"])
    own.apply(
        Service(
            namespace=f"team-{number % 20}",
            name=f"service-{number}",
            annotations={"service.cilium.io/global": "true"},
            cluster_ip=f"172.20.{(number + 1) >> 8}.{(number + 1) & 255}",
            ports=(ServicePort(name="http", port=80),),
        )
        for number in range(size.services)
    )
    for number in range(FIRST_ID, FIRST_ID + size.clusters):
        mesh.join(f"cluster-{number}", cluster_id=number, outside=True)
    return mesh


async def sync(live: fm.Live, size: Size, processes: Sequence[Process]) -> None:
    """Until all is heard, and then until it is in the tables."""
    meter, began = Meter(processes), time.perf_counter()
    await live.synced()
    told("heard", f"{time.perf_counter() - began:.2f} s; CPU: {meter.words}")
    tables = live.mesh.tables(LOCAL)
    policy = tables.policy
    of_services = tables.lookup_tables(tables.services)
    told("in the tables", f"{time.perf_counter() - began:.2f} s; CPU: {meter.words}")
    told("peak", ", ".join(f"{each.peak:,.0f} MB {each.name}" for each in processes))
    assert len(of_services) == size.services
    assert all(each.max() >= size.clusters * (size.backends - 1) - 1 for each in of_services)
    assert policy.identity_of("172.16.2.1") == (6, "cluster-2")


# Changes


class Reader:
    """
    A thread that has the newest tables as soon as it is told of a transaction; then it rests for as long as
    it worked, 100 ms at most.

    Attributes:
        seen: Key in the store -> when its newest value was in the tables, in ns since 1970; each time.
    """

    def __init__(self, mesh: fm.Mesh) -> None:
        self.seen: dict[str, list[int]] = defaultdict(list)
        self._mesh = mesh
        self._view = mesh.viewpoint()
        self._deltas: deque[fm.Delta] = deque()
        self._news = threading.Event()
        self._more = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._mesh.listeners.add(self._told)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._mesh.listeners.remove(self._told)
        self._ended = True
        self._news.set()
        self._thread.join()

    def _told(self, delta: fm.Delta) -> None:
        self._deltas.append(delta)
        self._news.set()

    def _run(self) -> None:
        while not self._ended:
            self._news.wait()
            self._news.clear()
            began = time.perf_counter()
            self._read([self._deltas.popleft() for _ in range(len(self._deltas))])
            time.sleep(min(time.perf_counter() - began, LONGEST_REST))

    def _read(self, deltas: Sequence[fm.Delta]) -> None:
        services = {(each.namespace, each.name) for delta in deltas for each in delta.services}
        places = {
            (each.cluster, each.prefix.partition("/")[0]) for delta in deltas for each in delta.addresses
        }
        view = self._mesh.viewpoint()
        tables = self._mesh.tables_of(view, LOCAL)
        policy = tables.policy
        tables.lookup_tables(services)
        for _, address in places:
            policy.identity_of(address)
        now = time.time_ns()
        keys = [f"cilium/cache/ip/v1/{cluster}/{address}" for cluster, address in places]
        with self._more:
            for key in (*keys, *self._changed(view)):
                self.seen[key].append(now)
            self._more.notify_all()

    def wait_for(self, some: Sequence[Sent]) -> bool:
        """Whether any of these has come within a minute."""
        with self._more:
            return self._more.wait_for(lambda: any(each.delay(self.seen) is not None for each in some), 60)

    def _changed(self, view: Viewpoint) -> Iterator[str]:
        """A delta doesn't say whose record of a service is another one."""
        before, self._view = self._view, view
        for name, member in view.members.items():
            old, new = before.members[name]._store.heard, member._store.heard
            if old is None or new is None or old is new:
                continue
            for space, each in new.services.differing(old.services):
                yield f"cilium/cache/services/v1/{name}/{space}/{each}"


@attrs.frozen
class Sent:
    """What the load generator wrote: when it sent the transaction, and knew that it was committed."""

    sent: int
    committed: int
    key: str

    @classmethod
    def read(cls, line: str) -> Sent:
        sent, committed, _, key = line.split(" ", 3)
        return cls(int(sent), int(committed), key)

    def delay(self, seen: dict[str, list[int]]) -> float | None:
        """Milliseconds from sending until a reader had it; `None` if nobody ever did."""
        times = seen.get(self.key, [])
        at = bisect_left(times, self.sent)
        return (times[at] - self.sent) / 1e6 if at < len(times) else None


@attrs.frozen
class Rate:
    """
    Attributes:
        transaction: Keys that are written at once, at most.
        skip: Changes that were made before.
    """

    a_second: int
    seconds: float
    transaction: int
    skip: int = 0


async def change(live: fm.Live, load: Load, rate: Rate, processes: Sequence[Process]) -> int:
    """Have others write, and tell how that went; how many changes there have been by then."""
    meter = Meter(processes)
    with tempfile.TemporaryDirectory() as folder, Reader(live.mesh) as reader:
        out = Path(folder) / "wrote"
        flags = ("-rate", rate.a_second, "-seconds", rate.seconds, "-transaction", rate.transaction)
        said = await load.run(*flags, "-skip", rate.skip, "change", out=out)
        lines = out.read_text().splitlines()
        if not await asyncio.to_thread(reader.wait_for, [Sent.read(line) for line in lines[-10:]]):
            raise SystemExit("the last changes have not come")
        spent = meter.spent | {"load": said["cpu_seconds"]}
        wrote = [Sent.read(line) for line in lines]
    tell_of(rate, wrote, reader.seen, spent)
    return rate.skip + len(wrote)


def tell_of(rate: Rate, wrote: list[Sent], seen: dict[str, list[int]], spent: dict[str, float]) -> None:
    lasted = (wrote[-1].committed - wrote[0].sent) / 1e9
    found = sorted(delay for each in wrote if (delay := each.delay(seen)) is not None)
    ends = sorted(delay for each in wrote[-len(wrote) // 10 :] if (delay := each.delay(seen)) is not None)
    commits = sorted((each.committed - each.sent) / 1e6 for each in wrote)
    told(
        f"{rate.a_second:,} changes a second", f"{len(wrote):,} in {lasted:.1f} s, {rate.transaction} at once"
    )
    told("  until it is committed", f"{commits[len(commits) // 2]:.1f} ms (median)")
    told(
        "  until it is in the tables",
        f"{found[len(found) // 2]:,.1f} ms (median), {found[len(found) * 99 // 100]:,.1f} ms (p99), "
        f"{ends[len(ends) // 2]:,.1f} ms (median of the last tenth)",
    )
    told("  undone before anybody saw it", f"{len(wrote) - len(found):,}")
    told(
        "  CPU a change",
        ", ".join(f"{seconds / len(wrote) * 1e6:.0f} us {name}" for name, seconds in spent.items()),
    )


async def compare(mesh: fm.Mesh, store: fm.EtcdStore) -> None:
    """The records that the mesh has and those that the store has are the same."""
    count = 0
    for name, member in mesh.members.items():
        exporter = Exporter(name, member.cluster_id, mesh.max_connected_clusters)
        for kind, ours in RECORD_KINDS.items() if member.outside else ():
            begin = prefix(kind, name, cached=True)
            listing = await store.list(begin)
            stored = [decode(kind, each.key[len(begin) :], each.value, exporter) for each in listing.entries]
            known = member.records(ours)
            assert len(stored) == len(known), (name, kind)
            assert set(map(repr, stored)) == set(map(repr, known)), (name, kind)
            count += len(stored)
    told("records as in the store", f"{count:,}")


async def measure(etcd: Etcd, size: Size, rate: int, seconds: float, folder: Path) -> None:
    processes = (Process("fleetmesh", os.getpid()), Process("etcd", etcd.pid))
    load = Load(etcd.url, size)
    said = await load.run("fill", out=folder / "fill")
    told("filled", f"{said['keys']:,} keys, {said['bytes'] / 1e6:,.0f} MB in {said['seconds']:.1f} s")
    store = fm.EtcdStore([etcd.url])
    async with fm.run(mesh_of(size), store=store) as live:
        await sync(live, size, processes)
        if seconds:
            done = await change(live, load, Rate(rate, seconds, 100), processes)
            await change(live, load, Rate(SLOW, seconds, 1, done), processes)
        await compare(live.mesh, store)
    await store.aclose()


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--ips", type=int, default=5000, help="of each cluster, as all below")
    parser.add_argument("--identities", type=int, default=500)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--backends", type=int, default=25, help="of each service")
    parser.add_argument("--rate", type=int, default=5000, help="changes per second")
    parser.add_argument("--seconds", type=float, default=20, help="of changes; 0: none")
    options = parser.parse_args()
    size = Size(*(getattr(options, field.name) for field in attrs.fields(Size)))
    try:
        programs = [servers.path_of(name) for name in ("etcd", "load")]
    except servers.UnavailableError as error:
        print(error, file=sys.stderr)
        sys.exit(UNAVAILABLE)
    told("loaded", size.words)
    with tempfile.TemporaryDirectory() as folder:
        etcd = Etcd(programs[0], Path(folder) / "etcd", *ETCD_FLAGS)
        etcd.start()
        try:
            await measure(etcd, size, options.rate, options.seconds, Path(folder))
        finally:
            etcd.stop()


if __name__ == "__main__":
    asyncio.run(main())

"""
A fleet of which each cluster is run by a process of its own, on stores; the same fleet in one mesh without
stores, which nothing can befall; and who notes whether anybody's tables were emptied.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TypeAlias

import attrs

import fleetmesh as fm
from doubles.clock import ManualClock
from doubles.records import content
from doubles.split_mesh import decided, known, only, records_of, seen
from fleetmesh.mesh.delta import Delta
from fleetmesh.state.codecs import Exporter
from fleetmesh.state.live import Live, run
from fleetmesh.state.store import Store

IDS = {"east": 1, "west": 2, "north": 3}
CART = ("shop", "cart")
Stores: TypeAlias = "Store | Mapping[str, Store]"

MANIFESTS = """
apiVersion: v1
kind: Namespace
metadata: {{name: shop}}
---
apiVersion: v1
kind: Node
metadata: {{name: n1, labels: {{topology.kubernetes.io/zone: {name}-a}}}}
status: {{addresses: [{{type: InternalIP, address: 192.168.{number}.1}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: cart, namespace: shop, annotations: {{service.cilium.io/global: "true"}}}}
spec:
  clusterIP: 10.100.{number}.1
  selector: {{app: cart}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: guard, namespace: shop}}
spec:
  endpointSelector: {{matchLabels: {{app: cart}}}}
  ingress:
  - fromEndpoints:
    - matchLabels: {{app: shopper, io.cilium.k8s.policy.cluster: west}}
"""

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {app}-{place}, namespace: shop, labels: {{app: {app}}}}}
spec: {{nodeName: n1, containers: [{{name: c, image: i, ports: [{{name: http, containerPort: 8080}}]}}]}}
status: {{podIP: {address}, podIPs: [{{ip: {address}}}], phase: Running}}
"""


def pod(cluster: str, place: int, app: str = "cart") -> str:
    """A manifest; `place` says its address."""
    return POD.format(app=app, place=place, address=f"10.{IDS[cluster]}.{place // 250}.{place % 250 + 1}")


def whole_fleet(*names: str, pods: int = 3, mode: str = "cilium") -> fm.Mesh:
    """Clusters of a global service, with a policy on who may talk to it."""
    mesh = fm.Mesh("fleet", mode=mode)  # type: ignore[arg-type]
    for name in names or IDS:
        number = IDS[name]
        member = mesh.join(
            name,
            cluster_id=number,
            pod_cidrs=[f"10.{number}.0.0/16"],
            service_cidrs=[f"10.100.{number}.0/24"],
            node_cidrs=[f"192.168.{number}.0/24"],
        )
        text = [MANIFESTS.format(name=name, number=number)]
        text += [pod(name, place) for place in range(pods)]
        text += [pod(name, 2_000, "shopper")]
        member.apply(fm.load_manifests("\n---\n".join(text)))
    return mesh


@attrs.define(eq=False)
class Witness:
    """Notes each generation of a mesh in which a cluster has no backend of the service for the viewer."""

    mesh: fm.Mesh
    viewer: str
    clusters: frozenset[str]
    emptied: list[tuple[int, str]] = attrs.field(factory=list)
    generations: int = 0

    def note(self, delta: Delta) -> None:
        found = {each.cluster for each in self.mesh.service(*CART).backends(seen_from=self.viewer)}
        self.emptied += [(delta.new, name) for name in self.clusters - found]
        self.generations += 1


@attrs.define(eq=False)
class Process:
    """One that runs a cluster."""

    name: str
    live: Live
    stores: Stores
    witness: Witness

    @property
    def mesh(self) -> fm.Mesh:
        return self.live.mesh

    def codes(self) -> set[str]:
        """Of the findings that it tells."""
        return {each.code for each in self.live.findings}


@attrs.define(eq=False)
class Fleet:
    """
    Attributes:
        whole: What every process has to agree with.
        clock: Goes on by itself, faster than time does, and only while this process runs.
    """

    whole: fm.Mesh
    clock: ManualClock
    processes: dict[str, Process] = attrs.field(factory=dict)

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    def apply(self, name: str, text: str) -> None:
        """An object of a cluster changes."""
        self._each(name, lambda member: member.apply(fm.load_manifests(text)))

    def delete(self, name: str, text: str) -> None:
        self._each(name, lambda member: member.delete(fm.load_manifests(text)))

    def _each(self, name: str, change: Callable[[fm.Member], object]) -> None:
        change(self.whole.members[name])
        if name in self.processes:
            change(self.processes[name].mesh.members[name])

    def disagreement(self) -> str:
        """What a process has otherwise than the whole, "" for nothing."""
        for name, process in self.processes.items():
            if seen(process.mesh, name) != seen(self.whole, name):
                return f"{name} sees {seen(process.mesh, name)}, not {seen(self.whole, name)}"
            for other in self.whole.members:
                if other not in process.mesh.members:
                    return f"{name} does not know {other}"
                lacking = known(self.whole, other) ^ known(process.mesh, other)
                if other != name and lacking:
                    return f"{name} differs from {other} in {sorted(lacking)}"
        return ""

    async def agrees(self) -> None:
        """Wait until each process has what the whole has, and is ready; and nothing is left to tell."""
        await until(
            lambda: not self.disagreement() and not self._unready(),
            lambda: f"{self.disagreement()} {self._unready()}",
        )
        for name, process in self.processes.items():
            assert decided(process.mesh, self.whole, name) == decided(self.whole, self.whole, name)

    def _unready(self) -> list[object]:
        found: list[object] = []
        for name, process in self.processes.items():
            found += [(name, each) for each in process.live.remotes.values() if each.phase != "ready"]
            found += [(name, each) for each in process.live.publications.values() if each.phase != "written"]
        return found

    async def equals_rebuilt(self, stores: Stores | None = None) -> None:
        """
        Each process has what one would have that listed the stores now.

        Args:
            stores: To read them through; each process's own, if there are none.
        """
        for name, process in self.processes.items():
            through = process.stores if stores is None else stores
            mesh = only(self.whole, name)
            for other in IDS.keys() & mesh.members.keys() - {name}:
                exporter = Exporter(other, IDS[other])
                cached = not isinstance(through, Mapping)
                there = await content(through[other] if isinstance(through, Mapping) else through)
                mesh.members[other].hear(records_of(there, exporter, cached=cached))
                assert known(process.mesh, other) == known(mesh, other)
            assert seen(process.mesh, name) == seen(mesh, name)
            assert decided(process.mesh, self.whole, name) == decided(mesh, self.whole, name)

    def nothing_was_emptied(self) -> None:
        for process in self.processes.values():
            assert process.witness.emptied == []
            assert process.witness.generations > 0, "nothing was looked at"

    async def has_nothing_to_tell(self) -> None:
        """Wait until no process tells a finding any more."""
        await until(
            lambda: not any(process.codes() for process in self.processes.values()),
            lambda: [process.live.findings for process in self.processes.values()],
        )

    async def until(self, name: str, codes: Iterable[str]) -> None:
        """Wait until a process tells such findings."""
        wanted = set(codes)
        await until(lambda: wanted <= self[name].codes(), lambda: str(self[name].live.findings))


async def until(true: Callable[[], bool], told: Callable[[], object] = lambda: "") -> None:
    """Wait until it is true."""
    with suppress(TimeoutError):
        async with asyncio.timeout(40):
            while not true():  # noqa: ASYNC110  # many things at once make it true
                await asyncio.sleep(0.01)
            return
    raise AssertionError(f"it never was: {told()}")


@asynccontextmanager
async def going(clock: ManualClock, speed: float) -> AsyncIterator[None]:
    """The clock goes on so many times as fast as time."""

    async def go() -> None:
        while True:
            await asyncio.sleep(0.005)
            clock.advance(0.005 * speed)

    task = asyncio.create_task(go())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def running(
    whole: fm.Mesh,
    stores: Callable[[str, ManualClock], Stores],
    *,
    names: Iterable[str] | None = None,
    speed: float = 10.0,
) -> AsyncIterator[Fleet]:
    """
    A fleet that runs, when all know all.

    Args:
        stores: Of the process that runs a cluster; they are closed here.
        names: Clusters that are run; the others somebody else writes.
    """
    fleet = Fleet(whole, ManualClock())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(going(fleet.clock, speed))
        for name in whole.members if names is None else names:
            given = stores(name, fleet.clock)
            for store in given.values() if isinstance(given, Mapping) else [given]:
                stack.push_async_callback(store.aclose)
            mesh = only(whole, name)
            live = await stack.enter_async_context(run(mesh, store=given, clock=fleet.clock))
            witness = Witness(mesh, name, frozenset(whole.members))
            fleet.processes[name] = Process(name, live, given, witness)
        await fleet.agrees()
        for process in fleet.processes.values():
            process.mesh.listeners.add(process.witness.note)
        yield fleet
    assert left_behind() == []


def left_behind() -> list[str]:
    """Tasks of fleetmesh that still run."""
    return [repr(each) for each in asyncio.all_tasks() if "/fleetmesh/" in repr(each.get_coro())]

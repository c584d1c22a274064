"""
Draws the pictures of docs/images: `make plots` (needs Go, and Cilium's modules, for the peers).

The ratios are measured in this run; all else is computed, and comes out the same on every machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import fleetmesh as fm

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))
from compare import PEERS, measure  # noqa: E402

IMAGES = HERE.parent / "docs" / "images"
SIZES = (251, 2039, 16381)
COUNTS = (2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000)
CONNECTIONS = 30_000
TCP, SYN = 6, 2
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: shop, annotations: {{service.cilium.io/global: "true"}}}}
spec: {{clusterIP: 10.10{number}.0.1, ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: echo-1, namespace: shop, labels: {{kubernetes.io/service-name: echo}}}}
addressType: IPv4
endpoints: [{endpoints}]
ports: [{{port: 8080}}]
"""
BACKENDS = {"east": 6, "west": 3, "north": 3}


def backends(count: int) -> list[fm.maglev.Candidate]:
    return [fm.maglev.Candidate(n, f"10.1.{n // 250}.{n % 250 + 1}", 8080) for n in range(count)]


def ratios(axes: Axes) -> None:
    """CPU time of others, as a multiple of ours, in one run."""
    found = list(measure())
    places = np.arange(len(found))
    for at, name in enumerate(PEERS):
        middles = [sum(each.ratios(name)) / 2 for each in found]
        bars = axes.bar(places + (at - 1) * 0.27, middles, 0.25, label=name)
        axes.bar_label(bars, [f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" for ratio in middles])
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xticks(places, [f"{each.backends} backends" for each in found])
    axes.set_ylabel("CPU time, times fleetmesh's")
    axes.set_title("Maglev tables of 16381 entries, from addresses to ids")
    axes.legend()


def disruption(axes: Axes) -> None:
    """What moves beyond the backend's own entries when one of so many goes."""
    for size in SIZES:
        counts = [count for count in COUNTS if count < size]
        excess = []
        for count in counts:
            all_of_them = backends(count)
            before = fm.maglev.lookup_table(all_of_them, size)
            gone = range(0, count, max(1, count // 10))
            changes = [
                fm.maglev.disruption(
                    before, fm.maglev.lookup_table(all_of_them[:one] + all_of_them[one + 1 :], size)
                )
                for one in gone
            ]
            excess.append(100 * sum(change.excess for change in changes) / len(changes))
        axes.plot(counts, excess, marker="o", label=f"{size} entries")
    axes.set_xscale("log")
    axes.set_xlabel("backends, of which one goes")
    axes.set_ylabel("% of the table that moves without need")
    axes.set_title("Disruption beyond the ideal")
    axes.legend()


def balance(axes: Axes) -> None:
    """The most and the fewest entries of one backend, relative to its due."""
    for size in SIZES:
        counts = [count for count in COUNTS if count < size]
        shares = [
            np.bincount(fm.maglev.lookup_table(backends(count), size), minlength=count) * count / size
            for count in counts
        ]
        lines = axes.plot(counts, [share.max() for share in shares], marker="o", label=f"{size} entries")
        axes.plot(counts, [share.min() for share in shares], marker="o", color=lines[0].get_color())
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("backends")
    axes.set_ylabel("entries of the fullest and the emptiest, of its due")
    axes.set_title("Balance")
    axes.legend()


def distribution(axes: Axes) -> None:
    """Who serves a client's connections, before a failover and after it."""
    mesh = fm.Mesh("shop")
    for number, (name, count) in enumerate(BACKENDS.items(), 1):
        member = mesh.join(name, cluster_id=number, pod_cidrs=[f"10.{number}.0.0/16"])
        addresses = ", ".join(f"{{addresses: [10.{number}.0.{n}]}}" for n in range(1, count + 1))
        member.apply(SERVICE.format(number=number, endpoints=addresses))
    path = mesh.datapath("east")
    client = np.full(CONNECTIONS, 0x0A010909, np.uint32)
    service = np.full(CONNECTIONS, 0x0A650001, np.uint32)

    def spread(first_port: int) -> dict[str, float]:
        ports = np.arange(first_port, first_port + CONNECTIONS, dtype=np.uint16)
        decisions = path.process(fm.Packets.v4(client, service, ports, 80, TCP, SYN))
        found = dict.fromkeys(BACKENDS, 0)
        for number, times in zip(*np.unique(decisions.backend, return_counts=True), strict=True):
            backend = path.backend(int(number))
            assert backend is not None
            found[backend.cluster] += int(times)
        return {name: 100 * times / CONNECTIONS for name, times in found.items()}

    before = spread(1000)
    mesh.members["west"].fail()
    after = spread(1000 + CONNECTIONS)
    places = np.arange(len(BACKENDS))
    for at, (label, shares) in enumerate((("before", before), ("after west has failed", after))):
        bars = axes.bar(places + (at - 0.5) * 0.4, list(shares.values()), 0.38, label=label)
        axes.bar_label(bars, fmt="%.1f %%")
    axes.set_xticks(places, [f"{name}, {count} backends" for name, count in BACKENDS.items()])
    axes.set_ylabel(f"% of {CONNECTIONS:,} connections from east")
    axes.set_title("Distribution by cluster")
    axes.legend()


def main() -> None:
    mpl.use("svg")
    # Without them every run would write other names, and the time, into the files.
    mpl.rcParams.update({"svg.hashsalt": "fleetmesh", "svg.fonttype": "path", "figure.figsize": (7, 4)})
    IMAGES.mkdir(exist_ok=True)
    for draw in (disruption, balance, distribution, ratios):
        figure, axes = plt.subplots(layout="constrained")
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        figure.savefig(IMAGES / f"{draw.__name__}.svg", metadata={"Date": None})
        plt.close(figure)
        print(f"docs/images/{draw.__name__}.svg", flush=True)


if __name__ == "__main__":
    main()

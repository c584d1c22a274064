"""
Clusters that are heard through stores, members that are published, and what is stale: as plain values, and
as people read them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fleetmesh.cli import plain
from fleetmesh.cli.findings import draw_one
from fleetmesh.cli.words import counted, listed
from fleetmesh.mesh import Mesh

if TYPE_CHECKING:
    from fleetmesh.cli.paper import Paper
    from fleetmesh.findings import Finding
    from fleetmesh.state.connection_file import EtcdConnection
    from fleetmesh.state.publication_status import PublicationStatus
    from fleetmesh.state.published import Published
    from fleetmesh.state.remote_status import RemoteStatus
    from fleetmesh.state.staleness import StaleService

# What Cilium's status calls the kinds of keys (Cilium api/v1 models, RemoteCluster).
_WORDS = {
    "nodes": "nodes",
    "ip": "endpoints",
    "identities": "identities",
    "services": "services",
    "endpointslices": "endpoint_slices",
    "serviceexports": "service_exports",
}


def remote(value: RemoteStatus, connection: EtcdConnection | None) -> plain.Plain:
    """
    What is known of one remote cluster. Counts of kinds that are not read are null.
    """
    config = value.config
    counts: dict[str, int | None] = dict.fromkeys(_WORDS.values())
    counts |= {_WORDS[kind]: each.records for kind, each in value.kinds.items()}
    return {
        "name": value.name,
        "id": value.cluster_id or None,
        "phase": value.phase,
        "ready": value.ready,
        "connected": value.connected,
        "stale_for": round(value.stale_for, 3),
        **counts,
        "synced": {_WORDS[kind]: each.synced for kind, each in value.kinds.items()},
        "etcd": {
            "endpoints": [] if connection is None else list(connection.endpoints),
            "cluster_id": value.store_id or None,
        },
        "config": None
        if config is None
        else {
            "id": config.cluster_id,
            "kvstoremesh": config.cached,
            "sync_canaries": config.synced_canaries,
            "service_exports": config.service_exports_enabled,
            "endpoint_slice_export_mode": config.endpoint_slices_export_mode or "services-only",
            "max_connected_clusters": config.max_connected_clusters or 255,
        },
        "heartbeat_age": None if value.last_heartbeat_age is None else round(value.last_heartbeat_age, 3),
        "failures": value.failures,
        "last_failure": None if not value.last_failure else _time(value.last_failure),
        "last_error": value.last_error,
        "revocations": value.revocations,
        "rejected": value.rejected,
    }


def publication(name: str, value: PublicationStatus) -> plain.Plain:
    """
    How far the publishing of a member of this process is.
    """
    return {
        "name": name,
        "phase": value.phase,
        "keys": value.keys,
        "pending": value.pending,
        "complete": sorted(_WORDS[kind] for kind in value.complete),
        "errors": value.errors,
        "last_error": value.last_error,
    }


def compared(name: str, value: Published) -> plain.Plain:
    """
    What a store has of a member, beside what the member would publish.
    """
    return {
        "name": name,
        "id": value.cluster_id,
        "complete": value.complete,
        "kinds": {
            _WORDS[kind]: {
                "same": each.same,
                "different": each.different,
                "missing": each.missing,
                "surplus": each.surplus,
            }
            for kind, each in value.kinds.items()
        },
    }


def stale(value: StaleService) -> plain.Plain:
    """
    A service with backends of a cluster that isn't heard.
    """
    return {
        "namespace": value.namespace,
        "name": value.name,
        "cluster": value.cluster,
        "backends": value.backends,
        "seen_from": list(value.seen_from),
        "stale_for": round(value.stale_for, 3),
    }


def connectivity(mesh: Mesh, remotes: Collection[plain.Plain], findings: Iterable[Finding]) -> plain.Plain:
    """
    As `cilium clustermesh status -o json` has it, where each member of this process (or the process, if it
    runs none) stands for an agent.
    """
    own = [name for name, member in mesh.members.items() if not member.outside]
    agents = len(own) or 1
    ready = sum(each["ready"] for each in remotes)
    services = [sum(_is_global(mesh, name, each) for each in mesh.services(name)) for name in own]
    errors: dict[str, list[str]] = {}
    for each in findings:
        errors.setdefault(each.subject.removeprefix("Cluster "), []).append(f"{each.code}: {each.message}")
    return {
        "global_services": _statistics(services),
        "connected": _statistics([ready] * agents),
        "clusters": {
            each["name"]: {"configured": agents, "connected": agents if each["ready"] else 0}
            for each in remotes
        },
        "total": agents,
        "not_ready": 0 if ready == len(remotes) else agents,
        "errors": errors,
    }


def _is_global(mesh: Mesh, cluster: str, name: tuple[str, str]) -> bool:
    spec = mesh.viewpoint().snapshot.spec(mesh.members[cluster].cluster_id, *name)
    return spec is not None and spec.is_global


def _statistics(values: Collection[int]) -> plain.Plain:
    return {
        "min": min(values, default=0),
        "avg": sum(values) / len(values) if values else 0.0,
        "max": max(values, default=0),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


# For people


def age(seconds: float) -> str:
    """
    Such as `75 s`, `12 min`, `3 h` or `2 d`.
    """
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def phase(found: Mapping[str, Any]) -> str:
    """
    In which state a remote cluster is, and since when it isn't heard.
    """
    if found["phase"] == "stale":
        return f"stale for {age(found['stale_for'])}"
    return str(found["phase"])


def draw_table(paper: Paper, found: Collection[Mapping[str, Any]]) -> None:
    """
    One row a remote cluster.
    """
    ready = sum(each["ready"] for each in found)
    paper.title(f"Remote clusters: {ready} of {len(found)} ready")
    kinds = list(_WORDS.values())
    heads = ("NODES", "ENDPOINTS", "IDENTITIES", "SERVICES", "SLICES", "EXPORTS")
    paper.table(
        ("CLUSTER", "ID", "PHASE", *heads),
        (
            (
                each["name"],
                _or_dash(each["id"]),
                phase(each),
                *(_or_dash(each[kind]) for kind in kinds),
            )
            for each in found
        ),
        right=(1, *range(3, 3 + len(heads))),
    )


def draw_details(paper: Paper, found: Mapping[str, Any]) -> None:
    """
    What `cilium-dbg status --verbose` tells of a remote cluster.
    """
    config, etcd = found["config"], found["etcd"]
    last = f"last {found['last_failure']}" if found["last_failure"] else "never"
    # What is wrong now is a finding.
    said = f": {found['last_error']}" if found["last_error"] and found["ready"] else ""
    paper.line(
        f"{found['name']}: {phase(found)}, {counted(found['failures'], 'reconnection')} ({last}){said}"
    )
    where = ", ".join(etcd["endpoints"]) or "-"
    beat = found["heartbeat_age"]
    alive = "no heartbeat yet" if beat is None else f"heartbeat {age(beat)} ago"
    paper.line(f"etcd: {where}, cluster id {etcd['cluster_id'] or '-'}, {alive}", indent=2)
    if config is None:
        paper.line("configuration: expected, not retrieved", indent=2)
        return
    exports = {None: "unsupported", True: "enabled", False: "disabled"}[config["service_exports"]]
    paper.line(
        f"configuration: expected, retrieved, cluster-id {config['id']}, kvstoremesh "
        f"{_yes(config['kvstoremesh'])}, sync-canaries {_yes(config['sync_canaries'])}, service-exports "
        f"{exports}, endpoint-slice-export-mode {config['endpoint_slice_export_mode']}",
        indent=2,
    )
    synced = (f"{kind.replace('_', '-')} {_yes(done)}" for kind, done in found["synced"].items())
    paper.line(f"synchronized: {', '.join(synced)}", indent=2)
    if found["rejected"] or found["revocations"]:
        paper.line(
            f"{counted(found['rejected'], 'value')} rejected, services withdrawn "
            f"{counted(found['revocations'], 'time')}",
            indent=2,
        )


def draw_publications(paper: Paper, found: Iterable[Mapping[str, Any]]) -> None:
    """
    A line for each member that this process publishes.
    """
    for each in found:
        waiting = f", {each['pending']} wait" if each["pending"] else ""
        wrong = f"; {each['last_error']}" if each["errors"] and each["phase"] != "written" else ""
        paper.line(
            f"Published {each['name']}: {each['phase']}, {counted(each['keys'], 'key')}{waiting}{wrong}"
        )


def draw_compared(paper: Paper, found: Iterable[Mapping[str, Any]]) -> None:
    """
    A line for each member that is read from manifests: what its store has of it.
    """
    for each in found:
        if each["id"] is None:
            paper.line(f"{each['name']} is not published.")
            continue
        sums = {
            word: sum(kind[word] for kind in each["kinds"].values())
            for word in ("same", "different", "missing", "surplus")
        }
        off = ", ".join(f"{number} {word}" for word, number in sums.items() if number and word != "same")
        paper.line(
            f"{each['name']} is published with cluster id {each['id']}: "
            f"{counted(sums['same'], 'record')} as its manifests say{f', {off}' if off else ''}"
        )


def draw_stale(paper: Paper, found: Collection[Mapping[str, Any]], members: Collection[str]) -> None:
    """
    One row a service with backends of a cluster that isn't heard.
    """
    if not found:
        return
    paper.blank()
    paper.table(
        ("STALE SERVICE", "CLUSTER", "SINCE", "BACKENDS", "USED BY"),
        (
            (
                f"{each['namespace']}/{each['name']}",
                each["cluster"],
                age(each["stale_for"]),
                str(each["backends"]),
                listed(each["seen_from"], list(members)),
            )
            for each in found
        ),
        right=(3,),
    )


def draw_findings(paper: Paper, found: Collection[dict[str, Any]]) -> None:
    """
    What is worth telling of stores and those who are heard.
    """
    if found:
        paper.blank()
    for each in found:
        draw_one(paper, each)


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _yes(value: object) -> str:
    return "yes" if value else "no"

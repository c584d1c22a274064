"""
The codes of findings about stores, and about what is heard through them, in alphabetical order.
"""

from __future__ import annotations

from fleetmesh.finding_kind import FindingKind

KINDS_OF_STATE = (
    FindingKind(
        "address-of-two-clusters",
        "error",
        "Several clusters publish a pod at the same address.",
        "Give each cluster its own pod range: on a flat network an address belongs to one pod.",
    ),
    FindingKind(
        "cluster-id-conflict",
        "error",
        "Two clusters claim the same cluster id, so that one of them is not heard.",
        "Give each cluster an id of its own, before it joins.",
    ),
    FindingKind(
        "remote-cache-expired",
        "warning",
        "A remote cluster has been silent for longer than cache_ttl, so that its services were withdrawn.",
        "Bring the cluster's store back; its services return by themselves.",
    ),
    FindingKind(
        "remote-config-missing",
        "warning",
        "A remote cluster's store does not say what cluster it is of.",
        "Check the cluster's name, and whether its clustermesh-apiserver (or kvstoremesh) is running.",
    ),
    FindingKind(
        "remote-config-rejected",
        "error",
        "A remote cluster can't be a member as it is configured.",
        "Mend its cluster id, name, limit of clusters or export mode.",
    ),
    FindingKind(
        "remote-stale",
        "warning",
        "A remote cluster is not heard any more; what it published last is in force.",
        "Bring the cluster's store, or the way to it, back.",
    ),
    FindingKind(
        "remote-value-rejected",
        "warning",
        "A remote cluster publishes values that Cilium's readers refuse; what was valid before is in force.",
        "Mend what writes them; the message has the reason.",
    ),
    FindingKind(
        "services-not-exported",
        "error",
        "A remote cluster publishes EndpointSlices only, which Cilium's agents do not read.",
        "Set its clustermesh-service-v2 to prefer-legacy or prefer-endpointslice.",
    ),
    FindingKind(
        "store-denied",
        "error",
        "A store does not take the credentials, or they don't allow what is needed.",
        "Give the user the role that Cilium's users have, or use other credentials.",
    ),
    FindingKind(
        "store-not-cilium",
        "warning",
        "A store holds nothing of Cilium's.",
        "Check the address: is this the etcd of a clustermesh-apiserver, or of a fleetmesh?",
    ),
)

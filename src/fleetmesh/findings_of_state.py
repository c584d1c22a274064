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
        "connection-credentials-missing",
        "error",
        "A file that says how a cluster's etcd is reached names certificates or a key that can't be read.",
        "Put the files where it says; they are looked for again.",
    ),
    FindingKind(
        "connection-field-ignored",
        "warning",
        "A field of a file that says how a cluster's etcd is reached has no effect.",
        "Correct the field, or remove it.",
    ),
    FindingKind(
        "connection-file-problem",
        "error",
        "A file that says how a cluster's etcd is reached can't be read or understood; what it said "
        "before is in force.",
        "Mend the file as the message says.",
    ),
    FindingKind(
        "connection-name-invalid",
        "error",
        "A file that says how a cluster's etcd is reached has no cluster's name, so that it is not followed.",
        "Name the file as its cluster: up to 32 small letters, digits and dashes.",
    ),
    FindingKind(
        "connection-without-endpoints",
        "error",
        "A file that says how a cluster's etcd is reached names no server; what it said before is in force.",
        "Name the servers, or remove the file if the cluster has left.",
    ),
    FindingKind(
        "keys-changed",
        "warning",
        "Keys that a cluster had published were changed or removed by somebody else; they are written again.",
        "Find who writes them; the cluster's name may be in use twice.",
    ),
    FindingKind(
        "lease-lost",
        "warning",
        "A cluster's lease ran out, and its keys with it; they are written again.",
        "Find what kept this process from its store: its load, the way, or the store.",
    ),
    FindingKind(
        "member-without-store",
        "error",
        "Another process runs a member, and there is no store to hear it through.",
        "Say where its store is, or let this process run the member.",
    ),
    FindingKind(
        "record-not-published",
        "warning",
        "A record can't be written to a store; what was written of it before stays.",
        "Mend the object as the message says.",
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
        "store-no-space",
        "error",
        "A store has no room, so that nothing can be published.",
        "Compact and defragment it, or raise its quota, and disarm the alarm.",
    ),
    FindingKind(
        "store-not-cilium",
        "warning",
        "A store holds nothing of Cilium's.",
        "Check the address: it should be the etcd of a clustermesh-apiserver, or of a fleetmesh.",
    ),
    FindingKind(
        "store-unavailable",
        "warning",
        "A store can't be reached, so that what changes is not published; what was published stays until "
        "its leases run out.",
        "Bring the store, or the way to it, back.",
    ),
    FindingKind(
        "two-publishers",
        "error",
        "Another writer publishes the same cluster into the same store; this one gives way.",
        "Let one process publish a cluster, or give one of the two another name and id.",
    ),
    FindingKind(
        "unknown-capability",
        "info",
        "A remote cluster says something of itself that this version does not know.",
        "Where it matters, update fleetmesh: Cilium's own readers of 1.20 pass over it too.",
    ),
    FindingKind(
        "withdrawal-failed",
        "warning",
        "Keys of a cluster that has left could not be removed; they stay until their leases run out.",
        "Bring the store back; whoever has to know sooner removes the cluster's keys by hand.",
    ),
)

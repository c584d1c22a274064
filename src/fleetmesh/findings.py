"""
Findings: what is worth telling a person, and the one registry of their codes.

A finding never stops anything. Whoever adds a rule that reports something adds its code to `_KINDS`, or to
`findings_of_state`, in alphabetical order; severity and fix are looked up there, so that one code always
means one thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from fleetmesh.finding_kind import FindingKind, Severity
from fleetmesh.findings_of_state import KINDS_OF_STATE

if TYPE_CHECKING:
    from fleetmesh.resources.model import Origin


@attrs.frozen
class Finding:
    """
    One thing worth telling a person.

    Attributes:
        subject: Whom it is about, such as `Service shop/checkout` (see `Resource.subject`).
        evidence: The facts behind the message, one each.
        where: Where the subject was read, if it was read from a manifest.
    """

    code: str
    severity: Severity
    subject: str
    message: str
    evidence: tuple[str, ...] = ()
    fix: str = ""
    where: Origin | None = None

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.severity} {self.code}: {self.subject}: {self.message}{place}"


_KINDS = (
    FindingKind(
        "cluster-failed-kept",
        "warning",
        "A cluster has failed, and what it published last is still in use.",
        "Bring the cluster back, remove it from the mesh, or set cache_ttl so that its records expire.",
    ),
    FindingKind(
        "duplicate-backend",
        "warning",
        "Several clusters publish the same backend address: only one row of it lives.",
        "Give each cluster its own pod range, and publish an address from one cluster only.",
    ),
    FindingKind(
        "duplicate-key",
        "warning",
        "A mapping of a manifest has a key twice; the later one is in force.",
        "Remove one of the two.",
    ),
    FindingKind(
        "duplicate-local-backend",
        "error",
        "Another cluster publishes the address of a local pod: the local row hides the remote one.",
        "Give each cluster its own pod range.",
    ),
    FindingKind(
        "duplicate-object",
        "warning",
        "One source declares the same object twice; the later one is in force.",
        "Remove one of the two.",
    ),
    FindingKind(
        "export-conflict",
        "warning",
        "ServiceExports of one name disagree; what the oldest says is in force.",
        "Export the same ports, families, type and policies from every cluster.",
    ),
    FindingKind(
        "external-name-global",
        "warning",
        "A Service of type ExternalName is marked global: other clusters refuse it whole.",
        "Remove the global annotation, or make it a ClusterIP Service.",
    ),
    FindingKind(
        "fleet-file-problem",
        "error",
        "An entry of fleet.yaml could not be understood; it is not in force, and where it could change every "
        "answer no cluster hears another.",
        "Mend the entry as the message says.",
    ),
    FindingKind(
        "frontend-conflict",
        "error",
        "Two Services of a cluster claim one external address, port and protocol.",
        "Give each Service its own address or port.",
    ),
    FindingKind(
        "idle-folder",
        "warning",
        "A folder that came into a directory without fleet.yaml is no cluster, since nothing runs in it.",
        "Put a workload, a pod or a node into it, move it elsewhere, or write a fleet.yaml.",
    ),
    FindingKind(
        "identity-of-other-cluster",
        "error",
        "A CiliumIdentity's number is in the range of another cluster, so that other clusters refuse it.",
        "Join the cluster with the id that it has, its `cluster-id`.",
    ),
    FindingKind(
        "import-declared",
        "info",
        "A ServiceImport is declared; it has no effect, since imports are made of the exports heard.",
        "Declare a ServiceExport in the clusters that have the Service, and leave the ServiceImport away.",
    ),
    FindingKind(
        "import-not-ready",
        "warning",
        "A cluster hears a ServiceExport but makes no Service of it.",
        "Make the namespace global, or export a family that the cluster supports.",
    ),
    FindingKind(
        "invalid-affinity",
        "warning",
        "A Service has an affinity that is not local, remote or none; none is in force.",
        'Set service.cilium.io/affinity to "local", "remote" or "none".',
    ),
    FindingKind(
        "invalid-annotation",
        "warning",
        "An annotation has a value that its rule doesn't know; the default is in force.",
        "Set one of the values that the message names.",
    ),
    FindingKind(
        "invalid-export",
        "warning",
        "A ServiceExport has nothing that can be exported.",
        "Declare a ClusterIP Service of its name in a global namespace.",
    ),
    FindingKind(
        "invalid-resource",
        "error",
        "An object is one that Kubernetes or Cilium would refuse; it is not in force.",
        "Mend the object as the message says.",
    ),
    FindingKind(
        "manifest-problem",
        "error",
        "A document of a manifest could not be understood; what was valid before stays in force.",
        "Mend the document at the place that the message names.",
    ),
    FindingKind(
        "member-refused",
        "error",
        "A cluster of a directory could not join the mesh.",
        "Mend what the message names.",
    ),
    FindingKind(
        "namespace-not-global",
        "warning",
        "A Service is global but its namespace is not: nothing of it is exported.",
        'Annotate the Namespace with clustermesh.cilium.io/global: "true", or set default_global_namespace.',
    ),
    FindingKind(
        "one-sided-global",
        "info",
        "A Service is global in some clusters and not in others that have it.",
        'Annotate it with service.cilium.io/global: "true" everywhere, or nowhere.',
    ),
    FindingKind(
        "policy-address-of-pod",
        "warning",
        "A network of a NetworkPolicy or ClusterNetworkPolicy has pods in it: Cilium selects no pods by "
        "their addresses, the specifications do.",
        "Select the pods by their labels, or set policy_cidr_match_mode to [pods].",
    ),
    FindingKind(
        "policy-any-without-icmp",
        "info",
        "A rule on every port of every protocol is not one on everything: ICMP has no ports.",
        "If ICMP is meant too, leave out toPorts, or add a rule with icmps.",
    ),
    FindingKind(
        "policy-baseline-reopens",
        "warning",
        "A rule of tier Baseline accepts what a policy before it isolates: Cilium lets it through, the "
        "specification of ClusterNetworkPolicy does not.",
        "Narrow the subject of the Baseline rule to pods that no policy selects.",
    ),
    FindingKind(
        "policy-conflict",
        "error",
        "Rules for the same ports and peers of a pod can't both be carried out: Cilium resolves no policy "
        "for it, and a pod that is new gets no connection.",
        "Let the rules ask for the same L7 parser, listener and authentication.",
    ),
    FindingKind(
        "policy-default-deny-idle",
        "warning",
        "What enableDefaultDeny says of a direction has no effect.",
        "Give the direction a rule, which may be empty, or let enableDefaultDeny be honoured.",
    ),
    FindingKind(
        "policy-empty-direction",
        "warning",
        "A direction of a Cilium policy is an empty list, which counts as absent and isolates nobody.",
        "To refuse all, write one empty rule: [{}]; else remove the field.",
    ),
    FindingKind(
        "policy-empty-peers",
        "warning",
        "A rule is about an empty list of peers, which are nobody.",
        "To name everybody leave the list out or write the entity all; to refuse all, write one empty "
        "rule: [{}].",
    ),
    FindingKind(
        "policy-empty-rule",
        "info",
        "An empty rule of a Cilium policy is about nobody; in a NetworkPolicy it would be about everybody.",
        "Name whom is meant, such as the entity all, or remove the rule.",
    ),
    FindingKind(
        "policy-every-cluster",
        "info",
        "Peers of a policy that name no cluster are those of every cluster, as "
        "policy-default-local-cluster is off.",
        "If those of the own cluster are meant, name io.cilium.k8s.policy.cluster in the selector; if "
        "not, all is well.",
    ),
    FindingKind(
        "policy-except-idle",
        "warning",
        "An exception of a network excepts nothing, as the policy names the same addresses elsewhere.",
        "Except the addresses from every network of the policy that has them, or deny them.",
    ),
    FindingKind(
        "policy-family-disabled",
        "warning",
        "A rule is about IPv6 networks only, in a cluster without IPv6.",
        "Name IPv4 networks too, or remove the rule.",
    ),
    FindingKind(
        "policy-fqdn-without-dns",
        "error",
        "A rule on names has a subject whose look-ups Cilium does not see, so that it never selects an "
        "address.",
        "Allow the subject to reach the DNS server on port 53 by a rule with rules.dns that has the names.",
    ),
    FindingKind(
        "policy-host-firewall-off",
        "warning",
        "A policy is about nodes in a cluster without the host firewall.",
        "Set enable_host_firewall, or remove the policy.",
    ),
    FindingKind(
        "policy-host-only",
        "info",
        "A rule allows the entity host, which is only a pod's own node, and allowed already.",
        "If other nodes are meant, of this or of other clusters, name the entity remote-node.",
    ),
    FindingKind(
        "policy-local-cluster",
        "info",
        "Peers of a policy are those of its own cluster by default, and other clusters have such pods too.",
        "If they are meant, name io.cilium.k8s.policy.cluster in the selector; if not, all is well.",
    ),
    FindingKind(
        "policy-local-remote",
        "warning",
        "A traffic policy Local keeps backends of other clusters: to Cilium Local means this node or "
        "any other cluster.",
        "Don't mark the Service global, or set its traffic policy to Cluster.",
    ),
    FindingKind(
        "policy-named-port-nobody",
        "error",
        "A rule names a port that no pod that is reached by it has under that name and protocol.",
        "Name a port that the containers declare, with its protocol, or write its number.",
    ),
    FindingKind(
        "policy-negative-selector",
        "warning",
        "A peer selector says only what must not be; to Cilium it selects the world and every pod as well.",
        "Add a label that those who are meant do have.",
    ),
    FindingKind(
        "policy-network-of-mesh",
        "warning",
        "A network of a policy is one of pods or nodes of the mesh, whom networks don't select.",
        "Select pods by their labels, and nodes by the entities host and remote-node; or set "
        "policy_cidr_match_mode.",
    ),
    FindingKind(
        "policy-one-sided",
        "warning",
        "A rule allows by name what the cluster of the other end refuses, so that nothing passes.",
        "Allow it at the other end too, as the evidence says, or take the cluster out of the rule.",
    ),
    FindingKind(
        "policy-peer-nobody",
        "warning",
        "A peer selector of a policy selects no pod that its cluster hears of.",
        "Mend the labels that the message names, or remove the rule.",
    ),
    FindingKind(
        "policy-peers-everybody",
        "error",
        "A rule is about everybody on its ports, as what it names counts as absent.",
        "Name whom is meant, or remove the rule.",
    ),
    FindingKind(
        "policy-plain-beside-proxy",
        "warning",
        "A rule of HTTP or DNS is beside one that allows the same flows without it.",
        "Remove the rule without L7 rules, or narrow it.",
    ),
    FindingKind(
        "policy-rejected",
        "error",
        "A policy object has no effect, as Cilium would refuse it too.",
        "Mend the field that the message names.",
    ),
    FindingKind(
        "policy-rule-redundant",
        "info",
        "A rule says what another says already.",
        "Remove it, or leave it as a reminder: it changes nothing.",
    ),
    FindingKind(
        "policy-rule-shadowed",
        "warning",
        "A rule never decides anything, as another one decides before it.",
        "Remove one of the two, or narrow the one that decides.",
    ),
    FindingKind(
        "policy-selects-nobody",
        "warning",
        "The subject of a policy is no pod of its cluster, so that the policy has no effect.",
        "Mend the labels that the message names, or remove the policy.",
    ),
    FindingKind(
        "policy-subject-namespace",
        "error",
        "A subject names a namespace that is not the policy's, which is taken instead.",
        "Put the policy into the namespace that is meant.",
    ),
    FindingKind(
        "policy-unknown-cluster",
        "warning",
        "A selector names a cluster that the mesh does not have.",
        "Write the name of a member, or remove it from the selector.",
    ),
    FindingKind(
        "policy-unmatched-service",
        "warning",
        "A rule with toServices matches no Service; with ports, that is a rule about everybody.",
        "Name a Service that there is, with its namespace.",
    ),
    FindingKind(
        "port-name-unmatched",
        "error",
        "A named port of a Service is one that no backend has: the backends are never selected.",
        "Give the ports of the Service the same names in every cluster.",
    ),
    FindingKind(
        "preference-ignored",
        "warning",
        "An annotation that prefers clusters has no effect on its Service.",
        "Change what the message names, or remove the annotation.",
    ),
    FindingKind(
        "preference-unknown-cluster",
        "warning",
        "A Service prefers a cluster that is no member of the mesh.",
        "Write the name of a member, or remove it from the annotation.",
    ),
    FindingKind(
        "range-exhausted",
        "error",
        "A range has no free address left for an object that needs one.",
        "Give the cluster a larger range.",
    ),
    FindingKind(
        "range-overlap",
        "error",
        "Ranges overlap, so that an address doesn't tell which cluster it belongs to.",
        "Give each cluster ranges of its own.",
    ),
    FindingKind(
        "self-managed-mesh",
        "error",
        "A cluster runs a Cluster Mesh of its own.",
        "Disable the cluster's own mesh before it joins.",
    ),
    FindingKind(
        "service-without-match",
        "warning",
        "A Service has no endpoint of its own that serves.",
        "See why, as the message says: the selector, the ports of the pods, or their readiness.",
    ),
    FindingKind(
        "single-cluster-directory",
        "info",
        "A directory without fleet.yaml was read as one cluster.",
        "Write a fleet.yaml, or put the manifests of each cluster into a folder of its name.",
    ),
    FindingKind(
        "slice-overlap",
        "warning",
        "An address is in several EndpointSlices of one Service: after one of them changes, Cilium may "
        "lose the backend.",
        "List each address in one slice.",
    ),
    FindingKind(
        "source-missing",
        "error",
        "A file or folder is not there or can't be read; what it gave last, if anything, is in force.",
        "Restore it, or take it out of fleet.yaml.",
    ),
    FindingKind(
        "source-unstable",
        "warning",
        "A source changed while it was being read; what it gave before is still in force.",
        "Write files beside their place and rename them into it.",
    ),
    FindingKind(
        "tenants-reachable",
        "warning",
        "Tenants of a hub don't hear each other, but nothing denies traffic between them: the pods of one "
        "are world to the others.",
        "Give the tenants a policy that denies what comes from outside, which is the entity world.",
    ),
    FindingKind(
        "terminating-remote",
        "warning",
        "A terminating backend counts as active in the other clusters: records don't carry the state.",
    ),
    FindingKind(
        "topology-unknown-member",
        "warning",
        "The topology names a cluster that is no member.",
        "Correct the name, or let the cluster join.",
    ),
    FindingKind(
        "unknown-field",
        "warning",
        "An object has a field that Kubernetes doesn't know; it has no effect.",
        "Correct the name of the field, or remove it.",
    ),
    FindingKind(
        "unknown-kind",
        "info",
        "Objects of a kind that no rule reads were passed over.",
    ),
    FindingKind(
        "unnamed-remote-port",
        "warning",
        "A backend of another cluster has no port name and so serves every port of the Service.",
        "Name the ports of the Service in every cluster.",
    ),
    FindingKind(
        "unresolvable-name",
        "warning",
        "A name doesn't resolve in a cluster that may ask for it.",
        "Declare the Service (and its namespace) in that cluster too.",
    ),
    FindingKind(
        "unscheduled-pod",
        "warning",
        "No declared node fits a pod, so that it has no node.",
        "Declare a node that the pod's nodeSelector matches.",
    ),
    FindingKind(
        "weight-not-carried",
        "warning",
        "An EndpointSlice's weight acts in its own cluster only: records don't carry it.",
        'Set service.cilium.io/shared to "false" to drain a cluster\'s backends everywhere.',
    ),
    FindingKind(
        "zone-hints-defeated",
        "warning",
        "Backends without hints switch off zone-aware routing of a Service.",
        "Give every cluster's backends zone hints, or none.",
    ),
)

REGISTRY: Mapping[str, FindingKind] = MappingProxyType(
    {kind.code: kind for kind in sorted((*_KINDS, *KINDS_OF_STATE), key=lambda each: each.code)}
)


def finding(
    code: str, subject: str, message: str, evidence: Iterable[str] = (), where: Origin | None = None
) -> Finding:
    """
    A finding with the severity and the fix of its code. What is named may come from anybody, so that what a
    terminal would obey is written as an escape.

    Raises:
        KeyError: The code isn't in `REGISTRY`.
    """
    kind = REGISTRY[code]
    said = tuple(map(_printable, evidence))
    return Finding(code, kind.severity, _printable(subject), _printable(message), said, kind.fix, where)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)

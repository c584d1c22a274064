"""
Which labels of a pod are part of its security identity (Cilium pkg/labelsfilter filter.go, the default list).
"""

from __future__ import annotations

import re

_KEPT = (
    "io.kubernetes.pod.namespace",
    "io.cilium.k8s.namespace.labels",
    "app.kubernetes.io",
    "io.cilium.k8s.policy.cluster",
    "io.cilium.k8s.policy.serviceaccount",
)
_IGNORED = tuple(
    re.compile(pattern)
    for pattern in (
        r"io\.kubernetes",
        r"kubernetes\.io",
        r"statefulset\.kubernetes\.io/pod-name",
        r"apps\.kubernetes\.io/pod-index",
        r"batch\.kubernetes\.io/job-completion-index",
        r"batch\.kubernetes\.io/controller-uid",
        r".*beta\.kubernetes\.io",
        r"k8s\.io",
        r"pod-template-generation",
        r"pod-template-hash",
        r"controller-revision-hash",
        r"controller-uid",
        r"annotation.*",
        r"etcd_node",
        r"topology\.kubernetes\.io",
    )
)


def is_identity_relevant(key: str) -> bool:
    """Whether a label is part of an identity: the longest prefix that keeps it beats what ignores it."""
    ignored = [match.end() for pattern in _IGNORED if (match := pattern.match(key))]
    if not ignored:
        return True
    kept = [len(prefix) for prefix in _KEPT if key.startswith(prefix)]
    return bool(kept) and max(kept) > min(ignored)

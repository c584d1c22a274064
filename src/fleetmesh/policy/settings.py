"""
What a cluster's policies are read and resolved with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from fleetmesh.resources.model import Service


def _none(_service: Service) -> Sequence[str]:
    return ()


@attrs.frozen
class Reading:
    """
    What a policy's text means in a cluster.

    Attributes:
        cluster: The name of the one that it is applied to.
        default_local_cluster: Whether peers that name no cluster are those of this one
            (`policy-default-local-cluster`).
        non_default_deny: Whether `enableDefaultDeny` counts (`enable-non-default-deny-policies`).
        strict: Whether selectors of what must not be select neither the world nor what stands for many; to
            Cilium they do.
        of_pods: Whether networks of NetworkPolicy and ClusterNetworkPolicy are pods' addresses too, as their
            specifications say; to Cilium they are not.
        services: All Services of the cluster, for `toServices`.
        backends: The addresses behind a Service without a selector.
    """

    cluster: str
    default_local_cluster: bool = True
    non_default_deny: bool = True
    strict: bool = False
    of_pods: bool = False
    services: Sequence[Service] = ()
    backends: Callable[[Service], Sequence[str]] = _none

    @property
    def peer_cluster(self) -> str | None:
        """Where peers are looked for that name no cluster; `None`: everywhere."""
        return self.cluster if self.default_local_cluster else None

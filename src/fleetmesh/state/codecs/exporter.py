"""
Whom values are read for.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Exporter:
    """
    The cluster that wrote what is read, as its configuration says.

    Attributes:
        max_connected_clusters: Of the mesh that reads, 255 or 511, whatever the exporter's own is; decides
            how many bits of an identity's number are its cluster's.
        identities: The numbers that its identities may have (Cilium pkg/identity numericidentity.go,
            `GetMinimalAllocationIdentity` and `GetMaximumAllocationIdentity`).
    """

    cluster: str
    cluster_id: int
    max_connected_clusters: int = 255
    identities: range = attrs.field(init=False, eq=False, repr=False)

    @identities.default
    def _identities(self) -> range:
        size = 1 << (16 if self.max_connected_clusters <= 255 else 15)
        return range(size * self.cluster_id if self.cluster_id else 256, size * (self.cluster_id + 1))

    @property
    def of_identities(self) -> str:
        """The range in words."""
        return f"which has {self.identities.start} to {self.identities.stop - 1}"

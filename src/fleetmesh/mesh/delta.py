"""
What one transaction changed.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class ServiceDelta:
    """
    A service whose answer may have changed for some viewers.

    Attributes:
        viewers: The names of the clusters that see it alike, in order of cluster id.
    """

    namespace: str
    name: str
    viewers: tuple[str, ...]


@attrs.frozen
class AddressDelta:
    """
    Addresses of a member that policies may now take for somebody else.

    Attributes:
        cluster: The name of the member.
        prefix: Of a pod or a Node that came, changed or went, such as `10.1.0.7/32`; or a range of a member
            that joined, left, was cut off or is heard again.
    """

    cluster: str
    prefix: str


@attrs.frozen
class PolicyDelta:
    """
    What a member's policies are made of, and has changed.

    Attributes:
        cluster: The name of the member.
        subject: `CiliumNetworkPolicy shop/web`, a CiliumCIDRGroup, or a Node, whose labels are its host's. A
            policy that is about Services is named where those change.
    """

    cluster: str
    subject: str


@attrs.frozen
class Delta:
    """
    What one transaction of a mesh changed.

    Attributes:
        old: The generation before.
        new: The generation after; each transaction is one.
        services: One entry for each changed service and class of viewers. None is lacking; the answer of
            an entry may have stayed the same, since what is compared are the facts behind it.
        addresses, policies: Where `Mesh.decide` answers otherwise than before, a pod or address of the flow
            is in one of these addresses, or in the cluster of one of these policies. Likewise none is
            lacking, and the policies of a member that joins or leaves are not named besides its ranges.
    """

    old: int
    new: int
    services: tuple[ServiceDelta, ...] = ()
    addresses: tuple[AddressDelta, ...] = ()
    policies: tuple[PolicyDelta, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.services or self.addresses or self.policies)

"""
What a member's DNS server knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from fleetmesh.records import ServiceRecord, service_record
from fleetmesh.resources.model import EndpointSlice, Service

if TYPE_CHECKING:
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint


@attrs.frozen
class View:
    """A `fleetmesh.services.dns.DnsView` of one member."""

    _view: Viewpoint
    _member: MemberView

    @property
    def cluster(self) -> str:
        """The viewer's name."""
        return self._member.name

    @property
    def endpoint_sync(self) -> bool:
        """The viewer's setting `enable_endpoint_sync`."""
        return self._member.settings.enable_endpoint_sync

    def has_namespace(self, namespace: str) -> bool:
        """Whether the viewer has the namespace."""
        return self._member._store.has_namespace(namespace)

    def service(self, namespace: str, name: str) -> Service | None:
        """The viewer's Service as in force."""
        return self._member._store.service(namespace, name)

    def slices(self, namespace: str, name: str) -> Iterable[EndpointSlice]:
        """The viewer's own slices of a Service; none while it is drained."""
        store = self._member._store
        return () if store.drained else store.own_slices((namespace, name))

    def remote_records(self, namespace: str, name: str) -> Iterable[ServiceRecord]:
        """The records of that name that the viewer hears."""
        view = self._view
        heard = set(view.snapshot.hears(self._member.cluster_id))
        found = []
        for number in view.snapshot.exporters(namespace, name):
            if number not in heard:
                continue
            publisher = view.names[number]
            service = view.members[publisher]._store.service(namespace, name)
            exported = view.snapshot.record(number, namespace, name)
            if service is not None and exported is not None:
                found.append(service_record(publisher, number, service, exported))
        return found

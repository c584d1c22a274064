"""
What names have resolved to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from ipaddress import ip_address

import attrs

from fleetmesh.mesh.whereabouts import Address


@attrs.define
class LearntNames(MutableMapping[str, list[str]]):
    """
    What names have resolved to, as FQDN rules have learnt it: name -> addresses.

    Raises ValueError if something is set that is no list of addresses.
    """

    version: int = attrs.field(default=0, init=False)
    _names: dict[str, list[str]] = attrs.field(factory=dict)

    def __getitem__(self, name: str) -> list[str]:
        return list(self._names[name])

    def __setitem__(self, name: str, addresses: Iterable[str]) -> None:
        if isinstance(addresses, str):
            raise ValueError(f"addresses of {name!r} are a string; expected a list of addresses")
        try:
            self._names[name] = [str(ip_address(each)) for each in addresses]
        except (TypeError, ValueError) as error:
            raise ValueError(f"addresses of {name!r}: {error}; expected a list of addresses") from None
        self.version += 1

    def __delitem__(self, name: str) -> None:
        del self._names[name]
        self.version += 1

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def parsed(self) -> dict[str, list[Address]]:
        return {name: list(map(ip_address, addresses)) for name, addresses in self._names.items()}

    def copy(self) -> LearntNames:
        return LearntNames({name: list(addresses) for name, addresses in self._names.items()})

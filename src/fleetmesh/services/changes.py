"""
Changes of resources as values: proposed by a question such as `service.share(in_=["east"])`, applied in
memory by the mesh or written to live clusters by an adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from fleetmesh.errors import StaleChangeError
from fleetmesh.resources.model import Resource


@attrs.frozen
class ResourceChange:
    """
    One object of one member before and after.

    Attributes:
        member: The name of the cluster.
        old: The object as it is, `None` where it is to be created.
        new: The object as it shall be, `None` where it is to be deleted.
    """

    member: str
    old: Resource | None
    new: Resource | None

    def __str__(self) -> str:
        if self.new is None:
            return f"{self.member}: delete {self.old.subject if self.old else 'nothing'}"
        if self.old is None:
            return f"{self.member}: create {self.new.subject}"
        return f"{self.member}: {self.new.subject}: {'; '.join(differences(self.old, self.new))}"

    def check(self, found: Resource | None) -> None:
        """
        Raises:
            StaleChangeError: What is found in the member is not what the change was made from.
        """
        if found == self.old:
            return
        about = self.old if self.old is not None else self.new
        assert about is not None
        if found is None:
            said: Iterable[str] = ["it is gone"]
        else:
            said = ["it is there already"] if self.old is None else differences(self.old, found)
        raise StaleChangeError(self.member, about.subject, said)


def differences(old: Resource, new: Resource) -> Iterator[str]:
    """What differs between two objects of one kind: annotations, then the other fields."""
    for key in sorted({*old.annotations, *new.annotations}):
        before, after = old.annotations.get(key), new.annotations.get(key)
        if before != after:
            yield f"{key}: {before!r} -> {after!r}"
    for field in attrs.fields(type(new)):
        if field.eq and field.name != "annotations":
            before, after = getattr(old, field.name, None), getattr(new, field.name)
            if before != after:
                yield f"{field.name}: {before!r} -> {after!r}"


@attrs.frozen
class ResourceChanges:
    """
    Changes that belong together. Empty (and false) where everything is as asked for already.

    Attributes:
        changes: In order of cluster ids.
        notes: What keeps the changes from having the whole effect, one sentence each; `str` shows them too.
    """

    changes: tuple[ResourceChange, ...] = ()
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[ResourceChange]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the clusters that the changes touch, in order."""
        return tuple(dict.fromkeys(change.member for change in self.changes))

    def __str__(self) -> str:
        return "\n".join([*map(str, self.changes), *(f"note: {note}" for note in self.notes)])

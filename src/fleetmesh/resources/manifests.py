"""Manifests to resources: `load_manifests` and `read_manifests`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from fleetmesh.errors import ManifestError, Problem
from fleetmesh.findings import Finding, finding
from fleetmesh.resources.decode import decode
from fleetmesh.resources.documents import Document, Flaw, path_text
from fleetmesh.resources.documents import Path as FieldPath
from fleetmesh.resources.fields import UnknownField
from fleetmesh.resources.files import is_path, read_source
from fleetmesh.resources.json_documents import looks_like_json, read_json
from fleetmesh.resources.model import Origin, Resource, UnknownKind
from fleetmesh.resources.yaml_documents import read_yaml

__all__ = [
    "Manifests",
    "is_path",
    "load_manifests",
    "problem_findings",
    "read_manifests",
    "unknown_kind_findings",
]


@attrs.frozen
class Manifests:
    """
    What a source holds.

    Attributes:
        resources: All that is good, in the order of the source; of an object that is declared twice,
            the later, in the place of the earlier.
        problems: What is wrong, in the order of the source. None of it is in `resources`.
        findings: What is worth telling although nothing is wrong with it: `duplicate-object`,
            `duplicate-key`, `unknown-field`, `unknown-kind`.
    """

    resources: tuple[Resource, ...] = ()
    problems: tuple[Problem, ...] = ()
    findings: tuple[Finding, ...] = ()


def load_manifests(source: Path | str) -> tuple[Resource, ...]:
    """
    The resources of a file, of a folder with all below it, or of a text.

    Args:
        source: A `Path` or a str of one line is a path; a str with a newline is text, YAML or JSON.
            Of a folder, the files `*.yaml`, `*.yml` and `*.json` are read, sorted by their paths.

    Raises:
        ManifestError: Something could not be understood. It is raised after everything was read and
            has `.problems`, and in `.resources` what was good.
        TypeError: The source is neither a path nor a str.
    """
    manifests = read_manifests(source)
    if manifests.problems:
        raise ManifestError(manifests.problems, manifests.resources)
    return manifests.resources


def read_manifests(source: Path | str) -> Manifests:
    """
    As `load_manifests`, but what can't be understood is told beside what can. No content raises.

    Raises:
        TypeError: The source is neither a path nor a str.
    """
    reading = _Reading()
    for each in read_source(source):
        if isinstance(each, Problem):
            reading.problems.append(each)
        else:
            reading.file(*each)
    return reading.result()


class _Reading:
    """What has been read of a source so far."""

    def __init__(self) -> None:
        self.resources: dict[tuple[object, ...], Resource] = {}
        self.problems: list[Problem] = []
        self.findings: list[Finding] = []

    def file(self, name: str, text: str) -> None:
        for each in _documents(text):
            if isinstance(each, Flaw):
                self.problems.append(Problem(name, each.number, each.line, "", each.message))
            else:
                self.document(name, each)

    def document(self, name: str, document: Document) -> None:
        def origin_of(path: FieldPath) -> Origin:
            line = document.line_of(path) if path else document.line
            return Origin(name, document.number, line)

        for each in decode(document.value, origin_of):
            if isinstance(each, Resource):
                self.resource(each)
            elif isinstance(each, UnknownField):
                self.findings.append(
                    _unknown_field(each, Origin(name, document.number, document.line_of(each.path)))
                )
            else:
                line = document.line_of(each.path) if each.path else document.line
                field = path_text(each.path)
                self.problems.append(Problem(name, document.number, line, field, each.message))
        for line, key in document.repeated:
            place = Origin(name, document.number, line)
            self.findings.append(
                finding("duplicate-key", name, f"a mapping has the key {key!r} twice", where=place)
            )

    def resource(self, resource: Resource) -> None:
        if isinstance(resource, UnknownKind):
            # Nothing reads them, so that a second one does no harm.
            self.resources[len(self.resources),] = resource
            return
        earlier = self.resources.get(resource.key)
        if earlier is not None:
            message = f"declared at {earlier.origin} and again at {resource.origin}, which is in force"
            places = (str(earlier.origin), str(resource.origin))
            self.findings.append(
                finding("duplicate-object", resource.subject, message, places, where=resource.origin)
            )
        self.resources[resource.key] = resource

    def result(self) -> Manifests:
        resources = tuple(self.resources.values())
        return Manifests(
            resources=resources,
            problems=tuple(self.problems),
            findings=(*self.findings, *unknown_kind_findings(resources)),
        )


def _documents(text: str) -> Iterator[Document | Flaw]:
    if not looks_like_json(text):
        yield from read_yaml(text)
        return
    read = read_json(text)
    if not isinstance(read, Flaw):
        yield from read
        return
    # It may be YAML's flow style, or JSON documents with `---` between them. If it is neither, the
    # reader of JSON knows best what is wrong.
    documents = list(read_yaml(text))
    if len(documents) == 1 and isinstance(documents[0], Flaw):
        yield read
    else:
        yield from documents


def _unknown_field(found: UnknownField, place: Origin) -> Finding:
    hint = f"; did you mean {found.nearest!r}?" if found.nearest else ""
    message = f"{path_text(found.path)} is no field that Kubernetes knows, and is ignored{hint}"
    return finding("unknown-field", found.subject, message, where=place)


def unknown_kind_findings(resources: Iterable[Resource]) -> tuple[Finding, ...]:
    """One finding for each kind that no rule reads, in the order in which they first come."""
    kinds: dict[tuple[str, str], list[UnknownKind]] = {}
    for resource in resources:
        if isinstance(resource, UnknownKind):
            kinds.setdefault((resource.kind, resource.api_version), []).append(resource)
    return tuple(
        finding(
            "unknown-kind",
            kind,
            f"{len(found)} of {version} passed over: no rule reads this kind",
            [f"{each.namespace}/{each.name}" for each in found[:10]],
            where=found[0].origin,
        )
        for (kind, version), found in kinds.items()
    )


def problem_findings(problems: Iterable[Problem]) -> tuple[Finding, ...]:
    """Each problem as a finding, for those who go on with what was good; where it is stands beside."""
    return tuple(
        finding(
            "manifest-problem",
            each.file,
            f"{each.field}: {each.message}" if each.field else each.message,
            where=Origin(each.file, each.document, each.line),
        )
        for each in problems
    )

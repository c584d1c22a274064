"""The line of a field in a YAML document, looked up only when something is wrong with the field."""

from __future__ import annotations

import yaml
from yaml._yaml import CParser

from fleetmesh.resources import yaml_scalars
from fleetmesh.resources.documents import Path


class _Composer(CParser):
    """Composes nodes, which have marks, without resolving what they mean."""

    def resolve(self, kind: type[yaml.Node], _value: str | None, implicit: object) -> str:
        return "plain" if kind is yaml.ScalarNode and implicit == (True, False) else "other"

    def descend_resolver(self, parent: object, index: object) -> None:
        """Part of what a `CParser` calls."""

    def ascend_resolver(self) -> None:
        """Part of what a `CParser` calls."""


def line_of(text: str, path: Path, document: int = 0) -> int:
    """
    The line, from 0, of a field of a document (counted from 0) in a text that has been read without a flaw.

    Where the path leads nowhere, the line of the innermost thing on it that is there.
    """
    parser = _Composer(text)
    try:
        node = None
        for _ in range(document + 1):
            node = parser.get_node() if parser.check_node() else None
    except yaml.YAMLError:  # an anchor that is defined twice is fine with YAML, not with the composer
        node = None
    finally:
        parser.dispose()
    if node is None:
        return 0
    line = int(node.start_mark.line)
    for step in path:
        found = _child(node, step)
        if found is None:
            return line
        line, node = found
    return line


def _child(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode):
        if isinstance(step, int) and step < len(node.value):
            child = node.value[step]
            return child.start_mark.line, child
        return None
    if not isinstance(node, yaml.MappingNode):
        return None
    # The last of equal keys is in force.
    for key, child in reversed(node.value):
        if isinstance(key, yaml.ScalarNode) and _key(key) == step:
            return key.start_mark.line, child
    for key, child in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag == "plain" and key.value == "<<":
            merged = child.value if isinstance(child, yaml.SequenceNode) else [child]
            for mapping in merged:
                if isinstance(mapping, yaml.MappingNode) and (found := _child(mapping, step)):
                    return found
    return None


def _key(node: yaml.ScalarNode) -> str:
    if node.tag != "plain":
        return str(node.value)
    value = yaml_scalars.plain(node.value)
    return "" if value is None else yaml_scalars.key(value)

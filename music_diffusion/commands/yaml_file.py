"""Settings in YAML, read without what YAML's aliases could make of a small file.

Members of an Enum, which are defaults of some of Lightning's texts, are written as their values.
"""

from enum import Enum
from pathlib import Path

import yaml

from foundation.errors import UserError, unreadable

DEEPEST = 100  # brackets within each other; ours are three
LARGEST = 100_000  # values of a file, with those that aliases repeat; ours have a hundred


class Loader(yaml.SafeLoader):
    """Refuses a name that is given twice, of which PyYAML would take the last in silence.

    It stops at brackets within brackets without end, where PyYAML's time grows as their square.
    """

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)  # type: ignore[arg-type] (it is a name)
        lines: dict[str, int] = {}
        for name, _ in node.value:
            line, text = name.start_mark.line + 1, str(name.value)
            if text in lines and text != "<<":
                raise ValueError(f"{text} is given twice, in lines {lines[text]} and {line}")
            lines[text] = line
        return node

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:
        if self.flow_level >= DEEPEST:
            raise ValueError(f"its brackets nest more than {DEEPEST} deep")
        super().fetch_flow_collection_start(TokenClass)


def write_member(dumper: yaml.SafeDumper, member: Enum) -> yaml.Node:
    return dumper.represent_data(member.value)


yaml.SafeDumper.add_multi_representer(Enum, write_member)


def read_yaml(path: Path) -> dict:
    """Read a file of settings; UserError for other files, and for those that expand without end."""
    with unreadable(f"{path} holds no settings in YAML"):
        loader = Loader(path.read_text(encoding="utf-8"))
        node = root_of(loader)
        if node is not None and expanded(node) > LARGEST:
            raise ValueError(f"its aliases expand to more than {LARGEST} values")
        content = None if node is None else loader.construct_document(node)
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        kind = "other names than texts" if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{path} holds no settings in YAML, but {kind}")
    return content


def root_of(loader: Loader) -> yaml.Node | None:
    """Return a document's root; ValueError that says where it is wrong."""
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(
            f"{place}{error.problem or error.context}; the names of a group start in one column, "
            "after spaces, not tabs"
        ) from error


def expanded(root: yaml.Node) -> int:
    """Count the values of a document as often as they occur; ValueError if one contains itself."""
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node), 0)
        if known is None:
            raise ValueError("a value contains itself")
        if known:
            return known
        sizes[id(node)] = None  # being counted
        parts = [node.value] if isinstance(node, yaml.SequenceNode) else []
        parts = node.value if isinstance(node, yaml.MappingNode) else parts
        sizes[id(node)] = total = 1 + sum(size(child) for part in parts for child in part)
        return total

    return size(root)

"""Which classes can be named where a base class is asked for, read from their source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from foundation.packages import PACKAGES
from music_diffusion.commands.signature import Module, module_of

TOP = Path(__file__).parents[2]  # of the packages


def path_in(module: Module, name: str) -> str | None:
    """Return the dotted path of a class that a module defines or imports under a name."""
    return f"{module.name}.{name}" if module.definition(name) else module.imported(name)


def class_of(path: str) -> tuple[Module, ast.ClassDef] | None:
    place, _, name = path.rpartition(".")
    module = module_of(place) if place else None
    node = module and module.definition(name)
    if module and node is None and (elsewhere := module.imported(name)) and elsewhere != path:
        return class_of(elsewhere)
    return (module, node) if module and isinstance(node, ast.ClassDef) else None


def bases_of(module: Module, node: ast.ClassDef) -> list[str]:
    names = (ast.unparse(base).partition("[")[0] for base in node.bases)
    return [path for name in names if (path := path_in(module, name))]


def abstract_methods(path: str) -> set[str]:
    """Return the methods that a class leaves to those derived from it."""
    if (found := class_of(path)) is None:
        return set()
    module, node = found
    left = {name for base in bases_of(module, node) for name in abstract_methods(base)}
    for part in node.body:
        if isinstance(part, ast.FunctionDef):
            marks = [ast.unparse(one) for one in part.decorator_list]
            abstract = any(mark.endswith("abstractmethod") for mark in marks)
            left = left | {part.name} if abstract else left - {part.name}
        elif isinstance(part, ast.Assign):
            left -= {ast.unparse(one) for one in part.targets}
    return left


def subclasses(path: str) -> list[str]:
    """Return the classes that can be made and are derived from one, of ours and in this folder."""
    texts, found, bases = dict(sources()), [], [path]
    while bases:
        base = bases.pop()
        begins = re.compile(rf"^class (\w+)\([^)]*\b{base.rpartition('.')[2]}\b", re.MULTILINE)
        for name, text in texts.items():
            for one in (f"{name}.{word}" for word in begins.findall(text)):
                node = class_of(one)
                if one not in found and node and base in bases_of(*node):
                    found.append(one)
                    bases.append(one)
    return sorted(one for one in found if not abstract_methods(one))


def sources() -> Iterator[tuple[str, str]]:
    """Yield the names and texts of our modules, and of those of the current folder."""
    ours = (file for package in PACKAGES for file in (TOP / package).rglob("*.py"))
    for folder, files in ((TOP, ours), (Path.cwd(), Path().glob("*.py"))):
        for file in files:
            name = ".".join(file.absolute().relative_to(folder).with_suffix("").parts)
            yield name, file.read_text(encoding="utf-8", errors="replace")

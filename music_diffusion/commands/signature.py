"""The options of a function or class, read from its source: importing it would take seconds.

What can't be read so, such as a class whose options come from elsewhere, has no signature here;
then the parser, which imports it, is asked.
"""

import ast
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

NO_OPTIONS = ("ABC", "Generic", "Protocol", "nn.Module")  # bases that have none
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Option:
    """An option: its annotation and default as they are written, and what the docstring says.

    `default` is None where one is required. Names in the annotation are those of `module`.
    """

    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    about: str = ""
    module: "Module | None" = None


@dataclass(frozen=True)
class Signature:
    """The options of a function or class, and the docstring before them.

    `is_complete` is false where **kwargs may take others.
    """

    path: str
    text: str
    options: dict[str, Option] = field(default_factory=dict)
    is_complete: bool = True


@dataclass(frozen=True)
class Module:
    """A module's source: its classes, functions, aliases and imports."""

    name: str
    tree: ast.Module

    def definition(self, name: str) -> ast.stmt | None:
        for node in self.tree.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
                return node
        return None

    def alias(self, name: str) -> ast.expr | None:
        """Return what a name stands for, such as Literal[…]."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return node.value
        return None

    def imported(self, name: str) -> str | None:
        """Return the path of a name that is imported here."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and not node.level:
                for one in node.names:
                    if (one.asname or one.name) == name:
                        return f"{node.module}.{one.name}"
        return None


@cache
def module_of(name: str) -> Module | None:
    """Read a module's source without importing it or the packages it is in."""
    top, *rest = name.split(".")
    spec = PathFinder.find_spec(top)
    if spec is None:
        return None
    places = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()]
    files = [file for one in places for file in (one.with_suffix(".py"), one / "__init__.py")]
    if not places and not rest:
        files = [Path(spec.origin or "")]
    found = next((file for file in files if file.is_file()), None)
    try:
        return found and Module(name, ast.parse(found.read_text(encoding="utf-8")))
    except (OSError, ValueError, SyntaxError):  # importing it will say so
        return None


@cache
def signature_of(path: str) -> Signature | None:
    """Return the signature of a dotted path; None where the source doesn't show it."""
    place, _, name = path.rpartition(".")
    module = module_of(place) if place else None
    node = module and module.definition(name)
    if module is None or node is None:
        elsewhere = module and module.imported(name)
        return signature_of(elsewhere) if elsewhere and elsewhere != path else None
    if isinstance(node, ast.ClassDef):
        return _of_class(path, module, node)
    assert isinstance(node, ast.FunctionDef)
    return _of_function(path, module, node, documented(node))


def _of_class(path: str, module: Module, node: ast.ClassDef) -> Signature | None:
    text, about = documented(node)
    for made in node.body:
        if isinstance(made, ast.FunctionDef) and made.name == "__init__":
            own = _of_function(path, module, made, (text, about))
            return own if own.is_complete else _with_base(own, module, node)
    options = {}
    if any("dataclass" in ast.unparse(one) for one in node.decorator_list):
        fields = {ast.unparse(x.target): x for x in node.body if isinstance(x, ast.AnnAssign)}
        options = {
            name: Option(name, one.annotation, one.value, about.get(name, ""), module)
            for name, one in fields.items()
        }
        if not node.bases:
            return Signature(path, text, options)
    return _with_base(Signature(path, text, options, False), module, node)


def _with_base(own: Signature, module: Module, node: ast.ClassDef) -> Signature | None:
    """Add the options of the class that it is derived from, which **kwargs may be for."""
    takes_any = any(
        isinstance(one, ast.FunctionDef) and one.name == "__init__" for one in node.body
    )
    names = [ast.unparse(base).partition("[")[0] for base in node.bases]
    names = [name for name in names if name not in NO_OPTIONS]
    if node.bases and not names:
        return replace(own, is_complete=not takes_any)
    if len(names) != 1:
        return None
    name = names[0]
    base = signature_of(module.imported(name) or f"{module.name}.{name}")
    if base is None:
        return None
    is_complete = base.is_complete and (bool(base.options) or not takes_any)
    return Signature(own.path, own.text or base.text, base.options | own.options, is_complete)


def _of_function(
    path: str, module: Module, node: Function, docs: tuple[str, dict[str, str]]
) -> Signature:
    text, about = docs
    args = [*node.args.posonlyargs, *node.args.args]
    missing: list[ast.expr | None] = [None] * (len(args) - len(node.args.defaults))
    pairs = list(zip(args, [*missing, *node.args.defaults], strict=True))
    pairs += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return Signature(
        path,
        text,
        {
            arg.arg: Option(arg.arg, arg.annotation, default, about.get(arg.arg, ""), module)
            for arg, default in pairs
            if arg.arg != "self"
        },
        node.args.kwarg is None,
    )


def documented(node: ast.ClassDef | Function) -> tuple[str, dict[str, str]]:
    """Split a docstring into the text and what it says under Args, in this project's style."""
    text, _, rest = (ast.get_docstring(node) or "").partition("\nArgs:\n")
    about: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        if line and not line.startswith(" "):  # Raises: and what else follows
            break
        if line.startswith("    ") and not line.startswith("     ") and ":" in line:
            name, _, first = line.strip().partition(":")
            about[name] = first.strip()
        elif name and line.strip():
            about[name] += f" {line.strip()}"
    return text.strip(), about

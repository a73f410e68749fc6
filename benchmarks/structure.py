"""Measure the code itself: python -m benchmarks.structure [FOLDER]; prints a table in Markdown."""

import ast
import re
import sys
from collections import Counter
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
SKIPPED = ("tests", "benchmarks", ".venv", "build", "examples")
PUBLIC_UNDERSCORES = {"_replace", "_asdict", "_fields"}
CONCEPTS = {  # a function of the concept written by hand, by what only such code contains
    "writes beside, then renames": r"os\.replace\(",
    "hashes weights": r"hashlib\.sha256\(|digest = hashlib",
    "loads a state dict strictly": r"\bmismatch\(",
    "resamples": r"\bResample\(|def resample\(|def _resampled\(",
}


def main(folder: str = ".") -> None:
    root = Path(folder)
    files = sorted(
        path for path in root.rglob("*.py") if not set(path.relative_to(root).parts) & {*SKIPPED}
    )
    texts = {path: path.read_text() for path in files}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    functions = [
        (path, node)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, Function)
    ]
    lengths = [body_lines(node) for _, node in functions]
    around = {path for path, text in texts.items() if fights(text)}
    rows = {
        "files": len(files),
        "lines": sum(text.count("\n") for text in texts.values()),
        "modules at the root": sum(path.parent == root for path in files),
        "files over 300 lines": sum(text.count("\n") > 300 for text in texts.values()),
        "functions": len(functions),
        "median lines of a function": sorted(lengths)[len(lengths) // 2],
        "functions over 40 lines": sum(length > 40 for length in lengths),
        "functions of over 7 parameters": sum(parameters(node) > 7 for _, node in functions),
        "private members of libraries": sum(private(trees[path]).total() for path in around),
        "places that read or write sys.argv": count(texts, r"sys\.argv"),
        "loops over arguments by hand": count(texts, r"for .*\bin zip\(args, |for arg in "),
    }
    rows |= {name: count(texts, pattern) for name, pattern in CONCEPTS.items()}
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"| {name:<{width}} | {value:>6} |")


def body_lines(node: Function) -> int:
    """Count a function's lines without its signature and docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return ((body[-1].end_lineno or 0) - body[0].lineno + 1) if body else 0


def parameters(node: Function) -> int:
    """Count what a caller can give, but for self."""
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def fights(text: str) -> bool:
    return "lightning" in text


def private(tree: ast.Module) -> Counter:
    """Count uses of underscored names that this file and its classes don't define."""
    own = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    overridden = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and calls_super(node):
            overridden[node.name] += 1
        elif isinstance(node, ast.FunctionDef):
            own.add(node.name)
    used = Counter(
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr)
    )
    for name in [n for n in used if n in own or n in PUBLIC_UNDERSCORES]:
        del used[name]
    return used + Counter({n: c for n, c in overridden.items() if re.match(r"_[a-z]", n)})


def calls_super(node: ast.FunctionDef) -> bool:
    return f"super().{node.name}(" in ast.unparse(node)


def count(texts: dict[Path, str], pattern: str) -> int:
    return sum(len(re.findall(pattern, text)) for text in texts.values())


if __name__ == "__main__":
    main(*sys.argv[1:])

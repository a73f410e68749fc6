"""Who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {
    "codec",
    "sedd",
    "jbdiff",
    "datamodules",
    "callbacks",
    "metrics",
    "cli",
    "lightning_cli",
    "messages",
    "benchmarks",
    "tests",
}
ALLOWED = {
    "codec": {"codec", "datamodules.audio"},
    "metrics": {
        "metrics",
        "codec.base",
        "codec.weights",
        "datamodules.audio",
        "datamodules.cache",
    },
    "datamodules": {"datamodules", "codec.base"},
    "callbacks": {"callbacks", "metrics", "datamodules.audio"},
    "sedd": {"sedd", "codec", "datamodules.audio"},
    "jbdiff": {"jbdiff", "codec", "datamodules.audio"},
}
FILES = [path for package in ALLOWED for path in sorted((ROOT / package).glob("*.py"))]


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_package_imports_only_what_it_may(path):
    package = path.parent.name
    for name in imports(path):
        if name.split(".")[0] in OURS and name not in OURS:
            allowed = any(name == a or name.startswith(f"{a}.") for a in ALLOWED[package])
            assert allowed, f"{path.name} imports {name}"
    lightning = any(name.split(".")[0] == "lightning" for name in imports(path))
    assert not lightning or package in ("callbacks", "datamodules") or "module" in path.stem

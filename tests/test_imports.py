"""Who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "foundation": set(),
    "audio": {"foundation"},
    "codec": {"foundation", "audio"},
    "metrics": {"foundation", "audio"},
    "datamodules": {"foundation", "audio"},
    "callbacks": {"foundation", "audio", "metrics"},
    "sedd": {"foundation", "audio", "codec"},
    "jbdiff": {"foundation", "audio", "codec"},
}
OURS = {*ALLOWED, "music_diffusion", "benchmarks", "tests", "cli", "download_ckpts", "configs"}
PURE = {"graph.py", "noise.py", "objective.py", "samplers.py", "vdiffusion.py"}  # no networks
NETWORKS = {
    "sedd.ddit",
    "foundation.transformer",
    "jbdiff.latent_transformer",
    "jbdiff.unet",
    "jbdiff.dance",
}
FILES = [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}"} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_package_imports_only_what_it_may(path):
    package = path.relative_to(ROOT).parts[0]
    names = imports(path)
    found = {name.split(".")[0] for name in names} & OURS - {package}
    assert found <= ALLOWED[package], f"{path.name} imports {found - ALLOWED[package]}"
    lightning = any(name.split(".")[0] == "lightning" for name in names)
    assert not lightning or package in ("callbacks", "datamodules") or "module" in path.stem
    if path.name in PURE:
        assert not names & NETWORKS, f"{path.name} is pure maths and imports a network"


def test_only_the_programs_lie_at_the_root():
    assert {path.name for path in ROOT.glob("*.py")} == {"cli.py", "download_ckpts.py"}
    assert all(len(path.read_text().splitlines()) <= 12 for path in ROOT.glob("*.py"))


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_only_the_application_imports_the_application(name):
    for path in (ROOT / name).rglob("*.py"):
        assert not {n.split(".")[0] for n in imports(path)} & {"music_diffusion", "benchmarks"}

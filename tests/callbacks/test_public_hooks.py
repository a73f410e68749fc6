"""Lightning is used through its public names alone."""

import ast
from pathlib import Path

import pytest
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

ROOT = Path(__file__).parents[2]
CLASSES = (
    *(Callback, Checkpoint, WeightAveraging, LightningDataModule, LightningModule, Trainer),
    *(LightningArgumentParser, LightningCLI, SaveConfigCallback),
)
FILES = [
    path
    for package in ("callbacks", "datamodules", "foundation", "music_diffusion", "sedd", "jbdiff")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "lightning" in path.read_text()
]


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_private_member_is_used_or_overridden(path):
    tree = ast.parse(path.read_text())
    own = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    } & {"self", "cls"}
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and private(node.attr)
        and not (isinstance(node.value, ast.Name) and node.value.id in own)
    }
    assert not used, f"{path.name} reaches into {used}"
    defined = {
        node.attr if isinstance(node, ast.Attribute) else node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Attribute, ast.FunctionDef))
    }
    inherited = {name for kind in CLASSES for name in dir(kind) if private(name)}
    assert not inherited & {name for name in defined if private(name)}

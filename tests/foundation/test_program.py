import ast
import sys
from pathlib import Path

import pytest

from foundation import program as module
from foundation.packages import PACKAGES
from foundation.program import CHECKOUT, download_command, program

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("called", "name", "download"),
    [
        ("/opt/bin/music-diffusion", "music-diffusion", "music-diffusion download"),
        ("music-diffusion.exe", "music-diffusion", "music-diffusion download"),
        ("cli.py", "python cli.py", "python download_ckpts.py"),
        ("../it/cli.py", "python ../it/cli.py", "python ../it/download_ckpts.py"),
        ("my it/cli.py", "python 'my it/cli.py'", "python 'my it/download_ckpts.py'"),
        ("download_ckpts.py", "python cli.py", "python download_ckpts.py"),
        ("/a/notebook", "python cli.py", "python download_ckpts.py"),
    ],
)
def test_messages_name_the_command_that_was_called(monkeypatch, called, name, download):
    monkeypatch.setattr(sys, "argv", [called])
    assert (program(), download_command()) == (name, download)


def test_a_program_that_imports_the_installed_package_is_told_of_its_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mine.py"])
    monkeypatch.setattr(module, "IS_CHECKOUT", False)
    assert (program(), download_command()) == ("music-diffusion", "music-diffusion download")


def test_no_message_names_a_script_of_the_checkout_itself():
    texts = {path: path.read_text() for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    named = [path for path, text in texts.items() if any(one in text for one in CHECKOUT)]
    strings = [
        (path.relative_to(ROOT).as_posix(), node.value)
        for path in named
        for node in ast.walk(ast.parse(texts[path]))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    found = {path for path, text in strings if any(one in text for one in CHECKOUT)}
    assert found == {"foundation/program.py"}

import sys

import pytest

from foundation.program import download_command, program


@pytest.mark.parametrize(
    ("called", "name", "download"),
    [
        ("/opt/bin/music-diffusion", "music-diffusion", "music-diffusion download"),
        ("music-diffusion.exe", "music-diffusion", "music-diffusion download"),
        ("cli.py", "python cli.py", "python download_ckpts.py"),
        ("/a/notebook", "python cli.py", "python download_ckpts.py"),
    ],
)
def test_messages_name_the_command_that_was_called(monkeypatch, called, name, download):
    monkeypatch.setattr(sys, "argv", [called])
    assert (program(), download_command()) == (name, download)

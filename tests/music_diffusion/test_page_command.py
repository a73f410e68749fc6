"""`page` on the command line, and what an installed package must hold for it."""

import re
from pathlib import Path

import pytest
import torch

from audio import files as audio
from music_diffusion.commands import main as cli

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folders(tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b c"):
        Path(name).mkdir()
        audio.write(Path(name, "x.wav"), torch.zeros(1, 800), 8000)
    return ["a", "b c"]


def test_one_folder_gets_its_page_and_several_are_compared(folders, capsys):
    assert cli.main(["page", folders[0]]) == 0
    assert "open a/index.html in a browser" in capsys.readouterr().out
    assert cli.main(["page", *folders]) == 0
    assert Path("compare/index.html").read_text().count("<audio") == 2
    assert cli.main(["page", *folders, "--out", "given", "--copy", "true"]) == 0
    assert len(list(Path("given/index_files").glob("*.wav"))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "no such folder: nowhere"),
        (["a", "--out", "b"], "--out and --copy are for several folders"),
        ([], "folders"),
        (["a", "b c", "--out", "a/x.wav"], "is a file, give a folder"),
    ],
)
def test_mistakes_are_a_line_and_status_2(folders, options, message, capsys):
    assert cli.main(["page", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("out", [[], ["--out", "deep/er"], ["--out", "there"]])
@pytest.mark.parametrize("other", ["empty", "broken"])
def test_what_is_refused_leaves_nothing(folders, other, out):
    Path("there").mkdir(), Path(other).mkdir()
    if other == "broken":
        Path(other, "x.wav").write_text("no music")
    before = sorted(Path().rglob("*"))
    assert cli.main(["page", "a", other, *out]) == 2
    assert sorted(Path().rglob("*")) == before


def test_the_package_holds_the_files_of_the_page():
    (listed,) = re.findall(r'"audio.page" = \[(.*)\]', (ROOT / "pyproject.toml").read_text())
    files = {path.name for path in (ROOT / "audio/page").iterdir() if path.is_file()}
    assert set(re.findall(r'"(.*?)"', listed)) == {n for n in files if not n.endswith(".py")}

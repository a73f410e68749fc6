"""What can be read through the studio, and what can't, whatever is asked."""

import json

import pytest

from foundation.errors import MissingFileError, UserError
from music_diffusion.studio.clips import without_paths
from music_diffusion.studio.library import Library
from music_diffusion.studio.studio import Studio
from tests.studio.conftest import write_config


@pytest.fixture
def library(tmp_path):
    (tmp_path / "secret.wav").write_bytes(b"secret")
    runs = tmp_path / "runs"
    for path in ("a/checkpoints/best.ckpt", "a/.hidden/x.wav", "a/clip.wav", "a/notes.txt"):
        (runs / path).parent.mkdir(parents=True, exist_ok=True)
        (runs / path).write_bytes(b"x")
    (runs / "out.wav").symlink_to(tmp_path / "secret.wav")
    (runs / "up").symlink_to(tmp_path)
    (runs / "model").mkdir()
    (runs / "model" / "config.json").write_text(json.dumps({}))
    (tmp_path / "own").mkdir()
    return Library.of(tmp_path / "own", [runs])


TRICKS = [
    "runs/../secret.wav", "runs/a/../../secret.wav", "runs//etc/passwd", "/etc/passwd",
    "etc/passwd", "runs/out.wav", "runs/up/secret.wav", "runs/a/.hidden/x.wav",
    "runs/./../secret.wav",
    "runs/a\\..\\..\\secret.wav", "runs/a/clip.wav\0.png", "runs/%2e%2e/secret.wav", "", "runs",
    "runs/a", "runs/a/notes.txt", "runs/a/checkpoints/best.ckpt", "../secret.wav", "x" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("reference", TRICKS)
def test_tricks_lead_nowhere_and_show_no_path(library, tmp_path, reference):
    with pytest.raises(MissingFileError) as error:
        library.file(reference)
    assert str(tmp_path) not in str(error.value)
    assert len(str(error.value)) < 300


def test_what_lies_in_a_folder_is_found_and_named_without_its_path(library, tmp_path):
    assert library.file("runs/a/clip.wav") == (tmp_path / "runs" / "a" / "clip.wav").resolve()
    assert library.models() == ["base", "base_sedd", "runs/model", "runs/a/checkpoints/best.ckpt"]
    assert library.runs() == ["runs/a"]
    assert library.audio_folders() == ["runs/a"]  # links out of the folder aren't followed
    text = without_paths(f"{tmp_path}/runs/a/x.wav is cut; see /usr/lib/thing.py", library)
    assert text == "runs/a/x.wav is cut; see thing.py"


def test_what_was_sent_is_no_folder_to_compare(library, tmp_path):
    own = library.roots["studio"]
    for name in ("uploads", "job"):
        (own / name).mkdir(parents=True)
        (own / name / "0.wav").write_bytes(b"")
    assert library.audio_folders() == ["studio/job", "runs/a"]


def test_without_a_run_it_is_said_where_runs_are_looked_for_and_what_trains_one(tmp_path):
    tab = pytest.importorskip("music_diffusion.studio.runs_tab", reason="gradio isn't installed")
    (tmp_path / "runs").mkdir()
    text = tab.nothing(Studio.of(tmp_path / "own", [tmp_path / "runs"], []))
    assert text.startswith("Nothing trained yet: runs are looked for in runs.") and " fit" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("name", ["runs/a/clip.wav", "../x.ckpt", "runs/a", "/tmp", "last"])
def test_only_models_of_the_list_are_loaded(library, name):
    with pytest.raises(UserError):
        library.model(name)


def test_models_are_found_by_their_part_of_a_song_with_what_they_can_be_told(tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    studio = Studio.of(tmp_path / "own", [runs], [])
    assert studio.found().models_of("level_2") == []
    write_config(runs / "model", jb_level=2)  # while the studio runs
    (runs / "bad").mkdir()
    (runs / "bad" / "config.json").write_text("{")
    found = studio.found()
    assert found.models_of("level_2") == ["runs/model"]
    assert found.models_of("level_3") == ["base"] and "runs/bad" in found.models
    assert studio.facts("runs/model").conditions.fields == {"genre": ["jazz"]}


def test_folders_of_the_same_name_differ(tmp_path):
    for parent in ("a", "b"):
        (tmp_path / parent / "runs").mkdir(parents=True)
    found = Library.of(tmp_path, [tmp_path / "a" / "runs", tmp_path / "b" / "runs"])
    assert list(found.roots) == ["studio", "runs", "runs 2"]
    with pytest.raises(MissingFileError, match="no such folder"):
        Library.of(tmp_path, [tmp_path / "c"])

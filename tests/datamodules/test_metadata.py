import pytest

from datamodules.metadata import Sidecar, folder_of
from foundation.errors import MissingFileError, UserError


def write(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_a_csv_and_a_jsonl_file_give_the_same(tmp_path):
    csv = write(tmp_path, "a.csv", 'mood,track,bpm\n"calm, slow",jazz\\a.wav,90\n,./b.wav,\n')
    lines = '{"track": "jazz/a.wav", "mood": "calm, slow", "bpm": 90}\n\n{"track": "b.wav"}\n'
    jsonl = write(tmp_path, "a.jsonl", lines)
    for path in (csv, jsonl):
        sidecar = Sidecar.read(path)
        first = {"folder": "jazz", "mood": "calm, slow", "bpm": "90"}
        assert sidecar.cond("jazz/a.wav") == first and sidecar.fields == ("mood", "bpm")
        assert sidecar.cond("b.wav") == sidecar.cond("c.wav") == dict.fromkeys(first, "")


def test_without_a_file_there_is_the_folder():
    assert Sidecar.read(None).cond("a/b/c.wav") == {"folder": "a/b"}
    assert folder_of("c.wav") == ""


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.csv", "track,bpm\na.wav,90\nb.wav\n", "a.csv, line 3: a row needs 2 values"),
        ("a.csv", "track,bpm\na.wav,90,5\n", "a.csv, line 2: a row needs 2 values"),
        ("a.csv", "file,bpm\na.wav,90\n", "a.csv, line 2: a row needs a value for 'track'"),
        ("a.csv", "track,bpm\na.wav,1\na.wav,2\n", "line 3: the track a.wav has a row already"),
        ("a.csv", 'track,bpm\na.wav,"1\n', "a.csv, line 2: unexpected end"),
        ("a.csv", "track,folder\na.wav,x\n", "line 2: 'folder' is taken"),
        ("a.jsonl", '{"track": "a.wav"}\n{"track": \n', "a.jsonl, line 2: Expecting value"),
        ("a.jsonl", "[1]\n", "a.jsonl, line 1: an object"),
        ("a.jsonl", "[" * 100_000, "a.jsonl, line 1: maximum recursion depth"),
        ("a.jsonl", '{"track": "a.wav", "tags": ["x"]}\n', "line 1: a value must be text"),
        ("a.txt", "", "must be a .csv or .jsonl file"),
    ],
)
def test_a_broken_file_is_named_with_the_line(tmp_path, name, text, message):
    with pytest.raises(UserError, match=message):
        Sidecar.read(write(tmp_path, name, text))


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"no sidecar file .*a\.csv"):
        Sidecar.read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"track,b\n\xff\xfe,1\n")
    with pytest.raises(UserError, match=r"a\.csv is no UTF-8 text"):
        Sidecar.read(tmp_path / "a.csv")

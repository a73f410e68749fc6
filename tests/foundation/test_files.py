import os

import pytest

from foundation.files import output_folder, replacing, write_json


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_json(path, [1])
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "[\n 1\n]\n" and os.listdir(path.parent) == ["a.json"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for text in ("first", "second"):
        with replacing(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / f"{text}.txt").write_text(text)
    assert os.listdir(tmp_path / "folder") == ["second.txt"]
    with pytest.raises(OSError, match="full"), replacing(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "half.txt").write_text("half")
        raise OSError("full")
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == ["second.txt"]


def test_a_file_is_no_folder_to_write_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file, give a folder"):
        output_folder(tmp_path / "file" / "below")

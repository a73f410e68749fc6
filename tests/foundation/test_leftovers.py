import os
import subprocess
import time

import pytest

from foundation import files
from foundation.errors import UserError
from foundation.files import cache_folder, remove_leftovers, replacing, write_json
from foundation.leftovers import DAY, temporary_name


@pytest.fixture(scope="module")
def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def written_by(path, process, monkeypatch, machine=None):
    """A temporary file as a process, perhaps of another machine, leaves it when it's killed."""
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: process)
        if machine:
            patch.setattr("platform.node", lambda: machine)
        temporary = temporary_name(path)
    temporary.write_text("half")
    return temporary


def test_the_first_write_in_a_folder_removes_what_a_killed_process_left(
    tmp_path, ended, monkeypatch
):
    left = written_by(tmp_path / "fad.csv", ended, monkeypatch)
    running = written_by(tmp_path / "b.json", os.getppid(), monkeypatch)
    elsewhere = written_by(tmp_path / "c.json", ended, monkeypatch, "other.host")
    old = written_by(tmp_path / "d.json", ended, monkeypatch, "other.host")
    os.utime(old, (time.time() - 2 * DAY,) * 2)
    (tmp_path / ".of.the.user.1").touch()
    write_json(tmp_path / "a.json", [1])
    assert not left.exists() and not old.exists()
    assert running.exists() and elsewhere.exists() and (tmp_path / ".of.the.user.1").exists()


def test_leftovers_are_found_in_folders_below(tmp_path, ended, monkeypatch):
    (tmp_path / "demos" / "step_1").mkdir(parents=True)
    left = written_by(tmp_path / "demos" / "step_1" / "a.wav", ended, monkeypatch)
    remove_leftovers(tmp_path)
    assert left.exists()
    remove_leftovers(tmp_path, deep=True)
    assert not left.exists()


def test_a_killed_process_of_the_same_number_is_in_nobodys_way(tmp_path):
    temporary = temporary_name(tmp_path / "track")
    temporary.mkdir()
    (temporary / "half.npy").touch()
    with replacing(tmp_path / "track") as path:
        path.mkdir()
        (path / "whole.npy").touch()
    assert os.listdir(tmp_path / "track") == ["whole.npy"]


def test_all_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    sync, rename = os.fsync, os.replace

    def fsync(number):
        events.append(os.readlink(f"/proc/self/fd/{number}").rsplit("/")[-1])
        sync(number)

    def replace(source, target):
        events.append("renamed")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    with replacing(tmp_path / "track") as temporary:
        temporary.mkdir()
        for name in ("track.json", "tokens.npy"):
            (temporary / name).write_text("content")
    assert sorted(events[:2]) == ["tokens.npy", "track.json"] and events[2:] == ["renamed"]


def test_two_writers_of_one_folder_both_succeed(tmp_path, monkeypatch):
    def write(text):
        with replacing(tmp_path / "track") as temporary:
            temporary.mkdir(exist_ok=True)
            (temporary / "tokens.npy").write_text(text)

    remove, others = files.remove, []

    def remove_beside_another(path):
        remove(path)
        if path.name == "track" and not others:
            others.append(path.mkdir())
            (path / "tokens.npy").write_text("another's")

    write("first")
    monkeypatch.setattr(files, "remove", remove_beside_another)
    write("second")
    assert others and (tmp_path / "track" / "tokens.npy").read_text() == "second"
    assert os.listdir(tmp_path) == ["track"]


def test_no_home_folder_is_said_in_a_line(monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", nobody)
    with pytest.raises(UserError, match="set HOME or XDG_CACHE_HOME"):
        cache_folder()

import getpass
import os
import tempfile
from pathlib import Path

import pytest

from music_diffusion.user_name import name_user, temporary_home


def test_a_user_whom_the_machine_doesnt_know_gets_a_name_and_a_home(tmp_path, monkeypatch):
    pwd = pytest.importorskip("pwd")

    def unknown(number: int):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("LOGNAME", "")  # is put back afterwards
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    name_user()
    assert getpass.getuser() == os.environ["LOGNAME"] == "user"
    assert Path.home() == tmp_path / f"home-{os.getuid()}"
    assert Path.home().stat().st_mode & 0o777 == 0o700


def test_a_home_that_others_can_write_to_isnt_used(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    taken = tmp_path / f"home-{os.getuid()}"
    taken.mkdir()
    taken.chmod(0o777)
    assert Path(temporary_home()) not in (taken, tmp_path)
    taken.rmdir()
    taken.symlink_to(tmp_path)
    assert Path(temporary_home()).resolve() != tmp_path
    taken.unlink()
    taken.write_text("a file")
    assert Path(temporary_home()).is_dir()


def test_a_name_stays(monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada")
    name_user()
    assert getpass.getuser() == "ada"

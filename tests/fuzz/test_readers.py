"""Some two hundred mutated files for every reader; `python -m tests.fuzz` tries thousands."""

import pytest

from tests.fuzz.readers import READERS
from tests.fuzz.run import run


@pytest.mark.parametrize("name", READERS)
def test_a_mutated_file_is_read_or_refused_in_a_line(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    count = 50 if name == "checkpoint_states" else 200  # which trains a step with each
    outcome = run(name, READERS[name], tmp_path, count)
    assert not outcome.escapes
    assert outcome.counts["refused"] > 20 or name == "survey"  # which is made again

"""Small files of settings that expand without end are refused at once."""

import time

import pytest
import yaml

from foundation.errors import UserError
from music_diffusion.commands.yaml_file import LARGEST, expanded, read_yaml

LISTS = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}], y{i}: 1}}\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LISTS, f"its aliases expand to more than {LARGEST} values"),
        (MERGES, f"its aliases expand to more than {LARGEST} values"),
        ("a: &a [*a]", "a value contains itself"),
        ("a: " + "[" * 1000, "its brackets nest more than 100 deep"),
        ("a: " + "{a: " * 1000, "its brackets nest more than 100 deep"),
        ("a: [", "line 1, column 5: expected"),
        ("a:\n   b: 1\n  c: 2", "line 3, column 3: expected"),
        ("a:\n\tb: 1", "line 2, column 1: found character .* not tabs"),
        ("- a", "but list"),
        ("a:\n  b: 1\n  c: 2\n  b: 3", "b is given twice, in lines 2 and 4"),
        ("1: a", "other names than texts"),
        ("", "but NoneType"),
    ],
    ids=lambda text: text[:12],
)
def test_what_is_no_settings_is_refused_at_once(text, message, tmp_path):
    (tmp_path / "x.yaml").write_text(text)
    started = time.process_time()
    with pytest.raises(UserError, match=f"x.yaml holds no settings in YAML.*{message}"):
        read_yaml(tmp_path / "x.yaml")
    assert time.process_time() - started < 1


def test_aliases_and_merges_are_read(tmp_path):
    text = "base: &b {steps: 3}\nmore: {<<: *b, size: 2}\nlist: [*b, *b]\n"
    (tmp_path / "x.yaml").write_text(text)
    made = read_yaml(tmp_path / "x.yaml")
    assert made["more"] == {"steps": 3, "size": 2} and made["list"] == [{"steps": 3}] * 2
    assert expanded(yaml.compose("[&a [x, x], *a]")) == 7

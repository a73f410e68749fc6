"""Our numbers are those of the references, and the check notices where they are not."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.goldens.__main__ import CHECKERS, main
from tests.goldens.format import load

DATA = Path(__file__).parent / "goldens_data"


def copy(folder: Path, name: str) -> Path:
    for suffix in ("json", "npz"):
        shutil.copy(DATA / f"{name}.{suffix}", folder)
    return folder


def change_array(folder: Path, name: str, key: str) -> None:
    with np.load(folder / f"{name}.npz") as stored:
        arrays = {k: stored[k] for k in stored.files}
    arrays[key] = arrays[key] + np.ones((), arrays[key].dtype)
    np.savez(folder / f"{name}.npz", **arrays)


@pytest.mark.parametrize("name", CHECKERS)
def test_references_are_matched(name, tmp_path, capsys):
    assert main([str(copy(tmp_path, name))]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    "name, key",
    [("sedd_ddit", "uniform/log_score"), ("sedd_graph", "absorb/sample_categorical")],
)
def test_a_changed_output_fails(name, key, tmp_path, capsys):
    change_array(copy(tmp_path, name), name, key)
    assert main([str(tmp_path)]) == 1
    assert f"FAIL {name} {key.replace('/', ' ')}" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["seed", "key", "shape", "order"])
def test_other_weights_fail(change, tmp_path):
    manifest = json.loads((copy(tmp_path, "sedd_ddit") / "sedd_ddit.json").read_text())
    cases = manifest["cases"]
    state = (cases["absorb"] if isinstance(cases, dict) else cases[0])["state"]
    if change == "seed":
        manifest["seed"] += 1
    elif change == "key":
        state[0][0] = "vocab_embed.weight"
    elif change == "shape":
        state[0][1] = [40, 64]
    else:
        state[0], state[1] = state[1], state[0]
    (tmp_path / "sedd_ddit.json").write_text(json.dumps(manifest))
    assert main([str(tmp_path)]) == 1


def test_the_bandwidth_id_of_a_golden_is_used(tmp_path, capsys):
    path = copy(tmp_path, "wavtokenizer") / "wavtokenizer.json"
    path.write_text(path.read_text().replace('"bandwidth_id": 0', '"bandwidth_id": 1'))
    assert main([str(tmp_path)]) == 1
    failed = re.findall("FAIL wavtokenizer frame75 (.*) ", capsys.readouterr().out)
    assert failed == ["backbone", "decode", "copy_synthesis"]  # only the decoder has it


def test_an_output_that_is_not_compared_fails(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(CHECKERS, "sedd_ddit", lambda golden: iter(()))
    assert main([str(copy(tmp_path, "sedd_ddit"))]) == 1
    assert "FAIL sedd_ddit absorb log_score never compared" in capsys.readouterr().out


def test_a_folder_with_nothing_to_check_is_said_so(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "nothing to check" in capsys.readouterr().err


@pytest.mark.parametrize("name", CHECKERS)
def test_inputs_are_remade_from_their_rules(name):
    for case in load(DATA, name).cases.values():
        for key, spec in case.inputs.items():
            how = spec["how"]
            if "shape" in spec and not re.search(r"^(given|stored)|, stored$", how):
                np.testing.assert_allclose(case.remake(key), case.input(key), atol=1e-6)

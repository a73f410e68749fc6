"""Settings of classes as people write them: in a config, on the command line and in Python."""

import json
from pathlib import Path

import pytest

from foundation.errors import UserError
from music_diffusion.commands.arguments import with_configs_first
from music_diffusion.commands.class_settings import in_init_args
from music_diffusion.commands.early_training import class_at, settings_of

GEOMETRIC = "sedd.noise.Geometric"
MEANT = {"class_path": GEOMETRIC, "init_args": {"sigma_max": 9}}


@pytest.mark.parametrize(
    "noise",
    [
        MEANT,
        {"class_path": GEOMETRIC, "sigma_max": 9},
        {"class_path": GEOMETRIC, "sigma_max": 9, "init_args": {}},
        {"class_path": GEOMETRIC, "sigma_max": 9, "init_args": None},
    ],
)
def test_options_beside_a_class_path_are_its_init_args_wherever_they_stand(noise, tmp_path):
    for model in ({"noise": noise}, {"class_path": "sedd.module.SEDD", "noise": noise}):
        Path(tmp_path, "a.yaml").write_text(json.dumps({"model": model}))
        *_, given = with_configs_first(["--config", str(tmp_path / "a.yaml")])
        read = json.loads(Path(given).read_text() if Path(given).is_file() else given)["model"]
        assert read.get("init_args", read)["noise"] == MEANT
    for args in ([f"--model.noise={json.dumps(noise)}"], ["--model.noise", json.dumps(noise)]):
        assert json.loads(with_configs_first(args)[-1].removeprefix("--model.noise=")) == MEANT


def test_other_settings_stay_as_they_are():
    for settings in (
        {"trainer": {"limit_val_batches": 2}, "data": {"batch_size": 3}},
        {"class_path": "a.B", "dict_kwargs": {"c": 1}},
        ["a", None, {"b": [1]}],
    ):
        assert in_init_args(settings) == settings
    kept = ["--data.audio={odd", "--regenerate=[4.0,6.5]", "--model.noise={class_path: a.B}"]
    assert with_configs_first(kept) == kept


def test_lists_of_classes_and_classes_within_classes_are_reached():
    given = [{"class_path": "a.B", "inner": {"class_path": "a.C", "x": 1}}]
    inner = {"class_path": "a.C", "init_args": {"x": 1}}
    assert in_init_args(given) == [{"class_path": "a.B", "init_args": {"inner": inner}}]


def test_an_option_given_twice_is_refused():
    with pytest.raises(UserError, match="^x of a.B is given twice"):
        in_init_args({"class_path": "a.B", "x": 1, "init_args": {"x": 2}})


@pytest.mark.parametrize("overlay", ["noise: a.B", "init_args: {noise: a.B}"])
def test_an_overlay_of_a_model_need_not_repeat_its_class_path(overlay, tmp_path):
    texts = {"a": f"model: {{{overlay}}}", "b": "model: {noise: {width: 3}}"}
    args = ["--config", "sedd_absorb"]
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
        args += ["--config", str(tmp_path / f"{name}.yaml")]
    settings = settings_of(args)
    assert class_at(["model", "noise"], settings) == "a.B"
    assert class_at(["model"], settings) == "sedd.module.SEDD"

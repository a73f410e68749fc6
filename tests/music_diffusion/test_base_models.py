"""The models that come with the project."""

from functools import partial

import pytest

from foundation.errors import UserError
from foundation.weights import WEIGHTS
from jbdiff.dance import DiffusionAttnUnet1D
from jbdiff.dance_module import Dance
from jbdiff.module import JBDiff
from jbdiff.samplers import DPM
from metrics.musicality import tonal_peak
from music_diffusion.checkpoints.load import load_model
from music_diffusion.commands.runs import BASE, base_folder
from sedd.samplers import Analytic

SAMPLERS = {"base": DPM(6), "base_sedd": Analytic(12, temperature=0.9)}


@pytest.mark.parametrize("name", BASE)
def test_a_base_model_is_small_and_plays_notes(name):
    model = load_model(name, "cpu")
    assert (base_folder(name) / WEIGHTS).stat().st_size < 12e6
    audio = model.generate(3.0, sampler=SAMPLERS[name], seed=1)
    assert audio.shape == (1, 1, 3 * 44100) and 0.01 < audio.std() < 0.5
    assert tonal_peak(audio, 44100) > 0.2  # noise in music's colour has 0.14
    assert model.provenance is not None and "rendered" in str(model.provenance["data"])


def test_models_without_a_base_model_say_so():
    with pytest.raises(UserError, match="is of level 3: give one of level 2"):
        JBDiff(2, init_from="base")
    with pytest.raises(UserError, match="Dance comes with no base model"):
        Dance(
            init_from="base",
            net=partial(DiffusionAttnUnet1D, depth=3, n_attn_layers=1, c_mults=[32] * 3),
        )

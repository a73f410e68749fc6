"""What jobs of clips ask a model for, and that the same request makes the same clips."""

import json

import pytest
import torch

from audio.files import read, write
from foundation.audio_module import AudioModel
from foundation.conditions import Conditions
from foundation.errors import UserError
from jbdiff.samplers import DDIM, DPM, LatentSampler
from music_diffusion.studio.library import Library
from music_diffusion.studio.making import ClipRequest, as_json, make, sampler_of, varied, work_of
from music_diffusion.studio.models import Models, facts_of, guidance_of
from tests.music_diffusion.toy import Scaled, Tone


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Leave out spectrograms and pages, which take most of the time and are tested elsewhere."""
    for name in ("write_spectrogram", "update_page"):
        monkeypatch.setattr(f"music_diffusion.commands.sample_files.{name}", lambda *_: None)


def test_a_request_survives_json_and_its_random_seed_is_told():
    asked = ClipRequest(seconds=2.0, count=3, options={"steps": 4})
    assert asked.seed >= 0
    assert ClipRequest.of(json.loads(json.dumps(as_json(asked)))) == asked
    assert asked.again().seed == asked.seed + 3


@pytest.mark.parametrize(
    "settings",
    [
        {"count": 0}, {"count": 17}, {"seconds": 0}, {"seconds": 601.0}, {"seconds": -1.0},
        {"start": 1.0}, {"prompt": "a", "start": 0.0, "stop": 1.0, "seconds": 1.0}, {"prompt": "a"},
        {"path": "/etc/passwd"}, {"tempo": 5.0}, {"key": "H dur"}, {"tags": "piano=9"},
    ],
)  # fmt: skip
def test_requests_that_fit_no_model_are_refused(settings):
    with pytest.raises(UserError):
        ClipRequest.of(settings)


def run(request, tmp_path, paths=None, model=None):
    steps = []
    files = make(
        request, "toy", paths or {}, model or Tone(), tmp_path, lambda *step: steps.append(step)
    )
    return files, steps


def test_clips_have_their_seeds_progress_and_settings(tmp_path):
    files, steps = run(ClipRequest("toy", 0.05, 6, seed=5, options={"steps": 3}), tmp_path)
    assert [path.name for path in files] == [f"sample_{i}.wav" for i in range(6)]
    assert steps[-1] == (18, 18) and steps == sorted(steps)
    alone, _ = run(ClipRequest("toy", 0.05, 2, seed=9, options={"steps": 3}), tmp_path / "b")
    torch.testing.assert_close(read(files[4]), read(alone[0]))
    kept = json.loads(files[4].with_suffix(".json").read_text())
    assert kept["settings"]["seed"] == 9 and kept["index"] == 0


def test_a_repair_leaves_the_rest(tmp_path):
    sound = 0.5 * torch.ones(1, 800)
    write(tmp_path / "p.wav", sound, 8000)
    asked = ClipRequest("toy", prompt="studio/p.wav", start=0.02, stop=0.05)
    (file,), _ = run(asked, tmp_path / "out", {"prompt": tmp_path / "p.wav"})
    made = read(file)
    assert asked.kind == "repair"
    assert (made[:, 160:400] == 0).all()
    torch.testing.assert_close(made[:, :160], sound[:, :160], atol=1e-3, rtol=0)


def test_a_part_outside_its_file_starts_no_job(tmp_path):
    write(tmp_path / "p.wav", torch.zeros(1, 80000), 8000)
    library = Library.of(tmp_path / "own", [tmp_path])
    reference = f"{tmp_path.name}/p.wav"
    for start, stop in ((12.0, 15.0), (-3.0, 1.0), (8.0, 2.0)):
        asked = ClipRequest("base", prompt=reference, start=start, stop=stop)
        with pytest.raises(UserError, match=rf"end <= 10.00 s, .* got {start} and {stop}"):
            work_of(asked, library, Models())
    work_of(ClipRequest("base", prompt=reference, start=8.0, stop=10.0), library, Models())


def test_a_model_is_told_what_it_knows_and_refuses_the_rest(tmp_path):
    asked = ClipRequest("toy", 0.05, seed=1, label="jazz", tempo=120.0)
    with pytest.raises(UserError, match="trained without labels"):
        run(asked, tmp_path)
    told = []

    class Knows(Tone):
        conditions = Conditions(labels=["folder=jazz"], tempo=True)

        def generate(self, seconds=None, *, cond=None, **options):
            told.append(cond)
            return super().generate(seconds, **options)

    (file,), _ = run(asked, tmp_path, model=Knows())
    assert told[0].labels == {"": "jazz"} and told[0].tempo == 120
    assert json.loads(file.with_suffix(".json").read_text())["settings"]["label"] == "jazz"
    assert facts_of("base").conditions == Conditions()


def test_samplers_are_chosen_by_name_with_options():
    own = Scaled(size=0.3)
    assert sampler_of(own, Scaled, "", {}) == own
    assert sampler_of(own, Scaled, "Scaled", {"steps": 7.0}) == Scaled(steps=7, size=0.3)
    assert sampler_of(DPM(), LatentSampler, "DDIM", {"steps": 7}) == DDIM(steps=7)
    for name, options in (("DDIM", {}), ("Scaled", {"size_": 1}), ("Scaled", {"__class__": 1})):
        with pytest.raises(UserError):
            sampler_of(own, Scaled, name, options)


def test_base_models_are_known_before_they_are_loaded():
    level, tokens = facts_of("base"), facts_of("base_sedd")
    assert (level.sampler, level.samplers["DPM"]) == ("DPM", {"steps": 25, "noise_scale": 0.9})
    assert level.samplers["DDIM"]["steps"] == DDIM().steps != DPM().steps
    assert (level.takes_init, level.guided, level.part) == (True, True, "level_3")
    assert (tokens.takes_init, tokens.guided, tokens.part) == (False, False, "")
    assert tokens.samplers["FirstHitting"]["temperature"] == 0.95


def test_a_variation_starts_from_the_clip_or_makes_its_middle_anew():
    asked = ClipRequest("base", 4.0, 2, seed=1)
    init = varied(asked, "studio/x.wav", 4.0, takes_init=True)
    assert (init.init, init.seconds, init.kind) == ("studio/x.wav", None, "make")
    middle = varied(asked, "studio/x.wav", 4.0, takes_init=False)
    assert (middle.prompt, middle.start, middle.stop) == ("studio/x.wav", 1.0, 3.0)
    assert init.seed != 1 or middle.seed != 1


def test_a_guidance_holds_for_one_job_alone():
    class Guided(Tone):
        guidance = 1.5

    model = Guided()
    with guidance_of(model, 4.0):
        assert model.guidance == 4.0
    assert model.guidance == 1.5
    with pytest.raises(UserError, match="no guidance"), guidance_of(Tone(), 2.0):
        pass


def test_models_are_loaded_once_and_the_last_two_stay(monkeypatch):
    loaded = []

    def load(source: str, accelerator: str) -> AudioModel:
        loaded.append(source)
        return Tone()

    monkeypatch.setattr("music_diffusion.studio.models.load_model", load)
    monkeypatch.setattr("music_diffusion.studio.models.stamp", lambda source: 0.0)
    models, cpu = Models(), torch.device("cpu")
    for source in "aabcba":
        with models.loaded(source, cpu) as model:
            assert isinstance(model, Tone)
    assert loaded == ["a", "b", "c", "a"]
    assert len(models.held) == 2

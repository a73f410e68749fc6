"""What a file of settings may name: nothing runs, is read or fetched because a file says so."""

import http.server
import sys
import threading
from pathlib import Path

import pytest
import torch

from foundation.errors import UserError
from music_diffusion.checkpoints.load import rebuild
from music_diffusion.checkpoints.named_classes import import_named, trust, trust_named
from music_diffusion.commands import main as cli
from tests.music_diffusion.toy import Scaled, Tone

TONE = "tests.music_diffusion.toy.Tone"
SPIES = """
from pathlib import Path
from tests.music_diffusion.toy import Scaled
import subprocess
Path({ran!r}).write_text("ran")
class Sampler(Scaled):
    pass
"""


@pytest.fixture
def spies(elsewhere):
    """Modules in and below the current folder that say when they run; they are unloaded."""
    ran = elsewhere / "RAN"
    Path("exported").mkdir()
    Path("exported/inner.yaml").write_text("class_path: exported.spy_b.Sampler\n")
    for path in ("spy_a.py", "exported/spy_b.py"):
        Path(path).write_text(SPIES.format(ran=str(ran)))
    yield ran
    for name in ("spy_a", "exported", "exported.spy_b"):
        sys.modules.pop(name, None)


@pytest.fixture
def address():
    """A config's URL, and what is asked for there."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    asked: list[str] = []
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/x", asked
    server.shutdown()
    server.server_close()


def content(sampler: object, **settings: object) -> dict:
    hyper_parameters = {"_class_path": TONE, "sampler": sampler, **settings}
    return {"hyper_parameters": hyper_parameters, "state_dict": Tone().state_dict()}


NAMED = [
    {"class_path": "spy_a.Sampler"},
    {"class_path": "exported.spy_b.Sampler"},
    "exported.spy_b.Sampler",
    "{class_path: exported.spy_b.Sampler}",
    "{class_path: exported.spy_b.Sampler, init_args: {}}",
    "exported/inner.yaml",
    "file://HERE/exported/inner.yaml",
    {"class_path": "this.X"},
    "this.X",
    {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "RAN"]}},
    {"class_path": "jbdiff.song_files.subprocess.Popen", "init_args": {"args": ["touch", "RAN"]}},
    {"class_path": "jbdiff.song_files.shutil"},
    {"class_path": "jbdiff.song_files.Path", "init_args": {}},
    {"class_path": "tests.music_diffusion.toy.torch.load"},
    {"class_path": "soundfile.SoundFile", "init_args": {"file": "RAN", "mode": "w"}},
    {"class_path": "tests.music_diffusion.toy.Scaled", "init_args": {"size": "spy_a.Sampler"}},
    {"class_path": "tests.music_diffusion.toy.Scaled", "init_args": {"size": {"a.b": "this.X"}}},
    {"class_path": "späh.X"},
    {"class_path": "no_such.X"},
    {"class_path": "sedd.samplers.Nothing"},
]


@pytest.mark.parametrize("sampler", NAMED, ids=str)
def test_what_is_not_this_projects_or_the_users_is_refused(sampler, spies, elsewhere):
    if isinstance(sampler, str):
        sampler = sampler.replace("HERE", str(elsewhere))
    with pytest.raises(UserError, match="bad.ckpt"):
        rebuild(content(sampler), "bad.ckpt")
    assert not spies.exists() and "this" not in sys.modules and not Path("exported/RAN").exists()


def test_nothing_is_fetched(address, elsewhere):
    url, asked = address
    for bad in (url, {"class_path": url}, {"class_path": "tests.music_diffusion.toy.Scaled"}):
        options = {} if bad != {"class_path": url} else {"learning_rate": f"{url}.yaml"}
        if isinstance(bad, dict) and "Scaled" in bad["class_path"]:
            bad = bad | {"init_args": {"size": url}}
        with pytest.raises(UserError, match="bad.ckpt"):
            rebuild(content(bad, **options), "bad.ckpt")
    assert not asked


def test_a_checkpoint_elsewhere_is_refused(address, fit, capsys):
    url, asked = address
    fit("--ckpt_path", f"{url}.ckpt", status=2)
    assert cli.main(["sample", f"{url}.ckpt"]) == 2
    assert cli.main(["validate", "--config", "toy.yaml", "--ckpt_path", "memory://x.ckpt"]) == 2
    error = capsys.readouterr().err
    assert error.count("is not on this machine: download it and give the file's path") == 3
    assert not asked


def test_settings_that_ours_wrote_are_read(elsewhere):
    scaled = {"class_path": "tests.music_diffusion.toy.Scaled", "init_args": {"steps": 3}}
    model = rebuild(content(scaled, learning_rate=0.5), "good.ckpt")
    assert isinstance(model, Tone) and model.sampler == Scaled(steps=3)
    assert type(model.hparams["sampler"]) is Scaled and model.learning_rate == 0.5
    import_named({"optimizer": {"class_path": "torch.optim.AdamW"}, "path": "song.wav"}, "x")


def test_what_a_training_named_and_what_is_trusted_may_be_named(spies):
    named = {"class_path": "exported.spy_b.Sampler", "init_args": {"steps": 5}}
    with pytest.raises(UserError, match=r"exported.*read that code, .* add --trust exported"):
        rebuild(content(named), "x.ckpt")
    trust("exported")
    assert rebuild(content(named), "x.ckpt").sampler.steps == 5 and spies.exists()
    with pytest.raises(UserError, match="names exported.spy_b.subprocess.run"):
        rebuild(content({"class_path": "exported.spy_b.subprocess.run"}), "x.ckpt")
    import spy_a  # noqa: F401 (as a config of the user's does)

    trust_named({"sampler": {"class_path": "spy_a.Sampler"}})
    del sys.modules["spy_a"]
    assert type(rebuild(content({"class_path": "spy_a.Sampler"}), "x.ckpt")).__name__ == "Tone"


def test_the_command_line_trusts_by_name(spies, capsys):
    torch.save(content({"class_path": "spy_a.Sampler"}), "own.ckpt")
    sample = ["sample", "own.ckpt", "--count", "1", "--accelerator", "cpu"]
    assert cli.main(sample) == 2
    assert "add --trust spy_a" in capsys.readouterr().err and not spies.exists()
    assert cli.main([*sample, "--trust", "spy_a"]) == 0
    assert cli.main([*sample, "--trust", "no_module"]) == 2
    assert cli.main([*sample, "--trust", "numpy"]) == 2
    assert "numpy: it is an installed package" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["__main__.X", ".X", "a..b", "", "1.X", "sys.X"])
def test_names_of_all_kinds_are_refused_or_text(name, elsewhere):
    with pytest.raises(UserError):
        rebuild(content({"class_path": name}), "x.ckpt")

"""Folders of music against each other."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audio import files as audio
from foundation.files import cache_folder
from metrics import long_files
from metrics.embed_files import embed_files
from metrics.embedding_set import EmbeddingSet
from metrics.fad import compare, library_score, rank_files
from metrics.frechet import Gaussian, frechet
from metrics.logmel import LogMel
from metrics.musicnn import Musicnn
from metrics.pann import PANN
from metrics.vggish import VGGish
from music_diffusion.commands import main as cli

CPU = torch.device("cpu")
ABOUT = {"embedding": "toy", "fingerprint": "1", "settings": "", "measure": "distance"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folders(tmp_path) -> tuple[str, str]:
    """Ten files of noise at several rates, and as many of slow noise."""
    generator = torch.Generator().manual_seed(0)
    for number in range(10):
        rate = (8000, 16000, 22050)[number % 3]
        noise = torch.rand(1 + number % 2, (2 + number % 3) * rate, generator=generator) - 0.5
        audio.write(tmp_path / f"white/{number}.wav", noise, rate)
        slow = noise.cumsum(-1) / 100
        audio.write(tmp_path / f"brown/{number}.wav", slow / slow.abs().max(), rate)
    return str(tmp_path / "white"), str(tmp_path / "brown")


def run(*args: str, capsys) -> tuple[int, dict, str]:
    status = cli.main(["fad", *args, "--device", "cpu", "--json"])
    out, err = capsys.readouterr()
    return status, json.loads(out or "{}"), out + err


def toy(values: torch.Tensor, counts: list[int], **about: str) -> EmbeddingSet:
    names = [f"{number}.wav" for number in range(len(counts))]
    return EmbeddingSet(values.float(), names, counts, ABOUT | about)


def test_the_command_prints_a_table_or_json(folders, capsys):
    status, result, _ = run(*folders, "--embedding", "logmel", capsys=capsys)
    assert status == cli.main(["fad", *folders, "--embedding", "logmel"]) == 0
    text = capsys.readouterr().out
    assert "{" not in text and "farthest first" not in text
    assert result["measure"] == "spectral distance (log-mel statistics)"
    assert result["measure"] in text and "kernel audio distance" in text
    assert result["reference_files"] == result["generated_files"] == 10
    status, same, _ = run(folders[0], folders[0], "--embedding", "logmel", capsys=capsys)
    assert abs(same["score"]) < 1e-6 < result["score"]
    assert result["kad"] > same["kad"]
    assert same["extrapolated"] is None and "reference's own" in str(same["notes"])
    assert result["margin"] > 0
    assert "kaiser_best" in result["settings"] and "level -20 dB" in result["settings"]


def test_batches_and_the_cache_change_nothing(folders, monkeypatch):
    files, model = audio.find(folders[0]), LogMel()
    first = embed_files(files, model, CPU, batch_size=1, num_workers=1, progress=False)
    for path in cache_folder().rglob("*.npz"):
        path.unlink()
    second = embed_files(files, model, CPU, batch_size=64, num_workers=3, progress=False)
    torch.testing.assert_close(first.values, second.values)
    assert first.counts == second.counts and first.files == [str(file) for file in files]

    def refuse(*_: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(model, "embed", refuse)
    third = embed_files(files, model, CPU, progress=False)
    assert torch.equal(second.values, third.values)


def test_embedding_leaves_the_number_of_threads_as_it_was(folders):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        embed_files(audio.find(folders[0]), LogMel(), CPU, progress=False)
        with ThreadPoolExecutor() as pool:
            assert torch.get_num_threads() == pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_a_changed_file_and_a_broken_cache_are_embedded_again(folders, caplog):
    files, model = audio.find(folders[0]), LogMel()
    first = embed_files(files, model, CPU, progress=False)
    stored = sorted(cache_folder().rglob("*.npz"))
    assert len(stored) == 10
    stored[0].write_bytes(stored[0].read_bytes()[:100])
    np.savez(stored[1], vectors=np.full((2, 128), np.nan), level=0.0)
    again = embed_files(files, model, CPU, progress=False)
    assert torch.equal(first.values, again.values)
    assert caplog.text.count("damaged and computed again") == 2
    audio.write(files[0], torch.randn(1, 40000) / 9, 16000)
    changed = embed_files(files, model, CPU, progress=False)
    assert not torch.equal(first.values[:1], changed.values[:1])


def test_embeddings_are_named_by_class(folders, tmp_path, monkeypatch, capsys):
    """The project's and a user's own, with the options of their constructors."""
    (tmp_path / "fadlab.py").write_text(
        "from metrics.logmel import LogMel\n\n\nclass Mine(LogMel):\n"
        "    name = 'mine'\n\n    def __init__(self, level: float = -10.0):\n"
        "        super().__init__()\n        self.level = level\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("LogMel", "metrics.logmel.LogMel"):
        status, result, _ = run(*folders, "--embedding", name, capsys=capsys)
        assert status == 0 and result["embedding"] == "logmel"
    options = ("--embedding", "fadlab.Mine", "--embedding.level", "-30", "--save_reference", "own")
    status, result, _ = run(*folders, *options, capsys=capsys)
    assert status == 0 and result["embedding"] == "mine" and "level -30 dB" in result["settings"]
    status, _, text = run("own", folders[1], capsys=capsys)
    assert status == 2 and "saved vectors are of mine: give its class with --embedding" in text
    options = ("--embedding", "PANN", "--embedding.sample_rate", "8000", "--embedding.path", "no")
    status, _, text = run(*folders, *options, capsys=capsys)
    assert status == 2 and "no weights at no" in text


def test_saved_vectors_need_no_embedding(tmp_path, capsys):
    draw = np.random.default_rng(0)
    for name, shape in (("a", (40, 5)), ("b", (50, 5)), ("row_a", 60), ("row_b", 70)):
        np.save(tmp_path / f"{name}.npy", draw.normal(size=shape))
    for sides, dim in ((("a.npy", "b.npy"), 5), (("row_a.npy", "row_b.npy"), 1)):
        paths = [str(tmp_path / side) for side in sides]
        status, result, _ = run(*paths, "--compat", "frechet_audio_distance", capsys=capsys)
        assert status == 0 and result["embedding"] == "unknown" and result["dim"] == dim
        assert result["library_score"] == result["score"]


@pytest.mark.parametrize("name, dim", [("vggish", 128), ("PANN", 4), ("musicnn", 200)])
def test_saved_vectors_need_no_weights(tmp_path, capsys, monkeypatch, name, dim):
    """PANN's are one long row, from which the library's figure is computed."""
    monkeypatch.chdir(tmp_path)  # no ckpts
    monkeypatch.setattr(PANN, "dim", 4)  # gaussians of 2048 numbers take long
    draw = np.random.default_rng(0)
    for side in "ab":
        np.save(f"{side}.npy", draw.normal(size=6 * dim if name == "PANN" else (6, dim)))
    compat = ("--compat", "frechet_audio_distance")
    options = ("--embedding", name, *(compat if name != "musicnn" else ()))
    status, result, text = run("a.npy", "b.npy", *options, capsys=capsys)
    assert status == 0 and result["dim"] == dim and result["reference_vectors"] == 6, text
    rows = [EmbeddingSet.load(tmp_path / f"{side}.npy") for side in "ab"]
    if name == "PANN":
        assert result["library_score"] == compare(*rows).score
    np.save("a.npy", draw.normal(size=(6, dim + 1)))
    status, _, text = run("a.npy", "b.npy", *options, capsys=capsys)
    assert status == 2 and "the embedding's vectors" in text
    status, _, text = run("a.npy", "b.npy", "--embedding", "logmel", *compat, capsys=capsys)
    assert status == 2 and "compat needs" in text


def test_vectors_are_saved_named_and_given_again(folders, tmp_path, capsys):
    white, brown = folders
    kept = str(tmp_path / "kept.safetensors")
    options = ("--save_reference", "white", "--save_generated", kept)
    _, first, _ = run(white, brown, "--embedding", "logmel", *options, capsys=capsys)
    status, again, _ = run("white", kept, capsys=capsys)  # the embedding is known from the file
    assert status == 0 and again["score"] == first["score"]
    (tmp_path / "kept.safetensors").write_bytes(b"broken")
    status, _, text = run("white", kept, capsys=capsys)
    assert status == 2 and "doesn't hold saved vectors" in text


def test_files_are_ranked_with_a_bare_flag(folders, capsys):
    white, brown = folders
    for flag in (["--per_file"], ["--per_file", "true"]):
        status, result, _ = run(white, brown, "--embedding", "logmel", *flag, capsys=capsys)
        assert status == 0 and len(result["files"]) == 10
    scores = [row["score"] for row in result["files"]]
    assert scores == sorted(scores, reverse=True)
    assert cli.main(["fad", white, brown, "--embedding", "logmel", "--per_file"]) == 0
    assert "farthest first" in capsys.readouterr().out


def test_embeddings_of_the_library_are_read(tmp_path, folders, capsys):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(40, 128)))
    rows = str(tmp_path / "rows.npy")
    status, result, _ = run(rows, folders[1], "--embedding", "logmel", capsys=capsys)
    assert status == 0 and result["reference_vectors"] == 40
    flat = EmbeddingSet.load(tmp_path / "rows.npy", 128)
    np.save(tmp_path / "row.npy", flat.values.reshape(-1).numpy())
    assert torch.equal(EmbeddingSet.load(tmp_path / "row.npy", 128).values, flat.values)
    status, _, text = run(
        rows, rows, "--embedding", "Musicnn", "--embedding.path", rows, capsys=capsys
    )
    assert status == 2


def test_mistakes_are_one_line(tmp_path, folders, capsys):
    white, brown = folders
    (tmp_path / "empty").mkdir()
    audio.write(tmp_path / "short/a.wav", torch.rand(1, 8000) / 2, 16000)
    audio.write(tmp_path / "one/a.wav", torch.rand(1, 20000) / 2, 16000)
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.wav").write_text("no audio")
    cases = {
        "empty": "no audio files",
        "short": "shorter than",
        "one": "gave 1 vector, a distance needs 2",
        "text": "can't be read",
        "nowhere": "no such folder or file",
    }
    for folder, words in cases.items():
        arguments = (white, str(tmp_path / folder), "--embedding", "logmel")
        status, _, text = run(*arguments, capsys=capsys)
        assert status == 2 and words in text, text
    for options, words in (
        (["--embedding", "mfcc"], "unknown embedding 'mfcc'"),
        (["--embedding", "logmel", "--compat", "frechet_audio_distance"], "compat needs"),
        (["--compat", "fadtk"], "frechet_audio_distance"),
        (["--embedding", "logmel", "--batch_size", "0"], "at least 1"),
    ):
        status, _, text = run(white, brown, *options, capsys=capsys)
        assert status == 2 and words in text, text


def test_what_is_left_out_is_noted(tmp_path, folders):
    audio.write(tmp_path / "white/silent.wav", torch.zeros(1, 40000), 16000)
    audio.write(tmp_path / "white/short.wav", torch.rand(1, 800) / 2, 16000)
    notes = embed_files(audio.find(folders[0]), LogMel(), CPU, progress=False).notes
    assert any("short.wav is shorter" in note for note in notes)
    assert any("1 of 11 files are silent" in note for note in notes)


def test_different_embeddings_are_not_compared():
    values = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="same weights"):
        compare(toy(values, [30]), toy(values, [30], fingerprint="2"))
    few = compare(toy(values, [30]), toy(values[:3], [3]))
    assert any("3 vectors for 3 dimensions" in note for note in few.notes)
    assert few.extrapolated is None


def test_pann_is_pooled_as_the_library_pools_it():
    a, b = torch.randn(2, 20, 4, generator=torch.Generator().manual_seed(0)).double()
    sides = [toy(a, [20], embedding="pann_16k"), toy(b + 1, [20], embedding="pann_16k")]
    x, y = (side.values.double().reshape(-1) for side in sides)
    expected = (x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2
    assert library_score(*sides) == pytest.approx(expected.item(), rel=1e-9)
    plain = [toy(a, [20]), toy(b, [20])]
    gaussians = [Gaussian.of(side.values) for side in plain]
    assert library_score(*plain) == pytest.approx(frechet(*gaussians), rel=1e-9)


def test_a_single_vector_is_ranked_by_its_place():
    values = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    reference = toy(values, [50])
    near, far = values.mean(dim=0), values.mean(dim=0) + 9
    ranked = rank_files(reference, toy(torch.stack((near, far)), [1, 1]))
    assert [row.file for row in ranked] == ["1.wav", "0.wav"]
    total = reference.gaussian.total_variance
    assert ranked[0].score == pytest.approx(162 + total, rel=1e-4)


def test_a_long_file_has_the_vectors_of_the_whole(tmp_path, monkeypatch):
    """Read, resampled, brought to its level and cut in parts, whose borders lie anywhere."""
    swell = torch.linspace(0.1, 1, 23 * 22050)
    noise = torch.rand(2, len(swell), generator=torch.Generator().manual_seed(0)) - 0.5
    audio.write(tmp_path / "a.wav", swell * noise, 22050)
    model = LogMel()
    whole = embed_files([tmp_path / "a.wav"], model, CPU, progress=False)
    cache = next((cache_folder() / "vectors").iterdir())
    for seconds in (1, 2, 5):
        shutil.rmtree(cache)
        asked = []
        read = audio.Reader.read

        def note(self, start, stop, read=read, asked=asked):
            asked.append(stop - start)
            return read(self, start, stop)

        with monkeypatch.context() as patch:
            patch.setattr(long_files, "PART", seconds)
            patch.setattr(long_files, "BLOCK", 22050)
            patch.setattr(audio.Reader, "read", note)
            parts = embed_files([tmp_path / "a.wav"], model, CPU, batch_size=3, progress=False)
        assert max(asked) <= (seconds + 2.5) * 22050
        torch.testing.assert_close(parts.values, whole.values, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", [VGGish, Musicnn, PANN, LogMel])
def test_examples_of_parts_are_those_of_the_whole(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(long_files, "PART", 4)
    nets = {VGGish: {"net": torch.nn.ModuleDict()}, Musicnn: {"net": torch.nn.Identity()}}
    model = object.__new__(kind) if kind is PANN else kind(**nets.get(kind, {}))
    if kind is PANN:
        torch.nn.Module.__init__(model)
        model.sample_rate, model.clip = 8000, 16000
        model.stride, model.shortest = model.clip, 2480
        model.net = SimpleNamespace(log_mel=lambda clips: clips[:, ::80, None])
    for samples in (8000 * 13 + 5, 8000 * 16):
        noise = torch.rand(1, samples, generator=torch.Generator().manual_seed(0)) - 0.5
        audio.write(tmp_path / "a.wav", noise, 8000)
        with audio.Reader(tmp_path / "a.wav", channels=1) as reader:
            assert long_files.is_long(reader, model)
            parts = torch.cat(list(long_files.examples_in_parts(reader, model, CPU)))
            whole = model.prepare(reader.read_all(0, samples)[None], 8000)[0]
        torch.testing.assert_close(parts, whole, atol=1e-3, rtol=1e-4)


def test_samples_far_beyond_full_scale_are_no_part_of_a_score(folders, capsys):
    loud = torch.rand(1, 16000) - 0.5
    loud[0, 800] = 1e30
    audio.write(f"{folders[1]}/loud.wav", loud, 16000, "FLOAT")
    scores = {}
    for too_loud in ("skip", "clip", "scale"):
        options = ("--embedding", "logmel", "--too_loud", too_loud)
        status, result, text = run(*folders, *options, capsys=capsys)
        assert status == 0 and result["generated_files"] == (10 if too_loud == "skip" else 11)
        scores[too_loud] = result["score"]
        assert "loud.wav" in text or too_loud != "skip"
    assert max(scores.values()) < 1e6 and len(set(scores.values())) == 3

import torch

from audio import files as audio_files
from datamodules.demo_music import demo_music_folder, write_demo_music


def test_demo_music_is_varied_loud_and_the_same_again(tmp_path):
    for name in ("a", "b"):
        write_demo_music(tmp_path / name, num_tracks=2, seconds=3, sample_rate=16000)
    files = audio_files.find(tmp_path / "a")
    tracks = [audio_files.read(path) for path in files]
    for path, track in zip(files, tracks, strict=True):
        assert track.shape == (2, 48000)
        assert 0.69 < track.abs().max() < 0.71
        assert track.unfold(1, 8000, 8000).pow(2).mean(-1).min() > 1e-5  # no long silence
        assert not torch.equal(track[0], track[1])
        assert torch.equal(track, audio_files.read(tmp_path / "b" / path.name))
    assert not torch.equal(*tracks)


def test_demo_music_is_kept_and_completed(tmp_path):
    write_demo_music(tmp_path, num_tracks=2, seconds=0.5, sample_rate=8000)
    first, second = audio_files.find(tmp_path)
    stamp = first.stat().st_mtime_ns
    second.unlink()
    write_demo_music(tmp_path, num_tracks=2, seconds=0.5, sample_rate=8000)
    assert audio_files.find(tmp_path) == [first, second]
    assert first.stat().st_mtime_ns == stamp


def test_the_default_place_is_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert demo_music_folder().parent == tmp_path / "music-diffusion"

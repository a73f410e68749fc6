"""The page of a folder: what it links to is there, rows are aligned, names can't do harm."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

from audio import files as audio
from audio.page.clips import COLUMNS, HALF, waveform
from audio.page.curves import draw, read_curves, thinned
from audio.page.tables import Table, table_html
from audio.page.write import update_page, write_comparison, write_page
from audio.spectrogram import read_plot, write_spectrogram
from foundation.errors import MissingFileError, UserError

RATE = 8000
VOID = ("meta", "img", "link", "br")


class Page(HTMLParser):
    """What a browser without JavaScript finds: elements with attributes, rows, text."""

    def __init__(self, path: Path):
        super().__init__()
        self.folder, self.text = path.parent, path.read_text()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.rows: list[list[str | None]] = []
        self.feed(self.text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = dict(attrs)
        self.elements.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)
        names = given.get("class", "").split()
        if "row" in names:
            self.rows.append([])
        if "empty" in names:
            self.rows[-1].append(None)
        if tag == "audio":
            self.rows[-1].append(unquote(given["src"], errors="surrogateescape"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def links(self) -> list[Path]:
        sources = [attrs["src"] for _, attrs in self.elements if "src" in attrs]
        return [self.folder / unquote(source, errors="surrogateescape") for source in sources]


def write(path: Path, seconds: float = 0.1, level: float = 0.5, picture: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    clip = level * torch.sin(torch.arange(round(seconds * RATE)) / 3)[None]
    audio.write(path, clip, RATE)
    if picture:
        write_spectrogram(path.with_suffix(".png"), clip, RATE)
    return path


def write_run(root: Path, steps: int = 3) -> Path:
    for step in range(1, steps + 1):
        for number in range(2):
            write(root / f"demos/step_{step:08d}/sample_{number}.wav", level=step / 10)
            write(root / f"demos/step_{step:08d}/real_{number}.wav")
    for name in ("original", "round_trip"):
        write(root / f"demos/reference/{name}_0.wav")
    return root


def test_all_that_a_page_shows_is_beside_it_and_nothing_comes_from_a_network(tmp_path):
    write(tmp_path / "song.wav", picture=True)
    write(tmp_path / "deep/er/take.flac")
    (tmp_path / "notes.txt").write_text("no music")
    page = Page(write_page(tmp_path))
    assert len(page.all("audio")) == 2 and len(page.all("img")) == 2
    assert all(path.is_file() for path in page.links)
    assert all("controls" in attrs for attrs in page.all("audio"))  # plays without JavaScript
    assert not re.search(r"https?:|//\w", re.sub(r"^ *//.*$", "", page.text, flags=re.M))
    drawn = list((tmp_path / "index_files").iterdir())
    assert len(drawn) == 1  # the other one has a spectrogram beside it


def test_real_round_trip_and_sample_share_a_row_and_steps_another(tmp_path):
    rows = Page(write_page(write_run(tmp_path))).rows
    newest = "demos/step_00000003"
    first = ["demos/reference/original_0.wav", "demos/reference/round_trip_0.wav"]
    assert rows[0] == [*first, f"{newest}/real_0.wav", f"{newest}/sample_0.wav"]
    assert rows[1] == [None, None, f"{newest}/real_1.wav", f"{newest}/sample_1.wav"]
    assert rows[2:] == [  # what doesn't change isn't repeated
        [f"demos/step_{step:08d}/sample_{number}.wav" for step in (1, 2, 3)] for number in (0, 1)
    ]


def test_clips_of_a_row_have_one_time_axis(tmp_path):
    for name, seconds in (("a", 0.1), ("b", 0.2)):
        write(tmp_path / f"{name}_0.wav", seconds), write(tmp_path / f"{name}_1.wav", seconds)
    page = Page(write_page(tmp_path))
    waves = [attrs for attrs in page.all("svg") if "data-seconds" in attrs]
    assert [wave["data-seconds"] for wave in waves] == 2 * ["0.1000", "0.2000"]
    assert [wave["style"] for wave in waves] == 2 * ["width:50.00%", "width:100.00%"]


@pytest.mark.parametrize(
    "name",
    [
        '"><script>alert(1)<',
        "a' onerror='x",
        "javascript:x",
        "$title ${style}",
        "100% #1 ?q=é&amp;",
    ],
)
def test_hostile_names_and_settings_stay_text(tmp_path, name):
    path = write(tmp_path / f"{name} <b>" / f"{name}_0.wav".replace("/", ""))
    path.with_suffix(".json").write_text(json.dumps({"a": f"</pre></details>{name}<script>"}))
    (tmp_path / "config.yaml").write_text(f"</pre><script>{name}")
    page = Page(write_page(tmp_path))
    assert len(page.all("script")) == 1 and not page.all("b") + page.all("onerror")
    assert all(path.is_file() and path.is_relative_to(tmp_path) for path in page.links)
    assert all(set(a) <= {"controls", "preload", "src", "aria-label"} for a in page.all("audio"))


def test_names_that_are_not_utf8_are_linked(tmp_path):
    write(tmp_path / "a.wav").rename(tmp_path / "caf\udce9.wav")
    page = Page(write_page(tmp_path))
    assert page.links[0].is_file() and "caf\\xe9" in page.text


def test_only_the_pages_own_script_may_run(tmp_path):
    text = write_page(tmp_path).read_text()
    script = re.search(r"<script>(.*)</script>", text, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text and "connect-src 'none'" in text


def test_what_is_shown_already_is_not_read_again(tmp_path, monkeypatch):
    write_run(tmp_path)
    first = write_page(tmp_path).read_text()
    monkeypatch.setattr("audio.page.clips.survey", lambda *_, **__: 1 / 0)
    assert write_page(tmp_path).read_text() == first
    monkeypatch.undo()
    write(tmp_path / "demos/reference/original_0.wav", level=0.9)
    assert write_page(tmp_path).read_text() != first


def test_broken_files_are_named_and_left_out(tmp_path, caplog):
    write(tmp_path / "good.wav")
    (tmp_path / "bad.wav").write_bytes(b"RIFF no more")
    page = Page(write_page(tmp_path))
    assert page.rows == [["good.wav"]] and "bad.wav" in caplog.text


def test_what_an_earlier_page_drew_is_deleted(tmp_path):
    write(tmp_path / "a.wav"), write(tmp_path / "b.wav")
    write_page(tmp_path)
    (tmp_path / "index_files/mine.txt").write_text("stays")
    (tmp_path / "a.wav").unlink()
    write_page(tmp_path)
    assert len(list((tmp_path / "index_files").iterdir())) == 2


def test_of_very_many_clips_the_newest_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr("audio.page.write.MOST", 4)
    page = Page(write_page(write_run(tmp_path)))
    assert len(page.links) == 8 and "10 older ones are left out" in page.text  # with pictures


def test_another_programs_page_is_kept(tmp_path, caplog):
    (tmp_path / "index.html").write_text("<h1>mine</h1>")
    with pytest.raises(UserError, match="not made by this program"):
        write_page(tmp_path)
    update_page(tmp_path)
    assert "mine" in (tmp_path / "index.html").read_text() and "no page" in caplog.text
    with pytest.raises(MissingFileError, match="no such folder"):
        write_page(tmp_path / "nowhere")


@pytest.mark.parametrize("copy", [False, True])
def test_folders_are_columns_and_names_are_rows(tmp_path, copy):
    for folder, names in (("x/out", "ab"), ("y/out", "bc")):
        for name in names:
            write(tmp_path / folder / f"{name}.wav", picture=name == "b")
    folders = [tmp_path / "x/out", tmp_path / "y/out"]
    page = Page(write_comparison(folders, tmp_path / "both", copy))
    assert [[cell is not None for cell in row] for row in page.rows] == [
        [True, True], [True, False], [False, True],
    ]  # fmt: skip
    assert all(path.is_file() for path in page.links)
    again = write_comparison(folders, tmp_path / "both", copy).read_text()
    assert again == page.text  # what was copied is still known for what it is
    inside = [path.resolve().is_relative_to(tmp_path / "both") for path in page.links]
    assert all(inside) if copy else not all(inside)
    assert ">x/out</h4>" in page.text  # the names tell them apart, without the rest of the path
    assert not copy or str(tmp_path) not in page.text


def test_folders_without_a_common_name_are_refused(tmp_path):
    write(tmp_path / "x/a.wav"), write(tmp_path / "y/b.wav")
    with pytest.raises(UserError, match="no audio files of the same name"):
        write_comparison([tmp_path / "x", tmp_path / "y"], tmp_path / "both")


@pytest.mark.parametrize("part", [[1], [2, 1], ["a", "b"], [True, 2], [0, 1e999], {}, "12", 9, -1])
def test_settings_of_no_part_mark_nothing(tmp_path, part):
    content = {"settings": {"regenerate": part}, "made": {"continued_from": part}}
    write(tmp_path / "a.wav").with_suffix(".json").write_text(json.dumps(content))
    assert 'class="part"' not in write_page(tmp_path).read_text()


def test_waveforms_reach_their_peaks(tmp_path):
    peaks = torch.zeros(COLUMNS)
    peaks[100] = 1.0
    bars = re.findall(r"M(\d+) (\d+)v(\d+)", waveform(peaks))
    loudest = max(bars, key=lambda bar: int(bar[2]))
    assert loudest == ("50", "0", str(2 * HALF)) and len(bars) == COLUMNS // 2


def test_pictures_say_where_the_sound_is(tmp_path):
    picture = write_spectrogram(tmp_path / "a.png", torch.zeros(1, RATE), RATE)
    plot = read_plot(tmp_path / "a.png")
    height, width, _ = picture.shape
    top, bottom = round(plot.top * height), round(plot.bottom * height)
    left, right = round(plot.left * width), round(plot.right * width)
    light = picture.max(2)
    assert plot.seconds == 1
    assert (light[top + 3 : bottom - 3, left + 3 : right - 3] < 20).all()  # silence
    assert light[top - 4, left:right].min() > 200 and light[top:bottom, right + 5].min() > 200
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert read_plot(tmp_path / "b.png") is None


def test_curves_come_from_the_callbacks_and_the_newest_log(tmp_path):
    (tmp_path / "curves.csv").write_text("step,val/loss\n1,3.0\n2,nan\n3,2.0\n")
    log = tmp_path / "lightning_logs/version_0/metrics.csv"
    log.parent.mkdir(parents=True)
    log.write_text("epoch,step,train/loss,val/loss\n0,1,5,\n0,2,4,\n0,4,,1.5\n")
    curves = read_curves(tmp_path)
    assert curves["val/loss"] == {1: 3, 3: 2, 4: 1.5} and curves["train/loss"] == {1: 5, 2: 4}
    html = draw("loss", curves)
    assert html.count("<polyline") == 2 and "val/loss <b>1.5</b>" in html


def test_long_curves_are_thinned_to_means_and_keep_their_end():
    points = {float(step): step % 2.0 for step in range(10_001)}
    drawn = thinned(points)
    assert len(drawn) <= 300 and drawn[-1] == (10_000, 0)
    assert all(abs(value - 0.5) < 0.15 for _, value in drawn[:-1])


def test_a_tables_cells_name_their_columns_for_phones():
    html = table_html(0, Table("Traits", "", ["", "real", ""], [["tempo", "<117", "a minute"]]))
    assert '<th scope="row">tempo</th><td data-head="real">&lt;117</td><td>a minute</td>' in html

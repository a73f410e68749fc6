"""The downloader against a local server with every fault; no faulty file ever looks finished."""

import contextlib
import errno
import hashlib
import http.server
import subprocess
import threading
import time
from pathlib import Path

import pytest

from music_diffusion.downloads import fetch as download_ckpts
from music_diffusion.downloads import transfer
from music_diffusion.downloads.fetch import Entry, main, part_of

DATA = b"PK\x03\x04" + bytes(range(256)) * 12000  # 3 MB, and it begins as checkpoints do
SHA = hashlib.sha256(DATA).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        fault = self.path.split("/")[1]
        wanted = self.headers.get("Range")
        self.server.seen.append((self.path, wanted))
        if fault == "redirect":
            self.send_response(302)
            self.send_header("Location", "/good/file")
            self.end_headers()
        elif fault == "missing":
            self.send_error(404)
        elif fault == "html":
            self.answer(b"<html>please log in</html>", kind="text/html")
        elif fault == "disguised":
            self.answer(b"<!DOCTYPE html><html>please log in</html>")
        elif fault == "wrong":
            self.answer(DATA[:-1] + b"x")
        elif fault == "unknown":
            self.answer(DATA, length=None)
        elif fault == "slow":
            self.answer(b"")
            self.dribble(DATA)
        elif fault == "slow_head":
            self.dribble(b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n")
        elif fault == "endless":
            self.answer(DATA[:1000], length=None)
            self.dribble(DATA, 2**16, 0)
        elif fault == "gzip":
            self.answer(DATA, encoding="gzip")
        elif wanted and fault in PARTS:
            start = int(wanted[6:-1])
            first, version, total = PARTS[fault](start)
            body = DATA[first:] if first is not None else DATA[start:]
            span = None if first is None else f"bytes {first}-{first + len(body) - 1}/{total}"
            self.answer(body, 206, span=span, version=version)
        elif fault == "truncated":  # the same early end each time
            self.answer(DATA, send=1_500_000)
        else:
            start = int(wanted[6:-1]) if wanted and fault != "ranges" else 0
            if self.headers.get("If-Range") not in (None, self.server.version):
                start = 0
            cut = 1_200_000 if fault == "drops" else None  # goes on when asked again
            self.answer(DATA[start:], 206 if start else 200, send=cut)

    def answer(
        self,
        body: bytes,
        status: int = 200,
        kind: str = "application/octet-stream",
        length: int | None = 0,
        send: int | None = None,
        span: str | None = "right",
        version: str | None = None,
        encoding: str | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("ETag", version or self.server.version)
        if encoding:
            self.send_header("Content-Encoding", encoding)
        if status == 206 and span:
            first = len(DATA) - len(body)
            right = f"bytes {first}-{len(DATA) - 1}/{len(DATA)}"
            self.send_header("Content-Range", right if span == "right" else span)
        if length is not None:
            self.send_header("Content-Length", str(len(body) or len(DATA)))
        self.end_headers()
        self.wfile.write(body[:send])

    def dribble(self, body: bytes, size: int = 1, wait: float = 0.05) -> None:
        """Send a little at a time, until the other side hangs up."""
        with contextlib.suppress(OSError):
            for start in range(0, len(body) * 1000, size):
                self.wfile.write(body[start % len(body) :][:size])
                time.sleep(wait)


# what a wrong answer to a request for the rest is: its first byte, its version, the whole size
PARTS = {
    "offset": lambda start: (start - 100, None, len(DATA)),
    "later": lambda start: (start + 100, None, len(DATA)),
    "version": lambda start: (start, '"2"', len(DATA)),
    "longer": lambda start: (start, None, len(DATA) + 5),
    "nowhere": lambda start: (None, None, 0),
}


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.version = [], '"1"'
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def offer(monkeypatch, server, tmp_path):
    """Offer a file at addresses with these faults; run the command; give status and path."""
    port = server.server_address[1]

    def run(*faults: str, sha256: str | None = SHA, size: int | None = None, options=()):
        urls = tuple(f if "://" in f else f"http://127.0.0.1:{port}/{f}/file" for f in faults)
        entry = Entry("file.ckpt", urls, "MIT", sha256, size)
        monkeypatch.setitem(download_ckpts.TABLE, "thing", entry)
        return main(["thing", "--out", str(tmp_path), *options]), tmp_path / "file.ckpt"

    return run


@pytest.mark.parametrize("way", ["good", "redirect", "drops", "ranges"])
def test_a_file_is_fetched_and_verified(offer, way, capsys):
    status, path = offer(way)
    assert status == 0 and path.read_bytes() == DATA
    assert "verified" in capsys.readouterr().out
    left = sorted(p.name for p in path.parent.iterdir() if p.suffix != ".lock")
    assert left == ["checksums.json", "file.ckpt"]
    main(["--out", str(path.parent)])
    assert f"here, verified: {path}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "fault, message",
    [
        ("truncated", "it ended after 1500000 of 3072004 bytes; run again to resume"),
        ("wrong", "has SHA-256"),
        ("html", "sent a web page"),
        ("disguised", "is a web page"),
        ("missing", "404"),
        ("http://127.0.0.1:9/file", "no answer: [Errno 111] Connection refused"),
        ("http://nowhere.invalid/file", "no answer"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_a_fault_leaves_nothing_that_looks_finished(offer, fault, message, known, capsys):
    if fault == "wrong" and not known:
        pytest.skip("without a hash it can't be seen")
    status, path = offer(fault, sha256=SHA if known else None)
    assert status == 1 and not path.exists()
    assert message in capsys.readouterr().err
    status, path = offer(fault, "good")  # the next address has it
    assert status == 0 and path.read_bytes() == DATA


def test_an_interrupted_download_is_resumed(offer, server, monkeypatch, capsys):
    receive = transfer.receive

    def stopped(answer, part, have, total):
        part.write_bytes(answer.read(1_000_000))
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer, "receive", stopped)
    status, path = offer("good")
    assert status == 130 and not path.exists() and part_of(path).stat().st_size == 1_000_000
    assert "run again to resume" in capsys.readouterr().err
    main(["--out", str(path.parent)])
    assert "not here, 1.0 MB begun" in capsys.readouterr().out
    monkeypatch.setattr(transfer, "receive", receive)
    assert offer("good")[0] == 0 and path.read_bytes() == DATA
    assert server.seen[-1][1] == "bytes=1000000-"


@pytest.mark.parametrize("known", [True, False])
def test_another_version_is_fetched_from_the_start(offer, server, tmp_path, known):
    part = part_of(tmp_path / "file.ckpt")
    part.write_bytes(b"x" * 1000)
    port = server.server_address[1]
    origin = f'http://127.0.0.1:{port}/good/file\n"0"'
    transfer.origin_of(part).write_text(origin)
    status, path = offer("good", sha256=SHA if known else None)
    assert status == 0 and path.read_bytes() == DATA


def test_a_full_disk_stops_and_can_go_on(offer, monkeypatch, capsys):
    def full(answer, part, have, total):
        part.write_bytes(answer.read(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "receive", full)
        status, path = offer("good", "good")
    assert status == 1 and not path.exists()
    assert "the disk is full; make room and run again" in capsys.readouterr().err
    assert offer("good")[0] == 0 and path.read_bytes() == DATA


def test_too_little_room_is_seen_before(offer, monkeypatch, capsys):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    status, path = offer("good")
    assert status == 1 and not path.exists() and not part_of(path).exists()
    assert "the disk is full" in capsys.readouterr().err


def test_without_a_hash_it_says_so_and_records_what_it_got(offer, capsys):
    status, path = offer("good", sha256=None)
    assert status == 0 and f"no hash is published; its SHA-256 is {SHA}" in capsys.readouterr().out
    main(["--out", str(path.parent)])
    assert "here, as recorded, no hash published" in capsys.readouterr().out
    path.write_bytes(b"PK\x03\x04 changed")
    main(["--out", str(path.parent)])
    assert "here, not verified" in capsys.readouterr().out
    assert offer("good", sha256=None)[0] == 1
    assert "has changed since it was placed" in capsys.readouterr().err


def test_an_unknown_length_is_refused_unless_the_hash_is_known(offer, capsys):
    assert offer("unknown", sha256=None)[0] == 1
    assert "doesn't say how long" in capsys.readouterr().err
    assert offer("unknown")[0] == 0


def test_a_wrong_size_is_refused(offer, capsys):
    status, path = offer("good", sha256=None, size=5)
    assert status == 1 and not path.exists()
    assert "has 3072004 bytes, should have 5" in capsys.readouterr().err


def test_a_file_from_disk_is_verified_and_a_mirror_comes_first(offer, server, tmp_path, capsys):
    folder = tmp_path / "disk"
    folder.mkdir()
    assert offer("missing", options=["--from", str(folder)])[0] == 1
    (folder / "file.ckpt").write_bytes(DATA[1:])
    status, path = offer("missing", options=["--from", str(folder)])
    assert status == 1 and not path.exists() and "has SHA-256" in capsys.readouterr().err
    (folder / "file.ckpt").write_bytes(DATA)
    assert offer("missing", options=["--from", str(folder)])[0] == 0
    path.unlink()
    mirror = f"http://127.0.0.1:{server.server_address[1]}/good/"
    assert offer("missing", options=["--mirror", mirror])[0] == 0
    assert server.seen[-1][0] == "/good/file.ckpt"


@pytest.mark.parametrize("content", [b"", b"# a README"])
def test_without_a_hash_what_is_no_checkpoint_is_refused(offer, tmp_path, capsys, content):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "file.ckpt").write_bytes(content)
    status, path = offer("missing", sha256=None, options=["--from", str(tmp_path / "disk")])
    assert status == 1 and not path.exists() and not part_of(path).exists()
    assert "file.ckpt is " + ("no checkpoint" if content else "empty") in capsys.readouterr().err


def test_a_mirror_that_is_no_address_is_told_and_the_next_one_tried(offer, capsys):
    status, path = offer("good", options=["--mirror", "nowhere"])
    assert status == 0 and path.read_bytes() == DATA
    assert "give https://…, or a folder by --from" in capsys.readouterr().err


def test_a_present_but_wrong_file_is_said_so(offer, tmp_path, capsys):
    (tmp_path / "file.ckpt").write_bytes(b"other")
    assert offer("good")[0] == 1
    assert "has SHA-256" in capsys.readouterr().err


def test_a_package_that_pip_does_not_get_is_told_in_a_line(monkeypatch, tmp_path, capsys):
    said = "WARNING: Retrying\nERROR: No matching distribution found for musicnn==0.1.0\n"
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert main(["musicnn", "--out", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "No matching distribution" in line and "a network" in line and "--from" in line


def test_the_table_is_whole(capsys, tmp_path):
    assert main(["--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    files = [entry.file for entry in download_ckpts.TABLE.values()]
    assert len(set(files)) == len(files) and all(file in out for file in files)
    assert all(len(e.sha256 or "0" * 64) == 64 for e in download_ckpts.TABLE.values())
    assert main(["other"]) == 2
    assert not list(Path(tmp_path).iterdir())


@pytest.mark.parametrize("fault", ["slow", "slow_head"])
def test_what_comes_too_slowly_ends(offer, fault, monkeypatch, capsys):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.4)
    status, path = offer(fault, "good")
    assert status == 0 and path.read_bytes() == DATA
    said = capsys.readouterr().err
    assert ("it is too slow" if fault == "slow" else "no answer") in said


@pytest.mark.parametrize("known", ["size", "hash"])
def test_a_body_without_end_is_cut_at_the_size(offer, known, monkeypatch, capsys):
    monkeypatch.setattr(transfer, "LARGEST", 2 * len(DATA))
    size = len(DATA) if known == "size" else None
    status, path = offer("endless", size=size)
    assert status == 1 and not path.exists()
    assert f"sends more than the {size or 2 * len(DATA)} bytes" in capsys.readouterr().err
    assert part_of(path).stat().st_size == 0


@pytest.mark.parametrize("fault", PARTS)
@pytest.mark.parametrize("known", [True, False])
def test_a_part_of_something_else_is_not_joined(offer, server, tmp_path, fault, known, capsys):
    part = part_of(tmp_path / "file.ckpt")
    part.write_bytes(DATA[:1000])
    url = f"http://127.0.0.1:{server.server_address[1]}/{fault}/file"
    transfer.Origin(url, '"1"').write(part)
    status, path = offer(fault, sha256=SHA if known else None)
    assert status == 0 and path.read_bytes() == DATA
    assert [wanted for _, wanted in server.seen] == ["bytes=1000-", None]


@pytest.mark.parametrize("origin", ["", "only a line", "a\nb\nc", "\xff"])
def test_a_damaged_note_of_the_origin_starts_again(offer, tmp_path, origin):
    part = part_of(tmp_path / "file.ckpt")
    part.write_bytes(b"x" * 1000)
    transfer.origin_of(part).write_text(origin)
    status, path = offer("good", sha256=None)
    assert status == 0 and path.read_bytes() == DATA


def test_an_encoded_file_and_another_size_are_refused_at_once(offer, tmp_path, capsys):
    assert offer("gzip")[0] == 1 and offer("good", size=5)[0] == 1
    said = capsys.readouterr().err
    assert "encoded as gzip" in said and "has 3072004 bytes, should have 5" in said
    assert not part_of(tmp_path / "file.ckpt").exists()


@pytest.mark.parametrize("disk", [True, False])
@pytest.mark.parametrize("suffix", ["", ".origin"])
def test_a_link_in_the_parts_place_overwrites_nothing(offer, tmp_path, disk, suffix):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "file.ckpt").write_bytes(DATA)
    (tmp_path / "precious").write_text("precious")
    part = part_of(tmp_path / "file.ckpt")
    part.with_name(part.name + suffix).symlink_to(tmp_path / "precious")
    status, path = offer("good", options=["--from", str(tmp_path / "disk")] if disk else [])
    assert status == 0 and path.read_bytes() == DATA and not path.is_symlink()
    assert (tmp_path / "precious").read_text() == "precious"


def test_two_at_once_fetch_it_once(offer, server, tmp_path, monkeypatch, capsys):
    receive, started = transfer.receive, threading.Event()

    def slowly(*args):
        started.set()
        time.sleep(0.3)
        return receive(*args)

    monkeypatch.setattr(transfer, "receive", slowly)
    statuses = []
    first = threading.Thread(target=lambda: statuses.append(offer("good")[0]))
    first.start()
    started.wait()
    statuses.append(offer("good")[0])
    first.join()
    assert statuses == [0, 0] and (tmp_path / "file.ckpt").read_bytes() == DATA
    said = capsys.readouterr()
    assert len(server.seen) == 1 and "already here, verified" in said.out
    assert "waiting for another process that fetches it" in said.err


@pytest.mark.parametrize("record", ["{", "[]", '{"file.ckpt": {"sha256": 5}}', '{"file.ckpt": 1}'])
def test_a_damaged_record_is_told_in_a_line(offer, tmp_path, record, capsys):
    offer("good")
    (tmp_path / "checksums.json").write_text(record)
    assert offer("good")[0] == 1 and main(["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("checksums.json is damaged") == 2

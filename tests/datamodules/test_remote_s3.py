"""A token store in an S3 bucket: moto's server, behind a proxy that fails as it is told.

Run where `pip install "moto[server]" s3fs` was; skipped elsewhere.
"""

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from fsspec import config

from datamodules import remote_files
from datamodules.remote_store import RemoteStore, open_store
from foundation.errors import RemoteError
from music_diffusion.commands.error_lines import explain
from tests.datamodules.test_remote_store import fit, made, tokens  # noqa: F401

server = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")
ADDRESS = "s3://bucket/store"
INTERNAL = b"<Error><Code>InternalError</Code><Message>Try again.</Message></Error>"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class Proxy(BaseHTTPRequestHandler):
    """Passes requests on; each for a shard first meets the next fault, if there is one."""

    protocol_version = "HTTP/1.1"
    behind = 0
    faults: list[str] = []

    def do_GET(self) -> None:
        fault = self.faults.pop(0) if self.faults and "/shards/" in self.path else None
        connection = http.client.HTTPConnection("127.0.0.1", self.behind)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        if fault == "slow":
            time.sleep(1)
        self.send_response(500 if fault == "500" else answer.status)
        content = INTERNAL if fault == "500" else content
        for name, value in answer.getheaders() if fault != "500" else []:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content[:20] if fault == "cut" else content)
        if fault == "cut":
            self.close_connection = True
            self.connection.close()

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET

    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="module")
def bucket(made):  # noqa: F811
    """The address of a server that has the store."""
    moto = server.ThreadedMotoServer(port=0)
    moto.start()
    Proxy.behind = moto.get_host_and_port()[1]
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{proxy.server_port}"
    there = s3fs.S3FileSystem(key="test", secret="test", endpoint_url=address)
    there.mkdir("bucket")
    there.put(str(made[1].folder), "bucket/store", recursive=True)
    yield address
    proxy.shutdown()
    moto.stop()


@pytest.fixture
def store(bucket, made, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # of the package itself, whose pauses are long
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(config.conf, "s3", {"endpoint_url": bucket})
    monkeypatch.setattr(remote_files, "WAIT", 0.0)
    monkeypatch.setattr(Proxy, "faults", [])
    s3fs.S3FileSystem.clear_instance_cache()
    return made[1]


def test_batches_are_those_of_a_folder_also_by_workers(store):
    expected, _, _ = fit(str(store.folder), 12)
    for workers in (0, 2):
        found, _, _ = fit(ADDRESS, 12, workers=workers)
        pairs = zip(found, expected, strict=True)
        assert all(torch.equal(a["tokens"], b["tokens"]) for a, b in pairs)


@pytest.mark.parametrize("fault", ["slow", "500", "cut"])
def test_faults_that_pass_are_tried_again(store, fault):
    opened = open_store(ADDRESS)
    Proxy.faults += [fault, fault]
    assert all(map(torch.equal, tokens(opened), tokens(store)))
    assert not Proxy.faults


@pytest.mark.parametrize("fault", ["500", "cut"])
def test_faults_that_stay_are_a_line_and_leave_nothing_half_written(store, fault):
    opened = open_store(ADDRESS)
    Proxy.faults += [fault] * 999
    with pytest.raises(RemoteError) as raised:
        opened.read(0, "tokens")
    report(raised.value)
    assert {path.suffix for path in opened.folder.rglob("*.*")} <= {".json", ".table", ".lock", ""}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({name: None for name in KEYS}, "redentials"),
        ({"FSSPEC": "no-bucket"}, "isn't there"),
    ],
    ids=["credentials", "bucket"],
)
def test_what_is_missing_is_a_line(store, change, said, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (name for name, value in change.items() if value is None):
        monkeypatch.delenv(name)
    with pytest.raises(RemoteError, match=said) as raised:
        open_store(f"s3://{change.get('FSSPEC') or 'bucket'}/store")
    report(raised.value)


def test_a_lost_shard_is_a_line_also_in_a_worker(store):
    there = s3fs.S3FileSystem()
    path = sorted(there.ls("bucket/store/shards"))[-1]
    content = there.cat_file(path)
    RemoteStore.at(ADDRESS).fetch()
    try:
        there.rm_file(path)
        with pytest.raises(Exception, match="is missing or damaged") as raised:
            open_store(ADDRESS)
        report(raised.value)
        opened = RemoteStore.at(ADDRESS).open()
        with pytest.raises(RemoteError, match="isn't there") as raised:
            tokens(opened)
        report(raised.value)
    finally:
        there.pipe_file(path, content)


def report(error: Exception) -> None:
    line, status = explain(error) or ("", 0)
    assert line and "\n" not in line and status == 2
    print(line)

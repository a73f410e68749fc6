"""What a server that runs answers to tricks; skipped without gradio and Chromium."""

import http.client
import json
import threading
from urllib.parse import quote

import pytest

from tests.studio.conftest import Served

TRICKS = [
    "/studio/files/music/../../../../etc/passwd",
    "/studio/files/music/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/studio/files//etc/passwd",
    "/studio/files/music%2f..%2f..%2fetc%2fpasswd",
    "/studio/files/music/low%00.wav",
    "/studio/../../../etc/passwd",
    "/studio/studio.py",
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=" + quote("/etc/passwd", safe=""),
    "//gradio_api/file=/etc/passwd",
    "/gradio_api/./file=/etc/passwd",
    "/file=/etc/passwd",
    "/gradio_api/proxy=http://127.0.0.1:1/x",
    "/gradio_api/file=http://127.0.0.1:1/x",
    "/assets/../../../../../../etc/passwd",
    "/static/..%2f..%2f..%2f..%2fetc/passwd",
    "/theme/../../etc/passwd",
    "/docs",
    "/openapi.json",
]


def get(served, path, method="GET", body=None, **headers):
    """Ask without a client that tidies the path up; return the status and the body."""
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize("path", TRICKS)
def test_paths_lead_nowhere(served, music, path):
    status, body = get(served, path)
    assert b"root:" not in body and str(music).encode() not in body
    assert status in (400, 403, 404, 405) or b"<!doctype html>" in body.lower()


def test_200_megabytes_are_refused_at_once_or_cut_off(served):
    address, length = "/studio/uploads?name=x.wav", str(200 * 2**20)
    status, body = get(served, address, "POST", b"", content_length=length)
    assert (status, body) == (413, b"the studio takes at most 2 MB")

    def parts():
        for _ in range(200):
            yield b"x" * 2**20

    try:
        status, _ = get(served, address, "POST", parts())
    except OSError:  # the connection was closed in the middle
        status = 413
    assert status == 413
    uploads = served.studio.uploads.folder
    assert not [path for path in uploads.glob(".*")] if uploads.exists() else True


@pytest.mark.parametrize(
    "name", ["x.wav", "../../x.wav", "x.html", "<img src=x>.mp3", "x.m4a", "%00.wav", "con.wav"]
)
def test_hostile_files_get_a_line(served, music, name):
    body = b"#EXTM3U\nfile:///etc/passwd\n" * 50
    status, answer = get(served, f"/studio/uploads?name={quote(name)}", "POST", body)
    assert status == 400 and answer.count(b"\n") == 0
    assert str(music).encode() not in answer and b"root:" not in answer


def test_pages_of_others_may_not_use_it(served):
    assert get(served, "/studio/jobs", origin="http://evil.example")[0] == 403
    assert get(served, "/studio/jobs", host="evil.example")[0] == 403
    assert get(served, "/studio/jobs")[0] == 200


def call(served, name, *values):
    """Call a function of the HTTP API as gradio_client does; return its value or its error."""
    from gradio_client import Client

    if not hasattr(served, "client"):
        served.client = Client(served.url, verbose=False)
    try:
        return served.client.predict(*values, api_name=f"/{name}")
    except Exception as error:
        return str(error)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "/etc/passwd"}, "there is no"),
        ({"model": "music/../../../etc"}, "there is no"),
        ({"model": "base", "prompt": "/etc/passwd", "seconds": 1}, "there is no"),
        ({"model": "base", "init": "studio/../../x.wav"}, "there is no"),
        ({"model": "base", "seconds": 1e9}, "seconds must be"),
        ({"model": "base", "count": 10**6}, "count must be"),
        ({"model": "base", "out": "/tmp/x"}, "unknown settings out"),
    ],
)
def test_the_api_takes_no_paths_and_no_sizes_beyond_the_limits(served, music, settings, said):
    answer = call(served, "make", settings)
    assert said in answer and str(music) not in answer


def test_the_api_makes_a_clip_and_says_what_it_did(served, music):
    job = call(served, "make", {"seconds": 1.0, "seed": 3, "options": {"steps": 1}})
    while job["state"] in ("waiting", "running"):
        job = call(served, "job", job["name"])
    assert job["state"] == "done", job["error"]
    assert str(music) not in json.dumps(job)
    status, sound = get(served, f"/{job['clips'][0]['url']}")
    assert status == 200 and sound[:4] == b"RIFF"


def test_two_clients_hear_at_once_while_a_job_runs(served, music):
    job = call(served, "make", {"seconds": 4.0, "options": {"steps": 2000}})
    answers = []

    def hear():
        for _ in range(5):
            answers.append(get(served, "/studio/files/music/low/0.wav", range="bytes=0-999"))

    threads = [threading.Thread(target=hear) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [(status, len(body)) for status, body in answers] == [(206, 1000)] * 10
    assert call(served, "job", job["name"])["state"] in ("waiting", "running")
    call(served, "cancel", job["name"])


def test_users_need_a_password_for_every_address(chromium, music, tmp_path):
    (tmp_path / "music").mkdir()
    running = Served(tmp_path, {"ann": "right"})
    try:
        for path in ("/", "/studio/jobs", "/config", "/gradio_api/info", "/studio/studio.js"):
            assert get(running, path)[0] == 401
            assert get(running, path, authorization="Basic YW5uOnJpZ2h0")[0] == 200
    finally:
        running.stop()

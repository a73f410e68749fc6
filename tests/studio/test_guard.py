"""Who gets through to the server, and how much they may send."""

import asyncio
import base64

import pytest

from foundation.errors import MissingFileError, UserError
from music_diffusion.studio.guard import USER, Guard, read_users

USERS = {"ann": "right", "bob": "pass:word"}


def ask(users=None, path="/studio/jobs", body=(b"",), most=100, **headers):
    """Send a request through a guard; return the status, the headers, and who it came from."""
    sent, seen, parts = [], [], list(body)

    async def app(scope, receive, send):
        try:
            while (await receive()).get("more_body"):
                pass
        except Exception:  # as the server below does it
            await send({"type": "http.response.start", "status": 500, "headers": []})
            raise
        seen.append(scope[USER])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})

    async def receive():
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message):
        sent.append(message)

    named = {"host": "127.0.0.1:7860"} | {k.replace("_", "-"): v for k, v in headers.items()}
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    scope = {"type": "http", "path": path, "headers": pairs}
    asyncio.run(Guard(app, users or {}, most)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), seen


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_this_machine_gets_in_and_its_pages_stay_on_it():
    status, headers, seen = ask()
    assert (status, seen) == (200, [""])
    assert b"default-src 'self'" in headers[b"content-security-policy"]


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (403, {"host": "evil.example:7860"}),  # a name that its owner has led to this machine
        (403, {"host": ""}),
        (403, {"origin": "http://evil.example"}),
        (403, {"origin": "null"}),
        (413, {"content_length": "101"}),
        (413, {"content_length": "-1"}),
        (413, {"content_length": "much"}),
        (200, {"origin": "http://127.0.0.1:7860", "content_length": "100"}),
        (200, {"host": "[::1]:7860"}),
    ],
)
def test_others_are_kept_out(status, headers):
    assert ask(**headers)[0] == status


def test_a_sandboxed_page_of_a_run_shows_its_files_and_does_no_more():
    assert ask(path="/studio/files/runs/a/demo.png", origin="null")[0] == 200
    assert ask(path="/studio/uploads", origin="null")[0] == 403
    assert ask(path="/studio/files/runs/a/demo.png", origin="http://evil.example")[0] == 403


@pytest.mark.parametrize(
    ("given", "user"),
    [
        ("ann:right", "ann"),
        ("bob:pass:word", "bob"),
        ("ann:wrong", None),
        ("ann:", None),
        ("eve:", None),
        ("", None),
    ],
)
def test_users_need_their_password(given, user):
    status, headers, seen = ask(USERS, authorization=basic(given), host="music.example")
    assert (status, seen) == ((200, [user]) if user else (401, []))
    assert user or headers[b"www-authenticate"].startswith(b"Basic")


@pytest.mark.parametrize("header", ["Basic !!", "Basic /w==", "Bearer x", "Basic", ""])
def test_damaged_names_are_nobody(header):
    assert ask(USERS, authorization=header)[0] == 401


def test_a_body_that_goes_on_is_cut_off():
    assert ask(body=[b"x" * 50, b"x" * 51])[0] == 413
    assert ask(body=[b"x" * 50, b"x" * 50])[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/file=/etc/passwd", "/gradio_api/upload", "/upload",
     "/gradio_api/proxy=http://x", "/gradio_api/stream/x"],
)  # fmt: skip
def test_gradios_own_files_are_closed(path):
    assert ask(path=path)[0] == 404


def test_other_machines_need_users(tmp_path):
    assert read_users(None, "127.0.0.1") == {}
    with pytest.raises(UserError, match="--auth"):
        read_users(None, "0.0.0.0")
    assert read_users("ann:a:b", "0.0.0.0") == {"ann": "a:b"}
    (tmp_path / "users").write_text("ann:right\n\nbob:pass:word\n")
    assert read_users(str(tmp_path / "users"), "0.0.0.0") == USERS
    for wrong in ("ann:", ":x"):
        with pytest.raises(UserError, match="NAME:PASSWORD"):
            read_users(wrong, "0.0.0.0")
    with pytest.raises(MissingFileError):
        read_users(str(tmp_path / "none"), "0.0.0.0")

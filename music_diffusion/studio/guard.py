"""Who may ask the studio's server for anything, and how much they may send."""

import base64
import binascii
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from foundation.errors import MissingFileError, UserError
from foundation.files import user_path

LOCAL = ("127.0.0.1", "localhost", "::1")
USER = "studio_user"  # in a request's scope
POLICY = (  # gradio's page has scripts and styles inline; nothing comes from another address
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' "
    "blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: "
    "blob:; font-src 'self' data:; connect-src 'self' data: blob:; frame-ancestors 'self'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
CLOSED = re.compile(  # gradio's own ways to files, other servers and its description
    "(/gradio_api)?/(upload|file|proxy|stream|custom_component|monitoring|vibe|docs|redoc|openapi)"
)
EMBEDDED = "/studio/files/"  # read only; sandboxed pages of runs, whose origin is null, show them
PLAIN = {"x-content-type-options": "nosniff", "referrer-policy": "same-origin"}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class TooLarge(Exception):
    """A request's body goes on beyond the limit."""


class Guard:
    """Stands before the whole server, gradio's own addresses included.

    A request needs a user's name and password where there are users (HTTP Basic). Without users
    the server listens on this machine alone, and the Host must be this machine's, so that no page
    of somebody else's in the same browser reads from it under a name of its own. No page of
    another address may send to it. A body above the limit is refused, at once where its length is
    known.

    Args:
        app: the server
        users: passwords by name; none where everybody on this machine may use it
        most: bytes that a request may have
    """

    def __init__(self, app: App, users: Mapping[str, str], most: int):
        self.app, self.users, self.most = app, users, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if CLOSED.match(scope["path"]):
            return await answer(send, 404, "there is no such page")
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        if scope["path"].startswith(EMBEDDED) and headers.get("origin") == "null":
            del headers["origin"]
        if (refusal := self.refusal(headers)) is not None:
            return await answer(send, *refusal)
        scope[USER] = user_of(headers, self.users) or ""
        await self._limited(scope, receive, with_headers(send))

    def refusal(self, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return the status and the reason with which a request is refused, if it is."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.users and name_of(host) not in LOCAL:
            return 403, "this studio answers on this machine alone"
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "a page of another address may not use the studio"
        if self.users and user_of(headers, self.users) is None:
            return 401, "the studio needs a user's name and password"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self.most:
            return 413, f"the studio takes at most {self.most // 2**20} MB"
        return None

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        received, started = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.most:
                raise TooLarge
            return message

        async def sent(message: Message) -> None:
            nonlocal started
            if received <= self.most:  # else it is the server's own page about TooLarge
                started = True
                await send(message)

        with suppress(TooLarge):
            await self.app(scope, counted, sent)
        if received > self.most and not started:
            await answer(send, 413, f"the studio takes at most {self.most // 2**20} MB")


def with_headers(send: Send) -> Send:
    """Return `send` with headers that keep a page to this server, where it has set none."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            more = PLAIN | {"content-security-policy": POLICY}
            message["headers"] = [
                *message["headers"],
                *((n.encode(), v.encode()) for n, v in more.items() if n.encode() not in there),
            ]
        await send(message)

    return sent


async def answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="studio", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def name_of(host: str) -> str:
    """Return a Host header's name without its port."""
    return urlsplit(f"//{host}").hostname or ""


def user_of(headers: Mapping[str, str], users: Mapping[str, str]) -> str | None:
    """Return the user whose name and password a request has; None for nobody."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(given).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    known = users.get(name, "")
    right = hmac.compare_digest(known.encode(), password.encode())
    return name if right and known else None


def read_users(auth: str | None, host: str) -> dict[str, str]:
    """Read the users of --auth: NAME:PASSWORD, or a file with a line of these for each.

    Raises:
        UserError: for another form, and for none where other machines could reach the studio
    """
    if auth is None:
        if host not in LOCAL:
            raise UserError(
                f"--host {host} lets other machines in: give --auth FILE, with a line "
                "NAME:PASSWORD for each user"
            )
        return {}
    path = user_path(auth, "auth")
    if ":" not in auth and not path.is_file():
        raise MissingFileError("--auth takes NAME:PASSWORD, or a file of such lines")
    lines = path.read_text().splitlines() if path.is_file() else [auth]
    pairs = [line.strip().partition(":") for line in lines if line.strip()]
    if not pairs or not all(name and password for name, _, password in pairs):
        raise UserError("--auth takes NAME:PASSWORD for each user, none of them empty")
    return {name: password for name, _, password in pairs}

"""The server behind `hcep page`: bound to this machine, for whoever has the address with its secret word.

A clip comes as the body of a request. Its name is not sent at all: the browser shows it, and nothing here could take it
for a path. The body goes to a file in a private folder with a random name, which exists while the answer is computed
and no longer. Its size is counted while it arrives.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import math
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import unquote

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hcep.errors import HcepError
from hcep.files import writing
from hcep.inference.clips import clip_of
from hcep.inference.folder import CARD
from hcep.inference.model import Model
from hcep.page.content import facts, shown

HOST = "127.0.0.1"
# characters of the words of a clip; the text towers read less
WORDS = 2000
FILES = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; media-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Lets through what the page itself asks for, and puts `HEADERS` on every response.

    A page of another site can reach this machine too: under a name that it has pointed here (the host is not ours), or
    by a form (the origin is not ours). A program of another person on this machine does not know the word.
    """

    def __init__(self, app: ASGIApp, port: int, word: str) -> None:
        self.app, self.word = app, word
        self.hosts = (f"{HOST}:{port}", f"localhost:{port}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        status, cause = self._refusal(scope)
        app = JSONResponse({"error": cause}, status) if status else self.app
        await app(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str]:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self.hosts:
            return 421, "this server answers under its own address alone"
        if origin not in (None, f"http://{host}") or (
            scope["method"] == "POST" and headers.get("sec-fetch-site", "same-origin") != "same-origin"
        ):
            return 403, "another site has sent this request"
        word = scope["path"].lstrip("/").partition("/")[0]
        if not secrets.compare_digest(word.encode(), self.word.encode()):
            return 404, "there is no such page; open the address that `hcep page` has printed"
        return 0, ""


class Page:
    """The answers of the server; one clip at a time is received and predicted.

    Parameters
    ----------
    model : Model
    max_bytes : int
        What a clip may have.
    timeout : float
        Seconds that a clip may take to arrive, and each of its streams to be decoded.
    """

    def __init__(self, model: Model, max_bytes: int, timeout: float) -> None:
        self.model, self.max_bytes, self.timeout = model, max_bytes, timeout
        self.facts = facts(model) | {"max_bytes": max_bytes, "max_words": WORDS}
        self._turn = asyncio.Lock()

    def app(self, word: str) -> Starlette:
        """The application below the secret word."""
        own = [Route(f"/{word}/{'' if name == 'page.html' else name}", self._file) for name in FILES]
        own += [Route(f"/{word}/facts", self._facts), Route(f"/{word}/card", self._card)]
        own += [Route(f"/{word}/answer", self._answer, methods=["POST"])]
        return Starlette(routes=own, exception_handlers={HTTPException: _refused, Exception: _failed})

    async def _file(self, request: Request) -> Response:
        name = request.url.path.rpartition("/")[2] or "page.html"
        return Response((importlib.resources.files("hcep.page") / name).read_bytes(), media_type=FILES[name])

    async def _facts(self, _: Request) -> Response:
        return JSONResponse(self.facts)

    async def _card(self, _: Request) -> Response:
        return PlainTextResponse((self.model.folder / CARD).read_text(encoding="utf-8", errors="replace"))

    async def _answer(self, request: Request) -> Response:
        words = unquote(request.headers.get("x-words", ""))
        kind = request.headers.get("x-words-kind", "transcript")
        if len(words) > WORDS:
            raise HTTPException(400, f"the words are longer than {WORDS} characters")
        if int(request.headers.get("content-length", 0)) > self.max_bytes:
            raise self._too_large()
        try:
            async with self._turn:
                with TemporaryDirectory(prefix="hcep-page-") as folder:
                    file = Path(folder, "clip")
                    await self._store(request.stream(), file)
                    return JSONResponse(await asyncio.to_thread(self._ask, file, words, kind))
        except asyncio.CancelledError as error:
            raise HTTPException(503, "the program behind this page was ended") from error

    async def _store(self, pieces: AsyncIterator[bytes], file: Path) -> None:
        size = 0
        try:
            async with asyncio.timeout(self.timeout):
                with writing(file), file.open("xb") as written:
                    async for piece in pieces:
                        size += len(piece)
                        if size > self.max_bytes:
                            raise self._too_large()
                        written.write(piece)
        except TimeoutError as error:
            raise HTTPException(408, f"the clip took longer than {self.timeout:g} s to arrive") from error
        except ClientDisconnect as error:
            raise HTTPException(400, "the clip did not arrive whole") from error

    def _ask(self, file: Path, words: str, kind: str) -> dict[str, Any]:
        try:
            media = self.model.read([clip_of(file, name="clip", text=words, text_kind=kind)], timeout=self.timeout)
        except HcepError as error:
            raise HTTPException(400, error.cause) from error
        return shown(self.model, media[0], self.model.answer(media)[0])

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the clip is larger than {self.max_bytes / 1e6:g} MB, see --max-mb")


async def _refused(_: Request, error: Any) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _failed(_: Request, error: Exception) -> Response:
    # the traceback is on the terminal
    cause = str(error) if isinstance(error, HcepError) else f"{type(error).__name__}, an error of hcep itself"
    return JSONResponse({"error": f"{cause}; the terminal shows more"}, 500)


class Prepared(NamedTuple):
    """A server that listens already, and the address of its page."""

    server: uvicorn.Server
    listening: socket.socket
    address: str

    def run(self) -> None:
        """Answer until it is told to end."""
        with self.listening:
            self.server.run(sockets=[self.listening])


def prepare(model: Model, *, port: int = 0, max_mb: float = 200.0, timeout: float = 60.0) -> Prepared:
    """A server of the page on 127.0.0.1.

    Parameters
    ----------
    model : Model
    port : int
        0: one that is free.
    max_mb : float
        Size that a clip may have, in 10^6 bytes.
    timeout : float
        Seconds that a clip may take to arrive, and each of its streams to be decoded.

    Raises
    ------
    HcepError
        The port is taken or none, or a limit is not a positive number.
    """
    for name, limit in (("max-mb", max_mb), ("timeout", timeout)):
        if not (math.isfinite(limit) and limit > 0):
            raise HcepError(f"--{name} is {limit:g}", remedy="give a number above 0")
    word = secrets.token_urlsafe(18)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        raise HcepError(f"port {port} cannot be used ({error})", remedy="leave --port out, or name another") from error
    port = listening.getsockname()[1]
    app = Guard(Page(model, int(max_mb * 1e6), timeout).app(word), port, word)
    config = uvicorn.Config(
        app, loop="asyncio", http="h11", ws="none", lifespan="off", log_level="warning", access_log=False,
        proxy_headers=False, server_header=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    return Prepared(uvicorn.Server(config), listening, f"http://{HOST}:{port}/{word}/")


def serve(model: Model, **limits: Any) -> None:
    """Print the address of the page and serve it until Ctrl-C; `limits` are those of `prepare`."""
    prepared = prepare(model, **limits)
    print(f"{prepared.address}   (for this machine alone; Ctrl-C ends it)", flush=True)
    # ended as by Ctrl-C, so that what lies in the folder of a clip is removed
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):  # the way to end it
        prepared.run()

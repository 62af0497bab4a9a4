"""The page host: a session as a page that only this machine can open.

`Page(session).run()` serves until Ctrl-C, `Page(session).start()` from a thread of its own.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from glassbox.explorer.messages import plain
from glassbox.explorer.session import Session

FRONT = Path(__file__).parent / "front"
KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
OURS = ("127.0.0.1", "localhost", "[::1]")  # names of this machine
MOST_BYTES = 2**20  # of a request
AT_ONCE = 8  # answers that are computed side by side
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # addresses hold the token
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """A request that is turned away: an HTTP status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.response = JSONResponse({"error": why}, status)


class Guard:
    """Turn away what does not come from the page itself, before anything else looks at it.

    Any Host but ours is refused: else a page from elsewhere could have its own name lead here (DNS
    rebinding).  So are requests without the token, and those that change something and come from
    another origin.
    """

    def __init__(self, app: Any, token: str, hosts: tuple[str, ...]) -> None:
        self.app, self.token, self.hosts = app, token.encode(), hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            scope["root_path"] = self._checked(scope, Headers(scope=scope))
        except Refused as refused:
            await refused.response(scope, receive, with_headers)
        else:
            await self.app(scope, receive, with_headers)

    def _checked(self, scope: Any, headers: Headers) -> str:
        """The path's first part, which is the token; raises Refused."""
        host = headers.get("host", "")
        name, colon, port = host.rpartition(":")
        if (name if colon and port.isdecimal() else host) not in self.hosts:
            raise Refused(400, f"Host: expected {' or '.join(self.hosts)}; open the address shown")
        if scope["method"] == "POST":
            if headers.get("origin", f"http://{host}") != f"http://{host}":
                raise Refused(403, "Origin: this page is not the one that the server sent")
            if headers.get("content-type", "").partition(";")[0] != "application/json":
                raise Refused(415, "Content-Type: expected application/json")
        token, slash, _ = scope["path"].removeprefix("/").partition("/")
        if not slash or not secrets.compare_digest(token.encode(), self.token):
            raise Refused(404, "not found; open the address that the program printed when it began")
        return f"/{token}"


class Reader:
    """A tab that listens: of each kind of event it is sent the latest that it has not seen."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.wake = loop, asyncio.Event()
        self.lock, self.waiting = threading.Lock(), dict[str, Any]()

    def put(self, event: dict[str, Any]) -> None:
        """Leave an event, from any thread, without waiting for anybody."""
        with self.lock:
            asleep = not self.waiting
            self.waiting[event["event"]] = event
        if asleep:
            with suppress(RuntimeError):  # the server has ended
                self.loop.call_soon_threadsafe(self.wake.set)

    async def take(self) -> list[dict[str, Any]]:
        """Wait until there are events, and take them."""
        await self.wake.wait()
        self.wake.clear()
        with self.lock:
            taken, self.waiting = self.waiting, {}
        return list(taken.values())


class Page:
    """A session at an address of this machine.

    Parameters
    ----------
    session : answers what the page asks.
    host : the address to listen at; others can only reach it where this is not the default.
    port : 0 lets the system choose.
    token : the part of the address that only those know who were told; drawn at random by default.

    Attributes
    ----------
    url : what to open.

    Raises OSError where the address is taken or not this machine's.
    """

    def __init__(
        self, session: Session, host: str = "127.0.0.1", port: int = 0, token: str | None = None
    ) -> None:
        self.session = session
        self.token = token or secrets.token_urlsafe(16)
        self.thread: threading.Thread | None = None
        self.readers: list[Reader] = []
        self.at_once = asyncio.Semaphore(AT_ONCE)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.create_server((host, port), family=family)
        # asyncio sends small answers at once if it is told that this is TCP; else they take 40 ms
        tcp = socket.SOCK_STREAM, socket.IPPROTO_TCP
        self.socket = socket.socket(family, *tcp, fileno=made.detach())
        name = f"[{host}]" if ":" in host else host
        self.socket_address = self.socket.getsockname()
        self.url = f"http://{name}:{self.socket_address[1]}/{self.token}/"
        self.files = {
            each.name: (each.read_bytes(), KINDS[each.suffix])
            for each in FRONT.iterdir()
            if each.suffix in KINDS
        }
        app = Starlette(
            routes=[
                Route("/", self._file, methods=["GET"]),
                Route("/ask", self._ask, methods=["POST"]),
                Route("/events", self._events, methods=["GET"]),
                Route("/{name}", self._file, methods=["GET"]),
            ],
            exception_handlers={Refused: lambda _, refused: refused.response},
        )
        app.router.redirect_slashes = False
        config = uvicorn.Config(
            Guard(app, self.token, tuple(dict.fromkeys((*OURS, name)))),
            log_config=None, log_level="critical", access_log=False, server_header=False,
            lifespan="off", ws="none", http="h11", loop="asyncio", timeout_graceful_shutdown=0,
        )  # fmt: skip
        self.server = Server(config)

    def run(self) -> None:
        """Serve until Ctrl-C, which ends it as KeyboardInterrupt."""
        self.server.run([self.socket])

    def start(self) -> Page:
        """Serve from a thread that ends with the program; once is enough.  Returns the page."""
        if self.thread is None:
            self.thread = threading.Thread(target=self.run, name="explorer page", daemon=True)
            self.thread.start()
        return self

    def close(self) -> None:
        """End what `start` began."""
        self.server.should_exit = True
        if self.thread is not None:
            self.thread.join()
        self.socket.close()

    def send(self, event: dict[str, Any]) -> None:
        """Tell all tabs {"event": word, ...}, from any thread; the latest of each word counts."""
        for reader in list(self.readers):
            reader.put(event)

    # --- what is answered --------------------------------------------------------------------

    async def _file(self, request: Request) -> Response:
        """One of the files that were read when the page was made; no path is looked up."""
        name = request.path_params.get("name", "page.html")
        if name not in self.files:
            raise Refused(404, "not found")
        content, kind = self.files[name]
        return Response(content, media_type=kind)

    async def _ask(self, request: Request) -> Response:
        """The session's answer, computed beside the server."""
        asked = _request_of(await _body(request))
        found: Future[str] = Future()
        found.set_running_or_notify_cancel()  # it is finished even if the tab goes

        def work() -> None:
            try:
                found.set_result(json.dumps(self.session.answer(asked)))
            except Exception as error:
                found.set_exception(error)

        async with self.at_once:  # in a thread that the end of the program does not wait for
            threading.Thread(target=work, name="explorer answer", daemon=True).start()
            return Response(await asyncio.wrap_future(found), media_type="application/json")

    async def _events(self, _: Request) -> Response:
        """Server-sent events, until the tab or the server goes."""
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        reader = Reader(asyncio.get_running_loop())
        self.readers.append(reader)
        try:
            yield ": here\n\n"
            while True:
                for event in await reader.take():
                    yield f"data: {json.dumps(plain(event))}\n\n"
        finally:
            self.readers.remove(reader)


class Server(uvicorn.Server):
    """uvicorn's, which leaves no connection open."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cancel what runs, and close what is open."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # in which they are closed


async def _body(request: Request) -> bytes:
    """The body; raises Refused as soon as it is known to be too large."""
    body, announced = b"", request.headers.get("content-length", "0")
    if len(announced) < 9 and int(announced) <= MOST_BYTES:
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                break
        else:
            return body
    raise Refused(413, f"expected at most {MOST_BYTES:,} bytes")


def _request_of(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; raises Refused for anything else."""
    try:
        found = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or type(found.get("id")) is not int:
        raise Refused(400, 'expected a JSON object {"id": number, "ask": word, ...}')
    return found


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not a number of JSON")

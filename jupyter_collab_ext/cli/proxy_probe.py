"""Whether people reach the server by its public address, and which setting of the proxy is missing if not.

A stand-in listens where the server will (or the running server is asked), and the same requests that a
browser makes go to the public address: a page, an upload, a websocket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tornado import web
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError, SimpleAsyncHTTPClient
from tornado.websocket import WebSocketHandler, websocket_connect

PATH = "api/collaboration/doctor"
TIMEOUT = 10.0
"""Seconds for each request."""
UPLOAD = 3 * 1024 * 1024
"""Bytes: more than nginx takes when nobody tells it."""

UPGRADE = (
    "let it pass websockets on. nginx: `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    'proxy_set_header Connection "upgrade";` in the location. Apache: `ProxyPass … upgrade=websocket`. '
    "Caddy does so by itself"
)
HOST = (
    "let it keep the host name, which websockets' origin is compared with. nginx: `proxy_set_header Host "
    "$http_host;`. Apache: `ProxyPreserveHost On`"
)
SCHEME = "let it say that people came by TLS. nginx: `proxy_set_header X-Forwarded-Proto $scheme;`"
BODY = "let it take bigger requests, notebooks are saved by them. nginx: `client_max_body_size 0;`"
BACKEND = "let it ask http://{ip}:{port}, and check that this machine's firewall lets it"


@dataclass(frozen=True, slots=True)
class Reached:
    """What became of the public address: nothing is wrong if ``wrong`` is empty."""

    wrong: str = ""
    do: str = ""


class _Page(web.RequestHandler):
    def get(self) -> None:
        request = self.request
        self.finish({
            "doctor": self.settings["word"],
            "host": request.host,
            "proto": request.headers.get("X-Forwarded-Proto", ""),
        })  # fmt: skip

    def post(self) -> None:
        self.finish({"bytes": len(self.request.body)})

    def check_xsrf_cookie(self) -> None:
        """Nobody is logged in here."""


class _Socket(WebSocketHandler):
    def check_origin(self, origin: str) -> bool:
        """As Jupyter does: the origin's host must be the request's."""
        return urlsplit(origin).netloc == self.request.host

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


@contextlib.asynccontextmanager
async def stand_in(ip: str, port: int, base_url: str) -> AsyncIterator[str]:
    """A server in the place of the event's; yields the word by which it is known. Raises ``OSError``."""
    word = secrets.token_hex(8)
    base = f"{base_url.rstrip('/')}/{PATH}"
    application = web.Application([(base, _Page), (f"{base}/socket", _Socket)], word=word)
    server = HTTPServer(application)
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    listening = socket.create_server((ip, port), family=family)
    listening.setblocking(False)
    server.add_socket(listening)
    try:
        yield word
    finally:
        server.stop()
        await server.close_all_connections()


async def look(public_url: str, ip: str, port: int) -> Reached:
    """Ask the public address for what a stand-in listening at ``ip`` and ``port`` has."""
    base = public_url.rstrip("/") + "/"
    try:
        async with stand_in(ip, port, urlsplit(base).path) as word:
            return await _asked(base, word, BACKEND.format(ip=ip or "127.0.0.1", port=port))
    except OSError as error:
        return Reached(f"port {port} can't be listened at ({error.strerror})", "choose another with --port")


async def look_at_running(public_url: str, token: str) -> Reached:
    """Ask the public address of a server that runs, as somebody with its token."""
    base = public_url.rstrip("/") + "/"
    address = f"{base}api/collaboration/room/JupyterLab:globalAwareness"
    return await _socket(address, base, {"Authorization": f"token {token}"}, echo=False) or Reached()


async def _asked(base: str, word: str, backend: str) -> Reached:
    page = await _fetch(base + PATH)
    if isinstance(page, Reached):
        return page
    if page.code in (502, 503, 504):
        return Reached(f"the proxy answers {page.code}: it does not reach the server", backend)
    found = _json(page)
    if found.get("doctor") != word:
        return Reached(f"something else answers there ({page.code})", backend)
    return await _headers(base, found)


async def _headers(base: str, found: dict[str, Any]) -> Reached:
    parts = urlsplit(base)
    refused = await _socket(f"{base}{PATH}/socket", base, {}, echo=True)
    if found["host"] != parts.netloc:
        return Reached(f"the proxy asks for {found['host']!r} instead of {parts.netloc!r}", HOST)
    if refused is not None:
        return refused
    if parts.scheme == "https" and found["proto"] != "https":
        return Reached("the proxy does not say that people come by TLS", SCHEME)
    upload = await _fetch(base + PATH, method="POST", body=bytes(UPLOAD))
    if isinstance(upload, Reached):
        return upload
    if _json(upload).get("bytes") != UPLOAD:
        return Reached(f"a request of {UPLOAD // 1024**2} MB is answered {upload.code}", BODY)
    return Reached()


async def _fetch(url: str, **options: Any) -> HTTPResponse | Reached:
    client = SimpleAsyncHTTPClient(force_instance=True)
    asked = HTTPRequest(
        url, connect_timeout=TIMEOUT, request_timeout=TIMEOUT, follow_redirects=False, **options
    )
    try:
        return await client.fetch(asked, raise_error=False)
    except (OSError, HTTPTimeoutError, HTTPStreamClosedError, HTTPClientError) as error:
        return _unreachable(url, error)
    finally:
        client.close()


def _unreachable(url: str, error: Exception) -> Reached:
    parts = urlsplit(url)
    if isinstance(error, HTTPTimeoutError | TimeoutError):
        return Reached("no answer", f"let port {parts.port or parts.scheme} of {parts.hostname} through")
    if "CERTIFICATE" in str(error).upper():
        return Reached(
            f"its certificate is not trusted ({error})", "get one that browsers know, for this name"
        )
    return Reached(f"it can't be reached ({error})", f"start the proxy, and check the name {parts.hostname}")


async def _socket(url: str, base: str, headers: dict[str, str], *, echo: bool) -> Reached | None:
    """None if a websocket opens, with the origin that a page from there has."""
    parts = urlsplit(base)
    origin = {"Origin": f"{parts.scheme}://{parts.netloc}", **headers}
    asked = HTTPRequest("ws" + url.removeprefix("http"), headers=origin, connect_timeout=TIMEOUT)
    try:
        async with asyncio.timeout(TIMEOUT):
            opened = await websocket_connect(asked)
            try:
                if echo:
                    await opened.write_message(b"?", binary=True)
                    if await opened.read_message() != b"?":
                        return Reached("the proxy closes websockets", UPGRADE)
            finally:
                opened.close()
    except HTTPClientError as refused:
        if refused.code == 403:
            return Reached("websockets are refused as those of another site", HOST)
        return Reached(f"the proxy does not pass websockets on (it answers {refused.code})", UPGRADE)
    except (OSError, TimeoutError, HTTPTimeoutError, HTTPStreamClosedError) as error:
        return Reached(f"the proxy does not pass websockets on ({error or 'no answer'})", UPGRADE)
    return None


def _json(answer: HTTPResponse) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

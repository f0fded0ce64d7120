"""The HTTP side of a simulated person: one browser profile with its cookies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import quote, urlencode, urljoin, urlsplit

from tornado.httpclient import HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

MAX_REDIRECTS = 10
NAVIGATION = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
"""What a browser says when somebody goes to an address."""
REQUEST_TIMEOUT = 60.0
"""Seconds until a request is given up: generous, a cold server under load answers late."""


class LoginFailed(Exception):
    """The server did not take the personal link; the message has status and final URL without its query."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        value: object = json.loads(self.body)
        return value


class Browser:
    """Talks to one Jupyter server as one person: by token, or by the cookie a personal link gives.

    ``base_url`` is the server's root with its ``base_url`` part, such as ``http://127.0.0.1:8888/``.
    Nothing is sent before the first call. One profile may have many sockets.
    """

    def __init__(self, base_url: str, *, token: str | None = None) -> None:
        self.base_url = base_url.rstrip("/") + "/"
        self._token = token
        self._cookies: dict[str, str] = {}
        self._client: SimpleAsyncHTTPClient | None = None

    def close(self) -> None:
        """Give the HTTP client back; may be called twice."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def origin(self) -> str:
        """Scheme and host as a page of this server would send them."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    async def go(self, url: str) -> Answer:
        """Go to an address as a browser does when somebody clicks on it; redirects are not followed."""
        return await self._send("GET", url, None, dict(NAVIGATION))

    async def open_link(self, link: str, name: str | None = None) -> Answer:
        """Open a personal link as a browser does: follow redirects and keep the cookies.

        ``name`` is given where the link asks for one. Raises ``LoginFailed`` when the way ends anywhere but
        on a page (status 200) of the notebook's.
        """
        url, answer = await self._follow(await self.go(link), link)
        if answer.status == 200 and b'name="name"' in answer.body and name is not None:
            url, answer = await self._follow(await self.post_form(url, {"name": name}), url)
        path = urlsplit(url).path
        if answer.status != 200 or "/login" in path:
            raise LoginFailed(f"link refused: status {answer.status} at {path}")
        if path.endswith("/join"):
            raise LoginFailed(f"the link asks something: {answer.body.decode(errors='replace')[-2000:]}")
        return answer

    async def _follow(self, answer: Answer, url: str) -> tuple[str, Answer]:
        for _ in range(MAX_REDIRECTS):
            location = answer.headers.get("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not location:
                return url, answer
            url = urljoin(url, location)
            answer = await self.go(url)
        raise LoginFailed(f"more than {MAX_REDIRECTS} redirects")

    async def post_form(self, url: str, fields: Mapping[str, str]) -> Answer:
        """Send a page's form: its fields and the token that every form of the server has."""
        body = urlencode({"_xsrf": self._cookies.get("_xsrf", ""), **fields})
        headers = {"Origin": self.origin, "Content-Type": "application/x-www-form-urlencoded", **NAVIGATION}
        return await self._send("POST", url, body, headers)

    async def request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: object = None
    ) -> Answer:
        """Send a request to ``path`` below the base URL; ``body`` goes as JSON. Any status is an answer,
        only a lost connection raises (``OSError`` or tornado's ``HTTPError`` 599)."""
        url = self.base_url + path.lstrip("/") + (f"?{urlencode(params)}" if params else "")
        return await self._send(method, url, None if body is None else json.dumps(body), {})

    def take_cookies(self, other: Browser) -> None:
        """Have the cookies of another profile as well."""
        self._cookies |= other._cookies

    def socket_url(self, path: str, params: Mapping[str, str]) -> str:
        """The websocket's address of ``path``, with the token if the person logs in by token."""
        query = dict(params)
        if self._token:
            query["token"] = self._token
        base = "ws" + self.base_url.removeprefix("http")
        return base + path.lstrip("/") + (f"?{urlencode(query)}" if query else "")

    def socket_headers(self) -> dict[str, str]:
        """Headers of a websocket handshake, as a page sends them."""
        return {"Cookie": self._cookie_header()} if self._cookies else {}

    def _cookie_header(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self._cookies.items())

    async def _send(self, method: str, url: str, body: str | None, headers: dict[str, str]) -> Answer:
        if self._cookies:
            headers["Cookie"] = self._cookie_header()
        if self._token:
            headers["Authorization"] = f"token {self._token}"
        elif "_xsrf" in self._cookies:
            headers["X-XSRFToken"] = self._cookies["_xsrf"]
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if self._client is None:
            # made here, not in the constructor: it belongs to the running event loop
            self._client = SimpleAsyncHTTPClient(force_instance=True)
        response = await self._client.fetch(
            HTTPRequest(
                url,
                method=method,
                headers=headers,
                body=body,
                follow_redirects=False,
                allow_nonstandard_methods=True,
                connect_timeout=REQUEST_TIMEOUT,
                request_timeout=REQUEST_TIMEOUT,
            ),
            raise_error=False,
        )
        if response.code == 599:
            response.rethrow()
        self._keep_cookies(response.headers.get_list("Set-Cookie"))
        return Answer(response.code, dict(response.headers.items()), response.body or b"")

    def _keep_cookies(self, lines: list[str]) -> None:
        for line in lines:
            jar: SimpleCookie = SimpleCookie(line)
            for name, morsel in jar.items():
                if morsel["max-age"] == "0" or not morsel.value:
                    self._cookies.pop(name, None)
                else:
                    # coded_value: sent back byte for byte, quotes of signed cookies included
                    self._cookies[name] = morsel.coded_value


def quote_path(path: str) -> str:
    """A notebook's path as one part of a URL, as the front end's ``encodeURIComponent`` makes it."""
    return quote(path, safe="")

"""A simulated browser keeps cookies, follows redirects, and says when a link is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from jupyter_collab_ext.simulated import Browser, LoginFailed


class Link(RequestHandler):
    """Logs in and leads on."""

    def get(self) -> None:
        self.set_cookie("login", "who|1")
        self.set_signed_cookie("signed", "value")
        self.redirect("page" if self.get_argument("good", "") else "/base/login?next=x")


class Page(RequestHandler):
    """Shows what came."""

    def get(self) -> None:
        self.set_cookie("_xsrf", "abc")
        self.finish("page")

    def put(self) -> None:
        names = ("Cookie", "X-Xsrftoken", "Authorization", "Content-Type")
        self.finish(
            {name: self.request.headers.get(name, "") for name in names}
            | {"body": self.request.body.decode()}
        )

    def delete(self) -> None:
        self.clear_cookie("login")
        self.set_status(204)


@pytest.fixture
async def base() -> AsyncIterator[str]:
    routes = [(r"/base/link", Link), (r"/base/page", Page), (r"/base/login", Page)]
    server: HTTPServer = Application(routes, cookie_secret="s" * 32).listen(0, "127.0.0.1")
    (socket,) = server._sockets.values()
    yield f"http://127.0.0.1:{socket.getsockname()[1]}/base"
    server.stop()
    await server.close_all_connections()


async def test_a_link_logs_in_by_cookie(base: str) -> None:
    browser = Browser(base)
    answer = await browser.open_link(f"{base}/link?good=1")
    assert answer.body == b"page"
    said = (await browser.request("PUT", "page", body={"a": 1})).json()
    assert isinstance(said, dict)
    assert 'login="who|1"' in said["Cookie"] or "login=who|1" in said["Cookie"]
    assert "signed=" in said["Cookie"]
    assert said["X-Xsrftoken"] == "abc"
    assert said["Authorization"] == ""
    assert said["body"] == '{"a": 1}'
    assert "login=" in browser.socket_headers()["Cookie"]
    await browser.request("DELETE", "page")
    assert "login=" not in browser.socket_headers()["Cookie"]


async def test_a_refused_link_is_an_error_without_its_secret(base: str) -> None:
    with pytest.raises(LoginFailed) as refused:
        await Browser(base).open_link(f"{base}/link?secret=hush")
    assert "hush" not in str(refused.value)


async def test_a_token_goes_with_every_request(base: str) -> None:
    browser = Browser(base, token="t0k")
    said = (await browser.request("PUT", "page")).json()
    assert isinstance(said, dict)
    assert said["Authorization"] == "token t0k"
    assert said["X-Xsrftoken"] == ""
    assert browser.socket_url("room/x", {"sessionId": "1"}).endswith("/base/room/x?sessionId=1&token=t0k")
    assert browser.socket_headers() == {}
    assert browser.origin == base.removesuffix("/base")

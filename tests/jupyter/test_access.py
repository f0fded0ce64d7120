"""Every endpoint of a running server, times everybody who may knock, times whose things they want.

``COLLAB_TABLE=docs/access-table.md`` writes what was measured; without it, the file must say the same.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from jupyter_server.services.shutdown import ShutdownHandler
from jupyterlab.handlers.announcements import CheckForUpdateHandler, NewsHandler
from jupyterlab.handlers.build_handler import BuildHandler
from jupyterlab.handlers.extension_manager_handler import ExtensionHandler
from jupyterlab.handlers.plugin_manager_handler import PluginHandler
from tornado import web
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import HTTPStreamClosedError, SimpleAsyncHTTPClient
from tornado.websocket import websocket_connect

from jupyter_collab_ext.doors import DOORS, FOR_ORGANISERS, endpoint_of
from jupyter_collab_ext.simulated import Browser
from tests.support import access
from tests.support.access import ACTORS, ROWS, Row
from tests.support.access_table import whose, write_or_compare
from tests.support.fake_kernels import Books
from tests.support.jupyter_wait import closed
from tests.support.people_here import Event
from tests.support.two_groups import FOLDERS, LONG_AGO, OUTSIDE, change, logged_in

pytestmark = [
    # Jupyter says so of terminals' sockets, which ask for a login by themselves.
    pytest.mark.filterwarnings("ignore::jupyter_server.utils.JupyterServerAuthWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # many of jupyter_lsp's, which asks traitlets
    pytest.mark.timeout(300),
]

HEAVY = {
    ShutdownHandler: ("post",),
    BuildHandler: ("post", "delete"),
    NewsHandler: ("get",),
    CheckForUpdateHandler: ("get",),
    ExtensionHandler: ("get", "post"),
    PluginHandler: ("get", "post"),
}
"""What would end the server, build JupyterLab or ask the internet, when somebody gets through to it."""
NOT_LOGGED_IN = ("revoked", "expired", "no login")


@dataclass
class Knocking:
    """Everybody, logged in while they still could."""

    browsers: dict[str, Browser]
    root: Path
    books: Books
    file_ids: Any
    client: SimpleAsyncHTTPClient

    async def ask(self, row: Row, actor: str, folder: str) -> int:
        """The status of the answer; 101 for a websocket that opens."""
        await self.books.reset()
        self._restore(folder or OUTSIDE)
        browser = self.browsers[actor]
        headers = {"Referer": browser.base_url, "Origin": browser.origin, **browser.socket_headers()}
        if actor == "server token":
            headers["Authorization"] = f"token {browser._token}"
        else:
            headers["X-XSRFToken"] = browser._cookies.get("_xsrf", "")
        url = browser.base_url + self._filled(row.path, folder)
        if row.socket:
            return await _handshake(url, headers)
        body = None if row.body is None else self._filled(json.dumps(row.body(folder)), folder)
        asked = HTTPRequest(
            url,
            method=row.method,
            headers=headers,
            body=body,
            follow_redirects=False,
            allow_nonstandard_methods=True,
        )
        try:
            answer = await self.client.fetch(asked, raise_error=False)
        except HTTPStreamClosedError:
            return 599
        if answer.code in (301, 302) and "/login" in urlsplit(answer.headers["Location"]).path:
            return 302 if row.endpoint in ("LogoutHandler", "RedirectWithParams") else 403
        return int(answer.code)

    def _restore(self, folder: str) -> None:
        for name in ("mine.txt", "notes.txt"):
            for place in {folder, "group-1"}:
                (self.root / place / name).write_text("text\n")
        for place in FOLDERS:
            for left in (self.root / place).iterdir():
                if left.is_file() and left.name not in ("mine.txt", "notes.txt", "work.ipynb"):
                    left.unlink()
        for place in FOLDERS:
            checkpoints = self.root / place / ".ipynb_checkpoints"
            checkpoints.mkdir(exist_ok=True)
            (checkpoints / "notes-checkpoint.txt").write_text("before\n")

    def _filled(self, text: str, folder: str) -> str:
        if not folder:
            return text
        text = text.replace("{t}", folder).replace("{k}", self.books.kernel(folder))
        text = text.replace("{s}", self.books.session(folder))
        return text.replace("{f}", self.file_ids.index(f"{folder}/work.ipynb"))


async def _handshake(url: str, headers: dict[str, str]) -> int:
    try:
        socket = await websocket_connect(HTTPRequest("ws" + url.removeprefix("http"), headers=headers))
    except HTTPClientError as error:
        return 403 if error.code == 302 else int(error.code)
    # A room's own refusal comes as a close frame, since stock clients look there.
    message = await socket.read_message() if "/room/json" in url else ""
    code = socket.close_code  # None while it is open
    socket.close()
    await closed(socket)
    return 404 if message is None and code == 4404 else 101


@pytest_asyncio.fixture
async def knocking(
    two_groups: Event, jp_serverapp: Any, jp_root_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Knocking]:
    async def stub(self: Any, *args: Any, **kwargs: Any) -> None:
        self.finish("done")

    for handler, methods in HEAVY.items():
        for method in methods:
            monkeypatch.setattr(handler, method, web.authenticated(stub))
    (jp_root_dir / ".state").mkdir()
    (jp_root_dir / ".state" / "people.json").write_text("{}")
    browsers = {actor: await logged_in(two_groups, who) for actor, who in ACTORS.items()}
    change(two_groups, ACTORS["revoked"], revoked=True)
    change(two_groups, ACTORS["expired"], issued=LONG_AGO)
    books = Books(jp_serverapp, monkeypatch)
    async with AsyncExitStack() as stack:
        for browser in browsers.values():
            stack.callback(browser.close)
        client = SimpleAsyncHTTPClient(force_instance=True)
        stack.callback(client.close)
        stack.callback(books.forget)
        yield Knocking(browsers, jp_root_dir, books, jp_serverapp.web_app.settings["file_id_manager"], client)


def right(row: Row, actor: str, folder: str, status: int) -> bool:
    """Whether an answer is what the table wants."""
    if actor in row.who[folder]:
        return status in row.ok
    if actor in NOT_LOGGED_IN:
        return status == 403
    if all(actor not in may for may in row.who.values()):
        return status in row.no  # not theirs to do, whatever it is about
    if folder and actor not in access.READ[folder]:
        return status == 404  # as if it did not exist
    return status in row.no


async def test_every_endpoint_for_everybody(knocking: Knocking) -> None:
    wrong, lines = [], []
    for row in sorted(ROWS, key=lambda row: row.endpoint == "LogoutHandler"):  # last: it ends logins
        for folder in row.who:
            cells = []
            for actor in ACTORS:
                status = await knocking.ask(row, actor, folder)
                if not right(row, actor, folder, status):
                    wrong.append(f"{row} of {folder or 'nobody'} by {actor}: {status}")
                cells.append("yes" if actor in row.who[folder] else f"no ({status})")
            lines.append(f"| `{row}` | {whose(folder)} | {' | '.join(cells)} |")
    assert not wrong, "\n".join(wrong)
    write_or_compare("Endpoints", lines)


async def test_no_endpoint_is_missing_from_the_table(knocking: Knocking, jp_serverapp: Any) -> None:
    named = {(row.endpoint, row.method) for row in ROWS}
    missing, unclassified = [], []
    for pattern, handler in access.endpoints(jp_serverapp.web_app.default_router):
        name = endpoint_of(handler)
        if name not in DOORS and name not in FOR_ORGANISERS:
            unclassified.append(f"{name} at {pattern}")
        missing += [
            f"{method} {pattern} ({handler.__name__})"
            for method in access.answered(handler)
            if (handler.__name__, method) not in named
        ]
    assert not unclassified, "a new endpoint: say in doors.py who may use it\n" + "\n".join(unclassified)
    assert not missing, "\n".join(sorted(missing))
    served = {handler.__name__ for _, handler in access.endpoints(jp_serverapp.web_app.default_router)}
    assert {row.endpoint for row in ROWS} <= served, "a row of nothing"

"""Swapping handlers of the server for others."""

from __future__ import annotations

import json
from typing import Any

from jupyter_server.services.contents.handlers import ContentsHandler
from jupyter_server.services.shutdown import ShutdownHandler

from jupyter_collab_ext.routing import SubstitutingRouter, substitute
from tests.support.jupyter_wait import refused


class Ours(ContentsHandler):
    """Says so."""

    async def get(self, path: str = "") -> None:
        """As the real one takes its arguments."""
        self.finish(json.dumps({"ours": path, "kwargs": self.path_kwargs}))


class Refusing(ShutdownHandler):
    """Never shuts down."""

    async def post(self) -> None:
        """Refuse."""
        self.set_status(418)


async def test_a_substitute_gets_the_url_s_arguments(jp_fetch: Any, server: Any) -> None:
    substitute(server.web_app, {ContentsHandler: Ours})
    answer = json.loads((await jp_fetch("api/contents", "folder", "my file.txt")).body)
    assert answer["ours"] == "/folder/my file.txt"


async def test_substitutes_add_up(jp_fetch: Any, server: Any) -> None:
    substitute(server.web_app, {ContentsHandler: Ours})
    substitute(server.web_app, {ShutdownHandler: Refusing})
    routers = [
        rule for rule in server.web_app.default_router.rules if isinstance(rule.target, SubstitutingRouter)
    ]
    assert len(routers) == 1
    assert json.loads((await jp_fetch("api/contents")).body)["ours"] == ""
    assert await refused(jp_fetch("api/shutdown", method="POST", body="")) == 418


async def test_others_stay_as_they_are(jp_fetch: Any, server: Any) -> None:
    substitute(server.web_app, {ContentsHandler: Ours})
    assert json.loads((await jp_fetch("api/status")).body)["started"]
    assert await refused(jp_fetch("no/such/page")) == 404

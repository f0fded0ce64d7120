"""JupyterLab's page: stock buttons off, and no token for people."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from tornado.web import RequestHandler

from jupyter_collab_ext import pages
from jupyter_collab_ext.extension import JupyterCollab
from notebook_sync.core.ids import UserId
from notebook_sync.core.roles import Member, Role

pytest.importorskip("jupyterlab")


@pytest.fixture
def extensions() -> dict[str, bool]:
    """With JupyterLab."""
    return {
        "jupyter_collab_ext": True,
        "jupyter_server_fileid": True,
        "jupyter_server_terminals": False,
        "jupyterlab": True,
    }


@pytest.fixture
def jp_server_config(jp_server_config: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """JupyterLab with folders of its own, and a labextension that disables another."""
    labextension = tmp_path / "labextensions" / "somebody-s"
    labextension.mkdir(parents=True)
    package = {
        "name": "somebody-s",
        "version": "1.0.0",
        "jupyterlab": {"_build": {"load": "static/x.js"}, "disabledExtensions": ["@other/extension:plugin"]},
    }
    (labextension / "package.json").write_text(json.dumps(package))
    jp_server_config["LabApp"] = {
        "extra_labextensions_path": [str(labextension.parent)],
        "user_settings_dir": str(tmp_path / "settings"),
        "workspaces_dir": str(tmp_path / "workspaces"),
    }
    return jp_server_config


async def page_config(jp_fetch: Any, *parts: str) -> dict[str, Any]:
    """The configuration in JupyterLab's page."""
    answer = await jp_fetch(*(parts or ("lab",)))
    found = re.search(
        r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', answer.body.decode(), re.DOTALL
    )
    assert found is not None
    config = json.loads(found.group(1))
    assert isinstance(config, dict)
    return config


async def test_stock_buttons_are_off(jp_fetch: Any, server: Any) -> None:
    config = await page_config(jp_fetch)
    assert {pages.SHARE_BUTTON, pages.TIMELINE} <= set(config["disabledExtensions"])


async def test_what_labextensions_disable_stays_disabled(jp_fetch: Any, server: Any) -> None:
    config = await page_config(jp_fetch)
    assert "@other/extension:plugin" in config["disabledExtensions"]


async def test_page_config_has_the_stock_defaults(jp_fetch: Any, server: Any) -> None:
    config = await page_config(jp_fetch)
    assert config["disableRTC"] in (False, "false")
    assert config["serverSideExecution"] in (False, "false")


async def test_a_page_twice_does_not_list_twice(jp_fetch: Any, server: Any) -> None:
    await page_config(jp_fetch)
    listed = (await page_config(jp_fetch))["disabledExtensions"]
    assert len(listed) == len(set(listed))


async def test_the_token_stays_without_people_mode(jp_fetch: Any, server: Any) -> None:
    assert (await page_config(jp_fetch))["token"] == server.identity_provider.token


class TestPeopleMode:
    """With personal links."""

    @pytest.fixture
    def collab_config(self) -> dict[str, Any]:
        return {"people": True}

    async def test_no_page_holds_the_token(self, jp_fetch: Any, server: Any) -> None:
        token = server.identity_provider.token
        assert token
        for parts in (("lab",), ("lab", "tree", "x.ipynb"), ("lab", "doc")):
            config = await page_config(jp_fetch, *parts)
            assert config["token"] == ""
            assert token not in json.dumps(config)

    async def test_nor_does_any_other_program_s_page(
        self, monkeypatch: pytest.MonkeyPatch, collab: JupyterCollab, server: Any
    ) -> None:
        class TreeHandler(RequestHandler):
            def get_page_config(self) -> dict[str, Any]:
                return {"token": server.identity_provider.token}

        notebook = types.ModuleType("notebook.app")
        notebook.TreeHandler = TreeHandler  # type: ignore[attr-defined]  # as the real one has it
        notebook.other = RequestHandler  # type: ignore[attr-defined]  # has no page config
        monkeypatch.setitem(sys.modules, "notebook", types.ModuleType("notebook"))
        monkeypatch.setitem(sys.modules, "notebook.app", notebook)
        monkeypatch.setattr(pages, "member_of", lambda handler: Member(UserId("ann"), Role.PARTICIPANT))
        table = pages.substitutes(collab)
        ours: Any = table[TreeHandler]
        assert RequestHandler not in table
        config = ours.get_page_config(object.__new__(ours))
        assert config["token"] == ""
        assert config["terminalsAvailable"] is False

    async def test_nobody_is_asked_about_news_or_kernels(self, jp_fetch: Any, server: Any) -> None:
        answer = await jp_fetch("lab", "api", "settings", "@jupyterlab/apputils-extension:notification")
        schema = json.loads(answer.body)["schema"]["properties"]
        assert schema["fetchNews"]["default"] == "false"
        assert schema["checkForUpdates"]["default"] is False
        answer = await jp_fetch("lab", "api", "settings", "@jupyterlab/notebook-extension:tracker")
        assert json.loads(answer.body)["schema"]["properties"]["autoStartDefaultKernel"]["default"] is True

"""JupyterLab's page: what of the ecosystem's front end is switched off, and what a person must not see.

``page_config_data`` is one dict for all requests, and JupyterLab overwrites its ``disabledExtensions``
with what labextensions on disk say; so the page's handler is replaced by one that adds to the result.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from jupyter_server.utils import ensure_async
from tornado.web import RequestHandler

from jupyter_collab_ext.identity import member_of, person_of
from notebook_sync.core.roles import Action, may

if TYPE_CHECKING:
    from jupyter_collab_ext.extension import JupyterCollab

SHARE_BUTTON = "@jupyter/collaboration-extension:shared-link"
"""Offers a link that holds the server's token."""
TIMELINE = "@jupyter/docprovider-extension:statusBarTimeline"
"""Needs endpoints that this server does not have."""
DISABLED = (SHARE_BUTTON, TIMELINE)
"""Front end plugins that are switched off on this server's pages."""
EXTENSION_MANAGER = "@jupyterlab/extensionmanager-extension:plugin"
"""Installs packages into the server: for organisers only."""

QUIET_SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"autoStartDefaultKernel": True},
}
"""Defaults of settings in people mode: nobody is asked about news, or which kernel to start."""


def with_disabled(listed: object, more: Iterable[str]) -> list[str]:
    """The page's ``disabledExtensions`` (a list, or a dict of flags) with ``more`` added."""
    names = [name for name, on in listed.items() if on] if isinstance(listed, dict) else list(listed or [])  # type: ignore[call-overload]  # JSON
    return [*names, *(name for name in more if name not in names)]


def substitutes(app: JupyterCollab) -> dict[type[RequestHandler], type[RequestHandler]]:
    """JupyterLab's and Notebook's handlers and ours in their place; empty when neither is installed."""
    table = {
        base: _page_handler(base, app)
        for module in ("jupyterlab_server.handlers", "notebook.app")
        for base in _pages_of(module)
    }
    if app.people:
        with contextlib.suppress(ImportError):
            from jupyterlab_server.settings_handler import SettingsHandler
            from jupyterlab_server.workspaces_handler import WorkspacesHandler

            people = Path(app.state_dir) / "people"
            table[SettingsHandler] = _settings_handler(SettingsHandler, people)
            table[WorkspacesHandler] = _workspaces_handler(WorkspacesHandler, people)
    return table


def _pages_of(module: str) -> list[type[RequestHandler]]:
    """The handlers of a module that put a configuration, and with it the server's token, into a page."""
    try:
        found = vars(importlib.import_module(module))
    except ImportError:
        return []
    return [
        handler
        for handler in found.values()
        if isinstance(handler, type)
        and issubclass(handler, RequestHandler)
        and hasattr(handler, "get_page_config")
    ]


def _page_handler(base: Any, app: JupyterCollab) -> type[RequestHandler]:
    class CollabPageHandler(base):  # type: ignore[misc]  # the base is only known when JupyterLab is installed
        """The page with our additions."""

        def get_page_config(self) -> dict[str, Any]:
            """A copy for this request."""
            config = dict(super().get_page_config())
            config["disabledExtensions"] = with_disabled(config.get("disabledExtensions"), DISABLED)
            if app.people:
                self._hide_from_people(config)
            return config

        def _hide_from_people(self, config: dict[str, Any]) -> None:
            # JupyterLab puts the server's token into the page: with it everybody would be organiser.
            config["token"] = ""
            if not may(member_of(self).role, Action.MANAGE):
                config["terminalsAvailable"] = False
                config["disabledExtensions"].append(EXTENSION_MANAGER)

    CollabPageHandler.__name__ = CollabPageHandler.__qualname__ = f"Collab{base.__name__}"
    return CollabPageHandler


class TokenlessTemplate(jinja2.Template):
    """A page of Jupyter's own, without the token that its base template offers to who is logged in."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        """As jinja2 does, whatever the handler passes as ``token``."""
        return super().render(*args, **{**kwargs, "token": ""})


def hide_token(settings: Mapping[str, Any]) -> None:
    """Keep the server's token out of all templates: error pages hold it too. May be called again."""
    for value in settings.values():
        if isinstance(value, jinja2.Environment) and value.template_class is not TokenlessTemplate:
            value.template_class = TokenlessTemplate
            if value.cache is not None:
                value.cache.clear()


def _folder(handler: Any, people: Path, name: str) -> str | None:
    """A folder of the person's own; None for somebody who is nobody of the roster, or not logged in."""
    person = person_of(handler)
    if person is None:
        return None
    folder = people / person.id / name
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def _workspaces_handler(base: Any, people: Path) -> type[RequestHandler]:
    from jupyterlab_server.workspaces_handler import WorkspacesManager

    class CollabWorkspacesHandler(base):  # type: ignore[misc]  # as above
        """One person's layout is nobody else's."""

        async def prepare(self) -> None:
            await ensure_async(super().prepare())
            folder = _folder(self, people, "workspaces")
            if folder is not None:
                self.manager = WorkspacesManager(folder)

    return CollabWorkspacesHandler


def _settings_handler(base: Any, people: Path) -> type[RequestHandler]:
    class CollabSettingsHandler(base):  # type: ignore[misc]  # as above
        """Settings of each person's own, with defaults that ask people nothing."""

        async def prepare(self) -> None:
            await ensure_async(super().prepare())
            handler: Any = self
            handler.settings_dir = _folder(handler, people, "settings") or handler.settings_dir
            overrides = {name: dict(values) for name, values in handler.overrides.items()}
            for name, values in QUIET_SETTINGS.items():
                overrides[name] = {**values, **overrides.get(name, {})}
            handler.overrides = overrides

    return CollabSettingsHandler

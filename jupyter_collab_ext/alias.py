"""Answering to the name ``jupyter_server_ydoc``.

jupyterlab-chat, jupyter-server-nbmodel and jupyter-mcp-server look that name up in the extension
manager and in the web app's settings. When the real package is installed and enabled, putting the
alias in its place keeps its app from being linked and loaded, so its routes and event schemas are
never there twice; this does not depend on the order in which extensions load.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.extension.manager import ExtensionPackage, ExtensionPoint
from jupyter_server.serverapp import ServerApp

import jupyter_collab_ext

ALIAS = "jupyter_server_ydoc"

_make_package: Any = ExtensionPackage  # it has no types


class AliasPoint(ExtensionPoint):
    """An extension point of another name whose app is ours; our own point does all the work."""

    @property
    def name(self) -> str:
        """The name of the extension that we stand for."""
        return ALIAS

    @property
    def linked(self) -> bool:
        """Always: there is nothing to link."""
        return True

    def link(self, serverapp: ServerApp) -> None:
        """Do nothing."""

    def load(self, serverapp: ServerApp) -> ExtensionApp | None:
        """Do nothing; the app is loaded by its own point."""
        app: ExtensionApp | None = self.app
        return app

    async def start(self, serverapp: ServerApp) -> None:
        """Do nothing."""


def take_place(serverapp: ServerApp, app: ExtensionApp) -> bool:
    """Make ``jupyter_server_ydoc`` mean ``app`` to the extension manager. True if that was enabled."""
    extensions: dict[str, Any] = serverapp.extension_manager.extensions
    replaced = extensions.get(ALIAS)
    point = AliasPoint(metadata={"module": "jupyter_collab_ext", "name": ALIAS})
    point._app = app
    package: Any = _make_package(name=ALIAS, enabled=False)
    package.enabled = True
    package.module = jupyter_collab_ext
    package.extension_points = {ALIAS: point}
    extensions[ALIAS] = package
    return bool(replaced is not None and replaced.enabled)

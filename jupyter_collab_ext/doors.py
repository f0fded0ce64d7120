"""All endpoints that people who are not organisers get through to, by name; whatever is not here is closed.

Jupyter asks its Authorizer only where a handler says so. The extension manager (which installs
packages), settings, workspaces, language servers and others do not, and neither does whatever else is
installed. So each handler class is named here, with what a role must allow to look (GET, HEAD,
OPTIONS), to change (every other method) and to open a websocket, and with the things that it must
find within the person's reach. Some also ask the Authorizer, or look for themselves: a second lock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jupyter_collab_ext import scopes
from jupyter_collab_ext.reach import Reach
from notebook_sync.core.roles import Action

Scope = Callable[[Any, Reach], Awaitable[bool]]
"""Whether what a request is about lies within a person's reach; ``False`` is answered with 404."""


@dataclass(frozen=True, slots=True)
class Door:
    """What a role must allow for each kind of request; None: it is closed."""

    look: Action | None = None
    change: Action | None = None
    socket: Action | None = None
    scope: Scope = scopes.nothing


PAGE = Door(look=Action.READ)
"""The same for everybody: pages, files of the front end, facts about the server."""
ANYBODY = Door(look=Action.READ, change=Action.READ)
"""Logging in and out, complaints, and what only concerns oneself."""
CONTENTS = Door(look=Action.READ, change=Action.EDIT, scope=scopes.path)

OURS = {
    "jupyter_collab_ext.websocket.RoomHandler": Door(socket=Action.READ),  # it looks for itself
    "jupyter_collab_ext.rest.session.SessionHandler": Door(change=Action.READ, scope=scopes.document),
    "jupyter_collab_ext.rest.absent.AbsentHandler": Door(look=Action.READ, change=Action.EDIT),
    "jupyter_collab_ext.rest.join.JoinHandler": ANYBODY,
    "jupyter_collab_ext.rest.versions.VersionsHandler": Door(
        look=Action.READ, change=Action.RESTORE, scope=scopes.own_path
    ),
}
SERVER = {
    "jupyter_server.auth.login.LegacyLoginHandler": ANYBODY,
    "jupyter_server.auth.login.LoginFormHandler": ANYBODY,
    "jupyter_server.auth.logout.LogoutHandler": PAGE,
    "jupyter_server.base.handlers.APIVersionHandler": PAGE,
    "jupyter_server.base.handlers.AuthenticatedFileHandler": PAGE,  # its substitute looks for itself
    "jupyter_server.base.handlers.FileFindHandler": PAGE,
    "jupyter_server.base.handlers.MainHandler": PAGE,
    "jupyter_server.base.handlers.PublicStaticFileHandler": PAGE,
    "jupyter_server.base.handlers.RedirectWithParams": PAGE,
    "jupyter_server.base.handlers.Template404": PAGE,
    "jupyter_server.base.handlers.TrailingSlashHandler": ANYBODY,
    "jupyter_server.files.handlers.FilesHandler": Door(look=Action.READ, scope=scopes.path),
    "jupyter_server.kernelspecs.handlers.KernelSpecResourceHandler": PAGE,
    "jupyter_server.nbconvert.handlers.NbconvertFileHandler": Door(look=Action.READ, scope=scopes.path),
    "jupyter_server.nbconvert.handlers.NbconvertPostHandler": Door(change=Action.EDIT),
    "jupyter_server.services.api.handlers.APISpecHandler": PAGE,
    "jupyter_server.services.api.handlers.APIStatusHandler": PAGE,
    "jupyter_server.services.api.handlers.IdentityHandler": ANYBODY,
    "jupyter_server.services.api.handlers.PathResolverHandler": Door(
        look=Action.READ, scope=scopes.kernel_in_query
    ),
    "jupyter_server.services.config.handlers.ConfigHandler": PAGE,
    "jupyter_server.services.contents.handlers.CheckpointsHandler": CONTENTS,
    "jupyter_server.services.contents.handlers.ContentsHandler": CONTENTS,
    "jupyter_server.services.contents.handlers.ModifyCheckpointsHandler": CONTENTS,
    "jupyter_server.services.contents.handlers.NotebooksRedirectHandler": Door(
        look=Action.READ, change=Action.EDIT
    ),
    "jupyter_server.services.contents.handlers.TrustNotebooksHandler": CONTENTS,
    "jupyter_server.services.events.handlers.SubscribeWebsocket": Door(socket=Action.READ),  # as above
    "jupyter_server.services.kernels.handlers.KernelActionHandler": Door(
        change=Action.RUN, scope=scopes.kernel
    ),
    "jupyter_server.services.kernels.handlers.KernelHandler": Door(
        look=Action.READ, change=Action.RUN, scope=scopes.kernel
    ),
    "jupyter_server.services.kernels.handlers.MainKernelHandler": Door(
        look=Action.READ, change=Action.RUN, scope=scopes.new_kernel
    ),
    "jupyter_server.services.kernels.websocket.KernelWebsocketHandler": Door(
        socket=Action.READ, scope=scopes.kernel
    ),
    "jupyter_server.services.kernelspecs.handlers.KernelSpecHandler": PAGE,
    "jupyter_server.services.kernelspecs.handlers.MainKernelSpecHandler": PAGE,
    "jupyter_server.services.nbconvert.handlers.NbconvertRootHandler": PAGE,
    "jupyter_server.services.security.handlers.CSPReportHandler": ANYBODY,
    # What an observer may do to sessions is the Authorizer's question: he may open the notebook's.
    "jupyter_server.services.sessions.handlers.SessionHandler": Door(
        look=Action.READ, change=Action.READ, scope=scopes.session
    ),
    "jupyter_server.services.sessions.handlers.SessionRootHandler": Door(
        look=Action.READ, change=Action.READ, scope=scopes.new_session
    ),
    "jupyter_server.view.handlers.ViewHandler": Door(look=Action.READ, scope=scopes.path),
    "jupyter_server_fileid.handler.FileIDHandler": Door(look=Action.READ, scope=scopes.path_in_query),
    "jupyter_server_fileid.handler.FilePathHandler": Door(look=Action.READ, scope=scopes.id_in_query),
}
FRONT_END = {
    "jupyter_lsp.handlers.LanguageServersHandler": PAGE,  # its substitute says that there are none
    "jupyterlab.handlers.build_handler.BuildHandler": PAGE,
    "jupyterlab_server.handlers.LabHandler": PAGE,
    "jupyterlab_server.handlers.NotFoundHandler": PAGE,
    "jupyterlab_server.licenses_handler.LicensesHandler": PAGE,
    "jupyterlab_server.listings_handler.ListingsHandler": PAGE,
    "jupyterlab_server.settings_handler.SettingsHandler": ANYBODY,  # its substitute: of one's own
    "jupyterlab_server.themes_handler.ThemesHandler": PAGE,
    "jupyterlab_server.translations_handler.TranslationsHandler": PAGE,
    "jupyterlab_server.workspaces_handler.WorkspacesHandler": ANYBODY,  # its substitute: of one's own
    "notebook.app.CustomCssHandler": PAGE,
    "notebook.app.FileHandler": PAGE,
    "notebook.app.NotebookHandler": PAGE,
    "notebook.app.TreeHandler": PAGE,
}
DOORS: Mapping[str, Door] = MappingProxyType(OURS | SERVER | FRONT_END)
"""Class of the handler -> what it takes to get there."""
FOR_ORGANISERS = frozenset(
    {
        "jupyter_collab_ext.rest.status.StatusHandler",
        "jupyter_lsp.handlers.LanguageServerWebSocketHandler",
        "jupyter_server.base.handlers.PrometheusMetricsHandler",
        "jupyter_server.services.events.handlers.EventHandler",
        "jupyter_server.services.shutdown.ShutdownHandler",
        "jupyter_server_terminals.api_handlers.TerminalHandler",
        "jupyter_server_terminals.api_handlers.TerminalRootHandler",
        "jupyter_server_terminals.handlers.TermSocket",
        "jupyterlab.handlers.announcements.CheckForUpdateHandler",
        "jupyterlab.handlers.announcements.NewsHandler",
        "jupyterlab.handlers.extension_manager_handler.ExtensionHandler",
        "jupyterlab.handlers.plugin_manager_handler.PluginHandler",
    }
)
"""Closed on purpose. The rest is closed because nobody thought of it yet; the tests tell."""


def endpoint_of(cls: type) -> str:
    """The name under which a handler class is known: its own, or that of what our substitute stands for.

    A class of somebody else's is not opened by what it inherits.
    """
    first = cls
    for candidate in cls.__mro__:
        name = f"{candidate.__module__}.{candidate.__qualname__}"
        if name in DOORS or name in FOR_ORGANISERS:
            return name
        first = candidate
        if not candidate.__module__.startswith("jupyter_collab_ext."):
            break
    return f"{first.__module__}.{first.__qualname__}"

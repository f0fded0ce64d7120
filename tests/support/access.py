"""Who may do what: a table written by hand, against which a running server is held, cell by cell.

It knows nothing of how the server decides. A row is a request; what must come of it depends on who
asks, and on whose things it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tornado.routing import Router, Rule
from tornado.web import RequestHandler

from tests.support.two_groups import DATA, OTHER, OUTSIDE, OWN

ACTORS = {
    "tutor": "tutor-1",
    "participant": "participant-1",
    "observer": "observer-1",
    "organiser": "organiser-1",
    "server token": "token",
    "other group": "participant-4",
    "revoked": "participant-2",
    "expired": "participant-3",
    "no login": "nobody",
}
"""Column -> who it is; the first three are of group 1."""
EVERYBODY = frozenset(ACTORS)
PEOPLE = EVERYBODY - {"revoked", "expired", "no login"}
HOSTS = frozenset({"organiser", "server token"})
NOBODY: frozenset[str] = frozenset()

Targets = dict[str, frozenset[str]]
"""Whose thing a request is about -> who may."""


def _of(readers: set[str], data: frozenset[str]) -> Targets:
    other = {"other group"} if "participant" in readers else set()
    return {OWN: HOSTS | readers, OTHER: HOSTS | other, DATA: HOSTS | data, OUTSIDE: HOSTS}


READ = _of({"tutor", "participant", "observer"}, PEOPLE)
EDIT = _of({"tutor", "participant"}, NOBODY)
RUN = _of({"tutor", "participant"}, frozenset({"tutor", "participant", "other group"}))
FROM_OWN: Targets = {
    OWN: HOSTS | {"tutor", "participant"},
    OTHER: HOSTS,
    DATA: HOSTS | {"tutor", "participant"},
    OUTSIDE: HOSTS,
}
"""Into group 1's folder, of something that lies elsewhere."""
INTO_OWN: Targets = {**FROM_OWN, DATA: HOSTS}
OPEN = READ
"""An observer may open the notebook's session: the kernel belongs to the notebook."""
ALL: Targets = {"": PEOPLE}
PUBLIC: Targets = {"": EVERYBODY}
NO_XSRF: Targets = {"": EVERYBODY - {"no login"}}
"""Anybody who has seen a page of the server before."""
BY_COOKIE: Targets = {"": NO_XSRF[""] - {"server token"}}
EDITORS: Targets = {"": PEOPLE - {"observer"}}
HOST: Targets = {"": HOSTS}

Body = Callable[[str], Any]


@dataclass(frozen=True)
class Row:
    """A request; ``{t}`` in the path is the folder, ``{k}`` and ``{s}`` its kernel and session, ``{f}`` the
    notebook's file id. ``ok``: the statuses of an answer to somebody who may."""

    endpoint: str
    method: str
    path: str
    who: Targets
    ok: tuple[int, ...] = (200,)
    body: Body | None = None
    socket: bool = False
    no: tuple[int, ...] = (403, 404)
    what: str = ""
    """What is in the body, for people who read the table."""

    def __str__(self) -> str:
        return f"{'SOCKET' if self.socket else self.method} /{self.path}{self.what and f' ({self.what})'}"


def _text(folder: str) -> Any:
    return {"type": "file", "format": "text", "content": "x"}


def _notebook(folder: str) -> Any:
    return {"path": f"{folder}/work.ipynb", "type": "notebook", "name": "work.ipynb"}


def _kind(folder: str) -> Any:
    return {"format": "json", "type": "notebook"}


CONTENTS = [
    Row("ContentsHandler", "GET", "api/contents/{t}/work.ipynb", READ),
    Row("ContentsHandler", "GET", "api/contents/{t}?content=1", READ),
    Row("ContentsHandler", "GET", "api/contents", ALL),
    Row("ContentsHandler", "PUT", "api/contents/{t}/new.txt", EDIT, (200, 201), _text),
    Row(
        "ContentsHandler",
        "POST",
        "api/contents/{t}",
        EDIT,
        (201,),
        lambda folder: {"type": "file"},
        what="a new file",
    ),
    Row(
        "ContentsHandler",
        "POST",
        "api/contents",
        HOST,
        (201,),
        lambda folder: {"type": "directory"},
        what="a new folder",
    ),
    Row(
        "ContentsHandler",
        "POST",
        f"api/contents/{OWN}",
        FROM_OWN,
        (201,),
        lambda folder: {"copy_from": f"{folder}/notes.txt"},
        what="a copy of {t}/notes.txt",
    ),
    Row(
        "ContentsHandler",
        "PATCH",
        "api/contents/{t}/mine.txt",
        EDIT,
        (200,),
        lambda f: {"path": f"{f}/new-name.txt"},
        what="a new name",
    ),
    Row(
        "ContentsHandler",
        "PATCH",
        f"api/contents/{OWN}/mine.txt",
        INTO_OWN,
        (200,),
        lambda folder: {"path": f"{folder}/moved.txt"},
        what="moved to {t}",
    ),
    Row("ContentsHandler", "DELETE", "api/contents/{t}/mine.txt", EDIT, (204,)),
    Row(
        "ContentsHandler",
        "DELETE",
        "api/contents/.state/people.json",
        {"": NOBODY},
        (204,),
        no=(400, 403, 404),
    ),
    Row("CheckpointsHandler", "GET", "api/contents/{t}/notes.txt/checkpoints", READ),
    Row("CheckpointsHandler", "POST", "api/contents/{t}/notes.txt/checkpoints", EDIT, (201,)),
    Row(
        "ModifyCheckpointsHandler", "POST", "api/contents/{t}/notes.txt/checkpoints/checkpoint", EDIT, (204,)
    ),
    Row(
        "ModifyCheckpointsHandler",
        "DELETE",
        "api/contents/{t}/notes.txt/checkpoints/checkpoint",
        EDIT,
        (204,),
    ),
    Row("TrustNotebooksHandler", "POST", "api/contents/{t}/work.ipynb/trust", EDIT, (201,)),
    # They only say where else to ask.
    Row("NotebooksRedirectHandler", "GET", "api/notebooks/x", PUBLIC, (302,)),
    *(
        Row("NotebooksRedirectHandler", method, "api/notebooks/x", NO_XSRF, (302,))
        for method in ("POST", "PUT", "PATCH", "DELETE")
    ),
    Row("AuthenticatedFileHandler", "GET", "files/{t}/notes.txt", READ),
    Row("AuthenticatedFileHandler", "HEAD", "files/{t}/notes.txt", READ),
    Row("ViewHandler", "GET", "view/{t}/notes.txt", READ),
    Row("NbconvertFileHandler", "GET", "nbconvert/script/{t}/work.ipynb", READ),
    Row("NbconvertPostHandler", "POST", "nbconvert/script", EDITORS, (200, 500), lambda folder: {"x": 1}),
    Row("NbconvertRootHandler", "GET", "api/nbconvert", ALL),
    Row("FileIDHandler", "GET", "api/fileid/id?path={t}/work.ipynb", READ),
    Row("FilePathHandler", "GET", "api/fileid/path?id={f}", READ),
    Row(
        "PathResolverHandler",
        "GET",
        "api/resolvePath?path=work.ipynb&kernel={k}",
        {**RUN, OWN: READ[OWN], DATA: HOSTS},
    ),
]
KERNELS = [
    Row("MainKernelHandler", "GET", "api/kernels", ALL),
    Row("MainKernelHandler", "POST", "api/kernels", EDITORS, (201,), lambda folder: {"name": "python3"}),
    Row(
        "MainKernelHandler",
        "POST",
        "api/kernels",
        {**RUN, DATA: HOSTS},
        (201,),
        lambda f: {"kernel_id": "{k}"},
        what="under the id of a kernel of {t}",
    ),
    Row("KernelHandler", "GET", "api/kernels/{k}", {**READ, DATA: HOSTS}),
    Row("KernelHandler", "DELETE", "api/kernels/{k}", {**RUN, DATA: HOSTS}, (204,)),
    Row("KernelActionHandler", "POST", "api/kernels/{k}/interrupt", {**RUN, DATA: HOSTS}, (204,)),
    Row("KernelActionHandler", "POST", "api/kernels/{k}/restart", {**RUN, DATA: HOSTS}, (200,)),
    Row(
        "KernelWebsocketHandler",
        "GET",
        "api/kernels/{k}/channels",
        {**READ, DATA: HOSTS},
        (101,),
        socket=True,
    ),
    Row("SessionRootHandler", "GET", "api/sessions", ALL),
    Row("SessionRootHandler", "POST", "api/sessions", OPEN, (201,), _notebook, what="{t}/work.ipynb"),
    Row(
        "SessionRootHandler",
        "POST",
        "api/sessions",
        INTO_OWN,
        (201,),
        lambda f: {"path": f"{OWN}/n.ipynb", "type": "notebook", "kernel": {"id": "{k}"}},
        what="with a kernel of {t}",
    ),
    Row(
        "SessionRootHandler",
        "POST",
        "api/sessions",
        FROM_OWN,
        (201,),
        lambda f: {"path": f"{OWN}/n.ipynb", "type": "notebook", "notebook": {"name": f"{f}/work.ipynb"}},
        what="as old clients name a notebook of {t}",
    ),
    Row("SessionHandler", "GET", "api/sessions/{s}", {**READ, DATA: HOSTS}),
    Row(
        "SessionHandler",
        "PATCH",
        "api/sessions/{s}",
        {**RUN, DATA: HOSTS},
        (200,),
        lambda f: {"path": f"{f}/x.ipynb"},
        what="another path",
    ),
    Row("SessionHandler", "DELETE", "api/sessions/{s}", {**RUN, DATA: HOSTS}, (204,)),
    Row("MainKernelSpecHandler", "GET", "api/kernelspecs", ALL),
    Row("KernelSpecHandler", "GET", "api/kernelspecs/python3", ALL),
    Row("KernelSpecResourceHandler", "GET", "kernelspecs/python3/logo-64x64.png", ALL),
    Row("KernelSpecResourceHandler", "HEAD", "kernelspecs/python3/logo-64x64.png", ALL),
    Row("TerminalRootHandler", "GET", "api/terminals", HOST),
    Row("TerminalRootHandler", "POST", "api/terminals", HOST),
    Row("TerminalHandler", "GET", "api/terminals/none", HOST, (404,)),
    Row("TerminalHandler", "DELETE", "api/terminals/none", HOST, (404,)),
    Row("TermSocket", "GET", "terminals/websocket/1", HOST, (101,), socket=True),
]
SHARED = [
    Row("RoomHandler", "GET", "api/collaboration/room/json:notebook:{f}", READ, (101,), socket=True),
    Row("RoomHandler", "GET", "api/collaboration/room/JupyterLab:globalAwareness", ALL, (101,), socket=True),
    Row("SessionHandler", "PUT", "api/collaboration/session/{t}/work.ipynb", READ, (200, 201), _kind),
    Row("StatusHandler", "GET", "api/collaboration/status", HOST),
    *(
        Row(
            "AbsentHandler",
            method,
            "api/collaboration/timeline/x",
            ALL if method == "GET" else EDITORS,
            (404,),
        )
        for method in ("GET", "PUT", "DELETE")
    ),
    Row("VersionsHandler", "GET", "api/collaboration/versions/{t}/work.ipynb", READ),
    Row(
        "VersionsHandler", "POST", "api/collaboration/versions/{t}/work.ipynb", EDIT, (400, 404), lambda f: {}
    ),
    Row("SubscribeWebsocket", "GET", "api/events/subscribe", ALL, (101,), socket=True),
    Row("EventHandler", "POST", "api/events", HOST, (400, 500), lambda folder: {}),
    Row("JoinHandler", "GET", "join?key=none", PUBLIC, (403,)),
    Row("JoinHandler", "POST", "join", PUBLIC, (403,)),
]
SERVER = [
    Row("APIVersionHandler", "GET", "api", PUBLIC),
    Row("APISpecHandler", "GET", "api/spec.yaml", ALL),
    Row("APISpecHandler", "HEAD", "api/spec.yaml", ALL, (200, 500)),
    Row("APIStatusHandler", "GET", "api/status", ALL),
    Row("IdentityHandler", "GET", "api/me", ALL),
    Row("IdentityHandler", "PATCH", "api/me", ALL, (400,), lambda folder: {"name": "Somebody Else"}),
    Row("ConfigHandler", "GET", "api/config/notebook", ALL),
    Row("ConfigHandler", "PUT", "api/config/notebook", HOST, (204,), lambda folder: {}),
    Row("ConfigHandler", "PATCH", "api/config/notebook", HOST, (200,), lambda folder: {}),
    Row("CSPReportHandler", "POST", "api/security/csp-report", ALL, (200,), lambda folder: {}),
    Row("ShutdownHandler", "POST", "api/shutdown", HOST, (200,)),
    Row("PrometheusMetricsHandler", "GET", "metrics", HOST),
    Row("LoginFormHandler", "GET", "login", PUBLIC, (200, 302)),
    Row("LoginFormHandler", "POST", "login", NO_XSRF, (401,)),
    Row("LogoutHandler", "GET", "logout", PUBLIC, (200, 302)),
    Row("TrailingSlashHandler", "GET", "api/status/", PUBLIC, (301, 302)),
    Row("TrailingSlashHandler", "POST", "nowhere/", BY_COOKIE, (301, 302)),
    Row("TrailingSlashHandler", "PUT", "nowhere/", BY_COOKIE, (301, 302)),
    Row("RedirectWithParams", "GET", "", PUBLIC, (302,)),
    # Jupyter itself fails there below a base URL: it drops the connection.
    Row("PublicStaticFileHandler", "GET", "favicon.ico", PUBLIC, (200, 599)),
    Row("FileFindHandler", "GET", "static/favicons/favicon.ico", PUBLIC),
    Row("FileFindHandler", "HEAD", "static/favicons/favicon.ico", PUBLIC),
    Row("PublicStaticFileHandler", "HEAD", "favicon.ico", PUBLIC, (200, 599)),
]
FRONT_END = [
    Row("LabHandler", "GET", "lab", ALL),
    Row(
        "LabHandler", "GET", "lab/tree/{t}/work.ipynb", {t: PEOPLE for t in READ}
    ),  # what it opens, it asks for
    Row("NotFoundHandler", "GET", "lab/nowhere", ALL, (200, 404)),
    Row("SettingsHandler", "GET", "lab/api/settings", ALL),
    Row(
        "SettingsHandler",
        "PUT",
        "lab/api/settings/@jupyterlab/apputils-extension:themes",
        ALL,
        (204,),
        lambda folder: {"raw": "{}"},
    ),
    Row("WorkspacesHandler", "GET", "lab/api/workspaces", ALL),
    Row(
        "WorkspacesHandler",
        "PUT",
        "lab/api/workspaces/x",
        ALL,
        (204,),
        lambda folder: {"data": {}, "metadata": {"id": "x"}},
    ),
    Row("WorkspacesHandler", "DELETE", "lab/api/workspaces/x", ALL, (204,)),
    Row("TranslationsHandler", "GET", "lab/api/translations", ALL),
    Row(
        "ListingsHandler", "GET", "lab/api/listings/@jupyterlab/extensionmanager-extension/listings.json", ALL
    ),
    Row(
        "ThemesHandler",
        "GET",
        "lab/api/themes/@jupyterlab/theme-light-extension/index.css",
        PUBLIC,
        (200, 404),
    ),
    Row(
        "ThemesHandler",
        "HEAD",
        "lab/api/themes/@jupyterlab/theme-light-extension/index.css",
        PUBLIC,
        (200, 404),
    ),
    Row("LicensesHandler", "GET", "lab/api/licenses/", ALL, (200, 301, 302)),
    Row("BuildHandler", "GET", "lab/api/build", ALL, (200, 404)),
    Row("BuildHandler", "POST", "lab/api/build", HOST),
    Row("BuildHandler", "DELETE", "lab/api/build", HOST),
    Row("ExtensionHandler", "GET", "lab/api/extensions?installed=1", HOST),
    Row("ExtensionHandler", "POST", "lab/api/extensions", HOST, (200,), lambda folder: {}),
    Row("PluginHandler", "GET", "lab/api/plugins", HOST),
    Row("PluginHandler", "POST", "lab/api/plugins", HOST, (200,), lambda folder: {}),
    Row("CheckForUpdateHandler", "GET", "lab/api/update", HOST),
    Row("NewsHandler", "GET", "lab/api/news", HOST),
    Row("LanguageServersHandler", "GET", "lsp/status", ALL),
    Row("LanguageServerWebSocketHandler", "GET", "lsp/ws/none", HOST, (101,), socket=True),
]
ROWS = [*CONTENTS, *KERNELS, *SHARED, *SERVER, *FRONT_END]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")


def endpoints(router: Router) -> Iterator[tuple[str, type[RequestHandler]]]:
    """Pattern and handler of all routes, those inside other routers too."""
    rules: list[Rule] = getattr(router, "rules", [])
    for rule in rules:
        if isinstance(rule.target, type) and issubclass(rule.target, RequestHandler):
            pattern = getattr(rule.matcher, "regex", None)
            yield (pattern.pattern if pattern is not None else "any address"), rule.target
        elif isinstance(rule.target, Router):
            yield from endpoints(rule.target)


def answered(handler: type[RequestHandler]) -> set[str]:
    """The methods that a handler has."""
    unanswered = RequestHandler._unimplemented_method
    return {method for method in METHODS if getattr(handler, method.lower()) is not unanswered}

"""What a request is about, and whether that lies within a person's reach.

Each function is given the handler of a request that has not been answered, with the person set, and
the person's reach. Files are also looked at where they are read and written (``group_contents``),
with links followed: here is the first lock, which knows no disk.
"""

from __future__ import annotations

from typing import Any

from tornado import web

from jupyter_collab_ext.group_kernels import kernel_within, kernels_of
from jupyter_collab_ext.reach import Reach
from jupyter_collab_ext.sessions import path_meant
from notebook_sync.core.limits import Limits
from notebook_sync.core.paths import within

LIMITS = Limits()
LOOKS = ("GET", "HEAD", "OPTIONS")


async def nothing(handler: Any, reach: Reach) -> bool:
    """About nothing that belongs to a group."""
    return True


async def path(handler: Any, reach: Reach) -> bool:
    """The path in the URL: readable, or a folder on the way to what is."""
    asked = (handler.path_kwargs.get("path") or _first(handler)) or ""
    if reach.sees(asked):
        return True
    return handler.request.method in LOOKS and reach.passes(asked)


async def own_path(handler: Any, reach: Reach) -> bool:
    """The path in the URL: readable, or to be changed."""
    asked = handler.path_kwargs.get("path") or ""
    return reach.sees(asked) if handler.request.method in LOOKS else reach.changes(asked)


async def document(handler: Any, reach: Reach) -> bool:
    """The path in the URL is one of a document."""
    return reach.sees(_first(handler))


async def path_in_query(handler: Any, reach: Reach) -> bool:
    """``?path=``"""
    return reach.sees(handler.get_query_argument("path", ""))


async def id_in_query(handler: Any, reach: Reach) -> bool:
    """``?id=`` of a file."""
    found = handler.settings["file_id_manager"].get_path(handler.get_query_argument("id", ""))
    return isinstance(found, str) and reach.sees(found)


async def kernel(handler: Any, reach: Reach) -> bool:
    """The kernel in the URL."""
    return kernel_within(handler.kernel_manager, str(handler.path_kwargs.get("kernel_id")), reach)


async def kernel_in_query(handler: Any, reach: Reach) -> bool:
    """``?kernel=``, if it is there."""
    asked = handler.get_query_argument("kernel", "")
    return not asked or kernel_within(handler.kernel_manager, asked, reach)


async def new_kernel(handler: Any, reach: Reach) -> bool:
    """A kernel to start; where it may be is decided when it is. The list is filtered."""
    if handler.request.method in LOOKS:
        return True
    if not _kernel_asked(handler, _body(handler).get("kernel_id"), reach):
        return False
    _must_have_room(handler, reach.home)
    return True


async def session(handler: Any, reach: Reach) -> bool:
    """The session in the URL, and what it is to be changed to."""
    manager = handler.session_manager
    session_id = str(handler.path_kwargs.get("session_id"))
    try:
        model = await manager.get_session(session_id=session_id)
    except web.HTTPError:
        return False
    if not kernel_within(handler.kernel_manager, model["kernel"]["id"], reach):
        return False
    return handler.request.method in (*LOOKS, "DELETE") or _session_asked(handler, reach, must=False)


async def new_session(handler: Any, reach: Reach) -> bool:
    """A session to start. The list is filtered."""
    if handler.request.method in LOOKS:
        return True
    if not _session_asked(handler, reach, must=True):
        return False
    where = path_meant(str(_body(handler).get("path") or ""), _body(handler).get("name")).strip("/")
    if not await handler.session_manager.session_exists(path=where):
        _must_have_room(handler, next((f for f in reach.folders if within(where, f)), reach.home))
    return True


def _must_have_room(handler: Any, folder: str) -> None:
    """Raises a 429 when a group has as many kernels as one may have."""
    if kernels_of(handler.kernel_manager, folder) >= LIMITS.kernels_per_group:
        said = f"your group has {LIMITS.kernels_per_group} kernels: shut some down first"
        raise web.HTTPError(429, said, reason="Too Many Requests")


def _session_asked(handler: Any, reach: Reach, *, must: bool) -> bool:
    asked = _body(handler)
    paths = [asked["path"]] if "path" in asked else []
    if isinstance(asked.get("notebook"), dict):
        # As old clients say it; Jupyter lets it win over the path.
        paths += [asked["notebook"][field] for field in ("name", "path") if field in asked["notebook"]]
    if must and not paths:
        return True  # Jupyter answers 400
    if not all(isinstance(p, str) and reach.sees(path_meant(p, asked.get("name"))) for p in paths):
        return False
    wanted = asked.get("kernel")
    return not isinstance(wanted, dict) or _kernel_asked(handler, wanted.get("id"), reach)


def _kernel_asked(handler: Any, kernel_id: object, reach: Reach) -> bool:
    """A kernel named in a body: none, or one's own, or an id that nobody has yet."""
    if kernel_id is None:
        return True
    if not isinstance(kernel_id, str):
        return False
    return kernel_id not in handler.kernel_manager or kernel_within(handler.kernel_manager, kernel_id, reach)


def _body(handler: Any) -> dict[str, Any]:
    body = handler.get_json_body()
    return body if isinstance(body, dict) else {}


def _first(handler: Any) -> str:
    return str(handler.path_args[0] or "") if handler.path_args else ""

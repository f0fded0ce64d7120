"""What each role may do at Jupyter's own endpoints, as one table that denies by default."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from jupyter_core.utils import ensure_async
from jupyter_server.auth.authorizer import Authorizer
from jupyter_server.services.sessions.handlers import SessionHandler, SessionRootHandler

from jupyter_collab_ext.rest.session import SessionHandler as SharedSessionHandler
from jupyter_collab_ext.sessions import path_meant
from notebook_sync.core.roles import Action, may

NEEDED: Mapping[tuple[str, str], Action] = MappingProxyType(
    {
        ("api", "read"): Action.READ,
        ("config", "read"): Action.READ,
        ("contents", "read"): Action.READ,
        ("contents", "write"): Action.EDIT,
        ("csp", "write"): Action.READ,
        ("events", "execute"): Action.READ,
        ("events", "read"): Action.READ,
        ("events", "write"): Action.EDIT,
        ("kernels", "execute"): Action.READ,  # the channel itself drops what an observer must not send
        ("kernels", "read"): Action.READ,
        ("kernels", "write"): Action.RUN,
        ("kernelspecs", "read"): Action.READ,
        ("nbconvert", "read"): Action.READ,
        ("nbconvert", "write"): Action.READ,
        ("sessions", "read"): Action.READ,
        ("sessions", "write"): Action.RUN,
    }
)
"""(resource, action) of jupyter_server -> what a role must allow; what is not here only organisers may."""


class PeopleAuthorizer(Authorizer):
    """Asked by every endpoint that jupyter_server marks as needing authorisation; ``gate`` sees the rest."""

    async def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        """Whether the person may do ``action`` (read, write, execute) to ``resource``."""
        from jupyter_collab_ext.identity import member_of

        role = member_of(handler).role
        if may(role, Action.MANAGE):
            return True
        if (resource, action) == ("contents", "write") and _hidden(handler):
            return False
        needed = NEEDED.get((resource, action))
        if needed is not None and may(role, needed):
            return True
        return may(role, Action.READ) and await _harmless(handler)


def _hidden(handler: Any) -> bool:
    """Whether a path is one that Jupyter hides; it forgets that for checkpoints.

    Restoring one of the roster would bring ended invitations back.
    """
    path = (getattr(handler, "path_kwargs", None) or {}).get("path") or ""
    return not handler.contents_manager.allow_hidden and any(
        part.startswith(".") for part in unquote(path).split("/")
    )


async def _harmless(handler: Any) -> bool:
    """Whether a request only looks like a change, so that who may read may send it.

    Decided by the handler, not by the URL: a folder may be called like an endpoint.
    """
    if isinstance(handler, SharedSessionHandler):
        return True  # PUT only asks which document it is
    method = handler.request.method
    if isinstance(handler, SessionRootHandler) and method == "POST":
        return await _opens_a_notebook(handler)
    if isinstance(handler, SessionHandler) and method == "PATCH":
        return await _changes_nothing(handler)
    return False


async def _opens_a_notebook(handler: Any) -> bool:
    """The kernel belongs to the notebook, whoever opens it first: so observers may start that, no other."""
    asked = handler.get_json_body()
    if not isinstance(asked, dict) or asked.get("type") != "notebook":
        return False
    path, kernel = asked.get("path"), asked.get("kernel") or {}
    if not isinstance(path, str) or not isinstance(kernel, dict) or kernel.get("id"):
        return False
    notebook = path_meant(path, asked.get("name")).strip("/")
    if not notebook.endswith(".ipynb"):
        return False
    return bool(await ensure_async(handler.contents_manager.file_exists(notebook)))


async def _changes_nothing(handler: Any) -> bool:
    """JupyterLab tells the server what it just heard from it when it has opened a notebook."""
    asked = handler.get_json_body()
    if not isinstance(asked, dict) or not asked:
        return False
    session = await handler.session_manager.get_session(session_id=handler.path_kwargs["session_id"])
    return all(session.get(name) == value for name, value in asked.items())

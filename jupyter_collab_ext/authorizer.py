"""What each role may do at Jupyter's own endpoints, as one table that denies by default."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jupyter_server.auth.authorizer import Authorizer

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

SHARED_SESSION = "/api/collaboration/session/"
KERNEL_SESSIONS = "/api/sessions"


class PeopleAuthorizer(Authorizer):
    """Asked by every endpoint that jupyter_server marks as needing authorisation; ``gate`` sees the rest."""

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        """Whether the person may do ``action`` (read, write, execute) to ``resource``."""
        from jupyter_collab_ext.identity import member_of

        role = member_of(handler).role
        if may(role, Action.MANAGE):
            return True
        needed = self._needed(handler, action, resource)
        return needed is not None and may(role, needed)

    @staticmethod
    def _needed(handler: Any, action: str, resource: str) -> Action | None:
        path = handler.request.path
        method = handler.request.method
        if SHARED_SESSION in path:
            return Action.READ  # PUT only asks which document it is
        if method == "POST" and path.rstrip("/").endswith(KERNEL_SESSIONS):
            return Action.READ  # the kernel belongs to the notebook, whoever opens it first
        return NEEDED.get((resource, action))

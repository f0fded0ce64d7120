"""Who is asking, deep inside of managers that are not told: the person of the request being answered.

What happens outside of a request, or in one of somebody without a roster's limits, asks as the system.
"""

from __future__ import annotations

from typing import Any

from jupyter_server import CallContext

from jupyter_collab_ext.reach import EVERYTHING, Reach, reach_of


def reach_here() -> Reach:
    """The reach of whoever the current request is answered for; everything outside of one."""
    handler = CallContext.get(CallContext.JUPYTER_HANDLER)
    return EVERYTHING if handler is None else reach_for(handler)


def reach_for(handler: Any) -> Reach:
    """The reach of whoever is behind a handler whose person is known.

    Before that is known, and for somebody who is not logged in, it is everything: Jupyter looks into
    files before it has decided only where it needs no login, and ``gate`` asks with the person at hand.
    """
    from jupyter_collab_ext.identity import Guest, provider_of

    provider = provider_of(handler)
    user = getattr(handler, "_jupyter_current_user", None)
    if provider is None or not isinstance(user, Guest) or user.person is None:
        return EVERYTHING
    # As the roster has it now: an open websocket keeps the person who opened it.
    return reach_of(provider.roster.people.get(user.person.id, user.person), provider.roster)

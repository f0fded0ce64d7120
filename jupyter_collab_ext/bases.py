"""What each login last read or wrote of each file: the third side when it saves the file again.

A stock client's save names no base. What it changed can only be told from what it had, which is what this
login was last given for this path, or last sent.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from notebook_sync.core.ids import DocumentKind
from notebook_sync.core.limits import Limits
from notebook_sync.core.paths import within


class Bases:
    """Slim forms by login, path and kind of document; bounded by number and bytes, the oldest go first."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kept: OrderedDict[tuple[str, str, DocumentKind], bytes] = OrderedDict()
        self._bytes = 0

    def remember(self, login: str, path: str, kind: DocumentKind, slim: bytes) -> None:
        """This login has this content of the file now."""
        self._drop((login, path, kind))
        self._kept[login, path, kind] = slim
        self._bytes += len(slim)
        while self._bytes > self._limits.put_base_bytes or len(self._kept) > self._limits.put_bases:
            self._drop(next(iter(self._kept)))

    def last(self, login: str, path: str, kind: DocumentKind) -> bytes | None:
        """What this login last had; None if that is not known."""
        return self._kept.get((login, path, kind))

    def forget(self, path: str) -> None:
        """The file or folder is another one now, or gone."""
        for known in [k for k in self._kept if within(k[1], path)]:
            self._drop(known)

    def _drop(self, known: tuple[str, str, DocumentKind]) -> None:
        self._bytes -= len(self._kept.pop(known, b""))

    def __len__(self) -> int:
        return len(self._kept)


def login_of(handler: Any) -> str:
    """Whom a request is from: the person, or for a script with nothing but a token, where it runs and how
    it calls itself, since Jupyter invents a new name for each of its requests."""
    provider = handler.identity_provider
    if provider.is_token_authenticated(handler):
        cookie = handler.get_signed_cookie(provider.get_cookie_name(handler))
        if cookie is None:
            agent = handler.request.headers.get("User-Agent", "")
            return f"token {handler.request.remote_ip} {agent}"
    return f"user {handler.current_user.username}"

"""Which file content was merged into a document last, said in the document itself.

The edits of a merge and this mark are one update: whoever has the edits has the mark. So whoever comes
after a server that ended between storing the edits and recording that the file's content is common now
knows that they are there, and does not merge the same content again from an older base.
"""

from __future__ import annotations

from typing import Any

from pycrdt import Doc, Map

from notebook_sync.core.replica import STATE

_KEY = "merged"


def merged_mark(doc: Doc[Any]) -> str | None:
    """The digest of the file content that was merged in last; None if none ever was."""
    digest = doc.get(STATE, type=Map).get(_KEY)
    return digest if isinstance(digest, str) else None


def set_merged_mark(doc: Doc[Any], digest: str) -> None:
    """File content with this digest is merged in."""
    doc.get(STATE, type=Map)[_KEY] = digest

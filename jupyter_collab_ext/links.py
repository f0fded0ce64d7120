"""Personal links: ``…/join?key=K``, where K is a tag that only the event's secret can make.

A key is computed from the secret, the event, the person and their invitation's number; nothing about links
is stored, and a key says nothing about anybody. A link may be opened any number of times. It ends when the
invitation's number rises, its days are over, or it was taken back. Letters and digits only, in lower case:
nothing that a chat encodes or takes for the end of a sentence, and it can be read out. The parameter is
called ``key`` because Jupyter keeps that out of its logs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

from jupyter_collab_ext.people import Person, Roster
from notebook_sync.core.errors import ConfigError

JOIN = "join"
PARAMETER = "key"
KEY_LENGTH = 26
"""Characters: 128 bits."""
LONGEST_LINK = 100
"""Characters: what fits into a line of a mail, and into every chat's preview."""
LONGEST_BASE = LONGEST_LINK - len(f"{JOIN}?{PARAMETER}=") - KEY_LENGTH
SECRET = "links.key"
SHORTEST_SECRET = 32
"""Bytes: with less, an empty file for example, anybody could make links."""


class Links:
    """Makes and reads keys with the secret in ``state_dir`` (made when it is not there, mode 0600).

    Raises ``ConfigError`` when the secret can't be read or is not whole.
    """

    def __init__(self, state_dir: Path) -> None:
        path = state_dir / SECRET
        try:
            self._secret = _secret(path)
        except OSError as error:
            raise ConfigError(
                f"{path} can't be used ({error.strerror}): check its and its folder's rights"
            ) from error
        if len(self._secret) < SHORTEST_SECRET:
            raise ConfigError(f"{path} is damaged: remove it (links then begin anew)")
        self._known: tuple[Roster, dict[str, str]] | None = None

    def key(self, person: Person, roster: Roster) -> str:
        """The person's key."""
        # No id holds a line break: so no two people's texts are the same.
        text = f"invitation\n{roster.event}\n{person.id}\n{person.invitation}"
        tag = hmac.digest(self._secret, text.encode(), hashlib.sha256)[:16]
        return base64.b32encode(tag).decode().rstrip("=").lower()

    def link(self, base: str, person: Person, roster: Roster) -> str:
        """The person's link; ``base`` ends with a slash."""
        return f"{base}{JOIN}?{PARAMETER}={self.key(person, roster)}"

    def person(self, key: str, roster: Roster) -> Person | None:
        """Whose key this is; None if it is nobody's. Whether it still holds, ``Roster.admitted`` knows."""
        if len(key) != KEY_LENGTH or not key.isascii():
            return None
        person = roster.people.get(self._ids(roster).get(key, ""))
        if person is None:
            return None
        return person if hmac.compare_digest(self.key(person, roster), key) else None

    def _ids(self, roster: Roster) -> dict[str, str]:
        """Key -> id. Made once for each roster, so that guessing costs us no more than guessing."""
        if self._known is None or self._known[0] is not roster:
            self._known = roster, {self.key(person, roster): person.id for person in roster.people.values()}
        return self._known[1]


def _secret(path: Path) -> bytes:
    """What is in the file, which is made when it is not there."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        from notebook_sync.app import secret_file  # all of the engine: commands are quick without it

        return secret_file(path)

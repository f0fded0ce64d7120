"""Personal links: ``…/join?key=K``, where K is a signed "this person, this invitation".

A link may be opened any number of times; it ends when the person's invitation number rises or the
person leaves the roster. The parameter is called ``key`` because Jupyter keeps that out of its logs.
"""

from __future__ import annotations

import hmac
from pathlib import Path

from itsdangerous import BadData, URLSafeSerializer

from jupyter_collab_ext.people import Person, Roster
from notebook_sync.app import secret_file
from notebook_sync.core.errors import ConfigError

JOIN = "join"
PARAMETER = "key"
LONGEST_KEY = 200
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
            secret = secret_file(path)
        except OSError as error:
            raise ConfigError(
                f"{path} can't be used ({error.strerror}): check its and its folder's rights"
            ) from error
        if len(secret) < SHORTEST_SECRET:
            raise ConfigError(f"{path} is damaged: remove it (links then begin anew)")
        self._serializer = URLSafeSerializer(secret, salt="invitation")

    def key(self, person: Person) -> str:
        """The person's key."""
        return str(self._serializer.dumps([person.id, person.invitation]))

    def link(self, base: str, person: Person) -> str:
        """The person's link; ``base`` ends with a slash."""
        return f"{base}{JOIN}?{PARAMETER}={self.key(person)}"

    def person(self, key: str, roster: Roster) -> Person | None:
        """Whose key this is; None if it was never one, or is one no more."""
        if len(key) > LONGEST_KEY:
            return None
        try:
            name, invitation = self._serializer.loads(key)
        except (BadData, ValueError, TypeError):
            return None
        person = roster.people.get(name) if isinstance(name, str) else None
        if person is None or person.invitation != invitation:
            return None
        # base64 has several spellings of the same bytes, with letters that mean nothing: only ours is taken.
        return person if hmac.compare_digest(self.key(person).encode(), key.encode()) else None

"""Personal links: ``…/join?key=K``, where K is a signed "this person, this invitation".

A link may be opened any number of times; it ends when the person's invitation number rises or the
person leaves the roster. The parameter is called ``key`` because Jupyter keeps that out of its logs.
"""

from __future__ import annotations

from pathlib import Path

from itsdangerous import BadData, URLSafeSerializer

from jupyter_collab_ext.people import Person, Roster
from notebook_sync.app import secret_file

JOIN = "join"
PARAMETER = "key"
LONGEST_KEY = 200


class Links:
    """Makes and reads keys with the secret in ``state_dir`` (made when it is not there, mode 0600)."""

    def __init__(self, state_dir: Path) -> None:
        self._serializer = URLSafeSerializer(secret_file(state_dir / "links.key"), salt="invitation")

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
        return person if person is not None and person.invitation == invitation else None

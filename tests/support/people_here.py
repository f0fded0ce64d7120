"""People with links on a server in the test's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_collab_ext.links import Links
from jupyter_collab_ext.people import GROUP, Roster, new_roster
from jupyter_collab_ext.people_file import save
from jupyter_collab_ext.simulated import Browser
from notebook_sync.core.roles import Role

ROLES = {
    "tutor": "tutor-1",
    "participant": "participant-1",
    "observer": "observer-1",
}
"""Role -> somebody who has it."""


def seven_and_an_observer() -> Roster:
    """A group as `start` makes it, with one who may only look."""
    roster = new_roster().with_people(GROUP, Role.TUTOR, "Tutor", 1)
    roster = roster.with_people(GROUP, Role.PARTICIPANT, "Participant", 6)
    return roster.with_people(GROUP, Role.OBSERVER, "Observer", 1)


def prepared(state_dir: Path) -> Roster:
    """Write that group's roster into ``state_dir``."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    roster = seven_and_an_observer()
    save(roster, state_dir)
    return roster


@dataclass
class Event:
    """A running server with people."""

    url: str
    """Ends with a slash."""
    token: str
    state_dir: Path
    roster: Roster
    provider: Any = None
    """The server's identity provider."""

    def seen(self) -> Roster:
        """The people as the running server knows them now."""
        roster: Roster = self.provider.roster
        return roster

    def link(self, person: str) -> str:
        """The person's link."""
        return Links(self.state_dir).link(self.url, self.roster.people[person], self.roster)

    @asynccontextmanager
    async def browser(self, who: str) -> AsyncIterator[Browser]:
        """A profile of its own: ``who`` is a person's id, "organiser" (by token) or "nobody"."""
        browser = Browser(self.url, token=self.token if who == "organiser" else None)
        try:
            if who not in ("organiser", "nobody"):
                await browser.open_link(self.link(who))
            yield browser
        finally:
            browser.close()

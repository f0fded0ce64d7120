"""``/join``: a personal link, and the questions that it may lead to.

``GET /join?key=…`` logs its person in and leads on, so that the key leaves the address bar at once. Only a
browser that goes there itself is logged in: a chat's or mail filter's preview gets a page with a button, and
nothing changes. ``GET /join`` asks what is to be asked: for a name, or who to be when the browser is
somebody else's already. Each answer is a POST with the page's own token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join

from jupyter_collab_ext import names, people_file
from jupyter_collab_ext.identity import Guest, PeopleIdentityProvider, person_of, provider_of
from jupyter_collab_ext.links import JOIN, PARAMETER
from jupyter_collab_ext.people import Person, Roster, initials
from notebook_sync.core.errors import ConfigError

TEMPLATES = jinja2.Environment(loader=jinja2.PackageLoader("jupyter_collab_ext"), autoescape=True)
PENDING = "collab-invitation"
"""A cookie with the key of a link that was opened in somebody else's browser, until it is decided."""
PENDING_SECONDS = 600


def is_navigation(headers: Mapping[str, str]) -> bool:
    """Whether a browser asks because somebody goes there, not to look ahead and not for a frame.

    Browsers say so by Fetch Metadata, but only to addresses with TLS and to localhost; to others they say
    at least that they would like TLS, which nothing else does.
    """
    if "prefetch" in headers.get("Sec-Purpose", headers.get("Purpose", "")):
        return False
    mode = headers.get("Sec-Fetch-Mode")
    if mode is None:
        return headers.get("Upgrade-Insecure-Requests") == "1"
    return mode == "navigate" and headers.get("Sec-Fetch-Dest", "document") == "document"


class JoinHandler(JupyterHandler):
    """Opened by another person than the browser is logged in as, it asks who to be."""

    @allow_unauthenticated
    def get(self) -> None:
        """Log in and lead on, or ask."""
        # With a key in the address nothing may be told about it to anybody. Without one not no-referrer:
        # with it a browser posts forms with "Origin: null", which Jupyter refuses.
        self._say_nothing_of_it("no-referrer" if self._key() else "same-origin")
        if not self._key():
            self._ask()
            return
        person = self._invited(self._key())
        if person is None:
            return
        if not is_navigation(self.request.headers):
            self._page("Shared notebooks", enter=True, key=self._key())
            return
        current = person_of(self)
        if current is None or current.id == person.id:
            self._enter(person)
            return
        self._remember(self._key())
        self.redirect(self._here())

    @allow_unauthenticated
    async def post(self) -> None:
        """Go in, become another, or give a name; checked against cross-site requests as every post."""
        self._say_nothing_of_it("same-origin")
        if "name" in self.request.body_arguments:
            await self._name()
            return
        person = self._invited(self._key() or self._remembered())
        if person is not None:
            self._enter(person)

    # --- who --------------------------------------------------------------------------------------

    def _key(self) -> str:
        return str(self.get_argument(PARAMETER, ""))

    def _invited(self, key: str) -> Person | None:
        """Whose key this is, if it holds; else that is said."""
        provider = self._provider()
        person = provider.links.person(key, provider.roster)
        if person is not None and provider.roster.admitted(person, person.invitation, time.time()):
            return person
        if key and provider.failures.take(str(self.request.remote_ip), 1, time.monotonic()) > 0:
            self.set_status(429, "Too Many Requests")
            self._page("Too many wrong links", problem="Wait a minute, then copy the whole link again.")
            return None
        self.set_status(403)
        self._page("This link is not valid any more")
        return None

    def _enter(self, person: Person) -> None:
        self.identity_provider.set_login_cookie(self, Guest.of(person))
        self.clear_cookie(PENDING, path=self._here())
        self.redirect(self._here() if person.unnamed else self._start(person))

    def _provider(self) -> PeopleIdentityProvider:
        provider = provider_of(self)
        assert provider is not None  # the route is there in people mode only
        return provider

    # --- questions --------------------------------------------------------------------------------

    def _ask(self) -> None:
        current, other = person_of(self), self._other()
        if current is not None and other is not None and other.id != current.id:
            go_on = self._here() if current.unnamed else self._start(current)
            title = f"You are {current.name} in this browser"
            self._page(title, current=current, other=other, go_on=go_on)
        elif current is not None and current.unnamed:
            self._page("What is your name?", ask_name=True, asked="", group=self._group(current))
        elif current is not None:
            self.redirect(self._start(current))
        else:
            self._invited("")

    def _other(self) -> Person | None:
        """Who was invited by the link that is not decided on."""
        provider, key = self._provider(), self._remembered()
        person = provider.links.person(key, provider.roster)
        admitted = person and provider.roster.admitted(person, person.invitation, time.time())
        return person if admitted else None

    def _remember(self, key: str) -> None:
        self.set_signed_cookie(
            PENDING, key, expires_days=None, path=self._here(), httponly=True, samesite="Lax",
            secure=self.request.protocol == "https",
        )  # fmt: skip

    def _remembered(self) -> str:
        held = self.get_signed_cookie(PENDING, max_age_days=PENDING_SECONDS / 86400)
        return held.decode(errors="replace") if held else ""

    async def _name(self) -> None:
        """Take the name of somebody who has none yet."""
        person, said = person_of(self), self.get_body_argument("name", "", strip=False)
        if person is None:
            self._invited("")
            return
        if person.unnamed:
            try:
                await self._rename(person, names.name(said))
            except (ValueError, ConfigError) as error:
                problem = f"This name {error}." if isinstance(error, ValueError) else str(error)
                self.set_status(400)
                group = self._group(person)
                self._page(
                    "What is your name?", ask_name=True, asked=said[:200], problem=problem, group=group
                )
                return
        self.redirect(self._start(person))

    async def _rename(self, person: Person, name: str) -> None:
        """Raises ``ValueError`` when somebody else is called so, ``ConfigError`` when it can't be kept."""

        def how(roster: Roster) -> Roster:
            known = roster.people.get(person.id)
            if known is None or not known.unnamed:
                return roster
            if any(
                names.same(p.name) == names.same(name) for p in roster.people.values() if p.id != known.id
            ):
                raise ValueError("is somebody else's here: add a letter of your family name")
            return roster.with_person(replace(known, name=name, initials=initials(name), unnamed=False))

        # Off the loop: it waits for a command that changes the file at the same moment, and for the disk.
        await asyncio.to_thread(people_file.change, Path(self._state_dir()), how)
        # Not what this change made: another may have been made since.
        self._provider().look_at_people()

    def _state_dir(self) -> str:
        return str(self.settings["jupyter_server_ydoc"].state_dir)

    # --- answers ----------------------------------------------------------------------------------

    def _here(self) -> str:
        return str(url_path_join(self.base_url, JOIN))

    def _start(self, person: Person) -> str:
        """The group's first notebook in JupyterLab, or its folder."""
        if not person.group:
            return str(url_path_join(self.base_url, "lab"))
        folder = Path(self.settings["server_root_dir"]).expanduser() / person.group
        # Hidden ones are half-written files of whoever saves.
        notebooks = sorted(path.name for path in folder.glob("*.ipynb") if not path.name.startswith("."))
        return str(url_path_join(self.base_url, "lab", "tree", *map(quote, [person.group, *notebooks[:1]])))

    def _group(self, person: Person) -> Any:
        return self._provider().roster.groups.get(person.group)

    def _say_nothing_of_it(self, referrer: str) -> None:
        self.set_header("Referrer-Policy", referrer)
        self.set_header("Cache-Control", "no-store")

    def _page(self, title: str, **values: object) -> None:
        self.set_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        )
        self.set_header("X-Robots-Tag", "noindex")
        values |= {"action": self._here(), "xsrf": self.xsrf_form_html()}
        self.finish(TEMPLATES.get_template("join.html").render(title=title, **values))

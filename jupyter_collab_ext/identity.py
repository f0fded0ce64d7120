"""Who is behind a request: a person with a link, or, without links, whoever Jupyter says."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jupyter_server.auth.authorizer import AllowAllAuthorizer
from jupyter_server.auth.identity import IdentityProvider, PasswordIdentityProvider, User
from jupyter_server.serverapp import ServerApp
from tornado import web
from tornado.websocket import WebSocketHandler

from jupyter_collab_ext import gate
from jupyter_collab_ext.authorizer import PeopleAuthorizer
from jupyter_collab_ext.colours import pick
from jupyter_collab_ext.links import Links
from jupyter_collab_ext.pace import Paces
from jupyter_collab_ext.people import Person, Roster, new_roster
from jupyter_collab_ext.people_file import load
from jupyter_collab_ext.reach import reach_of
from jupyter_collab_ext.sockets import Sockets
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.ids import UserId
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Action, Member, Role, may

if TYPE_CHECKING:
    from jupyter_collab_ext.extension import JupyterCollab

LIMITS = Limits()
COLOURS = "jupyter_collab_colours"
IDENTITY = ("username", "name", "display_name", "initials", "avatar_url", "color")


@dataclass
class Guest(User):
    """A ``User`` who is a person of the roster."""

    person: Person | None = None

    @classmethod
    def of(cls, person: Person) -> Guest:
        """The person as Jupyter knows users."""
        return cls(
            username=person.id,
            name=person.name,
            display_name=person.name,
            initials=person.initials,
            color=person.color,
            person=person,
        )


class PeopleIdentityProvider(PasswordIdentityProvider):
    """Logs people in by their links' cookie; who has the server's token is an organiser.

    The cookie names the event, the person and the invitation, so what changes in the roster holds for
    the next request of everybody, and cookies of another event or of a plain server are worth nothing.
    """

    roster: ClassVar[Roster]
    links: ClassVar[Links]
    sockets: ClassVar[Sockets]
    """The open websockets of each user, of every kind."""
    failures: ClassVar[Paces]
    """How many links and passwords that are none came from each address lately."""
    updatable_fields: ClassVar[list[str]] = []  # type: ignore[misc]  # nobody renames himself

    def get_user(self, handler: Any) -> Any:
        """The person behind a request. Raises a 403 where the gate is closed to them, a 404 for what is
        not theirs, a 429 for one websocket too many."""
        return self._gated(handler)

    async def _gated(self, handler: Any) -> User | None:
        user = super().get_user(handler)
        if isinstance(user, Awaitable):
            user = await user
        if not isinstance(user, User):
            return None
        if not isinstance(user, Guest) or user.person is None:
            self._count(handler, user)
            return user
        person, public = user.person, gate.needs_no_login(handler)
        if not gate.open_to(person.role, handler):
            if public:
                return None
            # Jupyter's error page asks who is logged in, and would come back here.
            handler.current_user = handler._jupyter_current_user = user
            raise web.HTTPError(403, f"not for {person.role}s")
        handler.current_user = handler._jupyter_current_user = user
        if not public and not await gate.in_reach(reach_of(person, self.roster), handler):
            raise web.HTTPError(404)
        self._count(handler, user)
        return user

    def _count(self, handler: Any, user: User) -> None:
        if isinstance(handler, WebSocketHandler) and gate.is_socket(handler):
            asking: Any = handler
            asking.current_user = asking._jupyter_current_user = user  # as above
            self.sockets.admit(user.username, handler)

    @staticmethod
    def look_at_people() -> None:
        """Take over at once what the file of people says; ``people_watch`` puts itself here."""

    def set_login_cookie(self, handler: Any, user: User) -> None:
        """As Jupyter does; no other site's page sends it along, except by a link that somebody follows."""
        self.cookie_options = {"samesite": "Lax", **self.cookie_options}
        super().set_login_cookie(handler, user)

    def process_login_form(self, handler: Any) -> User | None:
        """Who knows a password or the token. Raises a 429 for an address that guessed too often lately."""
        now, address = time.monotonic(), str(handler.request.remote_ip)
        if self.failures.wait(address, now) > 0:
            raise web.HTTPError(429, "too many wrong passwords: wait a minute", reason="Too Many Requests")
        user = super().process_login_form(handler)
        if user is None:
            self.failures.take(address, 1, now)
        return user

    def identity_model(self, user: User) -> dict[str, Any]:
        """What ``/api/me`` tells people about themselves."""
        model = {name: getattr(user, name) for name in IDENTITY}
        if isinstance(user, Guest) and user.person is not None:
            model |= {"role": user.person.role.value, "group": user.person.group}
        return model

    def validate_security(self, app: Any, ssl_options: dict[str, Any] | None = None) -> None:
        """As Jupyter does, but end where everybody would be an organiser, without any token or password."""
        if not self.auth_enabled:
            app.log.critical(
                "personal links need a server with a token or a password: "
                "remove the empty IdentityProvider.token from the configuration"
            )
            app.exit(1)
        super().validate_security(app, ssl_options)

    def user_to_cookie(self, user: User) -> str:
        """What the login cookie holds."""
        if isinstance(user, Guest) and user.person is not None:
            return json.dumps({"event": self.roster.event, "p": user.person.id, "n": user.person.invitation})
        return json.dumps({"event": self.roster.event, "organiser": user.username})

    def user_from_cookie(self, cookie_value: str) -> User | None:
        """Whose cookie this is; None if the person or the invitation is no more, or it is of elsewhere."""
        try:
            held = json.loads(cookie_value)
            if held["event"] != self.roster.event:
                return None
            if "organiser" in held:
                return self.generate_user(str(held["organiser"]))
            person = self.roster.people.get(held["p"])
            admitted = self.roster.admitted(person, held["n"], time.time())
            return Guest.of(person) if person is not None and admitted else None
        except (ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def generate_user(username: str) -> User:
        """An organiser: somebody with the server's token."""
        return User(username=username, name="Organiser", display_name="Organiser", initials="O")


def install(serverapp: ServerApp, app: JupyterCollab) -> None:
    """Choose people mode's classes, before they are made.

    Without a roster nobody gets in but organisers. Raises ``ConfigError`` when the roster can't be read,
    or the server's configuration has an identity provider or an authorizer of its own.
    """
    state_dir = Path(app.state_dir)
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    roster = load(state_dir) or new_roster()
    chosen = serverapp.identity_provider_class
    if chosen not in (IdentityProvider, PasswordIdentityProvider):
        raise ConfigError(
            f"personal links can't be used together with {chosen.__name__}: "
            "remove ServerApp.identity_provider_class from the configuration"
        )
    if serverapp.authorizer_class is not AllowAllAuthorizer:
        raise ConfigError(
            f"personal links can't be used together with {serverapp.authorizer_class.__name__}: "
            "remove ServerApp.authorizer_class from the configuration"
        )
    provider: Any = type(
        "PeopleIdentityProvider",
        (PeopleIdentityProvider,),
        {
            "roster": roster,
            "links": Links(state_dir),
            "sockets": Sockets(LIMITS.sockets_per_person),
            "failures": Paces(
                LIMITS.join_failures_per_minute / 60,
                LIMITS.join_failures_per_minute,
                LIMITS.addresses_remembered,
            ),
            "__module__": __name__,
        },
    )
    serverapp.identity_provider_class = provider
    serverapp.authorizer_class = PeopleAuthorizer
    serverapp.allow_unauthenticated_access = False


def provider_of(handler: Any) -> PeopleIdentityProvider | None:
    """The people of this server, None without links."""
    provider = handler.identity_provider
    return provider if isinstance(provider, PeopleIdentityProvider) else None


def person_of(handler: Any) -> Person | None:
    """The person of the roster behind a request, None for anybody else."""
    user = handler.current_user
    return user.person if isinstance(user, Guest) else None


def may_hear(handler: Any, username: str) -> bool:
    """Whether the person behind a request may hear of a user: of the same group, or themselves.

    What people of no group do, organisers with the server's token for example, concerns organisers only.
    """
    person, provider = person_of(handler), provider_of(handler)
    if person is None or provider is None or may(person.role, Action.MANAGE):
        return True
    mine = provider.roster.people.get(person.id, person)
    other = provider.roster.people.get(username)
    return username == person.id or (other is not None and not set(mine.groups).isdisjoint(other.groups))


def member_of(handler: Any) -> Member:
    """Who is behind any handler: a person of the roster, else an organiser by Jupyter's own identity."""
    person = person_of(handler)
    if person is not None:
        return person.member()
    user = handler.current_user
    return Member(
        UserId(user.username),
        Role.ORGANISER,
        {
            "username": user.username,
            "name": user.name,
            "display_name": user.display_name,
            "initials": user.initials,
            "avatar_url": user.avatar_url,
            "color": user.color or _colour(handler, user.username),
        },
    )


def _colour(handler: Any, username: str) -> str:
    """Jupyter gives no colours: each user of this server gets one, as far as they go round."""
    given: dict[str, str] = handler.settings.setdefault(COLOURS, {})
    if username not in given:
        given[username] = pick(set(given.values()), len(given))
    return given[username]

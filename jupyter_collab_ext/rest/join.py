"""``GET /join?key=…``: a personal link. Logs its person in and leads to the group's notebook."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import jinja2
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join

from jupyter_collab_ext.identity import Guest, person_of, provider_of
from jupyter_collab_ext.links import JOIN, PARAMETER
from jupyter_collab_ext.people import Person

TEMPLATES = jinja2.Environment(loader=jinja2.PackageLoader("jupyter_collab_ext"), autoescape=True)


class JoinHandler(JupyterHandler):
    """Opened by another person than the browser is logged in as, it asks who to be."""

    def set_default_headers(self) -> None:
        """The link stays out of other sites' logs and out of caches."""
        super().set_default_headers()
        # Not no-referrer: with it a browser posts the form with "Origin: null", which Jupyter refuses.
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    @allow_unauthenticated
    def get(self) -> None:
        """Log in, or ask."""
        person = self._invited()
        if person is None:
            return
        current = person_of(self)
        if current is None or current.id == person.id:
            self._enter(person)
            return
        self._page(
            f"You are {current.name} in this browser",
            current=current,
            other=person,
            go_on=self._start(current),
            action=url_path_join(self.base_url, JOIN),
            key=self.get_query_argument(PARAMETER),
            xsrf=self.xsrf_form_html(),
        )

    @allow_unauthenticated
    def post(self) -> None:
        """Become the person of the link; checked against cross-site requests as every post."""
        person = self._invited()
        if person is not None:
            self._enter(person)

    def _invited(self) -> Person | None:
        provider = provider_of(self)
        key = self.get_argument(PARAMETER, "")
        person = None if provider is None else provider.links.person(key, provider.roster)
        if person is None:
            self.set_status(403)
            self._page("This link is not valid any more")
        return person

    def _enter(self, person: Person) -> None:
        self.identity_provider.set_login_cookie(self, Guest.of(person))
        self.redirect(self._start(person))

    def _start(self, person: Person) -> str:
        """The group's first notebook in JupyterLab, or its folder."""
        folder = Path(self.settings["server_root_dir"]).expanduser() / person.group
        # Hidden ones are half-written files of whoever saves.
        notebooks = sorted(path.name for path in folder.glob("*.ipynb") if not path.name.startswith("."))
        return url_path_join(self.base_url, "lab", "tree", *map(quote, [person.group, *notebooks[:1]]))

    def _page(self, title: str, **values: object) -> None:
        self.set_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        )
        self.finish(TEMPLATES.get_template("join.html").render(title=title, **values))

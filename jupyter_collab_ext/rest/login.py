"""``/login`` where people have links: who has none here is told to open theirs.

Jupyter's own page speaks of tokens and passwords, which nobody here has but who runs the server.
"""

from __future__ import annotations

from collections.abc import Mapping

import jinja2
from jupyter_server.auth.login import LoginFormHandler
from jupyter_server.utils import url_escape, url_path_join

TEMPLATES = jinja2.Environment(loader=jinja2.PackageLoader("jupyter_collab_ext"), autoescape=True)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"


class LoginPage(LoginFormHandler):
    """As Jupyter's, with a page that most people can do something with."""

    def _render(self, message: Mapping[str, str] | None = None) -> None:
        following = url_escape(self.get_argument("next", default=self.base_url))
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Cache-Control", "no-store")
        self.write(
            TEMPLATES.get_template("login.html").render(
                title="You are not logged in here",
                action=f"{url_path_join(self.base_url, 'login')}?next={following}",
                problem="That is neither this server's token nor its password." if message else "",
                xsrf=self.xsrf_form_html(),
            )
        )

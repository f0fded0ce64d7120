"""What a start was asked for: by flags, by an event file, by what the event was started with before."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from jupyter_collab_ext.cli.event_file import load_event_file
from jupyter_collab_ext.cli.plan import Plan, Problem, Problems
from jupyter_collab_ext.cli.roster_csv import read_roster
from jupyter_collab_ext.links import LONGEST_BASE, LONGEST_LINK
from notebook_sync.core.errors import ConfigError

REDIS_VARIABLE = "JUPYTER_COLLAB_REDIS_URL"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::", "*", "")
DEFAULT_ROOT = "collab"
REMEMBERED = ("ip", "public_url", "certfile", "keyfile")
"""Options that an event which continues has as before: links would lead nowhere without them."""


@dataclass(frozen=True)
class Options:
    """What is None was not said; ``event_file`` and ``before`` may say it then.

    Args:
        participants, tutors, observers: seats of each role in each group.
        ask_names: whether seats' links ask for a name.
    """

    root: Path | None = None
    notebooks: Path | None = None
    participants: int | None = None
    tutors: int | None = None
    observers: int | None = None
    ip: str | None = None
    port: int | None = None
    public_url: str | None = None
    redis_url: str | None = None
    browser: bool = True
    state_dir: Path | None = None
    event_file: Path | None = None
    roster: Path | None = None
    data: Path | None = None
    link_days: int | None = None
    ask_names: bool | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    root_given: bool = False
    """Whether a flag said ``root``, so that it must be said again."""

    @property
    def folder(self) -> Path:
        """The event's root."""
        if self.root is not None:
            return self.root
        return (self.event_file.parent if self.event_file else Path.cwd()) / DEFAULT_ROOT

    @property
    def address(self) -> str:
        """The address to listen on."""
        return self.ip or LOOPBACK[0]

    @property
    def encrypted(self) -> bool:
        """Whether what people send is encrypted on its way, as far as this can be known here."""
        if self.public_url:
            return self.public_url.startswith("https:")
        return self.certfile is not None or self.address in LOOPBACK

    def again(self) -> str:
        """The command that goes on with the same event. A Redis's address may hold a password: left out."""
        words = ["jupyter", "collab", "start"]
        if self.event_file:
            words.append(str(self.event_file))
        if self.root_given or not self.event_file:
            words += ["--root", str(self.folder)]
        if self.state_dir and not self.event_file:
            words += ["--state-dir", str(self.state_dir)]
        if self.address not in LOOPBACK:
            words += ["--ip", self.address]
        for flag, value in (
            ("--public-url", self.public_url), ("--certfile", self.certfile), ("--keyfile", self.keyfile)
        ):  # fmt: skip
            if value:
                words += [flag, str(value)]
        return (f"{REDIS_VARIABLE}=… " if self.redis_url else "") + shlex.join(words)

    def with_plan(self, plan: Plan) -> Options:
        """With what the event file says where no flag does."""
        server = plan.server
        return self.with_server(server, REMEMBERED).over(
            root=plan.root,
            data=plan.data,
            link_days=plan.days,
            ask_names=plan.ask_names,
            roster=plan.roster,
            port=int(server["port"]) if "port" in server else None,
            redis_url=server.get("redis_url"),
            state_dir=Path(server["state_dir"]) if "state_dir" in server else None,
        )

    def with_server(self, server: Mapping[str, str], names: tuple[str, ...]) -> Options:
        """With options of the server by name where they were not said."""
        paths = ("certfile", "keyfile")
        given = {name: server[name] for name in names if server.get(name)}
        return self.over(**{n: Path(v) if n in paths else v for n, v in given.items()})

    def over(self, **more: object) -> Options:
        """With ``more`` where these are None."""
        missing = {name: value for name, value in more.items() if getattr(self, name) is None}
        return replace(self, **missing)  # type: ignore[arg-type]  # by name

    def server(self) -> dict[str, str]:
        """What to remember of them."""
        return {name: str(value) for name in REMEMBERED if (value := getattr(self, name))}


def read(options: Options) -> tuple[Options, Plan]:
    """The options with what the event file and the roster say. Raises ``Problems``."""
    plan, problems = Plan(), list[Problem]()
    if options.event_file is not None:
        plan, problems = load_event_file(options.event_file)
    options = options.with_plan(plan)
    if options.roster is not None:
        try:
            plan = replace(plan, people=(*plan.people, *read_roster(options.roster)))
        except Problems as error:
            problems += error.found
    if problems:
        raise Problems(problems)
    return options, replace(plan, days=options.link_days, data=options.data)


def check(options: Options) -> None:
    """Raises ``ConfigError`` for an address or a certificate that can't be used."""
    url = options.public_url
    try:
        parts = urlsplit(url or "http://localhost/")
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment
    except ValueError:
        wrong = True
    if wrong:
        raise ConfigError(f"{url} is no address: write --public-url like https://your.name/")
    if len(url or "") > LONGEST_BASE:
        raise ConfigError(
            f"{url} makes links longer than {LONGEST_LINK} characters: "
            f"use an address of at most {LONGEST_BASE} for --public-url"
        )
    for flag, path in (("--certfile", options.certfile), ("--keyfile", options.keyfile)):
        if path is not None and not path.is_file():
            raise ConfigError(f"there is no file {path}: correct {flag}")
    if options.keyfile is not None and options.certfile is None:
        raise ConfigError("a key without its certificate can't be used: name it with --certfile")

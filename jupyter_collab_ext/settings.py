"""From traits and environment to the engine's settings.

A value given on the command line or in a configuration file beats the environment, which beats the
default. The section of jupyter-server-ydoc (``YDocExtension``) is honoured for what ours does not set.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

from jupyter_core.paths import jupyter_data_dir
from traitlets import HasTraits, TraitError, TraitType
from traitlets.config import Config
from traitlets.config.loader import DeferredConfig

from notebook_sync.app import SyncSettings
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.limits import Limits

STOCK_SECTION = "YDocExtension"
ADOPTED = (
    "disable_rtc",
    "document_cleanup_delay",
    "document_save_delay",
    "file_poll_interval",
    "server_side_execution",
)
"""Traits that mean the same here and in the stock section."""

NEVER = 10 * 365 * 86400.0
"""Seconds: what the stock section's ``None`` (never save, never clean up) becomes."""

SCHEMES = ("redis", "rediss", "unix")

T = TypeVar("T")


class Concealed(str):
    """Text that is not shown: Jupyter logs the whole configuration in detailed logs."""

    def __repr__(self) -> str:
        return "'***'"


class Options(Protocol):
    """The traits of the extension that the engine wants to know."""

    redis_url: str
    redis_level: str
    state_dir: str
    namespace: str
    max_message_size: int

    @property
    def document_save_delay(self) -> float | None: ...

    @property
    def save_ceiling(self) -> float: ...

    @property
    def document_cleanup_delay(self) -> float | None: ...

    @property
    def file_poll_interval(self) -> float: ...


def environment(name: str, default: T, parse: Callable[[str], T]) -> T:
    """The value of ``JUPYTER_COLLAB_<NAME>``, or ``default`` when it is not set or empty.

    Raises ``ConfigError`` naming the variable, never its value (it may hold a password).
    """
    variable = f"JUPYTER_COLLAB_{name.upper()}"
    text = os.environ.get(variable, "")
    if not text:
        return default
    try:
        return parse(text)
    except ValueError:
        raise ConfigError(
            f"The environment variable {variable} can't be read; correct or unset it."
        ) from None


def flag(text: str) -> bool:
    """``1``, ``true``, ``yes``, ``on`` and their opposites. Raises ``ValueError`` for anything else."""
    word = text.strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise ValueError(text)


def default_state_dir() -> str:
    """Where state is kept when nobody says otherwise: ``collab`` in Jupyter's data folder."""
    return str(Path(jupyter_data_dir()) / "collab")


def conceal(
    config: Config, section: str, names: tuple[str, ...], traits: Mapping[str, TraitType[Any, Any]]
) -> None:
    """Replace the values of ``names`` in a section by ones that are not shown; traits take them as before."""
    given = config.get(section, {})
    for name in names:
        value = given.get(name)
        if isinstance(value, DeferredConfig):
            value = value.get_value(traits[name])
        if isinstance(value, str):
            given[name] = Concealed(value)


def adopt_stock_section(app: HasTraits, config: Config, own_section: str) -> tuple[str, ...]:
    """Set traits of ``app`` from the stock section, except those that its own section sets.

    Values of the command line arrive unparsed and are parsed by the trait. Returns the names adopted;
    raises ``ConfigError`` for a value that the trait refuses.
    """
    stock, own = config.get(STOCK_SECTION, {}), config.get(own_section, {})
    adopted = []
    for name in ADOPTED:
        if name not in stock or name in own:
            continue
        trait = app.traits()[name]
        value = stock[name]
        try:
            setattr(app, name, value.get_value(trait) if isinstance(value, DeferredConfig) else value)
        except (TraitError, ValueError) as error:
            raise ConfigError(f"{STOCK_SECTION}.{name} can't be used: {error}") from None
        adopted.append(name)
    return tuple(adopted)


def sync_settings(options: Options, root_dir: str, limits: Limits | None = None) -> SyncSettings:
    """The engine's settings, checked. Raises ``ConfigError`` with a sentence that says what to change."""
    url = options.redis_url.strip() or None
    if url is not None and urlsplit(url).scheme not in SCHEMES:
        raise ConfigError(
            "JupyterCollab.redis_url (JUPYTER_COLLAB_REDIS_URL) must begin with redis://, rediss:// or unix://."
        )
    save_delay = _seconds(options.document_save_delay, "document_save_delay")
    return SyncSettings(
        state_dir=Path(options.state_dir).expanduser().absolute(),
        root_dir=Path(root_dir).expanduser().absolute(),
        redis_url=url,
        redis_level=_level(options.redis_level),
        namespace=_namespace(options.namespace),
        limits=dataclasses.replace(
            limits or Limits(),
            max_message_size=_at_least(options.max_message_size, 1024, "max_message_size"),
            save_delay=save_delay,
            save_ceiling=max(save_delay, _seconds(options.save_ceiling, "save_ceiling")),
            cleanup_delay=_seconds(options.document_cleanup_delay, "document_cleanup_delay"),
            file_poll_interval=_seconds(options.file_poll_interval, "file_poll_interval") or NEVER,
        ),
    )


def _seconds(value: float | None, name: str) -> float:
    if value is None:
        return NEVER
    if not value >= 0:  # also true of a value that is no number
        raise ConfigError(f"JupyterCollab.{name} is {value}; it must be 0 or more seconds.")
    return min(value, NEVER)


def _at_least(value: int, least: int, name: str) -> int:
    if value < least:
        raise ConfigError(f"JupyterCollab.{name} is {value}; it must be at least {least} bytes.")
    return value


def _level(name: str) -> str | None:
    if name not in ("", "memory", "redis", "disk"):
        raise ConfigError(
            f"JupyterCollab.redis_level (JUPYTER_COLLAB_REDIS_LEVEL) is {name!r}; it must be memory, redis "
            "or disk, or empty."
        )
    return name or None


def _namespace(name: str) -> str:
    if not name or len(name) > 64 or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ConfigError(
            "JupyterCollab.namespace may have 1 to 64 letters, digits, dots, dashes and underscores."
        )
    return name


def redacted(url: str | None) -> str:
    """A Redis URL that may be shown: without user and password. ``embedded`` for None."""
    if not url:
        return "embedded"
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, f"***@{host}" if "@" in parts.netloc else host, parts.path, "", ""))


def describe(settings: SyncSettings) -> dict[str, Any]:
    """The settings for people who run the server, without secrets."""
    return {
        "redis": redacted(settings.redis_url),
        "state_dir": str(settings.state_dir),
        "root_dir": str(settings.root_dir),
        "namespace": settings.namespace,
    }

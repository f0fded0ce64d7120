"""Connecting to Redis or Valkey; one that would lose work is refused, saying what to change."""

from __future__ import annotations

import contextlib
import importlib.resources
import logging
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis.asyncio
from redis import exceptions

from notebook_sync.core.errors import ConfigError, CorruptRecord, StoreUnavailable
from notebook_sync.core.limits import Limits

log = logging.getLogger(__name__)

SCHEMES = ("redis", "rediss", "unix")
OLDEST = (7, 0)
FUNCTIONS = importlib.resources.files("notebook_sync.adapters").joinpath("functions.lua")

Redis = redis.asyncio.Redis


def redacted(url: str) -> str:
    """The URL without its password, for logs and messages."""
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return "(not a URL)"
    who = f"{parts.username or ''}:***@" if parts.password else f"{parts.username}@" if parts.username else ""
    return urlunsplit((parts.scheme, f"{who}{host}", parts.path, "", ""))


def client(url: str, limits: Limits, **options: Any) -> Redis:
    """A client for the URL; connects when first used. Raises ``ConfigError`` for a URL of another form."""
    if urlsplit(url).scheme not in SCHEMES:
        raise ConfigError(
            f"redis_url must begin with redis://, rediss:// or unix://, and {redacted(url)!r} does not"
        )
    try:
        return redis.asyncio.from_url(
            url,
            socket_timeout=options.pop("socket_timeout", limits.append_timeout),
            socket_connect_timeout=limits.append_timeout,
            retry=None,
            **options,
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"redis_url {redacted(url)!r} can't be read: check host, port and options"
        ) from error


async def connect(url: str, limits: Limits, *, allow_memory_only: bool = False) -> Redis:
    """A checked client with our functions loaded.

    Raises ``ConfigError`` when the server can't be reached, is too old, evicts keys, keeps nothing on
    disk (unless ``allow_memory_only``), or does not let us run what we need.
    """
    connection = client(url, limits)
    try:
        await _check(connection, redacted(url), allow_memory_only)
        await load_functions(connection)
    except exceptions.AuthenticationError as error:
        raise ConfigError(f"{redacted(url)} refuses this user or password: correct redis_url") from error
    except exceptions.NoPermissionError as error:
        raise ConfigError(
            f"the user of {redacted(url)} may not run what is needed ({error}): allow it "
            "~jc:* &jc:* +@hash +@stream +@string +@list +@keyspace +@pubsub +@connection "
            "+function +fcall +fcall_ro +info +time"
        ) from error
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
        raise ConfigError(
            f"{redacted(url)} can't be reached: start it, or correct redis_url (JUPYTER_COLLAB_REDIS_URL)"
        ) from error
    except BaseException:
        await connection.aclose()
        raise
    return connection


async def _check(connection: Redis, name: str, allow_memory_only: bool) -> None:
    info = await connection.info("everything")
    version = tuple(int(part) for part in str(info.get("redis_version", "0.0")).split(".")[:2])
    if version < OLDEST:
        raise ConfigError(
            f"{name} is version {'.'.join(map(str, version))}: use Redis 7.0 or newer, or Valkey"
        )
    policy = info.get("maxmemory_policy")
    if policy is None:
        log.warning("%s does not say its eviction policy: make sure that it is noeviction", name)
    elif policy != "noeviction":
        raise ConfigError(
            f"{name} may evict documents (maxmemory-policy {policy}): set maxmemory-policy to noeviction"
        )
    if not allow_memory_only and not info.get("aof_enabled"):
        raise ConfigError(f"{name} keeps nothing when it is killed (appendonly no): set appendonly to yes")


async def load_functions(connection: Redis) -> None:
    """Load our functions, if they are not there or are others."""
    code = FUNCTIONS.read_text()
    name = code.split("name=", 1)[1].split("\n", 1)[0].strip()
    loaded = await connection.execute_command("FUNCTION", "LIST", "LIBRARYNAME", name, "WITHCODE")
    if code.encode() not in _flat(loaded):
        await connection.execute_command("FUNCTION", "LOAD", "REPLACE", code)


def _flat(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for item in value.items() for leaf in _flat(list(item))]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _flat(item)]
    return [value]


async def call(connection: Redis, function: str, keys: list[str], *args: bytes | str | int) -> Any:
    """Call one of our functions; they are loaded again if Redis lost them. Errors as ``trouble``."""
    with trouble(keys[0]):
        try:
            return await connection.fcall(function, len(keys), *keys, *args)
        except exceptions.ResponseError as error:
            if "Function not found" not in str(error):
                raise
        await load_functions(connection)
        return await connection.fcall(function, len(keys), *keys, *args)


class trouble(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a statement
    """Turns redis-py's errors into ours: ``StoreUnavailable`` for what passes, ``CorruptRecord`` else."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, exceptions.ResponseError):
            text = str(error)
            if "WRONGTYPE" in text or text.startswith(("NEWER", "CHUNKGONE")):
                raise CorruptRecord(f"{self._key}: {text}") from error
            raise StoreUnavailable(f"the store refuses for now: {text}") from error
        if isinstance(error, exceptions.RedisError | OSError | TimeoutError):
            raise StoreUnavailable(f"the store does not answer: {type(error).__name__}") from error

"""Connecting to Redis or Valkey; one that would lose work is refused, saying what to change."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.resources
import logging
import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
from redis import exceptions

from notebook_sync.core.errors import ConfigError, CorruptRecord, DocumentEnded, StoreUnavailable
from notebook_sync.core.limits import Limits

log = logging.getLogger(__name__)

SCHEMES = ("redis", "rediss", "unix")
OLDEST = (7, 0)
FUNCTIONS = importlib.resources.files("notebook_sync.adapters").joinpath("functions.lua")
PROBE_EXPIRY = 60
"""Seconds that the key lives on which permissions were tried, should its deletion be forbidden."""

Redis = redis.asyncio.Redis

# Every command that this package or its functions run on keys, tried once on a key of no document.
KEY_PROBES: tuple[tuple[str | int, ...], ...] = (
    ("HSET", "{key}:h", "f", "1"),
    ("HSETNX", "{key}:h", "f", "1"),
    ("HGET", "{key}:h", "f"),
    ("HMGET", "{key}:h", "f"),
    ("HGETALL", "{key}:h"),
    ("HDEL", "{key}:h", "f"),
    ("SET", "{key}:s", "1", "EX", PROBE_EXPIRY),
    ("GET", "{key}:s"),
    ("STRLEN", "{key}:s"),
    ("PERSIST", "{key}:s"),
    ("EXPIRE", "{key}:s", PROBE_EXPIRY),
    ("PEXPIRE", "{key}:s", PROBE_EXPIRY * 1000),
    ("XADD", "{key}:x", "1-1", "f", "1"),
    ("XRANGE", "{key}:x", "-", "+", "COUNT", 1),
    ("XTRIM", "{key}:x", "MINID", "=", "9"),
    ("ZADD", "{key}:z", 0, "m"),
    ("ZRANGEBYLEX", "{key}:z", "[m", "[m"),
    ("ZREM", "{key}:z", "m"),
    ("SADD", "{key}:m", "m"),
    ("SMEMBERS", "{key}:m"),
    ("SREM", "{key}:m", "m"),
    ("SPUBLISH", "{key}:c", ""),
    ("TIME",),
    ("DEL", "{key}:h", "{key}:s", "{key}:x", "{key}:z", "{key}:m"),
)
LIBRARY_COMMANDS = ("FCALL", "FUNCTION|LIST", "FUNCTION|LOAD", "SSUBSCRIBE", "SUNSUBSCRIBE", "INFO", "PING")


def redacted(url: str) -> str:
    """The URL without its password and options, for logs and messages."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(not a URL)"
    if parts.scheme not in SCHEMES:
        # Whatever it is, its parts need not mean what they mean in our URLs: say nothing of it.
        return "(not a Redis URL)"
    secret = ":***" if parts.password is not None else ""
    who = f"{parts.username or ''}{secret}@" if parts.username or secret else ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{who}{host}{f':{port}' if port else ''}{parts.path}"


class _Client(Redis):
    """Callers take turns. With redis-py's pool alone, who gives a connection back gets it again before
    those who wait, and under load some wait for seconds."""

    def __init__(self, pool: redis.asyncio.BlockingConnectionPool, limits: Limits) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self._turns = asyncio.Semaphore(limits.redis_connections)
        self._longest_wait = limits.append_timeout

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As redis-py's, in turn."""
        try:
            async with asyncio.timeout(self._longest_wait):
                await self._turns.acquire()
        except TimeoutError:
            raise exceptions.ConnectionError("no connection is free") from None
        try:
            untyped: Any = super()
            return await untyped.execute_command(*args, **options)
        finally:
            self._turns.release()


def client(url: str, limits: Limits, **options: Any) -> Redis:
    """A client for ``redis://``, ``rediss://`` or ``unix://``; it connects when first used.

    Every call waits at most ``Limits.append_timeout``, and is not tried again here: what a call did
    whose answer is lost, only its caller can tell. Raises ``ConfigError`` for a URL of another form.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in SCHEMES:
        raise ConfigError("redis_url must begin with redis://, rediss:// or unix://: correct it")
    try:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=limits.redis_connections,
            timeout=limits.append_timeout,
            socket_timeout=limits.append_timeout,
            socket_connect_timeout=limits.append_timeout,
            protocol=2,
            retry=None,
            **options,
        )
        return _Client(pool, limits)
    except (ValueError, TypeError):
        # Not "from error": its text may quote the password.
        raise ConfigError(f"redis_url {redacted(url)} can't be read: check host, port and options") from None


async def connect(
    url: str, limits: Limits, *, namespace: str = "default", allow_memory_only: bool = False
) -> Redis:
    """A checked client with our functions loaded.

    Raises ``ConfigError`` when the server can't be reached, is too old, evicts keys, keeps nothing on
    disk (unless ``allow_memory_only``), or does not let us run what we need on ``jc:<namespace>:*``.
    """
    check_namespace(namespace)
    connection = client(url, limits)
    try:
        with _explained(redacted(url), namespace):
            await _check_server(connection, redacted(url), allow_memory_only)
            await _check_permissions(connection, redacted(url), namespace)
            await load_functions(connection)
            probe = f"jc:{namespace}:{{probe}}"
            await run(connection, "FCALL", "jc1_load", 2, f"{probe}:meta", f"{probe}:log", 1)
    except BaseException:
        await connection.aclose()
        raise
    return connection


def check_namespace(namespace: str) -> None:
    """Raises ``ConfigError`` for a namespace that could not be part of a key."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", namespace):
        raise ConfigError("the namespace may have up to 64 letters, digits, dots, dashes and underscores")


class _explained(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a statement
    """Turns what goes wrong at the start into ``ConfigError``. Never "from error": its text may quote
    what it was given."""

    def __init__(self, name: str, namespace: str) -> None:
        self._name = name
        self._namespace = namespace

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, exceptions.RedisError | OSError):
            # What a connection meets while it is made, redis-py wraps once more.
            cause = error.__cause__ if isinstance(error.__cause__, exceptions.RedisError) else error
            raise ConfigError(f"{self._name} {self._sentence(cause)}") from None

    def _sentence(self, error: BaseException) -> str:
        text = str(error)
        if isinstance(error, exceptions.NoPermissionError):
            return _forbidden(self._namespace, [_command_in(text)])
        if "Authentication required" in text or "NOAUTH" in text:
            return "wants a password: give it in redis_url"
        if isinstance(
            error, exceptions.AuthenticationError | exceptions.AuthenticationWrongNumberOfArgsError
        ):
            return "refuses this user or password: correct redis_url"
        if isinstance(error, exceptions.BusyLoadingError):
            return "is still reading its data: wait, and start again"
        if text.lower().startswith("unknown command"):
            return f"is too old ({text}): use Redis 7.0 or newer, or Valkey"
        if isinstance(error, exceptions.ResponseError):
            return f"can't be used now ({text}): repair it, or correct redis_url"
        return "can't be reached: start it, or correct redis_url (JUPYTER_COLLAB_REDIS_URL)"


# --- checks at the start --------------------------------------------------------------------------


async def _check_server(connection: Redis, name: str, allow_memory_only: bool) -> None:
    try:
        info: Mapping[str, Any] = await connection.info()
    except exceptions.NoPermissionError:
        log.warning(
            "%s does not let us read INFO: make sure yourself that it is Redis 7.0 or newer, that "
            "maxmemory-policy is noeviction, and appendonly yes",
            name,
        )
        return
    check_info(info, name, allow_memory_only=allow_memory_only)


def check_info(info: Mapping[str, Any], name: str, *, allow_memory_only: bool) -> None:
    """Whether a server that says this of itself may be trusted with documents; else ``ConfigError``."""
    version = tuple(int(part) for part in str(info.get("redis_version", "0.0")).split(".")[:2])
    if version < OLDEST:
        raise ConfigError(
            f"{name} is version {info.get('redis_version', 'unknown')}: use Redis 7.0 or newer, or Valkey"
        )
    policy = info.get("maxmemory_policy")
    if policy is None:
        log.warning("%s does not say its eviction policy: make sure that it is noeviction", name)
    elif policy != "noeviction":
        raise ConfigError(
            f"{name} may evict documents (maxmemory-policy {policy}): set maxmemory-policy to noeviction"
        )
    if not allow_memory_only and not info.get("aof_enabled"):
        raise ConfigError(
            f"{name} loses what it holds when it is killed (appendonly no): set appendonly to yes"
        )


async def _check_permissions(connection: Redis, name: str, namespace: str) -> None:
    """Try every command once, so that what is missing is said now, and all of it."""
    key = f"jc:{namespace}:{{probe-{secrets.token_hex(8)}}}"
    async with connection.pipeline(transaction=False) as pipeline:
        for words in KEY_PROBES:
            pipeline.execute_command(*(str(word).replace("{key}", key) for word in words))
        answers = await pipeline.execute(raise_on_error=False)
    missing = [
        str(words[0])
        for words, answer in zip(KEY_PROBES, answers, strict=True)
        if isinstance(answer, exceptions.NoPermissionError)
    ]
    if not missing:
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
    missing += await _subscribing_forbidden(connection, f"{key}:c")
    if missing:
        raise ConfigError(f"{name} {_forbidden(namespace, missing)}")


async def _subscribing_forbidden(connection: Redis, channel: str) -> list[str]:
    pool: Any = connection.connection_pool
    raw = await pool.get_connection()
    try:
        await raw.send_command("SSUBSCRIBE", channel)
        await raw.read_response()
    except exceptions.NoPermissionError:
        return ["SSUBSCRIBE"]
    finally:
        await raw.disconnect()
        await pool.release(raw)
    return []


def _command_in(text: str) -> str:
    """The command that a refusal names ("... no permissions to run the 'function|load' command")."""
    return text.split("'")[1].upper() if text.count("'") >= 2 else text


def _forbidden(namespace: str, missing: list[str]) -> str:
    needed = sorted({str(words[0]) for words in KEY_PROBES} | set(LIBRARY_COMMANDS))
    return (
        f"does not let this user run what is needed ({', '.join(sorted(set(missing)))}): allow it with "
        f"ACL SETUSER <user> ~jc:{namespace}:* &jc:{namespace}:* "
        f"{' '.join('+' + command.lower() for command in needed)}"
    )


async def run(connection: Redis, *words: bytes | str | int) -> Any:
    """One command; redis-py's own errors."""
    untyped: Any = connection
    return await untyped.execute_command(*words)


# --- functions ------------------------------------------------------------------------------------


async def load_functions(connection: Redis) -> None:
    """Load our functions, if they are not there or are others."""
    code = FUNCTIONS.read_text()
    name = code.split("name=", 1)[1].split("\n", 1)[0].strip()
    loaded = await run(connection, "FUNCTION", "LIST", "LIBRARYNAME", name, "WITHCODE")
    if code.encode() not in _flat(loaded):
        await run(connection, "FUNCTION", "LOAD", "REPLACE", code)


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
            return await run(connection, "FCALL", function, len(keys), *keys, *args)
        except exceptions.ResponseError as error:
            if "Function not found" not in str(error):
                raise
        await load_functions(connection)
        return await run(connection, "FCALL", function, len(keys), *keys, *args)


# --- errors ---------------------------------------------------------------------------------------

PROGRAM_ERRORS = ("attempt to ", "bad argument", "Lua redis lib command arguments")


class trouble(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a statement
    """Turns redis-py's errors about ``key`` into ours.

    ``CorruptRecord`` when what is stored there is not what it should be, ``DocumentEnded`` when
    it has ended, ``StoreUnavailable`` for all else: it passes, or somebody has to repair the server.
    """

    def __init__(self, key: str) -> None:
        self._key = key

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, exceptions.ResponseError):
            self._refused(error)
        if isinstance(error, exceptions.RedisError | OSError | TimeoutError):
            raise StoreUnavailable(f"the store does not answer ({type(error).__name__})") from error

    def _refused(self, error: exceptions.ResponseError) -> None:
        text = str(error)
        if text.startswith("ENDED"):
            raise DocumentEnded(f"{self._key}: this document has ended, its file is gone") from error
        if "WRONGTYPE" in text or text.startswith(("NEWER", "CHUNKGONE")):
            raise CorruptRecord(f"{self._key}: {text}") from error
        if "user_function" in text and any(sign in text for sign in PROGRAM_ERRORS):
            raise CorruptRecord(f"{self._key} holds what can't be read: {text}") from error
        # Not the sentence alone: "OOM", "READONLY", "LOADING", "MISCONF" are told by the class or the text.
        raise StoreUnavailable(f"the store refuses for now ({type(error).__name__}: {text})") from error

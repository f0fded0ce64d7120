"""What is asked of Redis or Valkey at the start; one that loses work is refused, saying what to change."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Mapping
from typing import Any

from redis import exceptions

from notebook_sync.adapters.redis_calls import reason
from notebook_sync.adapters.redis_client import Redis, run
from notebook_sync.core.errors import ConfigError

log = logging.getLogger(__name__)

OLDEST = (7, 0)
PROBE_EXPIRY = 60
"""Seconds that the key lives on which permissions were tried, should its deletion be forbidden."""
LEVELS = ("memory", "redis", "disk")

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


class explained(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a statement
    """Turns what goes wrong at the start into ``ConfigError``. Never "from error": its text may quote
    what it was given."""

    def __init__(self, name: str, namespace: str) -> None:
        self._name = name
        self._namespace = namespace

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, exceptions.RedisError | OSError):
            raise ConfigError(f"{self._name} {self._sentence(reason(error))}") from None

    def _sentence(self, error: BaseException) -> str:
        text = str(error)
        if isinstance(error, exceptions.NoPermissionError):
            return forbidden(self._namespace, [_command_in(text)])
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


# --- what it says of itself -----------------------------------------------------------------------


async def check_server(connection: Redis, name: str, declared: str | None) -> str:
    """The level of what it keeps (rule 15). Raises ``ConfigError`` for a server that loses documents, unless
    that is ``declared``."""
    if declared is not None and declared not in LEVELS:
        raise ConfigError(f"the level of {name} is memory, redis or disk, not {declared!r}")
    info = await _info(connection, name)
    if info is not None:
        check_info(info, name)
    level = level_of(info or {}, await _config(connection), name, declared)
    if level == "memory" and declared != "memory":
        raise ConfigError(
            f"{name} loses what it holds when it is killed (appendonly no): set appendonly to yes"
        )
    return level


async def _info(connection: Redis, name: str) -> Mapping[str, Any] | None:
    try:
        info: Mapping[str, Any] = await connection.info()
    except exceptions.NoPermissionError:
        log.warning(
            "%s does not let us read INFO: make sure yourself that it is Redis 7.0 or newer, that "
            "maxmemory-policy is noeviction, and appendonly yes",
            name,
        )
        return None
    return info


async def _config(connection: Redis) -> Mapping[str, str]:
    """What it says about its append-only file; nothing where CONFIG is forbidden or unknown."""
    try:
        answer = await run(connection, "CONFIG", "GET", "appendonly", "appendfsync")
    except exceptions.ResponseError:
        return {}
    pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(raw: bytes | str) -> str:
    return raw.decode() if isinstance(raw, bytes) else raw


def check_info(info: Mapping[str, Any], name: str) -> None:
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


def level_of(info: Mapping[str, Any], config: Mapping[str, str], name: str, declared: str | None) -> str:
    """``memory``: a kill of Redis loses it. ``redis``: power loss, or a kill while the disk is slow, may take
    the last seconds of it. ``disk``: survives both.

    What the server says counts, then what is ``declared``, then ``redis``.
    """
    said = _said(info, config)
    if said is not None and declared in ("redis", "disk") and said != declared:
        log.warning("%s is declared to be of level %s, and says that it is %s", name, declared, said)
    return said or declared or "redis"


def _said(info: Mapping[str, Any], config: Mapping[str, str]) -> str | None:
    """The level by what the server says; None when it does not say enough."""
    enabled = info.get("aof_enabled")
    if config.get("appendonly") == "no" or (enabled is not None and not int(enabled)):
        return "memory"
    if "appendfsync" not in config:
        return None
    return "disk" if config["appendfsync"] == "always" else "redis"


# --- what its user may do ---------------------------------------------------------------------------


async def check_permissions(connection: Redis, name: str, namespace: str) -> None:
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
    missing += await _subscribingforbidden(connection, f"{key}:c")
    if missing:
        raise ConfigError(f"{name} {forbidden(namespace, missing)}")


async def _subscribingforbidden(connection: Redis, channel: str) -> list[str]:
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


def forbidden(namespace: str, missing: list[str]) -> str:
    """The sentence about commands that are missing, with what allows them."""
    needed = sorted({str(words[0]) for words in KEY_PROBES} | set(LIBRARY_COMMANDS))
    return (
        f"does not let this user run what is needed ({', '.join(sorted(set(missing)))}): allow it with "
        f"ACL SETUSER <user> ~jc:{namespace}:* &jc:{namespace}:* "
        f"{' '.join('+' + command.lower() for command in needed)}"
    )

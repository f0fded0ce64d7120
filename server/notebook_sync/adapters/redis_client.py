"""A client for Redis or Valkey: its address, its connections, and how long anything may take."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
from redis import exceptions

from notebook_sync.core.errors import ConfigError
from notebook_sync.core.limits import Limits

SCHEMES = ("redis", "rediss", "unix")

Redis = redis.asyncio.Redis


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


class Client(Redis):
    """Callers take turns. With redis-py's pool alone, who gives a connection back gets it again before
    those who wait, and under load some wait for seconds.

    ``level``: what this server keeps survives (rule 15): ``memory``, ``redis`` or ``disk``; "" until
    ``redis_connection.connect`` has asked.
    """

    level: str = ""
    unchecked: str = ""
    """Why no command is sent yet; empty once the server was checked."""

    def __init__(self, pool: redis.asyncio.BlockingConnectionPool, limits: Limits) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self._turns = asyncio.Semaphore(limits.redis_connections)
        self._longest_wait = limits.append_timeout

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As redis-py's, in turn."""
        if self.unchecked:
            raise exceptions.ConnectionError(self.unchecked)
        try:
            async with asyncio.timeout(self._longest_wait):
                await self._turns.acquire()
        except TimeoutError:
            raise exceptions.ConnectionError("no connection is free") from None
        try:
            untyped: Any = super()
            return await untyped.execute_command(*args, **options)
        except (exceptions.ReadOnlyError, exceptions.ConnectionError, exceptions.TimeoutError):
            # Read-only: it was the primary before a failover, and its address may be another server's by
            # now. Else what ended this connection has most likely ended the idle ones too, and each of
            # them would cost a call of its own.
            await self.connection_pool.disconnect(inuse_connections=False)
            raise
        finally:
            self._turns.release()


def client(url: str, limits: Limits, **options: Any) -> Client:
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
        return Client(pool, limits)
    except (ValueError, TypeError):
        # Not "from error": its text may quote the password.
        raise ConfigError(f"redis_url {redacted(url)} can't be read: check host, port and options") from None


async def run(connection: Redis, *words: bytes | str | int) -> Any:
    """One command; redis-py's own errors."""
    untyped: Any = connection
    return await untyped.execute_command(*words)


def check_namespace(namespace: str) -> None:
    """Raises ``ConfigError`` for a namespace that could not be part of a key."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", namespace):
        raise ConfigError("the namespace may have up to 64 letters, digits, dots, dashes and underscores")

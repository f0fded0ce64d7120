"""Connecting to Redis or Valkey; one that would lose work is refused, saying what to change."""

from __future__ import annotations

import asyncio
import logging

from notebook_sync.adapters.redis_calls import call, load_functions, trouble
from notebook_sync.adapters.redis_checks import check_permissions, check_server, explained
from notebook_sync.adapters.redis_client import Client, Redis, check_namespace, client, redacted, run
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.limits import Limits

__all__ = [
    "Client",
    "Redis",
    "call",
    "check_namespace",
    "check_until_there",
    "client",
    "connect",
    "connect_later",
    "load_functions",
    "redacted",
    "run",
    "shared_secret",
    "trouble",
]

log = logging.getLogger(__name__)


async def connect(
    url: str,
    limits: Limits,
    *,
    namespace: str = "default",
    level: str | None = None,
) -> Client:
    """A checked client with our functions loaded; its ``level`` says what survives (rule 15).

    ``level``: what is declared of a server that does not let us read CONFIG: ``redis`` or ``disk``; or
    ``memory``, which also allows one that keeps nothing on disk. Raises ``ConfigError`` when the server
    can't be reached, is too old, evicts keys, keeps nothing on disk, or does not let us run what we need
    on ``jc:<namespace>:*``.
    """
    check_namespace(namespace)
    connection = client(url, limits)
    try:
        with explained(redacted(url), namespace):
            await _check(connection, url, namespace, level)
    except BaseException:
        await connection.aclose()
        raise
    return connection


async def _check(connection: Client, url: str, namespace: str, level: str | None) -> None:
    name = redacted(url)
    connection.level = await check_server(connection, name, level)
    await check_permissions(connection, name, namespace)
    await load_functions(connection)
    probe = f"jc:{namespace}:{{probe}}"
    await run(connection, "FCALL", "jc1_load", 2, f"{probe}:meta", f"{probe}:log", 1)


def connect_later(url: str, limits: Limits, *, namespace: str = "default") -> Client:
    """A client for a server that is away: nothing is sent until ``check_until_there`` has found it, so
    that no work is given to one that would lose it. Raises ``ConfigError`` for a wrong URL or namespace.
    """
    check_namespace(namespace)
    connection = client(url, limits)
    connection.level = "redis"
    connection.unchecked = "it has not been reached since this server started"
    return connection


async def check_until_there(
    later: Client, url: str, limits: Limits, *, namespace: str = "default", level: str | None = None
) -> None:
    """Try until the server is there and is one that work may be given to; then ``later`` may be used."""
    while later.unchecked:
        try:
            checked = await connect(url, limits, namespace=namespace, level=level)
        except ConfigError as error:
            if str(error) != later.unchecked:
                log.error("%s", error)
            later.unchecked = str(error)
            await asyncio.sleep(limits.append_retry_most)
        else:
            later.level, later.unchecked = checked.level, ""
            await checked.aclose()
            log.info("%s is there", redacted(url))


async def shared_secret(connection: Client, namespace: str, own: bytes) -> bytes:
    """The secret that all servers of a namespace share; ``own`` becomes it if there is none. Errors as
    ``trouble``."""
    key = f"jc:{namespace}:{{index}}:secret"
    with trouble(key):
        await run(connection, "SET", key, own, "NX")
        stored = await run(connection, "GET", key)
    return stored if isinstance(stored, bytes) else own

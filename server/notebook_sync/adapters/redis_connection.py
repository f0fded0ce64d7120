"""Connecting to Redis or Valkey; one that would lose work is refused, saying what to change."""

from __future__ import annotations

from notebook_sync.adapters.redis_calls import call, load_functions, trouble
from notebook_sync.adapters.redis_checks import check_permissions, check_server, explained
from notebook_sync.adapters.redis_client import Client, Redis, check_namespace, client, redacted, run
from notebook_sync.core.limits import Limits

__all__ = [
    "Client",
    "Redis",
    "call",
    "check_namespace",
    "client",
    "connect",
    "load_functions",
    "redacted",
    "run",
    "trouble",
]


async def connect(
    url: str,
    limits: Limits,
    *,
    namespace: str = "default",
    allow_memory: bool = False,
    level: str | None = None,
) -> Client:
    """A checked client with our functions loaded; its ``level`` says what survives (rule 15).

    ``level``: what is declared of a server that does not let us read CONFIG: ``memory``, ``redis`` or
    ``disk``. Raises ``ConfigError`` when the server can't be reached, is too old, evicts keys, keeps
    nothing on disk (unless ``allow_memory``), or does not let us run what we need on
    ``jc:<namespace>:*``.
    """
    check_namespace(namespace)
    connection = client(url, limits)
    name = redacted(url)
    try:
        with explained(name, namespace):
            connection.level = await check_server(connection, name, allow_memory=allow_memory, declared=level)
            await check_permissions(connection, name, namespace)
            await load_functions(connection)
            probe = f"jc:{namespace}:{{probe}}"
            await run(connection, "FCALL", "jc1_load", 2, f"{probe}:meta", f"{probe}:log", 1)
    except BaseException:
        await connection.aclose()
        raise
    return connection

"""Calling our functions, and redis-py's errors as ours."""

from __future__ import annotations

import contextlib
import importlib.resources
from typing import Any

from redis import exceptions

from notebook_sync.adapters.redis_client import Redis, run
from notebook_sync.core.errors import CorruptRecord, DocumentEnded, StoreUnavailable

FUNCTIONS = importlib.resources.files("notebook_sync.adapters").joinpath("functions.lua")


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


def reason(error: BaseException) -> BaseException:
    """What a connection meets while it is made, redis-py wraps once more; this is the inner error."""
    return error.__cause__ if isinstance(error.__cause__, exceptions.RedisError) else error


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
            raise StoreUnavailable(f"the store does not answer ({type(reason(error)).__name__})") from error

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

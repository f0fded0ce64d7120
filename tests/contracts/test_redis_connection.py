"""A store that would lose work is refused, in a sentence that says what to change and holds no secret."""

from __future__ import annotations

import pytest

from notebook_sync.adapters.redis_connection import call, connect, redacted
from notebook_sync.core.errors import ConfigError, CorruptRecord, StoreUnavailable
from notebook_sync.core.limits import Limits
from tests.support.redis_servers import RedisServer, running, valkey_binary

LIMITS = Limits(append_timeout=2.0)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://anna:secret@host:6379/1", "redis://anna:***@host:6379/1"),
        ("redis://:secret@host", "redis://:***@host"),
        ("rediss://host/0?password=secret", "rediss://host/0"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize("url", ["http://host", "host:6379", "", "redis://host:notaport"])
async def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="redis_url"):
        await connect(url, LIMITS)


async def test_one_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(ConfigError, match="can't be reached") as error:
        await connect("redis://anna:secret@127.0.0.1:1", LIMITS)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--maxmemory-policy", "allkeys-lru"), "set maxmemory-policy to noeviction"),
        (("--appendonly", "no"), "set appendonly to yes"),
    ],
)
async def test_one_that_forgets_is_refused(options: tuple[str, ...], sentence: str) -> None:
    with running(valkey_binary(), *options) as server, pytest.raises(ConfigError, match=sentence):
        await connect(server.url, LIMITS)


async def test_memory_only_can_be_allowed() -> None:
    with running(valkey_binary(), "--appendonly", "no") as server:
        await (await connect(server.url, LIMITS, allow_memory_only=True)).aclose()


async def test_a_wrong_password_and_missing_rights_are_told_apart() -> None:
    user = ("--user", "collab", "on", ">secret", "~jc:*", "&jc:*", "+@all", "-@scripting")
    with running(valkey_binary(), *user) as server:
        with pytest.raises(ConfigError, match="user or password"):
            await connect(server.url.replace("unix://", "unix://collab:wrong@"), LIMITS)
        with pytest.raises(ConfigError, match="does not let this user run what is needed") as error:
            await connect(server.url.replace("unix://", "unix://collab:secret@"), LIMITS)
    assert "secret" not in str(error.value)


async def test_functions_are_loaded_again_when_they_are_gone(valkey: RedisServer) -> None:
    redis = await connect(valkey.url, LIMITS)
    valkey.command("FUNCTION", "FLUSH")
    assert await call(redis, "jc1_load", ["jc:t:{none}:meta", "jc:t:{none}:log"]) is None
    await redis.aclose()


async def test_a_store_that_is_frozen_or_full_is_away_for_now(valkey: RedisServer) -> None:
    redis = await connect(valkey.url, Limits(append_timeout=0.3))
    keys = ["jc:t:{frozen}:meta"]
    valkey.freeze()
    try:
        with pytest.raises(StoreUnavailable):
            await call(redis, "jc1_reserve", keys, "l")
    finally:
        valkey.thaw()
    valkey.command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable, match="refuses"):
            await call(redis, "jc1_reserve", keys, "l")
    finally:
        valkey.command("CONFIG", "SET", "maxmemory", "0")
    assert await call(redis, "jc1_reserve", keys, "l") == b"l"
    await redis.aclose()


async def test_a_key_of_another_type_or_a_newer_version_is_a_corrupt_record(valkey: RedisServer) -> None:
    redis = await connect(valkey.url, LIMITS)
    valkey.command("SET", "jc:t:{odd}:meta", "a string")
    with pytest.raises(CorruptRecord, match="odd"):
        await call(redis, "jc1_reserve", ["jc:t:{odd}:meta"], "l")
    valkey.command("HSET", "jc:t:{new}:meta", "v", "99")
    with pytest.raises(CorruptRecord, match="newer version"):
        await call(redis, "jc1_reserve", ["jc:t:{new}:meta"], "l")
    await redis.aclose()

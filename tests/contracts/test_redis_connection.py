"""A store that would lose work is refused, in a sentence that says what to change and holds no secret."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from notebook_sync.adapters.redis_channel import RedisChannel
from notebook_sync.adapters.redis_checks import check_info, level_of
from notebook_sync.adapters.redis_connection import call, client, connect, redacted
from notebook_sync.adapters.redis_lease import RedisLeaseStore
from notebook_sync.adapters.redis_ledger import RedisFileLedger
from notebook_sync.adapters.redis_store import RedisUpdateStore
from notebook_sync.core.errors import ConfigError, CorruptRecord, StoreUnavailable
from notebook_sync.core.ids import NOTEBOOK, DocumentKey, Generation, Lineage
from notebook_sync.core.limits import Limits
from notebook_sync.engine.supervisor import Supervisor
from notebook_sync.ports import Appended, Batch, ChannelEvent, Compacted, Intent, LeaseGranted
from tests.contracts.conftest import HERE, THERE
from tests.support.redis_servers import RedisServer, redis_binary, running, valkey_binary
from tests.support.waiting import wait_until

LIMITS = Limits(append_timeout=2.0)


@pytest.fixture(params=["valkey", "redis"])
def binary(request: pytest.FixtureRequest) -> str:
    return valkey_binary() if request.param == "valkey" else redis_binary()


def as_user(server: RedisServer, *, name: str = "collab", password: str = "p%40ss") -> str:
    return server.url.replace("unix://", f"unix://{name}:{password}@")


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
        await (await connect(server.url, LIMITS, level="memory")).aclose()


@pytest.mark.parametrize(
    ("info", "config", "declared", "level"),
    [
        ({"aof_enabled": 1}, {"appendonly": "yes", "appendfsync": "everysec"}, None, "redis"),
        ({"aof_enabled": 1}, {"appendonly": "yes", "appendfsync": "no"}, None, "redis"),
        ({"aof_enabled": 1}, {"appendonly": "yes", "appendfsync": "always"}, None, "disk"),
        ({"aof_enabled": 0}, {"appendonly": "no", "appendfsync": "always"}, None, "memory"),
        ({}, {"appendonly": "no", "appendfsync": "everysec"}, None, "memory"),
        ({"aof_enabled": 1}, {}, None, "redis"),
        ({"aof_enabled": 1}, {}, "disk", "disk"),
        ({"aof_enabled": 0}, {}, "disk", "memory"),
        ({}, {}, None, "redis"),
        ({}, {}, "disk", "disk"),
    ],
)
def test_what_survives_is_what_the_server_says_then_what_is_declared(
    info: dict[str, object], config: dict[str, str], declared: str | None, level: str
) -> None:
    assert level_of(info, config, "it", declared) == level


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ((), "redis"),
        (("--appendfsync", "always"), "disk"),
        (("--appendonly", "no"), "memory"),
    ],
)
async def test_the_level_is_learned_from_the_server(
    binary: str, options: tuple[str, ...], level: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running(binary, *options) as server:
        redis = await connect(server.url, LIMITS, level="memory")
        assert redis.level == level
        await redis.aclose()
        assert "is declared" not in caplog.text
        if level != "memory":
            redis = await connect(server.url, LIMITS, level="disk")
            assert redis.level == level
            assert ("is declared to be of level disk" in caplog.text) == (level != "disk")
            await redis.aclose()


async def test_where_config_is_forbidden_the_level_is_declared(binary: str) -> None:
    user = ("--user", "collab", "on", ">p@ss", "~*", "&*", "+@all", "-config")
    with running(binary, *user) as server:
        for declared, level in ((None, "redis"), ("disk", "disk")):
            redis = await connect(as_user(server), LIMITS, level=declared)
            assert redis.level == level
            await redis.aclose()
        with pytest.raises(ConfigError, match="memory, redis or disk, not 'everysec'"):
            await connect(as_user(server), LIMITS, level="everysec")
    memory_only = (*user, "--appendonly", "no")
    with running(binary, *memory_only) as server, pytest.raises(ConfigError, match="set appendonly to yes"):
        await connect(as_user(server), LIMITS, level="disk")


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


async def use_all(url: str, namespace: str) -> None:
    """Whatever a server does with Redis, as this user."""
    redis = await connect(url, LIMITS, namespace=namespace)
    with ThreadPoolExecutor(1) as executor:
        store = RedisUpdateStore(redis, namespace, LIMITS, executor)
        document = await store.document_id(DocumentKey(NOTEBOOK, "a.ipynb"))
        lineage = await store.reserve(document, Lineage("1" * 32))
        assert await store.seed(document, lineage, Generation("2" * 32), b"\x00\x00")
        batch = Batch(lineage, Generation("2" * 32), HERE, 1, (b"\x00\x00",))
        assert isinstance(await store.append(document, batch), Appended)
        assert await store.compact(document) == Compacted(1)
        assert (await store.attend()).run_id
        leases, ledger = RedisLeaseStore(redis, namespace), RedisFileLedger(redis, namespace)
        assert isinstance(await leases.acquire(document, "file", HERE, 1.0), LeaseGranted)
        await leases.release(document, "file", HERE)
        await ledger.intend(document, "f", Intent("digest", HERE, Generation("2" * 32), 1, 1))
        await ledger.common(document, "f", "digest", b"base")
        await ledger.record(document, "f")
        heard: list[ChannelEvent] = []
        async with Supervisor() as supervisor:
            channel = RedisChannel(url, namespace, HERE, LIMITS)
            supervisor.spawn(channel.run(), "channel")
            await channel.subscribe(document, heard.append)
            await channel.publish_awareness(document, THERE, b"frame")
            await wait_until(lambda: heard)
            await channel.unsubscribe(document)
        await channel.aclose()
        await store.rename("a.ipynb", "b.ipynb")
        await store.forget("b.ipynb")
    await redis.aclose()


async def test_the_sentence_about_permissions_names_all_that_is_needed_and_no_more(binary: str) -> None:
    """A user with exactly what it says can do everything; with any one command less it is refused by name."""
    with running(binary) as server:
        server.command("ACL", "SETUSER", "collab", "on", ">p@ss", "+ping")
        with pytest.raises(ConfigError) as refused:
            await connect(as_user(server), LIMITS, namespace="class.1")
        grants = str(refused.value).partition("<user> ")[2].split()
        assert {"~jc:class.1:*", "&jc:class.1:*"} < set(grants)
        # Neither other keys nor commands on all of the server.
        server.command("ACL", "SETUSER", "collab", "reset", "on", ">p@ss", *grants)
        await use_all(as_user(server), "class.1")
        for command in ("+xadd", "+spublish", "+ssubscribe", "+fcall", "&jc:class.1:*", "~jc:class.1:*"):
            less = [grant for grant in grants if grant != command]
            server.command("ACL", "SETUSER", "collab", "reset", "on", ">p@ss", *less)
            with pytest.raises(ConfigError, match="does not let this user run") as missing:
                await connect(as_user(server), LIMITS, namespace="class.1")
            if command.startswith("+"):
                assert f"({command[1:].upper()})" in str(missing.value)
            assert "p@ss" not in str(missing.value)


async def test_one_that_does_not_say_what_it_is_is_warned_of(
    binary: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running(binary, "--user", "collab", "on", ">p@ss", "~*", "&*", "+@all", "-info") as server:
        await (await connect(as_user(server), LIMITS)).aclose()
    assert "make sure yourself" in caplog.text
    assert "p@ss" not in caplog.text


async def test_one_that_wants_a_password_says_so(binary: str) -> None:
    with running(binary, "--requirepass", "secret") as server:
        with pytest.raises(ConfigError, match="wants a password: give it in redis_url"):
            await connect(server.url, LIMITS)
        await (await connect(server.url.replace("unix://", "unix://:secret@"), LIMITS)).aclose()


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        ({"redis_version": "6.2.14", "aof_enabled": 1}, "use Redis 7.0 or newer"),
        ({"aof_enabled": 1}, "use Redis 7.0 or newer"),
        ({"redis_version": "7.0.0", "maxmemory_policy": "volatile-ttl", "aof_enabled": 1}, "noeviction"),
    ],
)
def test_what_a_server_says_of_itself_is_judged(info: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_info(info, "it")


def test_a_good_server_passes() -> None:
    check_info({"redis_version": "7.0.0", "maxmemory_policy": "noeviction", "aof_enabled": 1}, "it")


def test_a_client_does_not_show_its_password() -> None:
    redis = client("redis://anna:secret@127.0.0.1:1/0?client_name=x", LIMITS)
    assert "secret" not in repr(redis)
    assert "secret" not in repr(redis.connection_pool)


@pytest.mark.parametrize(
    "url", ["redsi://anna:secret@host", "redis://anna:secret@host:port", "secret", "redis://[secret"]
)
async def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        client(url, LIMITS)
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None
    assert "secret" not in redacted(url)


@pytest.mark.parametrize("namespace", ["", "a{b}", "a:b", "a b", "*", "é", "x" * 65])
async def test_a_namespace_that_could_reach_other_keys_is_refused(namespace: str) -> None:
    with pytest.raises(ConfigError, match="namespace"):
        await connect("redis://127.0.0.1:1", LIMITS, namespace=namespace)


async def test_more_callers_than_connections_wait_for_one(valkey: RedisServer) -> None:
    redis = await connect(valkey.url, replace(LIMITS, redis_connections=2))
    keys = ["jc:default:{many}:meta"]
    answers = await asyncio.gather(*(call(redis, "jc1_reserve", keys, "l") for _ in range(50)))
    assert set(answers) == {b"l"}
    await redis.aclose()


async def test_callers_take_turns_however_many_there_are(valkey: RedisServer) -> None:
    """None waits while others go again and again."""
    redis = await connect(valkey.url, replace(LIMITS, redis_connections=2))
    calls = dict.fromkeys(range(20), 0)
    last = asyncio.Event()

    async def again_and_again(caller: int) -> None:
        while not last.is_set():
            await call(redis, "jc1_load", ["jc:default:{turns}:meta", "jc:default:{turns}:log"], 1)
            calls[caller] += 1
            if calls[caller] == 20:
                last.set()

    await asyncio.gather(*map(again_and_again, calls))
    assert min(calls.values()) >= 15
    await redis.aclose()


async def test_over_tls(tmp_path: Path) -> None:
    """With a certificate made here; the Valkey that comes with us has no TLS."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    await asyncio.to_thread(
        subprocess.run,
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tls = ("--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
           "--tls-auth-clients", "no", "--bind", "127.0.0.1")  # fmt: skip
    with running(redis_binary(), *tls):
        url = f"rediss://localhost:{port}/0"
        with pytest.raises(ConfigError, match="can't be reached"):
            await connect(url, LIMITS)
        await (await connect(f"{url}?ssl_ca_certs={certificate}", LIMITS)).aclose()

"""The memory twins answer what the real ones answer, to any series of calls: simulation rests on that.

Both get the same random calls. Documents have ids of their own, so answers are compared with ids put in
the order in which they appeared.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from notebook_sync.adapters.memory_lease import MemoryLeaseStore
from notebook_sync.adapters.memory_store import MemoryStore
from notebook_sync.adapters.redis_connection import Client, connect, run
from notebook_sync.adapters.redis_lease import RedisLeaseStore
from notebook_sync.adapters.redis_store import RedisUpdateStore
from notebook_sync.core.errors import DocumentEnded
from notebook_sync.core.ids import (
    NOTEBOOK,
    DocumentId,
    DocumentKey,
    DocumentKind,
    Generation,
    Lineage,
    NodeId,
)
from notebook_sync.core.limits import Limits
from notebook_sync.ports import Appended, Attendance, Batch, Cursor, LeaseStore, UpdateStore
from tests.support.redis_servers import RedisServer

SEEDS, CALLS = 25, 150
WINDOW, TTL, GRACE = 3600.0, 3600.0, 1.0
"""So long that none ends while a series runs."""
LIMITS = Limits(compact_keep=0.0, lease_ttl=TTL, lease_grace=GRACE, log_page=40)
KINDS = (NOTEBOOK, DocumentKind("text", "file"))
PATHS = ("a", "b", "f", "f/a", "f/b", "f/g/a", "g")
NODES = tuple(NodeId(character * 16) for character in "12")
LINEAGES = tuple(Lineage(character * 32) for character in "34")
GENERATIONS = tuple(Generation(character * 32) for character in "567")
PURPOSES = ("file:x", "file:y")
EMPTY = b"\x00\x00"


@dataclass
class Side:
    """A store with its leases; ``ids`` in the order in which they appeared, the first two offered by us."""

    store: UpdateStore
    leases: LeaseStore
    memory: MemoryStore | None
    redis: Client | None
    ids: list[DocumentId] = field(default_factory=lambda: [DocumentId("8" * 32), DocumentId("9" * 32)])
    cursors: list[Cursor] = field(default_factory=list)
    histories: dict[DocumentId, tuple[Lineage, Generation]] = field(default_factory=dict)
    """Of each document, the one that was seeded last."""

    async def lose_everything(self) -> None:
        if self.memory is not None:
            self.memory.flush()
        if self.redis is not None:
            await run(self.redis, "FLUSHDB")

    def told(self, answer: Any) -> Any:
        """The answer, comparable with the other side's; cursors in it are remembered."""
        if isinstance(answer, Attendance):
            return answer.recovering > 0
        if isinstance(answer, str) and len(answer) == 32 and answer not in LINEAGES:
            if answer not in self.ids:
                self.ids.append(DocumentId(answer))
            return self.ids.index(DocumentId(answer))
        return answer


@dataclass(frozen=True)
class Call:
    """One random call: which, and with what. Documents and cursors are places in a side's lists."""

    name: str
    number: float
    path: str
    other: str
    kind: DocumentKind
    node: NodeId
    lineage: Lineage
    generation: Generation
    purpose: str
    count: int
    batch: int
    """Mostly a new number; the last ones are those of batches that are sent again."""
    again: bool
    stale: bool

    @classmethod
    def drawn(cls, chance: random.Random, number: int) -> Call:
        names = list(CALLS_BY_NAME)
        weights = [CALLS_BY_NAME[name] for name in names]
        return cls(
            chance.choices(names, weights)[0],
            chance.random(),
            chance.choice(PATHS),
            chance.choice(PATHS),
            chance.choice(KINDS),
            chance.choice(NODES),
            chance.choice(LINEAGES),
            chance.choice(GENERATIONS),
            chance.choice(PURPOSES),
            chance.randrange(1, 9),
            max(1, number - chance.choice((0, 0, 0, 5))),
            chance.random() < 0.3,
            chance.random() < 0.1,
        )

    def key(self) -> DocumentKey:
        return DocumentKey(self.kind, self.path)

    def document(self, side: Side) -> DocumentId:
        """Mostly one of the first, so that a lot happens to it."""
        return side.ids[int(self.number**4 * len(side.ids))]

    def history(self, side: Side) -> tuple[Lineage, Generation]:
        """Mostly the document's own."""
        drawn = (self.lineage, self.generation)
        return drawn if self.stale else side.histories.get(self.document(side), drawn)

    def cursor(self, side: Side) -> Cursor:
        """The beginning, or one of the newest."""
        generation = self.history(side)[1]
        newest = [cursor for cursor in side.cursors[-8:] if cursor.generation == generation or self.stale]
        return ([Cursor(generation, 0, bytes(8)), *newest])[self.count % (len(newest) + 1)]


CALLS_BY_NAME = {
    "append": 30,
    "since": 8,
    "confirms": 8,
    "load": 8,
    "compact": 5,
    "seed": 12,
    "reserve": 8,
    "document_id": 8,
    "offer": 6,
    "find_document": 4,
    "rename": 3,
    "forget": 1,
    "acquire": 8,
    "release": 4,
    "attend": 2,
    "flush": 1,
}
"""How often each is drawn."""


async def on_names(side: Side, call: Call) -> Any:
    match call.name:
        case "document_id":
            return await side.store.document_id(call.key())
        case "offer":
            return await side.store.document_id(call.key(), call.document(side))
        case "find_document":
            return await side.store.find_document(call.key())
        case "rename":
            return await side.store.rename(call.path, call.other)
        case "forget":
            return await side.store.forget(call.path)
        case "attend":
            return await side.store.attend()
        case "flush":
            return await side.lose_everything()
        case _:
            return await on_content(side, call)


async def on_content(side: Side, call: Call) -> Any:
    document = call.document(side)
    match call.name:
        case "reserve":
            return await side.store.reserve(document, call.lineage)
        case "seed":
            seeded = await side.store.seed(document, call.lineage, call.generation, EMPTY, again=call.again)
            if seeded:
                side.histories[document] = (call.lineage, call.generation)
            return seeded
        case "load":
            return await side.store.load(document)
        case "append":
            lineage, generation = call.history(side)
            batch = Batch(lineage, generation, call.node, call.batch, (EMPTY,) * call.count)
            answer = await side.store.append(document, batch)
            if isinstance(answer, Appended):
                side.cursors.append(Cursor(generation, answer.seq, answer.chain))
            return answer
        case "since":
            return await side.store.since(document, call.cursor(side))
        case "confirms":
            return await side.store.confirms(document, call.cursor(side))
        case _:
            return await on_the_rest(side, call)


async def on_the_rest(side: Side, call: Call) -> Any:
    document = call.document(side)
    match call.name:
        case "compact":
            return await side.store.compact(document)
        case "acquire":
            return await side.leases.acquire(document, call.purpose, call.node, TTL)
        case "release":
            return await side.leases.release(document, call.purpose, call.node)
        case _:
            raise AssertionError(call.name)


async def answer(side: Side, call: Call) -> Any:
    try:
        return side.told(await on_names(side, call))
    except DocumentEnded:
        return "ended"


@pytest.fixture(params=["valkey", "redis"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Client, int]]:
    """A database of its own that may be emptied: other tests of this server use database 0."""
    server: RedisServer = request.getfixturevalue(request.param)
    number = 5
    client = await connect(f"{server.url}?db={number}", LIMITS)
    yield client, number
    await run(client, "FLUSHDB")
    await client.aclose()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_any_series_of_calls_has_the_same_answers(redis: tuple[Client, int], seed: int) -> None:
    client, _ = redis
    chance = random.Random(seed)
    memory = MemoryStore(limits=LIMITS, recovery_window=WINDOW)
    with ThreadPoolExecutor(1) as executor:
        namespace = f"twins-{secrets.token_hex(6)}"
        real = RedisUpdateStore(client, namespace, LIMITS, executor, recovery_window=WINDOW)
        sides = (
            Side(memory, MemoryLeaseStore(store=memory, grace=GRACE), memory, None),
            Side(real, RedisLeaseStore(client, namespace, grace=GRACE), None, client),
        )
        for number in range(CALLS):
            call = Call.drawn(chance, number)
            mine, theirs = [await answer(side, call) for side in sides]
            assert mine == theirs, f"call {number} of seed {seed}: {call}"

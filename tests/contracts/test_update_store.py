"""What every update store must do: Redis, Valkey and the memory twin."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pycrdt import Doc, Text

from notebook_sync.adapters.log_chain import next_chain
from notebook_sync.adapters.memory_store import MemoryStore
from notebook_sync.adapters.redis_connection import connect
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
from notebook_sync.ports import (
    Appended,
    Batch,
    Compacted,
    Cursor,
    Loaded,
    LogEntry,
    NotCompacted,
    NotSeeded,
    StaleHistory,
    Trimmed,
    UpdateStore,
)
from tests.support.redis_servers import RedisServer

ANNA, BEN = NodeId("a" * 16), NodeId("b" * 16)
KEPT = Limits(snapshot_chunk=1000, log_page=500)
"""Small parts and pages, so that what is tested has several of them."""
NOT_KEPT = replace(KEPT, compact_keep=0.0)
TEXT_VIEW = DocumentKind("text", "file")


class Bench:
    """A store under test and what is needed to try it."""

    def __init__(self, kept: UpdateStore, not_kept: UpdateStore) -> None:
        self.store = kept
        self.forgetful = not_kept
        """The same store, or one like it, that keeps no compacted entries."""
        self._numbers = itertools.count(1)

    def batch(self, cursor: Cursor, lineage: Lineage, *updates: bytes, node: NodeId = ANNA) -> Batch:
        return Batch(lineage, cursor.generation, node, next(self._numbers), updates or (b"\0\0",))


@pytest.fixture(params=["memory", "valkey", "redis"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield Bench(MemoryStore(limits=KEPT), MemoryStore(limits=NOT_KEPT))
        return
    server: RedisServer = request.getfixturevalue(request.param)
    namespace = f"store-{secrets.token_hex(6)}"
    redis = await connect(server.url, KEPT, namespace=namespace)
    with ThreadPoolExecutor(1) as executor:
        yield Bench(
            RedisUpdateStore(redis, namespace, KEPT, executor),
            RedisUpdateStore(redis, namespace, NOT_KEPT, executor),
        )
    await redis.aclose()


def key(path: str, kind: DocumentKind = NOTEBOOK) -> DocumentKey:
    return DocumentKey(kind, path)


def new_document() -> DocumentId:
    return DocumentId(secrets.token_hex(16))


def new_lineage() -> Lineage:
    return Lineage(secrets.token_hex(16))


def new_generation() -> Generation:
    return Generation(secrets.token_hex(16))


async def seeded(store: UpdateStore, snapshot: bytes = b"\0\0") -> tuple[DocumentId, Lineage, Cursor]:
    document, lineage, generation = new_document(), new_lineage(), new_generation()
    await store.reserve(document, lineage)
    assert await store.seed(document, lineage, generation, snapshot)
    return document, lineage, Cursor(generation, 0, bytes(8))


async def loaded(store: UpdateStore, document: DocumentId) -> Loaded:
    found = await store.load(document)
    assert isinstance(found, Loaded)
    return found


async def appended(store: UpdateStore, document: DocumentId, batch: Batch) -> Appended:
    answer = await store.append(document, batch)
    assert isinstance(answer, Appended)
    return answer


class Typing:
    """A document that is typed into: the updates of it, one after another."""

    def __init__(self, client_id: int) -> None:
        self.doc: Doc[Text] = Doc(client_id=client_id)
        self.text = self.doc.get("t", type=Text)

    def type(self, words: str) -> bytes:
        before = self.doc.get_state()
        self.text += words
        return self.doc.get_update(before)

    def erase(self, start: int, end: int) -> bytes:
        before = self.doc.get_state()
        del self.text[start:end]
        return self.doc.get_update(before)


def text_of(snapshot: bytes, *updates: bytes) -> str:
    doc: Doc[Text] = Doc()
    for update in (snapshot, *updates):
        doc.apply_update(update)
    return str(doc.get("t", type=Text))


# --- names ---------------------------------------------------------------------------------------


async def test_a_path_has_one_document(bench: Bench) -> None:
    assert await bench.store.find_document(key("a.ipynb")) is None
    one, other = await asyncio.gather(*(bench.store.document_id(key("a.ipynb")) for _ in range(2)))
    assert one == other
    assert await bench.store.find_document(key("a.ipynb")) == one
    assert await bench.store.document_id(key("b.ipynb")) != one
    assert await bench.store.document_id(key("a.ipynb", TEXT_VIEW)) != one


async def test_documents_follow_a_renamed_file_in_all_kinds(bench: Bench) -> None:
    notebook = await bench.store.document_id(key("a.ipynb"))
    text = await bench.store.document_id(key("a.ipynb", TEXT_VIEW))
    neighbour = await bench.store.document_id(key("a.ipynb2"))
    await bench.store.rename("a.ipynb", "sub/ü b.ipynb")
    assert await bench.store.find_document(key("sub/ü b.ipynb")) == notebook
    assert await bench.store.find_document(key("sub/ü b.ipynb", TEXT_VIEW)) == text
    assert await bench.store.find_document(key("a.ipynb")) is None
    assert await bench.store.find_document(key("a.ipynb2")) == neighbour


async def test_documents_follow_a_renamed_folder(bench: Bench) -> None:
    inside = await bench.store.document_id(key("one/two/a.ipynb"))
    beside = await bench.store.document_id(key("one two/a.ipynb"))
    below = await bench.store.document_id(key("one/b.ipynb"))
    await bench.store.rename("one", "other")
    assert await bench.store.find_document(key("other/two/a.ipynb")) == inside
    assert await bench.store.find_document(key("other/b.ipynb")) == below
    assert await bench.store.find_document(key("one two/a.ipynb")) == beside
    assert await bench.store.find_document(key("one/b.ipynb")) is None


async def test_names_that_patterns_would_trip_over(bench: Bench) -> None:
    odd = "a%b [c] (d)+:é😀\n"
    document = await bench.store.document_id(key(f"{odd}/x.ipynb"))
    await bench.store.rename(odd, "b")
    assert await bench.store.find_document(key("b/x.ipynb")) == document


async def test_a_renamed_file_ends_the_document_that_was_there(bench: Bench) -> None:
    moved = await bench.store.document_id(key("a.ipynb"))
    overwritten = await bench.store.document_id(key("b.ipynb"))
    lineage, generation = new_lineage(), new_generation()
    await bench.store.reserve(overwritten, lineage)
    assert await bench.store.seed(overwritten, lineage, generation, b"\0\0")
    await bench.store.rename("a.ipynb", "b.ipynb")
    assert await bench.store.find_document(key("b.ipynb")) == moved
    batch = Batch(lineage, generation, ANNA, 1, (b"\0\0",))
    assert await bench.store.append(overwritten, batch) == StaleHistory(None, None)


async def test_a_rename_said_twice_ends_nothing(bench: Bench) -> None:
    document = await bench.store.document_id(key("a.ipynb"))
    await bench.store.rename("a.ipynb", "b.ipynb")
    await bench.store.rename("a.ipynb", "b.ipynb")
    await bench.store.rename("b.ipynb", "b.ipynb")
    assert await bench.store.find_document(key("b.ipynb")) == document
    assert await bench.store.reserve(document, Lineage("1" * 32)) == "1" * 32


async def test_a_deleted_file_ends_its_documents(bench: Bench) -> None:
    document = await bench.store.document_id(key("d/a.ipynb"))
    never_seeded = await bench.store.document_id(key("d/b.ipynb"))
    lineage, generation = new_lineage(), new_generation()
    await bench.store.reserve(document, lineage)
    assert await bench.store.seed(document, lineage, generation, b"\0\0")
    await bench.store.forget("d")
    await bench.store.forget("d")
    assert await bench.store.find_document(key("d/a.ipynb")) is None
    assert await bench.store.load(document) is None
    batch = Batch(lineage, generation, ANNA, 1, (b"\0\0",))
    assert await bench.store.append(document, batch) == StaleHistory(None, None)
    assert await bench.store.since(document, Cursor(generation, 0, bytes(8))) == Trimmed()
    assert not await bench.store.seed(document, lineage, generation, b"\0\0")
    assert isinstance(await bench.store.compact(document), NotCompacted)
    for ended in (document, never_seeded):
        with pytest.raises(DocumentEnded):
            await bench.store.reserve(ended, new_lineage())
    again = await bench.store.document_id(key("d/a.ipynb"))
    assert again != document
    assert await bench.store.load(again) is None


# --- seeding -------------------------------------------------------------------------------------


async def test_a_lineage_is_reserved_once(bench: Bench) -> None:
    document = new_document()
    assert await bench.store.load(document) is None
    proposals = [new_lineage() for _ in range(5)]
    answers = await asyncio.gather(*(bench.store.reserve(document, proposal) for proposal in proposals))
    assert len(set(answers)) == 1
    assert answers[0] in proposals
    assert await bench.store.load(document) == NotSeeded(answers[0])


async def test_of_many_that_seed_at_once_one_does(bench: Bench) -> None:
    document, lineage = new_document(), new_lineage()
    await bench.store.reserve(document, lineage)
    generations = [new_generation() for _ in range(8)]
    won = await asyncio.gather(
        *(bench.store.seed(document, lineage, g, f"seed {g}".encode()) for g in generations)
    )
    assert sum(won) == 1
    winner = generations[won.index(True)]
    found = await loaded(bench.store, document)
    assert found == Loaded(lineage, f"seed {winner}".encode(), (), Cursor(winner, 0, bytes(8)))


async def test_a_seed_said_twice_is_true_and_changes_nothing(bench: Bench) -> None:
    document, lineage, cursor = await seeded(bench.store, b"first")
    await appended(bench.store, document, bench.batch(cursor, lineage, b"x"))
    assert await bench.store.seed(document, lineage, cursor.generation, b"second")
    found = await loaded(bench.store, document)
    assert (found.snapshot, len(found.tail)) == (b"first", 1)


async def test_a_seed_of_another_lineage_is_refused(bench: Bench) -> None:
    document = new_document()
    await bench.store.reserve(document, new_lineage())
    assert not await bench.store.seed(document, new_lineage(), new_generation(), b"x")
    assert isinstance(await bench.store.load(document), NotSeeded)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 12_345])
async def test_a_snapshot_comes_back_whole(bench: Bench, size: int) -> None:
    snapshot = secrets.token_bytes(size)
    document, _, _ = await seeded(bench.store, snapshot)
    assert (await loaded(bench.store, document)).snapshot == snapshot


# --- the log -------------------------------------------------------------------------------------


async def test_appends_are_numbered_and_chained(bench: Bench) -> None:
    document, lineage, cursor = await seeded(bench.store)
    first = await appended(bench.store, document, bench.batch(cursor, lineage, b"one", b"\0\xff\n"))
    second = await appended(bench.store, document, bench.batch(cursor, lineage, b"", node=BEN))
    assert (first.seq, second.seq) == (1, 2)
    assert first.chain == next_chain(bytes(8), ANNA, (b"one", b"\0\xff\n"))
    assert second.chain == next_chain(first.chain, BEN, (b"",))
    found = await loaded(bench.store, document)
    assert found.cursor == Cursor(cursor.generation, 2, second.chain)
    assert found.tail == (
        LogEntry(1, ANNA, (b"one", b"\0\xff\n"), first.chain),
        LogEntry(2, BEN, (b"",), second.chain),
    )


async def test_the_largest_batch_fits(bench: Bench) -> None:
    limits = Limits()
    document, lineage, cursor = await seeded(bench.store)
    size = limits.append_batch_bytes // limits.append_batch_updates
    updates = tuple(secrets.token_bytes(size) for _ in range(limits.append_batch_updates))
    await appended(bench.store, document, bench.batch(cursor, lineage, *updates))
    assert (await loaded(bench.store, document)).tail[0].updates == updates


async def test_a_batch_sent_again_is_taken_once(bench: Bench) -> None:
    document, lineage, cursor = await seeded(bench.store)
    batch = bench.batch(cursor, lineage, b"mine")
    first = await appended(bench.store, document, batch)
    await appended(bench.store, document, bench.batch(cursor, lineage, b"other", node=BEN))
    assert await bench.store.append(document, batch) == first
    found = await loaded(bench.store, document)
    assert [entry.updates for entry in found.tail] == [(b"mine",), (b"other",)]


async def test_a_straggler_of_an_older_batch_is_not_taken(bench: Bench) -> None:
    """A connection that was given up may still deliver what was sent again over another since."""
    document, lineage, cursor = await seeded(bench.store)
    older, newer = bench.batch(cursor, lineage, b"1"), bench.batch(cursor, lineage, b"2")
    await appended(bench.store, document, older)
    await appended(bench.store, document, newer)
    await bench.store.append(document, older)
    assert (await loaded(bench.store, document)).cursor.seq == 2


async def test_nothing_is_written_under_another_history(bench: Bench) -> None:
    document, lineage, cursor = await seeded(bench.store)
    good = bench.batch(cursor, lineage, b"x")
    here = StaleHistory(lineage, cursor.generation)
    assert await bench.store.append(document, replace(good, lineage=new_lineage())) == here
    assert await bench.store.append(document, replace(good, generation=new_generation())) == here
    assert await bench.store.append(new_document(), good) == StaleHistory(None, None)
    reserved, other = new_document(), new_lineage()
    await bench.store.reserve(reserved, other)
    assert await bench.store.append(reserved, good) == StaleHistory(other, None)
    assert (await loaded(bench.store, document)).tail == ()


async def test_many_nodes_append_at_once(bench: Bench) -> None:
    document, lineage, cursor = await seeded(bench.store)

    async def write(node: NodeId) -> None:
        for number in range(1, 21):
            batch = Batch(lineage, cursor.generation, node, number, (f"{node} {number}".encode(),))
            await appended(bench.store, document, batch)

    nodes = [NodeId(f"{number:016x}") for number in range(5)]
    await asyncio.gather(*(write(node) for node in nodes))
    found = await loaded(bench.store, document)
    assert [entry.seq for entry in found.tail] == list(range(1, 101))
    for node in nodes:
        own = [entry.updates[0] for entry in found.tail if entry.node == node]
        assert own == [f"{node} {number}".encode() for number in range(1, 21)]


async def test_since_gives_what_follows_a_cursor(bench: Bench) -> None:
    document, lineage, start = await seeded(bench.store)
    batches = [bench.batch(start, lineage, b"%d" % n * 30) for n in range(60)]
    places = [await appended(bench.store, document, batch) for batch in batches]
    for seq in (0, 1, 17, 59, 60):
        chain = places[seq - 1].chain if seq else bytes(8)
        entries = await bench.store.since(document, Cursor(start.generation, seq, chain))
        assert isinstance(entries, tuple)
        assert [entry.seq for entry in entries] == list(range(seq + 1, 61))
        assert [entry.updates for entry in entries] == [batch.updates for batch in batches[seq:]]


async def test_since_knows_a_cursor_of_another_history(bench: Bench) -> None:
    document, lineage, start = await seeded(bench.store)
    place = await appended(bench.store, document, bench.batch(start, lineage, b"x"))
    await appended(bench.store, document, bench.batch(start, lineage, b"y"))
    good = Cursor(start.generation, 1, place.chain)
    assert await bench.store.since(document, replace(good, generation=new_generation())) == Trimmed()
    assert await bench.store.since(document, replace(good, chain=b"12345678")) == Trimmed()
    assert await bench.store.since(document, replace(good, seq=2)) == Trimmed()
    assert await bench.store.since(document, replace(good, seq=3)) == Trimmed()
    assert await bench.store.since(document, Cursor(start.generation, 0, b"12345678")) == Trimmed()
    assert await bench.store.since(new_document(), good) == Trimmed()


async def test_a_place_in_the_log_is_confirmed_and_another_is_not(bench: Bench) -> None:
    document, lineage, start = await seeded(bench.store)
    batches = [bench.batch(start, lineage, b"%d" % n) for n in range(3)]
    places = [await appended(bench.store, document, batch) for batch in batches]
    cursors = [start] + [Cursor(start.generation, place.seq, place.chain) for place in places]
    for cursor in cursors:
        assert await bench.store.confirms(document, cursor)
        assert not await bench.store.confirms(document, replace(cursor, generation=new_generation()))
        assert not await bench.store.confirms(document, replace(cursor, chain=b"12345678"))
        assert not await bench.store.confirms(document, replace(cursor, seq=cursor.seq + 1))
        assert not await bench.store.confirms(new_document(), cursor)


async def test_a_place_that_was_trimmed_is_confirmed_by_the_snapshot_alone(bench: Bench) -> None:
    store = bench.forgetful
    document, lineage, start = await seeded(store)
    places = [
        await appended(store, document, bench.batch(start, lineage, Typing(n).type("x"))) for n in range(1, 6)
    ]
    cursors = [start] + [Cursor(start.generation, place.seq, place.chain) for place in places]
    assert await store.compact(document) == Compacted(5)
    last = await appended(store, document, bench.batch(start, lineage, Typing(9).type("y")))
    cursors.append(Cursor(start.generation, last.seq, last.chain))
    assert [await store.confirms(document, cursor) for cursor in cursors] == [False] * 5 + [True] * 2
    answers = [await store.since(document, cursor) for cursor in cursors]
    assert [answer == Trimmed() for answer in answers] == [True] * 5 + [False] * 2


async def test_nothing_is_confirmed_of_a_document_that_has_ended_or_has_no_content(bench: Bench) -> None:
    document = await bench.store.document_id(key("a.ipynb"))
    cursor = Cursor(new_generation(), 0, bytes(8))
    lineage = await bench.store.reserve(document, new_lineage())
    assert not await bench.store.confirms(document, cursor)
    assert await bench.store.seed(document, lineage, cursor.generation, b"\0\0")
    assert await bench.store.confirms(document, cursor)
    await bench.store.forget("a.ipynb")
    assert not await bench.store.confirms(document, cursor)


# --- compaction ----------------------------------------------------------------------------------


async def test_a_compacted_document_is_the_same(bench: Bench) -> None:
    typing = Typing(1)
    document, lineage, cursor = await seeded(bench.store, typing.type("seed "))
    for word in range(80):
        await appended(bench.store, document, bench.batch(cursor, lineage, typing.type(f"w{word} ")))
    await appended(bench.store, document, bench.batch(cursor, lineage, typing.erase(5, 50)))
    before = await loaded(bench.store, document)
    assert await bench.store.compact(document) == Compacted(81)
    after = await loaded(bench.store, document)
    assert (after.tail, after.cursor, after.lineage) == ((), before.cursor, before.lineage)
    assert text_of(after.snapshot) == str(typing.text)
    assert isinstance(await bench.store.compact(document), NotCompacted)
    await appended(bench.store, document, bench.batch(cursor, lineage, typing.type("!")))
    last = await loaded(bench.store, document)
    assert [entry.seq for entry in last.tail] == [82]
    assert text_of(last.snapshot, *last.tail[0].updates) == str(typing.text)


async def test_compaction_keeps_what_waits_behind_a_gap(bench: Bench) -> None:
    """Rule 6: a snapshot through a document would drop the second update for ever."""
    typing = Typing(1)
    document, lineage, cursor = await seeded(bench.store)
    one, two, three, deletion = typing.type("a"), typing.type("b"), typing.type("c"), typing.erase(0, 1)
    for update in (one, three, deletion):
        await appended(bench.store, document, bench.batch(cursor, lineage, update))
    assert await bench.store.compact(document) == Compacted(3)
    await appended(bench.store, document, bench.batch(cursor, lineage, two))
    assert await bench.store.compact(document) == Compacted(4)
    assert text_of((await loaded(bench.store, document)).snapshot) == "bc"


async def test_entries_are_kept_a_while_for_those_who_lag(bench: Bench) -> None:
    document, lineage, start = await seeded(bench.store)
    places = [
        await appended(bench.store, document, bench.batch(start, lineage, Typing(n).type("x")))
        for n in range(1, 6)
    ]
    assert await bench.store.compact(document) == Compacted(5)
    entries = await bench.store.since(document, Cursor(start.generation, 2, places[1].chain))
    assert isinstance(entries, tuple)
    assert [entry.seq for entry in entries] == [3, 4, 5]


async def test_a_cursor_older_than_the_log_is_told(bench: Bench) -> None:
    store = bench.forgetful
    document, lineage, start = await seeded(store)
    places = [
        await appended(store, document, bench.batch(start, lineage, Typing(n).type("x"))) for n in range(1, 6)
    ]
    assert await store.compact(document) == Compacted(5)
    await appended(store, document, bench.batch(start, lineage, Typing(9).type("y")))
    assert await store.since(document, Cursor(start.generation, 2, places[1].chain)) == Trimmed()
    assert await store.since(document, Cursor(start.generation, 0, bytes(8))) == Trimmed()
    at_snapshot = await store.since(document, Cursor(start.generation, 5, places[4].chain))
    assert isinstance(at_snapshot, tuple)
    assert [entry.seq for entry in at_snapshot] == [6]
    assert await store.since(document, Cursor(start.generation, 5, b"12345678")) == Trimmed()


async def test_appends_during_compaction_stay(bench: Bench) -> None:
    document, lineage, cursor = await seeded(bench.store)
    typing = Typing(1)
    await appended(bench.store, document, bench.batch(cursor, lineage, typing.type("a")))

    async def write() -> None:
        for _ in range(50):
            await appended(bench.store, document, bench.batch(cursor, lineage, typing.type("b")))

    outcomes = await asyncio.gather(write(), *(bench.store.compact(document) for _ in range(3)))
    assert any(isinstance(outcome, Compacted) for outcome in outcomes)
    found = await loaded(bench.store, document)
    updates = [update for entry in found.tail for update in entry.updates]
    assert text_of(found.snapshot, *updates) == str(typing.text)


async def test_a_document_that_is_not_there_is_not_compacted(bench: Bench) -> None:
    assert isinstance(await bench.store.compact(new_document()), NotCompacted)
    document, _, _ = await seeded(bench.store)
    assert isinstance(await bench.store.compact(document), NotCompacted)

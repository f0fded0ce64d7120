"""Where a document comes from: the store, this disk, a client, and its file last."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pycrdt import Doc, Text

from notebook_sync.adapters.memory_copies import MemoryDisk, MemoryLocalCopies
from notebook_sync.adapters.memory_files import MemoryFiles
from notebook_sync.adapters.memory_ledger import MemoryFileLedger
from notebook_sync.adapters.memory_store import MemoryStore
from notebook_sync.adapters.memory_versions import MemoryVersionStore
from notebook_sync.adapters.notebook_codec import InlineCodec
from notebook_sync.core import events as ev
from notebook_sync.core.effects import OfferSeed, Refound
from notebook_sync.core.errors import LocalDiskFailed, StoreUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKey, DocumentKind, Generation, Lineage, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.core.replica import merge
from notebook_sync.engine.loader import Loader, Seeds
from notebook_sync.engine.naming import Naming
from notebook_sync.engine.outlived import Outlived
from notebook_sync.engine.recovery import Recovery
from notebook_sync.ports import Batch, Cursor, Loaded, LocalHead
from tests.support.waiting import wait_until

KEY = DocumentKey(DocumentKind("text", "file"), "a.txt")
L, OTHER = Lineage("1" * 32), Lineage("9" * 32)
G = Generation("2" * 32)
NODE = NodeId("here")


def typed(text: str, client: int = 500) -> bytes:
    doc: Doc[Any] = Doc(client_id=client)
    source = doc.get("source", type=Text)
    source += text
    return doc.get_update()


def text_of(opened: ev.Opened | ev.OpenedLocally) -> str:
    """What a room would show."""
    doc: Doc[Any] = Doc()
    match opened:
        case ev.Opened():
            updates = (opened.snapshot, *(u for e in opened.entries for u in e.updates), *opened.local)
        case ev.OpenedLocally():
            updates = opened.updates
    for update in updates:
        doc.apply_update(update)
    return str(doc.get("source", type=Text))


class Bench:
    """A loader, and all that it works with."""

    def __init__(self, *, provisional: bool = True, window: float = 0.0, patience: float = 0.0) -> None:
        ids = itertools.count(1)
        self.store = MemoryStore(recovery_window=window)
        self.files = MemoryFiles()
        self.files.external_write("a.txt", b"from the file")
        self.disk = MemoryDisk()
        self.disk.live.add(NODE)
        self.copies = MemoryLocalCopies(self.disk, NODE)
        self.given_back: list[LocalHead] = []

        async def give_back(head: LocalHead) -> None:
            self.given_back.append(head)

        def new_id() -> str:
            return f"{next(ids):032x}"

        self.recovery = Recovery(self.store, self.copies, Limits(), give_back)
        naming = Naming(self.store, self.copies, self.recovery.recovered, new_id, provisional, patience)
        self.naming = naming
        self.bases = MemoryFileLedger()
        self.versions = MemoryVersionStore(Limits())
        self.notices: list[str] = []

        async def found(key: DocumentKey) -> None:
            await self.open()

        def notice(key: DocumentKey, level: str, sentence: str) -> None:
            self.notices.append(sentence)

        codec = InlineCodec()
        outlived = Outlived(
            self.store, codec, self.copies, self.versions, self.bases, "folder", notice, found
        )
        self.loader = Loader(
            self.store,
            self.files,
            codec,
            self.copies,
            self.bases,
            "folder",
            naming,
            self.recovery,
            outlived,
            new_id,
        )
        self.asked = 0
        self.seeds = Seeds(self.ask)

    def ask(self) -> None:
        self.asked += 1

    async def open(self) -> ev.Opened:
        document = await self.naming.document(KEY)
        return await self.loader.open(document, KEY, self.seeds)

    async def seeded(self, content: bytes = b"\x00\x00") -> DocumentId:
        document = await self.store.document_id(KEY)
        await self.store.reserve(document, L)
        await self.store.seed(document, L, G, content)
        return document


def questions(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[DocumentKey]:
    """What the store is asked for from now on: which document is at a path."""
    find: Callable[[DocumentKey], Awaitable[DocumentId | None]] = bench.store.find_document
    asked: list[DocumentKey] = []

    async def heard(key: DocumentKey) -> DocumentId | None:
        asked.append(key)
        return await find(key)

    monkeypatch.setattr(bench.store, "find_document", heard)
    return asked


async def test_the_file_is_the_seed_of_a_document_that_never_was() -> None:
    bench = Bench()
    opened = await bench.open()
    assert text_of(opened) == "from the file"
    assert bench.asked == 0


async def test_a_first_content_is_on_this_disk_only_when_the_store_has_taken_it() -> None:
    """Another server may found the same lineage meanwhile; opened from this disk, a first content that lost
    would be merged with the one that won, and double the document."""
    bench = Bench()
    document = await bench.store.document_id(KEY)
    await bench.store.reserve(document, L)
    seed, calls = bench.store.seed, []

    async def torn(*arguments: Any, **options: Any) -> bool:
        calls.append(arguments)
        raise StoreUnavailable("the connection broke")

    bench.store.seed = torn  # type: ignore[method-assign]  # one call that fails
    with pytest.raises(StoreUnavailable):
        await bench.open()
    bench.store.seed = seed  # type: ignore[method-assign]  # and works again
    assert calls
    assert await bench.copies.heads() == ()


async def test_what_this_disk_has_of_the_same_history_comes_with_what_the_store_has() -> None:
    bench = Bench()
    document = await bench.seeded(typed("stored "))
    await bench.copies.keep(LocalHead(document, L, KEY, None), typed("only here", 501), 0)
    opened = await bench.open()
    assert sorted(text_of(opened).split()) == ["here", "only", "stored"]


async def test_what_this_disk_has_of_another_history_is_never_merged_and_becomes_a_version() -> None:
    bench = Bench()
    document = await bench.seeded(typed("stored"))
    await bench.copies.keep(LocalHead(document, OTHER, KEY, None), typed("of another history", 501), 0)
    assert text_of(await bench.open()) == "stored"
    (version,) = await bench.versions.list(document)
    assert await bench.versions.read(document, version.id) == b"of another history"
    assert version.id in bench.notices[0]


async def test_a_provisional_document_whose_id_the_path_got_under_another_history_is_carried_over() -> None:
    """Its id was accepted when the store came back, and somebody reserved a history for it first."""
    bench = Bench()
    document = DocumentId("d" * 32)
    await bench.bases.common(
        document, "folder", "x", await bench.loader.codec.slim(KEY.kind, b"from the file")
    )
    provisional = LocalHead(document, OTHER, KEY, None, provisional=True)
    state = await bench.loader.codec.seed(KEY.kind, b"from the file, and acknowledged", trusted=False)
    await bench.copies.keep(provisional, state, 0)
    assert await bench.store.document_id(KEY, document) == document
    await bench.store.reserve(document, L)
    await bench.open()
    again = await bench.open()
    assert again.lineage == L
    assert text_of(again) == "from the file, and acknowledged"


async def test_a_lost_document_is_founded_again_from_this_disk_under_its_old_id_and_history() -> None:
    """Not from its file, which is seconds behind (rule 8)."""
    bench = Bench(window=100.0)
    document = await bench.seeded()
    head = LocalHead(document, L, KEY, Cursor(G, 0, bytes(8)))
    await bench.copies.keep(head, typed("acknowledged"), 0)
    bench.store.flush()
    opened = await bench.open()
    assert text_of(opened) == "acknowledged"
    assert opened.lineage == L
    assert await bench.store.find_document(KEY) == document
    assert bench.asked == 0


async def test_a_client_gives_back_what_nobody_else_has_and_the_file_waits_for_it() -> None:
    bench = Bench(window=100.0)
    await bench.store.attend()
    bench.store.flush()
    opening = asyncio.ensure_future(bench.loader.open(DocumentId("d" * 32), KEY, bench.seeds))
    await wait_until(lambda: bench.asked > 0)
    assert not opening.done()
    bench.seeds.offer(OfferSeed(L, typed("only in a tab")))
    opened = await opening
    assert text_of(opened) == "only in a tab"
    assert opened.lineage == L


async def test_while_the_store_is_away_a_known_document_opens_from_this_disk() -> None:
    bench = Bench(provisional=False)
    await bench.copies.keep(LocalHead(DocumentId("d" * 32), L, KEY, None), typed("kept here"), 0)
    await bench.copies.record(DocumentId("d" * 32), L, [(1, typed(" and more", 501))])
    bench.store.faults.down = True
    local = await bench.loader.open_locally(KEY)
    assert local is not None
    document, event = local
    assert document == "d" * 32
    assert (event.lineage, event.provisional) == (L, False)
    assert "kept here" in text_of(event)
    assert "and more" in text_of(event)
    assert (await bench.naming.lineage(KEY)).lineage == L


async def test_an_unknown_document_opens_provisionally_under_what_its_session_was_told() -> None:
    bench = Bench()
    bench.store.faults.down = True
    named = await bench.naming.lineage(KEY)
    local = await bench.loader.open_locally(KEY)
    assert local is not None
    document, event = local
    assert (document, event.lineage, event.provisional) == (named.document, named.lineage, True)
    assert text_of(event) == "from the file"
    again = await bench.loader.open_locally(KEY)
    assert again is not None
    assert again[1] == event


async def test_a_store_that_stumbles_makes_no_document_provisional(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second history would cost whoever typed in it a reload."""
    bench = Bench(patience=5.0)
    bench.store.faults.down = True
    asked = questions(bench, monkeypatch)
    asking = [asyncio.ensure_future(bench.naming.lineage(KEY)) for _ in range(3)]
    opening = asyncio.ensure_future(bench.loader.open_locally(KEY))
    await wait_until(lambda: len(asked) > 8)
    bench.store.faults.down = False
    named = await asyncio.gather(*asking)
    assert await opening is None
    assert {one.lineage for one in named} == {await bench.store.reserve(named[0].document, OTHER)}
    assert await bench.copies.heads() == ()


async def test_all_who_ask_for_an_unknown_document_at_once_are_told_one_history() -> None:
    bench = Bench(patience=0.05)
    bench.store.faults.down = True
    named = await asyncio.gather(*(bench.naming.lineage(KEY) for _ in range(5)))
    assert len({(one.document, one.lineage) for one in named}) == 1


async def test_a_store_of_this_servers_own_is_waited_for() -> None:
    bench = Bench(provisional=False)
    bench.store.faults.down = True
    assert await bench.loader.open_locally(KEY) is None
    with pytest.raises(StoreUnavailable):
        await bench.naming.lineage(KEY)


async def test_a_store_that_has_nothing_any_more_gets_the_replica() -> None:
    bench = Bench()
    document = await bench.seeded()
    bench.store.flush()
    event = await bench.loader.load_again(document, KEY, L)
    assert isinstance(event, ev.StoreLost)
    event = await bench.loader.refound(document, KEY, Refound(L, typed("kept"), 7))
    assert isinstance(event, ev.Refounded)
    assert event.position == 7
    assert await bench.store.find_document(KEY) == document


async def test_of_two_that_found_a_lost_document_again_the_second_gets_what_the_first_gave() -> None:
    bench = Bench()
    document = await bench.seeded()
    bench.store.flush()
    assert isinstance(await bench.loader.refound(document, KEY, Refound(L, typed("first"), 1)), ev.Refounded)
    event = await bench.loader.refound(document, KEY, Refound(L, typed("second", 501), 1))
    assert isinstance(event, ev.Opened)
    assert text_of(event) == "first"


async def test_an_ended_document_is_never_founded_again() -> None:
    """Its file was deleted on another server while this one had it open."""
    bench = Bench()
    document = await bench.seeded()
    await bench.store.forget(KEY.path)
    assert isinstance(await bench.loader.refound(document, KEY, Refound(L, b"\x00\x00", 7)), ev.LineageEnded)
    assert await bench.store.load(document) is None


async def test_a_path_that_got_another_document_meanwhile_ends_the_history_here() -> None:
    bench = Bench()
    document = await bench.seeded()
    bench.store.flush()
    other = await bench.store.document_id(KEY, DocumentId("e" * 32))
    assert other != document
    assert isinstance(await bench.loader.load_again(document, KEY, L), ev.LineageEnded)


# --- recovery -------------------------------------------------------------------------------------


async def test_a_new_incarnation_of_the_store_gets_what_it_lacks_of_this_disk() -> None:
    bench = Bench()
    document = await bench.seeded()
    in_step = LocalHead(document, L, KEY, Cursor(G, 0, bytes(8)))
    await bench.copies.keep(in_step, typed("a"), 0)
    await bench.recovery.look()
    assert bench.given_back == []
    bench.store.flush()
    await bench.recovery.look()
    assert bench.given_back == [in_step]
    await bench.recovery.look()
    assert bench.given_back == [in_step]


async def test_a_log_that_was_set_back_gets_what_it_lacks_of_this_disk() -> None:
    bench = Bench()
    document = await bench.seeded()
    appended = await bench.store.append(document, Batch(L, G, NODE, 1, (typed("later"),)))
    loaded = await bench.store.load(document)
    assert isinstance(loaded, Loaded)
    head = LocalHead(document, L, KEY, loaded.cursor)
    await bench.copies.keep(head, merge([typed("later")]), 1)
    await bench.recovery.look()
    assert bench.given_back == []
    bench.store.rollback(document, 0)
    bench.store.restart()
    await bench.recovery.look()
    assert bench.given_back == [head], appended


async def test_what_a_server_recorded_before_it_ended_goes_to_the_store_though_nobody_opens_it() -> None:
    """Its people may go on at another server; the snapshot's place in the log is fine, and says nothing of
    the journal."""
    bench = Bench()
    document = await bench.seeded()
    head = LocalHead(document, L, KEY, Cursor(G, 0, bytes(8)))
    async with MemoryLocalCopies(bench.disk, NodeId("ended")) as ended:
        await ended.keep(head, typed("a"), 0)
        await ended.record(document, L, [(1, typed("acknowledged as local", 501))])
    await bench.recovery.look()
    assert bench.given_back == [head]


async def test_nobody_goes_on_in_a_provisional_history_that_is_being_carried_over() -> None:
    """It is carried once: what was typed after that would be left behind."""
    bench = Bench()
    bench.store.faults.down = True
    first = await bench.naming.lineage(KEY)
    bench.naming.outlived(first.document)
    second = await bench.naming.lineage(KEY)
    assert second.document != first.document
    assert second.lineage != first.lineage


async def test_the_file_is_no_second_content_of_a_history_that_this_disk_got_to_know_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two first contents under one lineage would be merged: every cell twice."""
    bench = Bench(patience=0.3)
    bench.store.faults.down = True
    asked = questions(bench, monkeypatch)
    opening = asyncio.ensure_future(bench.loader.open_locally(KEY))
    async with MemoryLocalCopies(bench.disk, NodeId("other")) as other:
        await wait_until(lambda: asked)
        await other.keep(LocalHead(DocumentId("d" * 32), L, KEY, None), typed("founded by the other"), 0)
        local = await opening
    assert local is not None
    document, event = local
    assert (document, event.lineage, event.provisional) == ("d" * 32, L, False)
    assert text_of(event) == "founded by the other"


async def test_the_file_is_no_second_content_of_what_this_disk_knows_and_cannot_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    await bench.copies.keep(LocalHead(DocumentId("d" * 32), L, KEY, None), typed("kept here"), 0)
    bench.store.faults.down = True

    async def unreadable(document: DocumentId) -> None:
        raise LocalDiskFailed("a bad sector")

    monkeypatch.setattr(bench.copies, "find", unreadable)
    assert await bench.loader.open_locally(KEY) is None


async def test_a_provisional_history_waits_for_an_older_one_when_the_store_was_emptied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(window=0.3)
    bench.store.faults.down = True
    named = await bench.naming.lineage(KEY)
    bench.store.faults.down = False
    asked = questions(bench, monkeypatch)
    loading = asyncio.ensure_future(bench.loader.load_again(named.document, KEY, named.lineage))
    await wait_until(lambda: asked or loading.done())
    older = DocumentId("e" * 32)
    assert await bench.store.document_id(KEY, older) == older
    await bench.store.reserve(older, OTHER)
    await bench.store.seed(older, OTHER, G, typed("older"), again=True)
    assert await loading == ev.LineageEnded(Lineage(""))


async def test_a_provisional_history_of_another_server_on_this_disk_is_not_gone_on_in() -> None:
    bench = Bench()
    head = LocalHead(DocumentId("d" * 32), L, KEY, None, provisional=True)
    async with MemoryLocalCopies(bench.disk, NodeId("other")) as other:
        await other.keep(head, typed("theirs"), 0)
        bench.store.faults.down = True
        local = await bench.loader.open_locally(KEY)
        assert local is not None
        assert local[0] != head.document
        assert text_of(local[1]) == "from the file"

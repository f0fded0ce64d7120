"""What a room is told when the store no longer has its document."""

from __future__ import annotations

import itertools

from notebook_sync.adapters.memory_files import MemoryFiles
from notebook_sync.adapters.memory_store import MemoryStore
from notebook_sync.adapters.notebook_codec import InlineCodec
from notebook_sync.core import events as ev
from notebook_sync.core.effects import Load
from notebook_sync.core.ids import DocumentKey, DocumentKind, Generation, Lineage
from notebook_sync.engine.loader import Loader

KEY = DocumentKey(DocumentKind("text", "file"), "a.txt")
L, G = Lineage("1" * 32), Generation("2" * 32)


def loader(store: MemoryStore) -> Loader:
    ids = itertools.count(1)
    return Loader(store, MemoryFiles(), InlineCodec(), lambda: f"{next(ids):032x}")


async def test_a_lost_document_is_founded_again_from_the_replica() -> None:
    store = MemoryStore()
    document = await store.document_id(KEY)
    await store.reserve(document, L)
    await store.seed(document, L, G, b"\x00\x00")
    store.flush()
    event = await loader(store).load_again(document, Load(L, b"\x00\x00", 7))
    assert isinstance(event, ev.Refounded)
    assert event.position == 7


async def test_an_ended_document_is_never_founded_again() -> None:
    """Its file was deleted on another server while this one had it open."""
    store = MemoryStore()
    document = await store.document_id(KEY)
    await store.reserve(document, L)
    await store.seed(document, L, G, b"\x00\x00")
    await store.forget(KEY.path)
    assert isinstance(await loader(store).load_again(document, Load(L, b"\x00\x00", 7)), ev.LineageEnded)
    assert await store.load(document) is None

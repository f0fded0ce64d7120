"""What every channel between nodes must do."""

from __future__ import annotations

import asyncio

from notebook_sync.core.ids import DocumentId, Generation, Lineage
from notebook_sync.ports import AwarenessPublished, Batch, ChannelEvent, EntryPublished
from tests.contracts.conftest import HERE, THERE, Ports
from tests.support.waiting import wait_until

D, OTHER = DocumentId("a" * 32), DocumentId("b" * 32)
L, G = Lineage("1" * 32), Generation("3" * 32)


async def test_an_appended_batch_is_heard_everywhere_as_it_was(ports: Ports) -> None:
    here: list[ChannelEvent] = []
    there: list[ChannelEvent] = []
    await ports.store.reserve(D, L)
    await ports.store.seed(D, L, G, b"\x00\x00")
    await ports.channel.subscribe(D, here.append)
    await ports.other.subscribe(D, there.append)
    await ports.store.append(D, Batch(L, G, HERE, 1, (b"first\n", b"", b"\x00 third")))
    await wait_until(lambda: here and there)
    (event,) = there
    assert isinstance(event, EntryPublished)
    assert event.entry is not None
    assert (event.generation, event.seq, event.entry.node) == (G, 1, HERE)
    assert event.entry.updates == (b"first\n", b"", b"\x00 third")
    assert here == there


async def test_awareness_is_heard_by_the_others_only(ports: Ports) -> None:
    here: list[ChannelEvent] = []
    there: list[ChannelEvent] = []
    await ports.channel.subscribe(D, here.append)
    await ports.other.subscribe(D, there.append)
    await ports.channel.publish_awareness(D, HERE, b"\x01 two words\n")
    await wait_until(lambda: there)
    assert there == [AwarenessPublished(HERE, b"\x01 two words\n")]
    await ports.other.publish_awareness(D, THERE, b"back")
    await wait_until(lambda: here)
    assert here == [AwarenessPublished(THERE, b"back")]


async def test_documents_are_apart_and_after_unsubscribing_there_is_silence(ports: Ports) -> None:
    heard: list[ChannelEvent] = []
    other: list[ChannelEvent] = []
    await ports.channel.subscribe(D, heard.append)
    await ports.channel.subscribe(OTHER, other.append)
    await ports.channel.unsubscribe(D)
    await ports.channel.unsubscribe(D)
    await ports.other.publish_awareness(D, THERE, b"gone")
    await ports.other.publish_awareness(OTHER, THERE, b"here")
    await wait_until(lambda: other)
    assert heard == []
    await ports.channel.subscribe(D, heard.append)
    await ports.other.publish_awareness(D, THERE, b"again")
    await wait_until(lambda: heard)


async def test_many_subscribe_at_once(ports: Ports) -> None:
    heard: dict[str, list[ChannelEvent]] = {f"{n:032x}": [] for n in range(50)}
    await asyncio.gather(
        *(ports.channel.subscribe(DocumentId(name), events.append) for name, events in heard.items())
    )
    for name in heard:
        await ports.other.publish_awareness(DocumentId(name), THERE, name.encode())
    await wait_until(lambda: all(heard.values()))
    assert all(events == [AwarenessPublished(THERE, name.encode())] for name, events in heard.items())

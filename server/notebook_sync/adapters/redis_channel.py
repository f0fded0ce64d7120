"""Fan-out between nodes by sharded pub/sub: one connection for all documents, fast, at most once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from notebook_sync.adapters.redis_connection import client, trouble
from notebook_sync.core.errors import CorruptRecord, StoreUnavailable
from notebook_sync.core.ids import DocumentId, Generation, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import AwarenessPublished, ChannelEvent, ChannelRestored, EntryPublished, LogEntry

log = logging.getLogger(__name__)

Listener = Callable[[ChannelEvent], None]
UPDATES, AWARENESS = "updates", "awareness"
POLL = 1.0
"""Seconds a read waits before it looks whether it should ping."""


class RedisChannel:
    """``run`` reads until it fails or is cancelled; the caller starts it again (``supervisor.forever``)."""

    def __init__(self, url: str, namespace: str, node: NodeId, limits: Limits) -> None:
        self._redis = client(url, limits)
        self._prefix = f"jc:{namespace}"
        self._node = node
        self._listeners: dict[DocumentId, Listener] = {}
        self._pubsub = self._redis.pubsub()
        self._lost = False
        self._wake = asyncio.Event()

    def _channel(self, document: DocumentId, name: str) -> str:
        return f"{self._prefix}:{{{document}}}:{name}"

    async def subscribe(self, document: DocumentId, listener: Listener) -> None:
        """See ``ports.Channel``. Raises ``StoreUnavailable``; then nothing is subscribed."""
        self._listeners[document] = listener
        channels = [self._channel(document, name) for name in (UPDATES, AWARENESS)]
        try:
            with trouble(channels[0]):
                await self._pubsub.ssubscribe(*channels)
        except StoreUnavailable:
            self._listeners.pop(document, None)
            raise
        self._wake.set()

    async def unsubscribe(self, document: DocumentId) -> None:
        """See ``ports.Channel``. Never raises: what is still heard for the document is dropped."""
        if self._listeners.pop(document, None) is None:
            return
        channels = [self._channel(document, name) for name in (UPDATES, AWARENESS)]
        try:
            with trouble(channels[0]):
                await self._pubsub.sunsubscribe(*channels)
        except StoreUnavailable as error:
            log.info("a subscription is left to the next reconnect: %s", error)

    async def publish_awareness(self, document: DocumentId, node: NodeId, frame: bytes) -> None:
        """See ``ports.Channel``. Raises ``StoreUnavailable``."""
        channel = self._channel(document, AWARENESS)
        with trouble(channel):
            await self._redis.execute_command("SPUBLISH", channel, node.encode() + b" " + frame)

    async def run(self) -> None:
        """Read and hand out messages. Raises when the connection is lost for good."""
        if self._lost:
            await self._restore()
        try:
            await self._read()
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._lost = True
            raise

    async def _restore(self) -> None:
        """A new connection with the old subscriptions; then everybody may have missed something."""
        await self._pubsub.aclose()
        pubsub = self._redis.pubsub()
        channels = [self._channel(d, name) for d in self._listeners for name in (UPDATES, AWARENESS)]
        if channels:
            with trouble(channels[0]):
                await pubsub.ssubscribe(*channels)
        self._pubsub = pubsub
        self._lost = False
        for document in list(self._listeners):
            self._hand(document, ChannelRestored())

    async def _read(self) -> None:
        while True:
            if not self._pubsub.subscribed:
                self._wake.clear()
                await self._wake.wait()
                continue
            with trouble(self._prefix):
                message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=POLL)
            if message is not None and message["type"] == "smessage":
                self._take(message["channel"], message["data"])

    def _take(self, channel: bytes, data: bytes) -> None:
        """One message; a bad one is dropped, and costs its document a look at the log (F58)."""
        name = channel.decode(errors="replace")
        document = DocumentId(name.partition("{")[2].partition("}")[0])
        if document not in self._listeners:
            return
        event: ChannelEvent
        try:
            event = _awareness(data) if name.endswith(f":{AWARENESS}") else _entry(data)
        except (ValueError, IndexError, CorruptRecord) as error:
            log.warning("a message on %s can't be read: %s", name, error)
            event = ChannelRestored()
        if not (isinstance(event, AwarenessPublished) and event.node == self._node):
            self._hand(document, event)

    def _hand(self, document: DocumentId, event: ChannelEvent) -> None:
        listener = self._listeners.get(document)
        if listener is None:
            return
        try:
            listener(event)
        except Exception:
            # The reader serves all documents: what one of them does with a message is its own affair.
            log.exception("document %s could not take a message from another node", document)

    async def aclose(self) -> None:
        """End both connections."""
        await self._pubsub.aclose()
        await self._redis.aclose()


def _awareness(data: bytes) -> AwarenessPublished:
    node, _, frame = data.partition(b" ")
    return AwarenessPublished(NodeId(node.decode()), frame)


def _entry(data: bytes) -> EntryPublished:
    """``generation seq node chain sizes\\n`` and the updates, one after another (functions.lua)."""
    head, _, body = data.partition(b"\n")
    generation, seq, node, chain, sizes = head.decode().split(" ")
    if not sizes:
        return EntryPublished(Generation(generation), int(seq), None)
    updates: list[bytes] = []
    start = 0
    for size in map(int, sizes.split(",")):
        updates.append(body[start : start + size])
        start += size
    if start != len(body):
        raise CorruptRecord("its sizes do not add up")
    entry = LogEntry(int(seq), NodeId(node), tuple(updates), bytes.fromhex(chain))
    return EntryPublished(Generation(generation), int(seq), entry)

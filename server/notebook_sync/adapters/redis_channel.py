"""Fan-out between nodes by sharded pub/sub: one connection for all documents, fast, at most once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from redis import exceptions

from notebook_sync.adapters.redis_connection import check_namespace, client, run, trouble
from notebook_sync.adapters.redis_records import Keys
from notebook_sync.core.errors import CorruptRecord, StoreUnavailable
from notebook_sync.core.ids import DocumentId, Generation, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import AwarenessPublished, ChannelEvent, ChannelRestored, EntryPublished, LogEntry

log = logging.getLogger(__name__)

Listener = Callable[[ChannelEvent], None]


class RedisChannel:
    """``run`` holds the connection that listens and must run while the channel is used; without it, and
    while Redis is away, ``subscribe`` waits at most ``Limits.append_timeout``."""

    def __init__(self, url: str, namespace: str, node: NodeId, limits: Limits) -> None:
        check_namespace(namespace)
        self._redis = client(url, limits)
        self._namespace = namespace
        self._node = node
        self._limits = limits
        self._listeners: dict[DocumentId, Listener] = {}
        self._confirmed: dict[DocumentId, asyncio.Event] = {}
        self._restoring: set[DocumentId] = set()
        self._leaving: Counter[DocumentId] = Counter()
        self._raw: Any = None
        """The connection that listens, redis-py's, while there is one."""

    def _channels(self, document: DocumentId) -> tuple[str, str]:
        keys = Keys.of(self._namespace, document)
        return keys.updates, keys.awareness

    # --- the port -----------------------------------------------------------------------------

    async def subscribe(self, document: DocumentId, listener: Listener) -> None:
        """See ``ports.Channel``; when it returns, whatever is published from now on is heard.

        Raises ``StoreUnavailable``; then nothing is subscribed.
        """
        self._listeners[document] = listener
        confirmed = self._confirmed[document] = asyncio.Event()
        try:
            async with asyncio.timeout(self._limits.append_timeout):
                await self._send("SSUBSCRIBE", document)
                await confirmed.wait()
        except TimeoutError:
            raise StoreUnavailable("the store does not answer (a subscription)") from None
        finally:
            if not confirmed.is_set() and self._listeners.get(document) is listener:
                del self._listeners[document]
                self._confirmed.pop(document, None)

    async def unsubscribe(self, document: DocumentId) -> None:
        """See ``ports.Channel``. Never raises: what is still heard for the document is dropped."""
        self._confirmed.pop(document, None)
        self._restoring.discard(document)
        if self._listeners.pop(document, None) is not None and self._raw is not None:
            self._leaving[document] += 1
            await self._send("SUNSUBSCRIBE", document)

    async def publish_awareness(self, document: DocumentId, node: NodeId, frame: bytes) -> None:
        """See ``ports.Channel``. Raises ``StoreUnavailable``."""
        channel = self._channels(document)[1]
        with trouble(channel):
            await run(self._redis, "SPUBLISH", channel, node.encode() + b" " + frame)

    async def _send(self, command: str, document: DocumentId) -> None:
        """Tell Redis, if it is there; if not, the next connection says it again."""
        raw = self._raw
        if raw is None or not raw.is_connected:
            return
        try:
            await raw.send_command(command, *self._channels(document), check_health=False)
        except (exceptions.RedisError, OSError) as error:
            log.debug("%s waits for the next connection: %s", command, error)

    # --- the reader ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Listen until cancelled; a lost connection is made again after a pause with jitter."""
        pause = self._limits.channel_retry_first
        try:
            while True:
                try:
                    await self._connect()
                    pause = self._limits.channel_retry_first
                    await self._read()
                except (exceptions.RedisError, OSError, TimeoutError) as error:
                    log.info("the channel to other nodes is lost: %s", type(error).__name__)
                await self._disconnect()
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, self._limits.channel_retry_most)
        finally:
            await self._disconnect()

    async def aclose(self) -> None:
        """End both connections; ``run`` must have ended."""
        await self._disconnect()
        await self._redis.aclose()

    async def _connect(self) -> None:
        pool: Any = self._redis.connection_pool
        raw = pool.make_connection()
        try:
            await raw.connect()
        except BaseException:
            await raw.disconnect(nowait=True)
            raise
        self._raw = raw
        self._leaving.clear()
        for document in list(self._listeners):
            await raw.send_command("SSUBSCRIBE", *self._channels(document), check_health=False)

    async def _disconnect(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            # Those that were heard before may have missed something by the time they are heard again.
            self._restoring |= {d for d in self._listeners if self._heard(d)}
            await raw.disconnect(nowait=True)

    def _heard(self, document: DocumentId) -> bool:
        confirmed = self._confirmed.get(document)
        return confirmed is not None and confirmed.is_set()

    async def _read(self) -> None:
        asked = False
        while True:
            _still_wanted()
            message = await self._raw.read_response(
                disable_decoding=True, timeout=self._limits.channel_heartbeat, disconnect_on_error=False
            )
            if message is not None:
                asked = False
                self._take(message)
            elif asked:
                raise TimeoutError("no heartbeat")
            else:
                # Redis may have dropped us without a word (F62), and silence is normal here.
                asked = True
                await self._raw.send_command("PING", check_health=False)

    def _take(self, message: object) -> None:
        if not isinstance(message, list) or len(message) != 3:
            return  # the answer to PING
        kind, channel, data = message
        name = channel.decode(errors="replace") if isinstance(channel, bytes) else ""
        document = DocumentId(name.rpartition("{")[2].partition("}")[0])
        if kind == b"smessage":
            self._message(document, name, data)
        elif kind == b"ssubscribe" and name == self._channels(document)[1]:
            self._subscribed(document)
        elif kind == b"sunsubscribe" and name == self._channels(document)[1]:
            self._unsubscribed(document)

    def _subscribed(self, document: DocumentId) -> None:
        confirmed = self._confirmed.get(document)
        if confirmed is not None:
            confirmed.set()
        if document in self._restoring:
            self._restoring.discard(document)
            self._hand(document, ChannelRestored())

    def _unsubscribed(self, document: DocumentId) -> None:
        if self._leaving[document] > 0:
            self._leaving[document] -= 1
        elif document in self._listeners:
            raise exceptions.ConnectionError("Redis ended a subscription: the slot has moved")

    def _message(self, document: DocumentId, name: str, data: bytes) -> None:
        """One message; a bad one is dropped, and costs its document a look at the log (F58)."""
        if document not in self._listeners:
            return
        event: ChannelEvent
        try:
            event = _awareness(data) if name == self._channels(document)[1] else _entry(data)
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


def _still_wanted() -> None:
    """Raise ``CancelledError`` if this task was cancelled and something swallowed it: ``asyncio.wait_for``
    before Python 3.12 does when its work is done at that very moment, and redis-py sends through it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _awareness(data: bytes) -> AwarenessPublished:
    node, space, frame = data.partition(b" ")
    if not space:
        raise CorruptRecord("it names no node")
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
        if not 0 <= size <= len(body) - start:
            raise CorruptRecord("its sizes do not fit")
        updates.append(body[start : start + size])
        start += size
    if start != len(body) or len(chain) != 16:
        raise CorruptRecord("its sizes do not add up")
    entry = LogEntry(int(seq), NodeId(node), tuple(updates), bytes.fromhex(chain))
    return EntryPublished(Generation(generation), int(seq), entry)

"""One document's calls to the store's log and to the channel. Every outcome is an event for the room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import assert_never

from notebook_sync.core import effects as ef
from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.errors import CollabError, ProtocolError, StoreUnavailable
from notebook_sync.core.ids import DocumentId
from notebook_sync.engine.loader import arrived
from notebook_sync.engine.workshop import Workshop
from notebook_sync.ports import (
    Appended,
    AwarenessPublished,
    Batch,
    ChannelEvent,
    ChannelRestored,
    Compacted,
    Cursor,
    EntryPublished,
    Trimmed,
)

log = logging.getLogger(__name__)


class LogWork:
    """``post`` gives an event to the room; ``document`` is known once the document is loaded."""

    def __init__(self, workshop: Workshop, post: Callable[[ev.Event], None]) -> None:
        self._workshop = workshop
        self._post = post
        self.document = DocumentId("")

    async def append(self, append: ef.Append) -> None:
        """A batch to the log."""
        batch = Batch(append.lineage, append.generation, self._workshop.node, append.number, append.updates)
        started = asyncio.get_running_loop().time()
        try:
            outcome = await self._workshop.store.append(self.document, batch)
        except CollabError as error:
            self._workshop.metrics.count("append_failures")
            self._post(ev.AppendFailed(append.number, str(error)))
            return
        self._workshop.metrics.observe("append_seconds", asyncio.get_running_loop().time() - started)
        if isinstance(outcome, Appended):
            self._post(ev.BatchAppended(append.number, outcome.seq, outcome.chain))
        else:
            self._post(ev.HistoryChanged())

    async def fetch(self, fetch: ef.FetchEntries) -> None:
        """The entries after a place in the log."""
        cursor = Cursor(fetch.generation, fetch.seq, fetch.chain)
        try:
            entries = await self._workshop.store.since(self.document, cursor)
        except CollabError as error:
            self._post(ev.LogUnreadable(str(error), away=isinstance(error, StoreUnavailable)))
            return
        if isinstance(entries, Trimmed):
            self._post(ev.LogRead((), trimmed=True))
        else:
            self._post(ev.LogRead(tuple(arrived(e, fetch.generation) for e in entries), trimmed=False))

    async def publish(self, effect: ef.PublishAwareness) -> None:
        """Awareness to the other nodes."""
        try:
            await self._workshop.channel.publish_awareness(self.document, self._workshop.node, effect.frame)
        except StoreUnavailable:
            # Awareness is announced again every few seconds; the room knows of the outage from its appends.
            self._workshop.metrics.count("awareness_failures")

    async def compact(self, known_seq: int) -> None:
        """Fold the log; ``known_seq``: where this node is in it."""
        seq = 0
        try:
            outcome = await self._workshop.store.compact(self.document)
            if isinstance(outcome, Compacted):
                seq = outcome.seq
        except CollabError as error:
            log.warning("%s can't be compacted for now: %s", self.document, error)
        self._post(ev.Compacted(seq or known_seq))

    def heard(self, event: ChannelEvent) -> None:
        """What the channel says of the document."""
        match event:
            case EntryPublished():
                if event.entry is None:
                    self._post(ev.LogAhead())
                else:
                    self._post(arrived(event.entry, event.generation))
            case AwarenessPublished():
                self._heard_awareness(event)
            case ChannelRestored():
                self._post(ev.LogAhead())
            case _:
                assert_never(event)

    def _heard_awareness(self, event: AwarenessPublished) -> None:
        if event.node == self._workshop.node:
            return
        try:
            message = wire.parse(event.frame, self._workshop.limits)
        except ProtocolError as error:
            log.warning("%s: awareness of node %s can't be read: %s", self.document, event.node, error)
            return
        if isinstance(message, wire.AwarenessUpdate):
            self._post(ev.PeerAwareness(event.node, message.entries))

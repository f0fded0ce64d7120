"""Getting one room's document, and getting it again, for as long as the store takes to answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from notebook_sync.core import effects as ef
from notebook_sync.core import events as ev
from notebook_sync.core.backoff import backoff
from notebook_sync.core.errors import DocumentEnded, LocalDiskFailed, StoreUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKey
from notebook_sync.engine.loader import Seeds
from notebook_sync.engine.workshop import Workshop
from notebook_sync.ports import ChannelEvent

log = logging.getLogger(__name__)


class Opened(Protocol):
    """The room that is opened; its key changes when the file is renamed."""

    key: DocumentKey
    closed: asyncio.Future[None]

    @property
    def document(self) -> DocumentId:
        """Empty until ``named``."""
        ...


class Opening:
    """``named`` hears the document's id; ``heard`` is the channel's listener; ``post`` gives an event to the
    room."""

    def __init__(
        self,
        room: Opened,
        workshop: Workshop,
        named: Callable[[DocumentId], None],
        heard: Callable[[ChannelEvent], None],
        post: Callable[[ev.Event], None],
    ) -> None:
        self._room = room
        self._workshop = workshop
        self._named = named
        self._heard = heard
        self._post = post
        self.seeds = Seeds(lambda: post(ev.SeedsWanted()))

    async def first(self) -> ev.Opened | ev.OpenedLocally | None:
        """The document; None if the room was closed before. Raises a ``RoomError`` when waiting is of no
        use."""
        room, failures = self._room, 0
        while not room.closed.done():
            try:
                return await self._open()
            except (StoreUnavailable, DocumentEnded) as error:
                failures += 1
                log.warning("%s waits for the store: %s", room.key, error)
                # The next try may find another id.
                await self._workshop.channel.unsubscribe(room.document)
                await self._pause(failures)
        return None

    async def _open(self) -> ev.Opened | ev.OpenedLocally:
        workshop, room = self._workshop, self._room
        try:
            self._named(await workshop.naming.document(room.key))
            await workshop.channel.subscribe(room.document, self._heard)
            return await workshop.loader.open(room.document, room.key, self.seeds)
        except StoreUnavailable:
            local = await workshop.loader.open_locally(room.key)
            if local is None:
                raise
            document, event = local
            self._named(document)
            return event

    async def again(self, load: ef.Load) -> None:
        """What the store has now."""

        async def work() -> None:
            room = self._room
            await self._workshop.channel.subscribe(room.document, self._heard)
            self._post(await self._workshop.loader.load_again(room.document, room.key, load.lineage))

        await self._until_the_store_answers(work)

    async def refound(self, refound: ef.Refound) -> None:
        """Give the store what it lost."""

        async def work() -> None:
            room = self._room
            self._post(await self._workshop.loader.refound(room.document, room.key, refound))

        await self._until_the_store_answers(work)

    async def _until_the_store_answers(self, work: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while not self._room.closed.done():
            try:
                await work()
            except StoreUnavailable:
                failures += 1
                await self._pause(failures)
            else:
                return

    async def outlived(self, effect: ef.Outlived) -> None:
        """The room ends meanwhile; this goes on until the store and the disk have taken it."""
        outlived, document, failures = self._workshop.outlived, self._room.document, 0
        if effect.provisional:
            self._workshop.naming.outlived(document)
        while True:
            try:
                if effect.provisional:
                    await outlived.carry_over(document, effect.lineage, self._room.key, effect.state)
                else:
                    await outlived.keep(self._room.key, effect.state)
            except (StoreUnavailable, LocalDiskFailed) as error:
                failures += 1
                log.warning("what %s was is not kept yet: %s", self._room.key, error)
                await self._pause(failures)
            else:
                return

    async def _pause(self, failures: int) -> None:
        """Wait for a store that was away ``failures`` times in a row."""
        limits, jitter = self._workshop.limits, self._workshop.jitter()
        wait = backoff(failures, limits.append_retry_first, limits.append_retry_most, jitter)
        await asyncio.sleep(wait)

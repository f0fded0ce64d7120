"""After the store was lost, emptied, set back or replaced: what this server still has goes back first.

A document that the store does not have was either never there or lost, and only time tells: for a while
after a new incarnation of the store every server gives back what it holds, and nobody founds a document
from its file (rule 8). Open rooms look after themselves; here are the copies on this disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from notebook_sync.core.errors import CollabError, LocalDiskFailed, StoreUnavailable
from notebook_sync.core.limits import Limits
from notebook_sync.ports import LocalCopies, LocalHead, UpdateStore

log = logging.getLogger(__name__)


class Recovery:
    """``give_back`` brings one local copy to the store; it returns when that is done, or can't be."""

    def __init__(
        self,
        store: UpdateStore,
        copies: LocalCopies,
        limits: Limits,
        give_back: Callable[[LocalHead], Awaitable[None]],
    ) -> None:
        self._store = store
        self._copies = copies
        self._limits = limits
        self._give_back = give_back
        self._known: tuple[str, str] | None = None
        self._unknown = asyncio.Event()
        """Somebody met a store that is not known here."""

    async def remaining(self) -> float:
        """Seconds for which no document may be founded from its file. Raises ``StoreUnavailable``.

        It does not wait until this server has given its copies back: a room that is opened for that asks
        this too, and looks at this disk by itself.
        """
        attendance = await self._store.attend()
        if (attendance.incarnation, attendance.run_id) != self._known:
            self._unknown.set()
        return attendance.recovering

    async def recovered(self) -> None:
        """Wait until documents may be founded from their files. Raises ``StoreUnavailable``."""
        while (seconds := await self.remaining()) > 0:
            await asyncio.sleep(min(seconds, self._limits.sweep_interval))

    async def look(self) -> None:
        """Give a store that is not known here what it lacks. Raises ``StoreUnavailable``."""
        attendance = await self._store.attend()
        store = (attendance.incarnation, attendance.run_id)
        if store != self._known:
            await self._give_all_back()
            self._known = store

    async def watch(self) -> None:
        """Look now and then whether the store is still the one it was, for ever."""
        while True:
            self._unknown.clear()
            await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.sweep_interval):
                    await self._unknown.wait()

    async def _give_all_back(self) -> None:
        try:
            heads = await self._copies.heads()
        except LocalDiskFailed as error:
            log.error("what this disk keeps can't be given back to the store: %s", error)
            return
        lacking = [head for head in heads if await self._lacks(head)]
        if lacking:
            log.warning("the store lacks something of %d documents that this disk keeps", len(lacking))
        for head in lacking:
            try:
                await self._give_back(head)
            except StoreUnavailable:
                raise
            except CollabError as error:
                log.warning("%s can't be given back to the store: %s", head.key, error)

    async def _lacks(self, head: LocalHead) -> bool:
        """Also what a server recorded that ended before its store had it: people may go on at another server,
        and nobody open the document here again."""
        if head.cursor is None or not await self._store.confirms(head.document, head.cursor):
            return True
        try:
            return await self._copies.left_over(head.document)
        except LocalDiskFailed:
            return True

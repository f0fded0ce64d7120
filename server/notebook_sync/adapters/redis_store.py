"""The update store on Redis: a log and a snapshot for each document, all through our functions.

Key names and fields: functions.lua. A document's keys begin with ``jc:<namespace>:{<document id>}:``.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Executor

from notebook_sync.adapters.compaction import fold
from notebook_sync.adapters.redis_connection import Redis, call
from notebook_sync.adapters.redis_names import RedisNames
from notebook_sync.adapters.redis_records import (
    Head,
    Keys,
    end_of,
    read_entries,
    readable,
)
from notebook_sync.adapters.redis_snapshots import read_parts, write_parts
from notebook_sync.core.errors import CorruptRecord, StoreUnavailable
from notebook_sync.core.ids import DocumentId, Generation, Lineage
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
)

LOAD_TRIES = 5


class RedisUpdateStore(RedisNames):
    """See ``ports.UpdateStore``.

    Args:
        redis: a checked client (``redis_connection.connect``).
        namespace: servers with the same one share documents.
        limits: sizes and times.
        executor: runs compaction, off the loop: a process, because it holds the interpreter's lock.
        recovery_window: seconds that recovery lasts after a loss or a restart: ``Limits.recovery_window``
            for a Redis that servers share, 0 for the embedded one, whose server knows all there is to know.
    """

    def __init__(
        self,
        redis: Redis,
        namespace: str,
        limits: Limits,
        executor: Executor,
        *,
        recovery_window: float = 0.0,
    ) -> None:
        super().__init__(redis, namespace, limits, recovery_window)
        self._executor = executor

    # --- content ------------------------------------------------------------------------------

    async def reserve(self, document: DocumentId, proposal: Lineage) -> Lineage:
        """See ``ports.UpdateStore``. Raises ``DocumentEnded``."""
        meta = self._keys(document).meta
        lineage = await call(self._redis, "jc1_reserve", [meta], proposal)
        with readable(meta):
            return Lineage(lineage.decode())

    async def load(self, document: DocumentId) -> Loaded | NotSeeded | None:
        """See ``ports.UpdateStore``."""
        keys = self._keys(document)
        for _ in range(LOAD_TRIES):
            answer = await call(self._redis, "jc1_load", [keys.meta, keys.log], self._limits.log_page)
            if answer is None:
                return None
            with readable(keys.meta):
                if len(answer) == 1:
                    return NotSeeded(Lineage(answer[0].decode()))
                head = Head.of(answer)
            snapshot = await read_parts(self._redis, keys.parts(head.snapshot, head.parts))
            if snapshot is None:
                continue  # compacted meanwhile, and the old snapshot is gone
            tail = read_entries(answer[7], head.cursor, keys.log)
            rest = await self._entries_up_to(keys, end_of(head.cursor, tail), head.seq)
            if isinstance(rest, Trimmed):
                continue
            tail += rest
            return Loaded(head.lineage, snapshot, tuple(tail), end_of(head.cursor, tail))
        raise CorruptRecord(f"{keys.meta}: its snapshot, or a part of its log, is not there")

    async def _entries_up_to(self, keys: Keys, cursor: Cursor, seq: int) -> list[LogEntry] | Trimmed:
        """The entries after ``cursor``, in pages, so that others get their turn (rule 29)."""
        entries: list[LogEntry] = []
        while cursor.seq < seq:
            page = await self._page(keys, cursor)
            if isinstance(page, Trimmed):
                return page
            seq, more = page
            if not more:
                raise CorruptRecord(f"{keys.log}: the entry {cursor.seq + 1} is not there")
            entries += more
            cursor = end_of(cursor, more)
        return entries

    async def _page(self, keys: Keys, cursor: Cursor) -> tuple[int, list[LogEntry]] | Trimmed:
        """The log's last seq, and some of the entries after ``cursor``."""
        answer = await call(
            self._redis,
            "jc1_since",
            [keys.meta, keys.log],
            cursor.generation,
            cursor.seq,
            cursor.chain.hex(),
            self._limits.log_page,
        )
        if answer == b"TRIMMED":
            return Trimmed()
        with readable(keys.log):
            return int(answer[0]), read_entries(answer[1], cursor, keys.log)

    async def since(self, document: DocumentId, cursor: Cursor) -> tuple[LogEntry, ...] | Trimmed:
        """See ``ports.UpdateStore``."""
        keys = self._keys(document)
        page = await self._page(keys, cursor)
        if isinstance(page, Trimmed):
            return page
        seq, entries = page
        rest = await self._entries_up_to(keys, end_of(cursor, entries), seq)
        return rest if isinstance(rest, Trimmed) else (*entries, *rest)

    async def confirms(self, document: DocumentId, cursor: Cursor) -> bool:
        """See ``ports.UpdateStore``."""
        keys = self._keys(document)
        place = (cursor.generation, cursor.seq, cursor.chain.hex())
        return bool(await call(self._redis, "jc1_confirms", [keys.meta, keys.log], *place))

    async def append(self, document: DocumentId, batch: Batch) -> Appended | StaleHistory:
        """See ``ports.UpdateStore``."""
        keys = self._keys(document)
        answer = await call(
            self._redis,
            "jc1_append",
            [keys.meta, keys.log],
            batch.lineage,
            batch.generation,
            batch.node,
            batch.number,
            keys.updates,
            self._limits.channel_inline,
            *batch.updates,
        )
        with readable(keys.meta):
            kind, first, second = answer
            if kind == b"OK":
                return Appended(int(first), bytes.fromhex(second.decode()))
            return StaleHistory(
                Lineage(first.decode()) if first else None, Generation(second.decode()) if second else None
            )

    # --- snapshots ----------------------------------------------------------------------------

    async def seed(
        self,
        document: DocumentId,
        lineage: Lineage,
        generation: Generation,
        snapshot: bytes,
        *,
        again: bool = False,
    ) -> bool:
        """See ``ports.UpdateStore``."""
        keys = self._keys(document)
        wait = self._limits.lease_ttl + self._limits.lease_grace if again and self._recovery_window else 0.0
        name, parts = await write_parts(self._redis, keys, snapshot, self._limits.snapshot_chunk)
        return bool(
            await call(
                self._redis,
                "jc1_seed",
                [keys.meta, keys.log, *parts],
                lineage,
                generation,
                name,
                len(snapshot),
                int(wait * 1000),
            )
        )

    async def compact(self, document: DocumentId) -> Compacted | NotCompacted:
        """See ``ports.UpdateStore``."""
        keys, token = self._keys(document), secrets.token_hex(8)
        ttl = int(self._limits.compact_timeout * 1000)
        answer = await call(self._redis, "jc1_compact_begin", [keys.meta, keys.log], token, ttl)
        if answer[0] != b"OK":
            return NotCompacted(answer[1].decode())
        try:
            return await self._compact(document, keys, token, answer)
        except (TimeoutError, BrokenExecutor) as error:
            return NotCompacted(f"the worker did not fold the log: {type(error).__name__}")
        finally:
            with contextlib.suppress(StoreUnavailable):  # then it lapses
                await call(self._redis, "jc1_compact_end", [keys.meta], token)

    async def _compact(
        self, document: DocumentId, keys: Keys, token: str, begun: Sequence[bytes]
    ) -> Compacted | NotCompacted:
        with readable(keys.meta):
            generation, old, old_parts = begun[1], begun[2].decode(), int(begun[3])
        loaded = await self.load(document)
        if not isinstance(loaded, Loaded) or not loaded.tail:
            return NotCompacted("there is nothing to compact")
        updates = [loaded.snapshot, *(update for entry in loaded.tail for update in entry.updates)]
        try:
            async with asyncio.timeout(self._limits.compact_timeout):
                snapshot = await asyncio.get_running_loop().run_in_executor(self._executor, fold, updates)
        except CorruptRecord as error:
            raise CorruptRecord(f"{keys.log} can't be folded: {error}") from error
        name, parts = await write_parts(self._redis, keys, snapshot, self._limits.snapshot_chunk)
        if await read_parts(self._redis, parts) != snapshot:
            return NotCompacted("the new snapshot can't be read back")
        done = await call(
            self._redis,
            "jc1_compact",
            [keys.meta, keys.log, *keys.parts(old, old_parts), *parts],
            token,
            generation,
            old,
            old_parts,
            name,
            len(snapshot),
            loaded.cursor.seq,
            loaded.cursor.chain.hex(),
            int(self._limits.compact_keep * 1000),
        )
        return Compacted(loaded.cursor.seq) if done[0] == b"OK" else NotCompacted(done[1].decode())

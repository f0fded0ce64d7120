"""Restore points of open documents, and bringing an earlier content back.

A restore never puts a content in the place of what is there: it becomes the smallest edits from what the
document says now to what the version says, made by this server like anybody's typing. So what people
type meanwhile stays, carets elsewhere stay, and the content before is a version.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from notebook_sync.core import events as ev
from notebook_sync.core.errors import CollabError, RoomError, StoreUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKey
from notebook_sync.core.lifecycle import DocumentState
from notebook_sync.core.roles import Member
from notebook_sync.engine.meanwhile import Aftercare, Before, clock_time, named
from notebook_sync.engine.registry import Registry
from notebook_sync.engine.runner import RoomRunner
from notebook_sync.engine.workshop import Told, Workshop
from notebook_sync.ports import Cursor, LeaseGranted, Trimmed, Version, VersionStore

log = logging.getLogger(__name__)

PURPOSE = "restore"
"""Of the lease: two servers that bring the same text back at the same moment would bring it twice."""
POLL = 0.02
OPEN_TRIES = 3
"""How often a document is opened for a restore: with nobody in it, it may close before it is done."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The document says what was asked, people's typing since then included.

    ``before``: the version that holds what it said; None when it said that already and nothing was done.
    ``loser``: the version that holds what a merge did not take, if anything.
    """

    before: Version | None
    loser: Version | None = None


@dataclass(frozen=True, slots=True)
class NotRestored:
    """Nothing was changed. ``missing``: there is no such version; else the sentence says what to do."""

    sentence: str
    missing: bool = False


CLOSED_MEANWHILE = NotRestored("the document was closed meanwhile, nothing was changed; try again")


@dataclass(slots=True)
class _Kept:
    """What a room's newest version on schedule covers."""

    due: float
    seq: int


class Versions:
    """One for each node. ``tell`` hears the notices; ``now`` gives seconds since 1970.

    The document's file content is rendered in the codec's worker, never in the path of a keystroke.
    """

    def __init__(
        self,
        workshop: Workshop,
        registry: Registry,
        store: VersionStore,
        tell: Callable[[Told], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._workshop = workshop
        self._limits = workshop.limits
        self._registry = registry
        self._store = store
        self._tell = tell
        self._now = now
        self._aftercare = Aftercare(workshop, store, tell)
        self._kept: WeakKeyDictionary[RoomRunner, _Kept] = WeakKeyDictionary()
        self._locks: WeakKeyDictionary[RoomRunner, asyncio.Lock] = WeakKeyDictionary()

    # --- on a schedule ------------------------------------------------------------------------

    def heard(self, told: Told) -> None:
        """To be given all that is told of documents: what one holds when it is opened is a restore point."""
        if told.kind != "load":
            return
        runner = self._registry.find(told.key)
        if runner is not None and runner not in self._kept:
            self._kept[runner] = _Kept(0.0, -1)
            self._workshop.supervisor.spawn(self._first(runner), f"first version of {told.key}")

    async def _first(self, runner: RoomRunner) -> None:
        with contextlib.suppress(RoomError):  # people who wanted to open it are told
            await runner.opened()
            await self._aftercare.resume(runner)
            await self._keep_scheduled(runner)

    async def close(self, deadline: float) -> None:
        """Finish what restores have begun, within ``deadline`` seconds; call when the rooms are closed."""
        await self._aftercare.close(deadline)

    async def watch(self) -> None:
        """Keep what is due, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(self._limits.version_interval / 4, 10.0))
            for runner in self._registry:
                kept = self._kept.get(runner)
                if kept is not None and loop.time() >= kept.due and _edited(runner, kept):
                    await self._keep_scheduled(runner)

    async def _keep_scheduled(self, runner: RoomRunner) -> None:
        # Before the content is looked at: what comes meanwhile is for the next time.
        due = asyncio.get_running_loop().time() + self._limits.version_interval
        self._kept[runner] = _Kept(due, runner.room.seq)
        try:
            await self.keep(runner, "schedule")
        except CollabError as error:
            log.warning("%s: no restore point could be made: %s", runner.key, error)
            self._workshop.metrics.count("version_failures")

    async def keep(self, runner: RoomRunner, reason: str, by: str = "", note: str = "") -> Version:
        """Keep what an open document says now. Raises ``RoomError`` (the codec), ``LocalDiskFailed``."""
        rendered = await self._workshop.saver.codec.render(runner.key.kind, runner.room.replica.diff())
        return await self._store.add(
            runner.document, runner.key.path, rendered.data, reason=reason, by=by, note=note
        )

    # --- for people ---------------------------------------------------------------------------

    async def list(self, key: DocumentKey) -> tuple[Version, ...]:
        """Newest first; none of a document that nobody ever opened. Raises ``StoreUnavailable``."""
        document = await self._document(key)
        return () if document is None else await self._store.list(document)

    async def read(self, key: DocumentKey, version: str) -> bytes | None:
        """A version's file content, None if there is no such. Raises as ``list``, and ``CorruptRecord``."""
        document = await self._document(key)
        return None if document is None else await self._store.read(document, version)

    async def _document(self, key: DocumentKey) -> DocumentId | None:
        runner = self._registry.find(key)
        if runner is not None and runner.document:
            return runner.document
        return await self._workshop.store.find_document(key)

    async def known(self, key: DocumentKey) -> bool:
        """Whether somebody ever opened this document. Raises ``StoreUnavailable``."""
        return await self._document(key) is not None

    async def slim(self, key: DocumentKey, data: bytes) -> bytes:
        """``data`` as it can be the base of a later ``put``. Raises ``UnreadableDocument``."""
        return await self._workshop.saver.codec.slim(key.kind, data)

    async def checkpoint(self, key: DocumentKey, by: Member) -> Version:
        """Keep what the document says now, because ``by`` asked for it; what its file says if it is not open.

        Raises as ``restore``, and a ``FileUnavailable``.
        """
        runner = self._registry.find(key)
        if runner is not None:
            return await self.keep(await self.open(key), "checkpoint", _name(by))
        document = await self._workshop.store.document_id(key)
        content = await self._workshop.saver.files.read(key.path)
        return await self._store.add(document, key.path, content.data, reason="checkpoint", by=_name(by))

    async def restore(self, key: DocumentKey, version: str, by: Member) -> Restored | NotRestored:
        """Bring a version back as ordinary edits. The document is opened if need be.

        Raises ``StoreUnavailable``, ``LocalDiskFailed`` when the content before can't be kept (nothing is
        changed then), ``CorruptRecord``, ``UnreadableDocument``.
        """
        runner = await self.open(key)
        data = await self._store.read(runner.document, version)
        if data is None:
            return NotRestored(f"{key.path} has no version {version[:40]} any more", missing=True)
        at = float(version.partition("-")[0]) / 1000
        moment = clock_time(at, self._now())
        outcome = await self._bring(runner, data, None, "restore", by, f"before the version of {moment}")
        if isinstance(outcome, Restored) and outcome.before is not None:
            sentence = f"{_name(by)} restored the version of {moment}; the state before is kept as a version"
            self._tell(Told("restore", runner.key, "INFO", sentence, by))
        return outcome

    async def put(
        self, key: DocumentKey, data: bytes, base: bytes | None, by: Member
    ) -> Restored | NotRestored:
        """Take in a whole file content that ``by`` sent, as edits against the live document.

        ``base``: the slim form of the content that it was made from; then only what it changed is taken,
        and what loses a conflict is kept as a version. Without one the document is made to say ``data``.
        Raises as ``restore``.
        """
        runner = await self.open(key)
        outcome = await self._bring(runner, data, base, "put", by, f"before {_name(by)} saved over it")
        if isinstance(outcome, Restored) and outcome.before is not None:
            self._tell(Told("restore", runner.key, "INFO", _put_sentence(by, base, outcome), by))
        return outcome

    async def open(self, key: DocumentKey) -> RoomRunner:
        """The document's open room. Raises ``StoreUnavailable`` if it does not open in time."""
        runner = self._registry.open(key)
        try:
            async with asyncio.timeout(self._limits.open_timeout):
                await runner.opened()
        except TimeoutError:
            raise StoreUnavailable(f"{key.path} did not open in time") from None
        return runner

    # --- one after the other ------------------------------------------------------------------

    async def _bring(
        self, runner: RoomRunner, data: bytes, base: bytes | None, reason: str, by: Member, note: str
    ) -> Restored | NotRestored:
        outcome: Restored | NotRestored = CLOSED_MEANWHILE
        for _ in range(OPEN_TRIES):
            async with self._alone(runner) as refusal:
                outcome = refusal or await self._edit(runner, data, base, reason, _name(by), note)
            if outcome is not CLOSED_MEANWHILE:
                break
            runner = await self.open(runner.key)  # nobody was in it, so it closed
        return outcome

    @asynccontextmanager
    async def _alone(self, runner: RoomRunner) -> AsyncIterator[NotRestored | None]:
        """The right to bring text into the document; gives the refusal if it can't be had.

        Kept until the store has the edits, so that a server which gets it next has them as well.
        """
        leases, node = self._workshop.saver.leases, self._workshop.node
        async with self._locks.setdefault(runner, asyncio.Lock()):
            if runner.closed.done():
                yield CLOSED_MEANWHILE
                return
            if runner.room.state is not DocumentState.LIVE:
                raise StoreUnavailable("nothing was changed; it can be done when the store is back")
            if self._aftercare.full:
                yield NotRestored("too much was restored in the last seconds; look at the result first")
                return
            lease = await leases.acquire(runner.document, PURPOSE, node, self._limits.lease_ttl)
            if not isinstance(lease, LeaseGranted):
                yield NotRestored("somebody else restores this document right now; look at the result first")
                return
            try:
                if not await self._caught_up(runner):
                    raise StoreUnavailable("nothing was changed; other servers' edits are still on their way")
                yield None
            finally:
                if await self._stored(runner):
                    with contextlib.suppress(StoreUnavailable):  # then it lapses by itself
                        await leases.release(runner.document, PURPOSE, node)

    async def _caught_up(self, runner: RoomRunner) -> bool:
        """Whether this copy has all that the log has: what another server just brought back, above all."""
        if (place := runner.room.place) is None:
            return False
        entries = await self._workshop.store.since(runner.document, Cursor(*place))
        if isinstance(entries, Trimmed):
            return False
        if not entries or runner.room.seq >= entries[-1].seq:
            return True
        runner.post(ev.LogAhead())
        return await self._comes_true(runner, lambda: runner.room.seq >= entries[-1].seq)

    async def _stored(self, runner: RoomRunner) -> bool:
        return await self._comes_true(runner, lambda: runner.room.stored)

    async def _comes_true(self, runner: RoomRunner, condition: Callable[[], bool]) -> bool:
        deadline = asyncio.get_running_loop().time() + self._limits.restore_wait
        while not condition():
            if runner.closed.done() or asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(POLL)
        return True

    async def _edit(
        self, runner: RoomRunner, data: bytes, base: bytes | None, reason: str, by: str, note: str
    ) -> Restored | NotRestored:
        codec, kind = self._workshop.saver.codec, runner.key.kind
        # One state for both: what is kept is exactly what the edits are made against.
        place, state = runner.room.place, runner.room.replica.diff()
        rendered = await codec.render(kind, state)
        merged = await codec.merge(kind, state, rendered.slim if base is None else base, data)
        if merged.update is None and merged.loser is None:
            return Restored(None)
        path, document = runner.key.path, runner.document
        before = await self._store.add(document, path, rendered.data, reason=reason, by=by, note=note)
        loser = None
        if merged.loser is not None:
            where = f"what was not taken: {', '.join(merged.conflicts)}"
            loser = await self._store.add(document, path, merged.loser, reason="merge", by=by, note=where)
        if runner.closed.done() or place is None:
            return CLOSED_MEANWHILE
        if merged.update is not None:
            known = Before(state, Cursor(*place), before.id, rendered.data, merged.update)
            if not await self._aftercare.begin(runner, known):
                return CLOSED_MEANWHILE
            self._workshop.metrics.count("restores", reason=reason)
        return Restored(before, loser)


def _edited(runner: RoomRunner, kept: _Kept) -> bool:
    return runner.room.state is not DocumentState.LOADING and (
        runner.room.seq != kept.seq or not runner.room.stored
    )


def _name(member: Member) -> str:
    """What people call somebody."""
    for name in ("display_name", "name"):
        if isinstance(given := member.identity.get(name), str) and given:
            return given
    return str(member.user)


def _put_sentence(by: Member, base: bytes | None, outcome: Restored) -> str:
    if base is None:
        return f"{_name(by)} saved a whole content over this document; the state before is kept as a version"
    if outcome.loser is None:
        return f"what {_name(by)} saved from elsewhere was merged in; the state before is kept as a version"
    return (
        f"what {_name(by)} saved from elsewhere was merged in; where it met other people's work that stayed "
        f"({outcome.loser.note}), and the rest is kept as {named(outcome.loser)}"
    )

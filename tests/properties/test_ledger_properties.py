"""Whatever befalls the store, a server takes the newest content that it can know of as merge base."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from notebook_sync.adapters.memory_ledger import MemoryFileLedger
from notebook_sync.adapters.memory_local_ledger import MemoryLocalLedger
from notebook_sync.adapters.mirrored_ledger import MirroredLedger
from notebook_sync.core.errors import StoreUnavailable
from notebook_sync.core.ids import DocumentId, Generation, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import Intent

D = DocumentId("d" * 32)
G = Generation("9" * 32)
F = "folder"
SERVERS = st.sampled_from([0, 1])


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


class Ledgers(RuleBasedStateMachine):
    """A store, and two servers. Contents are numbered in the order in which they were agreed on, so of two
    the higher one is newer. ``one_disk``: both servers are on one state directory, else each has its own.

    When the store lost something, servers give back what they know before anybody has a lease (rule 8).
    A server that died between mirror and store while another one has a disk of its own is left out: then
    what only the dead one knew may be taken for the newer one, if the store is rolled back later.
    """

    @initialize(one_disk=st.booleans())
    def begin(self, one_disk: bool) -> None:
        self.store = MemoryFileLedger()
        first = MemoryLocalLedger()
        self.disks = [first, first if one_disk else MemoryLocalLedger()]
        self.alone = False
        self.one_disk = one_disk
        self.recovering = False
        self.number = 0
        self.backups: list[Any] = []
        self.announced: list[set[str]] = [set(), set()]
        self.known = [0, 0]
        """The newest content that each disk has been told of."""

    def ledger(self, server: int) -> MirroredLedger:
        return MirroredLedger(self.store, self.disks[server], Limits(), lambda: self.alone)

    def learned(self, server: int, number: int) -> None:
        for other in (0, 1) if self.one_disk else (server,):
            self.known[other] = max(self.known[other], number)

    def wrote(self, server: int, digest: str) -> None:
        for other in (0, 1) if self.one_disk else (server,):
            self.announced[other].add(digest)

    @rule(server=SERVERS, dies_after=st.sampled_from(["", "", "", "mirror", "intent"]))
    def save(self, server: int, dies_after: str) -> None:
        """A server with the lease writes the file; it may die in between."""
        if self.store.faults.down and not self.alone or self.recovering and not self.alone:
            return
        if dies_after == "mirror" and not self.one_disk:
            return
        self.number += 1
        digest = str(self.number)

        async def work() -> None:
            ledger = self.ledger(server)
            known = await ledger.record(D, F)
            self.learned(server, int(known.digest or 0))
            await ledger.intend(D, F, Intent(digest, NodeId(str(server)), G, self.number, 1))
            self.wrote(server, digest)
            if dies_after == "intent":
                return
            if dies_after == "mirror":
                await self.disks[server].common(D, F, digest, digest.encode())
            else:
                await ledger.common(D, F, digest, digest.encode())
            self.learned(server, self.number)

        run(work())

    @rule()
    def back_up(self) -> None:
        """The store's disk, as it is now."""
        self.backups.append(copy.deepcopy(self.store._records))

    @precondition(lambda self: self.backups)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """The store comes back as it was at some time."""
        self.store._records = copy.deepcopy(data.draw(st.sampled_from(self.backups)))
        self.recovering = True

    @rule()
    def empty(self) -> None:
        """The store comes back with nothing."""
        self.store._records = {}
        self.recovering = True

    @rule(down=st.booleans(), alone=st.booleans())
    def away(self, down: bool, alone: bool) -> None:
        """Only servers on one disk can know that one of them is alone."""
        self.store.faults.down = down
        self.alone = down and alone and self.one_disk

    @precondition(lambda self: self.recovering and not self.store.faults.down)
    @rule(first=SERVERS)
    def recover(self, first: int) -> None:
        """After which the store knows what the disks know."""

        async def work() -> None:
            for server in (first, 1 - first):
                await self.ledger(server).give_back(D, F)
            record = await self.store.record(D, F)
            assert int(record.digest or 0) >= max(self.known)
            for disk in self.disks:
                assert set((await disk.record(D, F)).intents) <= set(record.intents)

        run(work())
        self.recovering = False

    @invariant()
    def the_base_is_the_newest_content_that_store_or_disk_know(self) -> None:
        async def work() -> None:
            stored = int(self.store._known(D, F).digest or 0)
            for server in (0, 1):
                disks = copy.deepcopy(self.disks[server])
                ledger = MirroredLedger(self.store, disks, Limits(), lambda: self.alone)
                try:
                    record = await ledger.record(D, F)
                except StoreUnavailable:
                    assert self.store.faults.down
                    assert not self.alone
                    continue
                newest = self.known[server] if self.store.faults.down else max(stored, self.known[server])
                assert int(record.digest or 0) == newest
                assert record.base == (
                    None if not newest else record.digest.encode() if record.digest else b""
                )
                recent = sorted(set[str]().union(*self.announced), key=int)[-16:]
                assert {intent.digest for intent in record.intents} >= self.announced[server] & set(recent)

        run(work())


TestLedgers = Ledgers.TestCase
TestLedgers.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)

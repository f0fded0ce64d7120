"""Which of two ledgers is right: each row of the table in ``mirrored_ledger``."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from notebook_sync.adapters.memory_ledger import MemoryFileLedger
from notebook_sync.adapters.memory_local_ledger import MemoryLocalLedger
from notebook_sync.adapters.mirrored_ledger import MirroredLedger
from notebook_sync.core.errors import LocalDiskFailed, StoreUnavailable
from notebook_sync.core.ids import DocumentId, Generation, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import FileEdit, FileRecord, Intent

D = DocumentId("d" * 32)
G = Generation("9" * 32)
F = "folder"


def intent(digest: str, seq: int = 1, node: str = "here") -> Intent:
    return Intent(digest, NodeId(node), G, seq, 1)


@dataclass
class Site:
    """A store, and one server on it that has a disk."""

    store: MemoryFileLedger = field(default_factory=MemoryFileLedger)
    disk: MemoryLocalLedger = field(default_factory=MemoryLocalLedger)
    alone: bool = False

    def __post_init__(self) -> None:
        self.ledger = MirroredLedger(self.store, self.disk, Limits(cells_remembered=5), lambda: self.alone)

    async def agree(self, *digests: str) -> None:
        for digest in digests:
            await self.ledger.record(D, F)
            await self.ledger.common(D, F, digest, digest.encode())

    async def empty(self, *digests: str) -> None:
        """The store loses everything, and is as it was when these had been agreed on."""
        self.store.forget(D)
        for digest in digests:
            await self.store.common(D, F, digest, digest.encode())

    async def chosen(self) -> str | None:
        record = await self.ledger.record(D, F)
        assert record.base == (None if record.digest is None else record.digest.encode())
        return record.digest


@pytest.fixture
def site() -> Site:
    return Site()


async def test_both_have_what_was_agreed_on(site: Site) -> None:
    await site.agree("one")
    await site.ledger.intend(D, F, intent("two"))
    expected = FileRecord("one", b"one", (intent("two"),))
    for ledger in (site.ledger, site.store, site.disk):
        assert await ledger.record(D, F) == expected


async def test_the_mirror_is_written_first(site: Site) -> None:
    """So that what was announced to the store is never unknown here."""
    site.store.faults.down = True
    with pytest.raises(StoreUnavailable):
        await site.ledger.intend(D, F, intent("one"))
    with pytest.raises(StoreUnavailable):
        await site.ledger.common(D, F, "one", b"one")
    assert await site.disk.record(D, F) == FileRecord("one", b"one", (intent("one"),))


async def test_the_store_away(site: Site) -> None:
    await site.agree("one")
    site.store.faults.down = True
    with pytest.raises(StoreUnavailable):
        await site.ledger.record(D, F)


async def test_the_store_away_and_alone(site: Site) -> None:
    await site.agree("one")
    site.store.faults.down = site.alone = True
    assert await site.chosen() == "one"
    await site.ledger.intend(D, F, intent("two"))
    await site.ledger.common(D, F, "two", b"two")
    assert await site.chosen() == "two"
    site.store.faults.down = site.alone = False
    assert await site.chosen() == "two", "the store never heard of it"
    assert (await site.ledger.record(D, F)).intents == (intent("two"),)


async def test_the_store_knows_none(site: Site) -> None:
    await site.agree("one", "two")
    await site.empty()
    assert await site.chosen() == "two"


async def test_the_store_rolled_back(site: Site) -> None:
    await site.agree("one", "two", "three")
    for earlier in ("two", "one"):
        await site.empty(earlier)
        assert await site.chosen() == "three"
    await site.agree("four")
    assert (await site.store.record(D, F)).digest == "four"
    assert await site.chosen() == "four"


@pytest.mark.parametrize("last", ["mine", "theirs"])
async def test_the_store_rolled_back_to_before_this_disk_knew_anything(site: Site, last: str) -> None:
    other = MirroredLedger(site.store, MemoryLocalLedger(), Limits())
    for number, digest in enumerate(("one", "two")):
        await other.intend(D, F, intent(digest, number, "there"))
        await other.common(D, F, digest, digest.encode())
    assert await site.chosen() == "two"
    if last == "mine":
        await site.ledger.intend(D, F, intent("three", 3))
        await site.agree("three")
    await site.empty("one")
    await site.store.intend(D, F, intent("one", 0, "there"))
    assert not await site.disk.was_common(D, F, "one")
    assert await site.chosen() == ("three" if last == "mine" else "two")


async def test_an_announcement_that_came_to_nothing_does_not_make_the_mirror_s_content_newer(
    site: Site,
) -> None:
    other = MirroredLedger(site.store, MemoryLocalLedger(), Limits())
    await site.ledger.intend(D, F, intent("one"))
    await site.agree("one")
    await site.ledger.intend(D, F, intent("refused", 2))
    for number in range(40):  # so many that the store has forgotten all but this node's newest
        await other.intend(D, F, intent(f"their {number}", number, "there"))
        await other.common(D, F, f"their {number}", f"their {number}".encode())
    assert await site.chosen() == "their 39"


async def test_a_crash_between_mirror_and_store(site: Site) -> None:
    await site.agree("one")
    await site.ledger.intend(D, F, intent("two"))
    await site.disk.common(D, F, "two", b"two")
    assert await site.chosen() == "two"


async def test_another_server_agreed_on_something_since(site: Site) -> None:
    other = MirroredLedger(site.store, MemoryLocalLedger(), Limits())
    await site.agree("one", "two")
    await other.common(D, F, "three", b"three")
    assert await site.chosen() == "three"
    await site.empty("two")
    assert await site.chosen() == "three", "it was mirrored"


async def test_content_that_came_back_by_another_server_s_hand_is_the_newest(site: Site) -> None:
    other = MirroredLedger(site.store, MemoryLocalLedger(), Limits())
    for number, digest in enumerate(("one", "two")):
        await site.ledger.intend(D, F, intent(digest, number))
        await site.agree(digest)
    await other.intend(D, F, intent("one", 7, "there"))
    await other.common(D, F, "one", b"one")
    assert await site.chosen() == "one"
    await site.agree("three")
    assert await site.chosen() == "three"


async def test_an_old_announcement_does_not_make_an_old_content_new(site: Site) -> None:
    for number, digest in enumerate(("one", "two")):
        await site.ledger.intend(D, F, intent(digest, number))
        await site.agree(digest)
    await site.store.common(D, F, "one", b"one")
    assert await site.chosen() == "two"


async def test_intents_of_both_count(site: Site) -> None:
    await site.agree("one")
    await site.store.intend(D, F, intent("theirs", 1, "there"))
    await site.disk.intend(D, F, intent("lost"))
    await site.ledger.intend(D, F, intent("both"))
    record = await site.ledger.record(D, F)
    assert record.intents == (intent("both"), intent("theirs", 1, "there"), intent("lost"))


async def test_cells_of_both_count_within_the_bound(site: Site) -> None:
    await site.disk.common(D, F, "one", b"one", ["a", "b", "c"])
    await site.store.common(D, F, "one", b"one", ["b", "d"])
    assert (await site.ledger.record(D, F)).seen == ("a", "c", "b", "d")
    await site.store.common(D, F, "one", b"one", ["b", "d", "e", "f"])
    assert (await site.ledger.record(D, F)).seen == ("c", "b", "d", "e", "f"), "the oldest go"


async def test_what_was_being_taken_in_is_known_from_either(site: Site) -> None:
    edit = FileEdit("edited", b"base")
    await site.agree("one")
    await site.ledger.taking(D, F, edit)
    assert (await site.disk.record(D, F)).taking == (await site.store.record(D, F)).taking == edit
    await site.empty("one")
    assert (await site.ledger.record(D, F)).taking == edit
    await site.store.common(D, F, "two", b"two")
    assert (await site.ledger.record(D, F)).taking is None, "another server went on from it"


async def test_a_disk_that_refuses_is_no_trouble_while_the_store_is_there(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.disk.full = True
    await site.agree("one", "two")
    await site.ledger.intend(D, F, intent("three"))
    assert await site.ledger.record(D, F) == FileRecord("two", b"two", (intent("three"),))
    assert len(caplog.records) == 1, "it is said once"
    site.disk.full = False
    assert await site.chosen() == "two"
    assert (await site.disk.record(D, F)).digest == "two", "it is mirrored when the disk takes it"


async def test_a_disk_that_refuses_leaves_nothing_to_somebody_alone(site: Site) -> None:
    site.store.faults.down = site.alone = site.disk.full = True
    with pytest.raises(LocalDiskFailed):
        await site.ledger.record(D, F)
    with pytest.raises(LocalDiskFailed):
        await site.ledger.intend(D, F, intent("one"))
    with pytest.raises(LocalDiskFailed):
        await site.ledger.common(D, F, "one", b"one")


@pytest.mark.parametrize("left", [(), ("one",)])
async def test_the_store_is_given_back_what_it_lost(site: Site, left: tuple[str, ...]) -> None:
    for number, digest in enumerate(("one", "two", "three")):
        await site.ledger.intend(D, F, intent(digest, number))
        await site.ledger.common(D, F, digest, digest.encode(), [digest])
    await site.empty(*left)
    await site.ledger.give_back(D, F)
    expected = FileRecord(
        "three", b"three", tuple(intent(d, n) for n, d in ((2, "three"), (1, "two"), (0, "one"))), ("three",)
    )
    assert await site.store.record(D, F) == expected
    await site.ledger.give_back(D, F)
    assert await site.store.record(D, F) == expected


async def test_a_store_that_knows_better_is_given_intents_only(site: Site) -> None:
    await site.agree("one")
    await site.disk.intend(D, F, intent("lost"))
    await site.store.common(D, F, "two", b"two")
    await site.ledger.give_back(D, F)
    assert await site.store.record(D, F) == FileRecord("two", b"two", (intent("lost"),))


async def test_an_ended_document_is_forgotten_here(site: Site) -> None:
    await site.agree("one", "two")
    await site.ledger.forget(D)
    assert await site.disk.record(D, F) == FileRecord()
    assert not await site.disk.was_common(D, F, "one")
    site.disk.full = True
    await site.ledger.forget(D)

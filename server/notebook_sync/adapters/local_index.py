"""Which documents are kept in a folder of local copies, and where they were last known. Blocking.

The files are the truth, and other servers write them too; what is remembered here is only what was read of
a document's folder when that had its present time of modification (each snapshot, name or removal changes
it), so that 2,000 documents cost 2,000 looks at a folder and no reading.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from notebook_sync.adapters.local_append import JOURNAL, SNAPSHOT
from notebook_sync.adapters.local_journal import Damaged, Header, header_room, read_header, read_name
from notebook_sync.core.ids import DocumentId, DocumentKey, DocumentKind, Lineage
from notebook_sync.ports import LocalHead

log = logging.getLogger(__name__)

NAME = ".name"
NOWHERE = DocumentKey(DocumentKind("", ""), "")
"""The place of a document of which nobody knows it."""
_RACY = 100_000_000
"""Nanoseconds: a folder that changed so short a time before it was read may change again without getting
another time of modification, so what was read of it is not remembered."""
_FIRST_READ = 4096


@dataclass(frozen=True, slots=True)
class Kept:
    """What one folder (a document's lineage) has: ``stamp`` of its newest snapshot or name."""

    folder: Path
    head: LocalHead
    stamp: int


class LocalIndex:
    """``root`` holds a folder ``<document>.<lineage>`` for each."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, Kept | None]] = {}

    def newest(self) -> dict[DocumentId, Kept]:
        """Of each document the lineage that was kept last."""
        found: dict[DocumentId, Kept] = {}
        for kept in self._all():
            other = found.get(kept.head.document)
            if other is None or other.stamp < kept.stamp:
                found[kept.head.document] = kept
        return found

    def of(self, document: DocumentId) -> Kept | None:
        """The document's lineage that was kept last; if nothing says so because every snapshot's head is
        damaged, the one whose folder changed last, with no path and no kind."""
        newest = max(self._all(f"{document}."), key=lambda kept: kept.stamp, default=None)
        return newest if newest is not None else self._headless(document)

    def _headless(self, document: DocumentId) -> Kept | None:
        found: list[tuple[int, Path]] = []
        for folder in self.folders(document):
            if _files(folder, SNAPSHOT) or _files(folder, JOURNAL):
                with contextlib.suppress(FileNotFoundError):
                    found.append((folder.stat().st_mtime_ns, folder))
        if not found:
            return None
        folder = max(found)[1]
        lineage = Lineage(folder.name.partition(".")[2])
        return Kept(folder, LocalHead(document, lineage, NOWHERE, None), 0)

    def at(self, key: DocumentKey) -> Kept | None:
        """The document that was last known at ``key``."""
        there = [kept for kept in self.newest().values() if kept.head.key == key]
        return max(there, key=lambda kept: kept.stamp, default=None)

    def folders(self, document: DocumentId) -> list[Path]:
        """The folders of all lineages of the document."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._root) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if entry.name.startswith(f"{document}.") and _is_copy(entry)
            ]
        return []

    def _all(self, prefix: str = "") -> Iterator[Kept]:
        with self._lock:
            names = set[str]()
            with contextlib.suppress(FileNotFoundError), os.scandir(self._root) as entries:
                names = {entry.name for entry in entries if entry.name.startswith(prefix) and _is_copy(entry)}
            if not prefix:
                self._known = {name: known for name, known in self._known.items() if name in names}
            kept = [self._look(name) for name in names]
        yield from (one for one in kept if one is not None)

    def _look(self, name: str) -> Kept | None:
        folder = self._root / name
        try:
            changed = folder.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        known = self._known.get(name)
        if known is not None and known[0] == changed:
            return known[1]
        kept = read_folder(folder)
        if time.time_ns() - changed > _RACY:
            self._known[name] = (changed, kept)
        return kept


def _is_copy(entry: os.DirEntry[str]) -> bool:
    return entry.name.count(".") == 1 and entry.is_dir(follow_symlinks=False)


def read_folder(folder: Path) -> Kept | None:
    """What is kept in a document's folder; None if no snapshot there can be read."""
    headers = sorted(_headers(folder), key=lambda header: header.stamp, reverse=True)
    if not headers:
        return None
    head, stamp = headers[0].head, headers[0].stamp
    if head.cursor is None:
        # Another server's snapshot, of the same lineage, has been in the store up to there.
        cursor = next((header.head.cursor for header in headers if header.head.cursor is not None), None)
        head = replace(head, cursor=cursor)
    for path, named in _names(folder):
        if named > stamp:
            head, stamp = replace(head, key=replace(head.key, path=path)), named
    return Kept(folder, head, stamp)


def _headers(folder: Path) -> Iterator[Header]:
    for path in _files(folder, SNAPSHOT):
        try:
            with path.open("rb") as file:
                data = file.read(_FIRST_READ)
                try:
                    yield read_header(data)[0]
                except Damaged:
                    yield read_header(data + file.read(header_room() - len(data)))[0]
        except FileNotFoundError:
            continue
        except Damaged as error:
            log.warning("%s: %s", path, error)


def _names(folder: Path) -> Iterator[tuple[str, int]]:
    for path in _files(folder, NAME):
        try:
            yield read_name(path.read_bytes())
        except FileNotFoundError:
            continue
        except (Damaged, ValueError, KeyError) as error:
            log.warning("%s: %s", path, error)


def _files(folder: Path, suffix: str) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(path for path in folder.iterdir() if path.name.endswith(suffix))
    return []

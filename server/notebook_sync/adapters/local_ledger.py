"""What documents and files last had in common, and what writers announced, on this server's own disk.

::

    <directory>/<document>/<folder>.common    sha256 of the rest ‖ length (u32) ‖ JSON ‖ base
    <directory>/<document>/<folder>.taking    the same: what was being taken in since, if anything
    <directory>/<document>/<folder>.intents   sha256 of the rest ‖ length (u32) ‖ JSON

``<folder>`` is 32 hex digits of the sha256 of the folder's name, which the JSON has. Each file is replaced
as a whole. Servers that share the disk write the same files, one at a time: who writes holds a lock on the
document's directory, for some milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from notebook_sync.adapters.intents import kept_intents
from notebook_sync.adapters.local_disk import (
    checked,
    disk_trouble,
    make_folder,
    read_file,
    write_durably,
)
from notebook_sync.core.errors import LocalDiskFailed
from notebook_sync.core.ids import DocumentId, Generation, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import FileEdit, FileRecord, Intent

log = logging.getLogger(__name__)
T = TypeVar("T")

COMMON, TAKING, INTENTS = ".common", ".taking", ".intents"
VERSION = 1
_LENGTH = struct.Struct(">I")
_SHA = hashlib.sha256().digest_size
_SHORT = 12
"""Hex digits by which a content that was common once is remembered."""
_LOCK_PAUSE = 0.01


class LocalFileLedger:
    """See ``ports.FileLedger``; raises ``LocalDiskFailed``. ``async with`` begins and ends its thread.

    Everything is fsynced when a call returns, files are 0600. A damaged file counts as none, and is replaced
    by the next write, which is safe: without a base nothing is deleted (rule 17).
    """

    def __init__(self, directory: Path, limits: Limits) -> None:
        self._root = directory
        self._limits = limits

    async def __aenter__(self) -> LocalFileLedger:
        """Begin."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="local-ledger")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; a call that is under way is finished by its thread."""
        self._thread.shutdown(wait=False)

    # --- the port -------------------------------------------------------------------------------

    async def record(self, document: DocumentId, folder: str) -> FileRecord:
        """See ``ports.FileLedger``."""
        place = self._place(document, folder)
        return await self._in(place, lambda: _record(place, folder))

    async def intend(self, document: DocumentId, folder: str, intent: Intent) -> None:
        """See ``ports.FileLedger``."""
        place = self._place(document, folder)
        await self._change(place, lambda: _intend(place, folder, intent))

    async def taking(self, document: DocumentId, folder: str, edit: FileEdit) -> None:
        """See ``ports.FileLedger``."""
        place = self._place(document, folder)
        fields = {"folder": folder, "digest": edit.digest, "cells": list(edit.cells)}
        await self._change(place, lambda: _write(place, TAKING, fields, edit.slim))

    async def common(
        self, document: DocumentId, folder: str, digest: str, base: bytes, seen: Sequence[str] | None = None
    ) -> None:
        """See ``ports.FileLedger``."""
        place = self._place(document, folder)
        most = self._limits.commons_remembered
        await self._change(place, lambda: _common(place, folder, digest, base, seen, most))

    # --- beyond the port ------------------------------------------------------------------------

    async def was_common(self, document: DocumentId, folder: str, digest: str) -> bool:
        """Whether this content was common here before the present one: the last ``commons_remembered``."""
        place = self._place(document, folder)
        fields, _ = await self._in(place, lambda: _read(place, COMMON, folder))
        return digest[:_SHORT] in fields.get("earlier", ())

    async def forget(self, document: DocumentId) -> None:
        """The document has ended: nothing is kept of it."""
        place = self._root / checked(document)

        def work() -> None:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(place)

        await self._in(place, work)

    # --- between ----------------------------------------------------------------------------------

    def _place(self, document: DocumentId, folder: str) -> Path:
        name = hashlib.sha256(folder.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return self._root / checked(document) / name

    async def _change(self, place: Path, work: Callable[[], None]) -> None:
        def locked() -> None:
            make_folder(place.parent)
            with _locked(place.parent, self._limits.local_timeout):
                work()

        await self._in(place, locked)

    async def _in(self, place: Path, work: Callable[[], T]) -> T:
        def guarded() -> T:
            with disk_trouble(place):
                return work()

        patience = 2 * self._limits.local_timeout
        try:
            async with asyncio.timeout(patience):
                return await asyncio.wrap_future(self._thread.submit(guarded))
        except TimeoutError:
            raise LocalDiskFailed(f"{place}: the disk does not answer within {patience:g} s") from None


# --- in the thread --------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(folder: Path, patience: float) -> Iterator[None]:
    """Nobody else changes the document's files. Raises ``BlockingIOError`` after ``patience`` seconds: the
    server that holds the lock may have been stopped in the middle."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        end, pause = time.monotonic() + patience, threading.Event()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise BlockingIOError(
                        errno.EAGAIN, "another server holds it and does not go on", str(folder)
                    ) from None
                pause.wait(_LOCK_PAUSE)
        yield
    finally:
        os.close(descriptor)


def _record(place: Path, folder: str) -> FileRecord:
    intents, taking = _intents(place, folder), _taking(place, folder)
    fields, base = _read(place, COMMON, folder)
    if not fields:
        return FileRecord(intents=intents, taking=taking)
    return FileRecord(str(fields["digest"]), base, intents, tuple(map(str, fields["seen"])), taking)


def _taking(place: Path, folder: str) -> FileEdit | None:
    fields, slim = _read(place, TAKING, folder)
    return FileEdit(str(fields["digest"]), slim, tuple(map(str, fields["cells"]))) if fields else None


def _intents(place: Path, folder: str) -> tuple[Intent, ...]:
    fields, _ = _read(place, INTENTS, folder)
    return tuple(
        Intent(
            str(intent["digest"]),
            NodeId(intent["node"]),
            Generation(intent["generation"]),
            int(intent["seq"]),
            int(intent["fence"]),
        )
        for intent in fields.get("intents", ())
    )


def _intend(place: Path, folder: str, intent: Intent) -> None:
    others = (other for other in _intents(place, folder) if other != intent)
    kept = kept_intents((intent, *others))
    _write(place, INTENTS, {"folder": folder, "intents": [asdict(one) for one in kept]})


def _common(
    place: Path, folder: str, digest: str, base: bytes, seen: Sequence[str] | None, most: int
) -> None:
    fields, _ = _read(place, COMMON, folder)
    earlier = list(fields.get("earlier", ()))
    if fields and fields["digest"] != digest:
        earlier.append(str(fields["digest"])[:_SHORT])
    # A content that comes back is the newest again, and no earlier one.
    earlier = list(dict.fromkeys(reversed([one for one in earlier if one != digest[:_SHORT]])))[:most][::-1]
    kept = list(seen) if seen is not None else fields.get("seen", [])
    _write(place, COMMON, {"folder": folder, "digest": digest, "seen": kept, "earlier": earlier}, base)
    place.with_name(place.name + TAKING).unlink(missing_ok=True)


def _read(place: Path, suffix: str, folder: str) -> tuple[dict[str, Any], bytes]:
    """The JSON and what follows it; nothing of a file that is not there or is damaged."""
    path = place.with_name(place.name + suffix)
    try:
        data = read_file(path)
    except FileNotFoundError:
        return {}, b""
    body = data[_SHA:]
    if hashlib.sha256(body).digest() == data[:_SHA]:
        (length,) = _LENGTH.unpack_from(body)
        fields = json.loads(body[_LENGTH.size : _LENGTH.size + length])
        if fields.get("version") == VERSION and fields.get("folder") == folder:
            return fields, body[_LENGTH.size + length :]
    log.error("%s is damaged: what it said of a file is not known any more", path)
    return {}, b""


def _write(place: Path, suffix: str, fields: dict[str, Any], base: bytes = b"") -> None:
    header = json.dumps({"version": VERSION, **fields}, separators=(",", ":")).encode()
    body = b"".join((_LENGTH.pack(len(header)), header, base))
    path = place.with_name(place.name + suffix)
    write_durably(path, (hashlib.sha256(body).digest(), body))

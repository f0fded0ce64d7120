"""Versions of documents as files, so that people can get at them even without this program.

``<directory>/<document>/<id><extension>.gz`` is the content, and ``<id>.json`` beside it says when, why
and by whom. The JSON is written last and removed first: a version is there when its JSON is. Several
servers share the directory: names carry the time and the content, so two never write the same file.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import hashlib
import json
import logging
import os
import re
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from notebook_sync.adapters.atomic_replace import sync_folder
from notebook_sync.core.errors import CorruptRecord, LocalDiskFailed
from notebook_sync.core.ids import DocumentId
from notebook_sync.core.limits import Limits
from notebook_sync.core.thinning import NAMED, surplus
from notebook_sync.ports import Version

log = logging.getLogger(__name__)

SHARED = Path(".collab", "versions")
"""Below the served folder."""
_ID = re.compile(r"\d{13}-[0-9a-f]{8}")
_RESTORE = re.compile(r"restore-[0-9a-f]{16}")
_EXTENSION = re.compile(r"\.[A-Za-z0-9_-]{1,16}")
_LEVEL = 6
_STRAY_AGE = 3600.0
"""A file without its JSON, older than this, was left by a crash."""


def versions_folder(root: Path, state_dir: Path) -> Path:
    """Where the versions of the files below ``root`` are kept.

    Below ``root`` itself, hidden: servers with state folders of their own on one folder then see the same
    versions, and they stay with the files when the folder moves. Jupyter neither lists nor serves hidden
    folders, so no file browser shows them. In ``state_dir`` where this user may not write there.
    """
    folder = root / SHARED
    for existing in (folder, *folder.parents):
        if os.path.lexists(existing):
            usable = existing.is_dir() and os.access(existing, os.R_OK | os.W_OK | os.X_OK)
            return folder if usable else state_dir / "versions"
    return state_dir / "versions"


class FileVersionStore:
    """See ``ports.VersionStore``. ``now`` gives seconds since 1970. All work is done in threads.

    ``read`` raises ``CorruptRecord`` for a version that is damaged.
    """

    def __init__(self, directory: Path, limits: Limits, now: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._limits = limits
        self._now = now
        self._adding = threading.Lock()

    async def add(
        self, document: DocumentId, path: str, data: bytes, *, reason: str, by: str = "", note: str = ""
    ) -> Version:
        """See ``ports.VersionStore``. Durable when it returns."""
        return await asyncio.to_thread(self._add, document, path, data, reason, by, note)

    async def list(self, document: DocumentId) -> tuple[Version, ...]:
        """See ``ports.VersionStore``."""
        return await asyncio.to_thread(self._list, document)

    async def read(self, document: DocumentId, version: str) -> bytes | None:
        """See ``ports.VersionStore``."""
        return await asyncio.to_thread(self._read, document, version)

    async def open_restore(self, document: DocumentId, record: bytes) -> str:
        """See ``ports.VersionStore``. Durable when it returns."""
        return await asyncio.to_thread(self._open_restore, document, record)

    async def open_restores(self, document: DocumentId) -> tuple[tuple[str, bytes], ...]:
        """See ``ports.VersionStore``."""
        return await asyncio.to_thread(self._open_restores, document)

    async def close_restore(self, document: DocumentId, name: str) -> bool:
        """See ``ports.VersionStore``."""
        return await asyncio.to_thread(self._close_restore, document, name)

    # --- in threads ------------------------------------------------------------------------------

    def _add(self, document: DocumentId, path: str, data: bytes, reason: str, by: str, note: str) -> Version:
        folder = self._folder(document)
        digest = hashlib.sha256(data).hexdigest()
        with _errors_of(folder), self._adding:
            known = self._list(document)
            if known and known[0].digest == digest:
                return self._named(folder, path, known[0], reason, by, note)
            number = int(self._now() * 1000)
            if known:  # ids sort by time, also after the clock was set back
                number = max(number, int(known[0].id.partition("-")[0]) + 1)
            version = Version(
                id=f"{number:013}-{digest[:8]}",
                at=number / 1000,
                reason=reason,
                by=by,
                note=note,
                digest=digest,
                size=len(data),
            )
            self._make(folder)
            self._write(folder, version, path, data)
            self._thin(folder, (version, *known))
        return version

    def _named(self, folder: Path, path: str, version: Version, reason: str, by: str, note: str) -> Version:
        """The newest version, which has this content already: kept for longer if a notice names it now."""
        if reason not in NAMED or version.reason in NAMED:
            return version
        version = replace(version, reason=reason, by=by, note=note)
        self._describe(folder, version, path)
        sync_folder(str(folder))
        return version

    def _folder(self, document: DocumentId) -> Path:
        if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", document):
            raise ValueError(f"{document!r} is no document id")
        return self._directory / document

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for made in (folder, self._directory):
            made.chmod(0o700)
            sync_folder(str(made.parent))
        # The served folder may be under version control: restore points are none of its business.
        ignore = self._directory / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")

    def _write(self, folder: Path, version: Version, path: str, data: bytes) -> None:
        extension = os.path.splitext(path)[1]
        if not _EXTENSION.fullmatch(extension):
            extension = ""
        _place(folder / f"{version.id}{extension}.gz", gzip.compress(data, _LEVEL, mtime=0))
        self._describe(folder, version, path)
        sync_folder(str(folder))

    def _describe(self, folder: Path, version: Version, path: str) -> None:
        about = {**asdict(version), "path": path}
        _place(folder / f"{version.id}.json", json.dumps(about, indent=1).encode())

    def _list(self, document: DocumentId) -> tuple[Version, ...]:
        folder = self._folder(document)
        found = []
        with _errors_of(folder), contextlib.suppress(FileNotFoundError):
            for name in os.listdir(folder):
                if name.endswith(".json") and (version := _about(folder / name)) is not None:
                    found.append(version)
        return tuple(sorted(found, key=lambda version: version.id, reverse=True))

    def _read(self, document: DocumentId, version: str) -> bytes | None:
        folder = self._folder(document)
        if not _ID.fullmatch(version):
            return None
        with _errors_of(folder), contextlib.suppress(FileNotFoundError):
            about = _about(folder / f"{version}.json")
            if about is None:
                return None
            file = next(folder.glob(f"{version}*.gz"), None)
            if file is None:
                return None
            try:
                data = gzip.decompress(file.read_bytes())
            except (EOFError, zlib.error, gzip.BadGzipFile):
                data = b""
            if hashlib.sha256(data).hexdigest() != about.digest:
                raise CorruptRecord(f"the version {version} is damaged on disk; choose another one")
            return data
        return None

    def _open_restore(self, document: DocumentId, record: bytes) -> str:
        folder = self._folder(document)
        name = f"restore-{secrets.token_hex(8)}"
        with _errors_of(folder):
            self._make(folder)
            _place(folder / name, record)
            sync_folder(str(folder))
        return name

    def _open_restores(self, document: DocumentId) -> tuple[tuple[str, bytes], ...]:
        folder = self._folder(document)
        found = []
        with _errors_of(folder):
            for path in sorted(folder.glob("restore-*")):
                with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                    found.append((path.name, path.read_bytes()))
        return tuple(found)

    def _close_restore(self, document: DocumentId, name: str) -> bool:
        folder = self._folder(document)
        if not _RESTORE.fullmatch(name):
            return False
        with _errors_of(folder), contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
            return True
        return False

    def _thin(self, folder: Path, versions: tuple[Version, ...]) -> None:
        for version in surplus(versions, self._now(), self._limits):
            for name in (f"{version.id}.json", *(file.name for file in folder.glob(f"{version.id}*.gz"))):
                (folder / name).unlink(missing_ok=True)
        for name in os.listdir(folder):
            if not name.endswith(".json") and not (folder / f"{name[:22]}.json").exists():
                self._remove_stray(folder / name)

    def _remove_stray(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _STRAY_AGE:
                path.unlink()


def _about(path: Path) -> Version | None:
    """What a version's JSON says; None, and a line in the log, if it can't be read."""
    try:
        about = json.loads(path.read_bytes())
        fields = {name: about[name] for name in Version.__slots__}
        version = Version(**fields)
        if _ID.fullmatch(version.id) and isinstance(version.at, float) and isinstance(version.size, int):
            return version
        problem: object = "a field has a wrong value"
    except FileNotFoundError:  # thinned meanwhile
        return None
    except (ValueError, KeyError, TypeError) as error:
        problem = error
    log.warning("the version described by %s is left out: %s", path, problem)
    return None


def _place(target: Path, data: bytes) -> None:
    """Write a file of mode 0600, durable and whole or not at all."""
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _errors_of(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LocalDiskFailed(f"{folder}: the disk is full: make room for versions") from None
        raise LocalDiskFailed(f"{folder}: {error.strerror or error}") from None

"""The memory twin of the version store, on the same contract suite as the one on disk."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable
from dataclasses import replace

from notebook_sync.core.errors import LocalDiskFailed
from notebook_sync.core.ids import DocumentId
from notebook_sync.core.limits import Limits
from notebook_sync.core.thinning import NAMED, surplus
from notebook_sync.ports import Version


class MemoryVersionStore:
    """See ``ports.VersionStore``; ``now`` gives seconds since 1970. ``failing``: why the disk refuses."""

    def __init__(self, limits: Limits, now: Callable[[], float] = time.time) -> None:
        self.failing: str | None = None
        self._limits = limits
        self._now = now
        self._kept: dict[DocumentId, dict[str, tuple[Version, bytes]]] = {}
        self._restores: dict[DocumentId, dict[str, bytes]] = {}
        self._names = itertools.count()

    async def add(
        self, document: DocumentId, path: str, data: bytes, *, reason: str, by: str = "", note: str = ""
    ) -> Version:
        """See ``ports.VersionStore``."""
        known = await self.list(document)
        digest = hashlib.sha256(data).hexdigest()
        if known and known[0].digest == digest:
            newest = known[0]
            if reason in NAMED and newest.reason not in NAMED:
                newest = replace(newest, reason=reason, by=by, note=note)
                self._kept[document][newest.id] = (newest, data)
            return newest
        number = int(self._now() * 1000)
        if known:
            number = max(number, int(known[0].id.partition("-")[0]) + 1)
        version = Version(f"{number:013}-{digest[:8]}", number / 1000, reason, by, note, digest, len(data))
        kept = self._kept.setdefault(document, {})
        kept[version.id] = (version, data)
        for old in surplus((version, *known), self._now(), self._limits):
            del kept[old.id]
        return version

    async def list(self, document: DocumentId) -> tuple[Version, ...]:
        """See ``ports.VersionStore``."""
        if self.failing is not None:
            raise LocalDiskFailed(self.failing)
        kept = self._kept.get(document, {})
        return tuple(kept[name][0] for name in sorted(kept, reverse=True))

    async def read(self, document: DocumentId, version: str) -> bytes | None:
        """See ``ports.VersionStore``."""
        if self.failing is not None:
            raise LocalDiskFailed(self.failing)
        found = self._kept.get(document, {}).get(version)
        return None if found is None else found[1]

    async def open_restore(self, document: DocumentId, record: bytes) -> str:
        """See ``ports.VersionStore``."""
        if self.failing is not None:
            raise LocalDiskFailed(self.failing)
        name = f"restore-{next(self._names)}"
        self._restores.setdefault(document, {})[name] = record
        return name

    async def open_restores(self, document: DocumentId) -> tuple[tuple[str, bytes], ...]:
        """See ``ports.VersionStore``."""
        return tuple(self._restores.get(document, {}).items())

    async def close_restore(self, document: DocumentId, name: str) -> bool:
        """See ``ports.VersionStore``."""
        return self._restores.get(document, {}).pop(name, None) is not None

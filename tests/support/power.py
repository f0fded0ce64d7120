"""What is left on a disk when power is lost: only what was flushed, and names only of flushed folders.

``Power`` watches this process's calls of the system below a folder, and can write out, at any moment, the
worst that POSIX allows a disk to have then. Real disks mostly keep more.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Power:
    """Watches below ``root``. ``events`` are (call, name) in order."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root = str(root)
        self._lock = threading.RLock()
        self._content: dict[int, bytes] = {}
        self._names: dict[str, dict[str, int]] = {}
        self._removed: dict[str, set[str]] = {}
        self._paths: dict[int, str] = {}
        self.events: list[tuple[str, str]] = []
        for call in ("open", "close", "write", "fsync", "fdatasync", "replace", "unlink", "mkdir"):
            if hasattr(os, call):
                monkeypatch.setattr(os, call, self._watching(call, getattr(os, call)))

    def _watching(self, call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        after = getattr(self, f"_{call}")

        def watched(*args: Any, **options: Any) -> Any:
            with self._lock:
                result = real(*args, **options)
                after(result, *args)
                return result

        return watched

    def _open(self, descriptor: int, path: object, *_: object) -> None:
        if str(path).startswith(self._root):
            self._paths[descriptor] = str(path)

    def _close(self, _: None, descriptor: int) -> None:
        self._paths.pop(descriptor, None)

    def _write(self, _: int, descriptor: int, *__: object) -> None:
        self._event("write", descriptor)

    def _fsync(self, _: None, descriptor: int) -> None:
        path = self._paths.get(descriptor)
        if path is None:
            return
        self._event("fsync", descriptor)
        if os.path.isdir(path):
            with os.scandir(path) as entries:
                self._names[path] = {entry.name: entry.inode() for entry in entries}
            self._removed[path] = set()
        else:
            self._content[os.fstat(descriptor).st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    _fdatasync = _fsync

    def _replace(self, _: None, old: object, new: object) -> None:
        self.events.append(("replace", os.path.basename(str(new))))
        self._gone(str(old))

    def _unlink(self, _: None, path: object) -> None:
        self.events.append(("unlink", os.path.basename(str(path))))
        self._gone(str(path))

    def _mkdir(self, _: None, path: object, *__: object) -> None:
        self.events.append(("mkdir", os.path.basename(str(path))))

    def _gone(self, path: str) -> None:
        self._removed.setdefault(os.path.dirname(path), set()).add(os.path.basename(path))

    def _event(self, call: str, descriptor: int) -> None:
        if descriptor in self._paths:
            self.events.append((call, os.path.basename(self._paths[descriptor])))

    def lose(self, target: Path, *, removals_first: bool) -> None:
        """Write to ``target`` what a disk has after a loss of power now. ``removals_first``: names that were
        removed are gone although their folder was not flushed since; else they are back."""
        with self._lock:
            self._rebuild(self._root, target, removals_first)

    def _rebuild(self, folder: str, target: Path, removals_first: bool) -> None:
        target.mkdir(parents=True)
        for name, inode in self._names.get(folder, {}).items():
            path = os.path.join(folder, name)
            if removals_first and name in self._removed.get(folder, set()):
                continue
            if path in self._names or os.path.isdir(path):
                self._rebuild(path, target / name, removals_first)
            else:
                (target / name).write_bytes(self._content.get(inode, b""))

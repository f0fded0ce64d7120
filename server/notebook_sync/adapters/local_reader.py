"""Reading all that the servers of one disk keep of a document, while they go on writing. Blocking.

Journals are read before snapshots: a journal goes only when the snapshot that has its records is in place,
so whoever misses the journal finds that snapshot.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from notebook_sync.adapters.local_append import JOURNAL, SNAPSHOT
from notebook_sync.adapters.local_disk import TEMPORARY, has_ended, read_file, write_durably
from notebook_sync.adapters.local_index import NAME
from notebook_sync.adapters.local_journal import (
    Damaged,
    Header,
    Unknown,
    encode_snapshot,
    header_room,
    read_header,
    read_journal,
    read_state,
)
from notebook_sync.ports import Cursor

DAMAGED = ".damaged"
_TRIES = 20
"""How often snapshots are read anew because one was replaced by another server's meanwhile."""
_OURS = re.compile(
    rf"[^.]+(\.\d+\{JOURNAL}|\{SNAPSHOT}|\{NAME})(\.[^.]+)?\{TEMPORARY}"  # of a crash
    rf"|[^.]+(\.\d+\{JOURNAL}|\{SNAPSHOT}|\{NAME})"
)


def left_over(root: Path, folder: Path) -> bool:
    """Whether servers that have ended left records, or a snapshot that has no place in the store's log."""
    return any(_node_ended(root, path) and _may_be_only_here(path) for path in _paths(folder))


def _node_ended(root: Path, path: Path) -> bool:
    return has_ended(root, _node(path))


def _may_be_only_here(path: Path) -> bool:
    try:
        if path.name.endswith(JOURNAL):
            return path.stat().st_size > 0
        if not path.name.endswith(SNAPSHOT):
            return False
        with path.open("rb") as file:
            header, _ = read_header(file.read(header_room()))
    except FileNotFoundError:
        return False  # a newer snapshot has it
    except (Damaged, Unknown):
        return True
    return header.head.cursor is None


@dataclass(slots=True)
class FolderRead:
    """What was read.

    Attributes:
        snapshots: header and state of each that is whole.
        journals: the updates of all, in order.
        damaged: sentences about what could not be read.
        unknown: whole files of another version of this program, which are left as they are.
        final: files whose readable content is all here and which are never written again: those of
            servers that have ended, and the sealed journals of this server.
    """

    snapshots: list[tuple[Header, bytes]] = field(default_factory=list)
    journals: list[bytes] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    unknown: set[Path] = field(default_factory=set)
    final: frozenset[Path] = frozenset()

    @property
    def updates(self) -> tuple[bytes, ...]:
        """In an order in which they can be applied."""
        return (*(state for _, state in self.snapshots if state), *self.journals)

    @property
    def cursor(self) -> Cursor | None:
        """Up to where in the store's log all of this is at least: by the newest whole snapshot that says."""
        told = [header for header, _ in self.snapshots if header.head.cursor is not None]
        return max(told, key=lambda header: header.stamp).head.cursor if told else None


def read_copies(root: Path, folder: Path, own: str) -> FolderRead:
    """Read a document's ``folder``. ``own`` is this server, whose journals must be sealed.

    Damaged files of ended servers are set aside: kept under another name, and replaced by what can be
    read of them. Raises ``OSError``.
    """
    paths = sorted(_paths(folder))
    nodes = {_node(path) for path in paths}
    # Asked before reading: what an ended server wrote is complete.
    ended = {node for node in nodes if node != own and has_ended(root, node)}
    read = FolderRead()
    aside = _Aside(own, ended)
    for path in sorted((path for path in paths if path.name.endswith(JOURNAL)), key=_journal_order):
        _read_journal(path, read, aside)
    _read_snapshots(folder, read, aside)
    read.final = frozenset(
        path
        for path in paths
        if path not in read.unknown
        and (_node(path) in ended or (_node(path) == own and path.name.endswith(JOURNAL)))
    )
    return read


@dataclass(frozen=True, slots=True)
class _Aside:
    """Sets damaged files of ``ended`` servers aside; those of living ones are left alone."""

    own: str
    ended: set[str]

    def told(self, path: Path, damage: str) -> str:
        """A sentence about it."""
        kept = f"; the file is kept as {path.name}{DAMAGED}" if _node(path) in self.ended else ""
        return f"{path}: {damage}{kept}"

    def replace(self, path: Path, *readable: bytes) -> None:
        """Keep the file under another name, and only what is readable under its own.

        In this order a crash in between loses nothing. Another server may do the same at the same time.
        """
        if _node(path) in self.ended:
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(path, path.with_name(path.name + DAMAGED))
            with contextlib.suppress(FileNotFoundError):
                write_durably(path, readable, writer=f".{self.own}")

    def remove(self, path: Path) -> None:
        """Nothing of it is readable."""
        if _node(path) in self.ended:
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, path.with_name(path.name + DAMAGED))


def _paths(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        yield from (path for path in folder.iterdir() if _OURS.fullmatch(path.name))


def _node(path: Path) -> str:
    return path.name.partition(".")[0]


def _journal_order(path: Path) -> tuple[str, int]:
    node, number, _ = path.name.split(".")
    return node, int(number)


def _read_journal(path: Path, read: FolderRead, aside: _Aside) -> None:
    try:
        data = read_file(path)
    except FileNotFoundError:  # covered by a snapshot that is read below
        return
    journal = read_journal(data)
    read.journals += (update for _, update in journal.records)
    if journal.damage is not None:
        read.damaged.append(aside.told(path, f"{journal.damage}, and nothing after it can be read"))
        aside.replace(path, data[: journal.size])


def _read_snapshots(folder: Path, read: FolderRead, aside: _Aside) -> None:
    for _ in range(_TRIES):
        attempt = FolderRead()
        try:
            for path in sorted(path for path in _paths(folder) if path.name.endswith(SNAPSHOT)):
                _read_snapshot(path, attempt, aside)
        except FileNotFoundError:  # its content is in a snapshot that was written before it went
            continue
        read.snapshots, read.unknown = attempt.snapshots, attempt.unknown
        read.damaged += attempt.damaged
        return
    raise BlockingIOError(errno.EAGAIN, "is replaced again and again while it is read", str(folder))


def _read_snapshot(path: Path, read: FolderRead, aside: _Aside) -> None:
    data = read_file(path)
    try:
        header, start = read_header(data)
    except Unknown as error:
        read.damaged.append(f"{path}: {error}")
        read.unknown.add(path)
        return
    except Damaged as error:
        read.damaged.append(aside.told(path, str(error)))
        aside.remove(path)
        return
    try:
        read.snapshots.append((header, read_state(data, header, start)))
    except Damaged as error:
        read.damaged.append(aside.told(path, str(error)))
        # The header still says which document this was, and where.
        aside.replace(path, *encode_snapshot(replace(header.head, cursor=None), header.stamp, b""))

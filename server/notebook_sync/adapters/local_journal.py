"""The two files in which a server keeps a document on its own disk, as bytes: snapshot and journal.

::

    snapshot  8 bytes of magic ‖ length of header (u32) ‖ header (JSON) ‖ sha256 of header ‖ state
    journal   8 bytes of magic ‖ record*
    record    position (u64) ‖ length (u32) ‖ crc32 of update (u32) ‖ crc32 of these 16 bytes (u32) ‖ update

Numbers are big-endian. The header names the sha256 and size of the state, so that it can be read alone.
A record's head has a checksum of its own, so that a length that was changed on the disk is told from a
record that was not written to its end: the latter was never acknowledged, the former was.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass

from notebook_sync.core.ids import DocumentId, DocumentKey, DocumentKind, Generation, Lineage
from notebook_sync.ports import Cursor, LocalHead

SNAPSHOT_MAGIC = b"JCSNAP1\n"
JOURNAL_MAGIC = b"JCJRNL1\n"
VERSION = 1
LONGEST_HEADER = 64 * 1024
LONGEST_UPDATE = 2**32 - 1

_LENGTH = struct.Struct(">I")
_PLACE = struct.Struct(">QII")
_CHECK = struct.Struct(">I")
RECORD_HEAD = _PLACE.size + _CHECK.size
_SHA = hashlib.sha256().digest_size


class Damaged(ValueError):
    """The bytes are not what was written; the message says where."""


class Unknown(Damaged):
    """The bytes are whole, and of a version that this program does not read."""


# --- journals -------------------------------------------------------------------------------------


def encode_record(position: int, update: bytes) -> bytes:
    """One record of a journal."""
    place = _PLACE.pack(position, len(update), zlib.crc32(update))
    return b"".join((place, _CHECK.pack(zlib.crc32(place)), update))


@dataclass(frozen=True, slots=True)
class JournalRead:
    """The records that could be read, how many bytes they take with the magic, and what is wrong with the
    rest: None when there is none, or when it is a record that was never written to its end."""

    records: tuple[tuple[int, bytes], ...]
    size: int
    damage: str | None


def read_journal(data: bytes) -> JournalRead:
    """Read until the end, or until something that was not written like this."""
    magic = data[: len(JOURNAL_MAGIC)]
    if magic != JOURNAL_MAGIC:
        torn = JOURNAL_MAGIC.startswith(magic) or not any(data)
        return JournalRead((), 0, None if torn else "does not begin like a journal")
    records: list[tuple[int, bytes]] = []
    offset, damage = len(JOURNAL_MAGIC), None
    while offset < len(data):
        try:
            record = _read_record(data, offset)
        except Damaged as error:
            damage = str(error)
            break
        if record is None:
            break
        records.append(record)
        offset += RECORD_HEAD + len(record[1])
    return JournalRead(tuple(records), offset, damage)


def _read_record(data: bytes, offset: int) -> tuple[int, bytes] | None:
    """The record at ``offset``; None when it was not written to its end."""
    start = offset + RECORD_HEAD
    if start > len(data):
        return None
    position, length, checksum = _PLACE.unpack_from(data, offset)
    (check,) = _CHECK.unpack_from(data, offset + _PLACE.size)
    if check != zlib.crc32(data[offset : offset + _PLACE.size]):
        if not any(data[offset:]):  # the length reached the disk before the content, when power was lost
            return None
        raise Damaged(f"the record at byte {offset} has a damaged head")
    if start + length > len(data):
        return None
    update = data[start : start + length]
    if zlib.crc32(update) != checksum:
        raise Damaged(f"the record at byte {offset} is damaged")
    return position, update


# --- snapshots ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Header:
    """``stamp`` orders the snapshots of a document: nanoseconds since 1970, or one more than the newest
    when the clock was set back. ``size`` and ``digest`` (sha256, hex) are the state's."""

    head: LocalHead
    stamp: int
    size: int
    digest: str


def encode_snapshot(head: LocalHead, stamp: int, state: bytes) -> tuple[bytes, bytes]:
    """The beginning of the file, and the state after it."""
    fields = {
        "version": VERSION,
        "document": head.document,
        "lineage": head.lineage,
        "format": head.key.kind.format,
        "type": head.key.kind.type,
        "path": head.key.path,
        "cursor": _cursor_fields(head.cursor),
        "provisional": head.provisional,
        "stamp": stamp,
        "size": len(state),
        "sha256": hashlib.sha256(state).hexdigest(),
    }
    header = json.dumps(fields, separators=(",", ":")).encode()
    return b"".join((SNAPSHOT_MAGIC, _LENGTH.pack(len(header)), header, _sha256(header))), state


def _cursor_fields(cursor: Cursor | None) -> list[object] | None:
    return None if cursor is None else [cursor.generation, cursor.seq, cursor.chain.hex()]


def read_header(data: bytes) -> tuple[Header, int]:
    """The header at the beginning of ``data`` (a snapshot or its first ``header_room`` bytes), and where
    the state begins. Raises ``Damaged``."""
    start = len(SNAPSHOT_MAGIC) + _LENGTH.size
    if not data.startswith(SNAPSHOT_MAGIC) or len(data) < start:
        raise Damaged("does not begin like a snapshot")
    (length,) = _LENGTH.unpack_from(data, len(SNAPSHOT_MAGIC))
    header, end = data[start : start + length], start + length + _SHA
    if length > LONGEST_HEADER or _sha256(header) != data[start + length : end]:
        raise Damaged("its header is damaged")
    try:
        return _header(json.loads(header)), end
    except Damaged:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"its header can't be read ({error!r})") from error


def _header(fields: dict[str, object]) -> Header:
    if fields["version"] != VERSION:
        raise Unknown(f"it has version {fields['version']}, this server reads {VERSION}")
    key = DocumentKey(DocumentKind(str(fields["format"]), str(fields["type"])), str(fields["path"]))
    head = LocalHead(
        DocumentId(str(fields["document"])),
        Lineage(str(fields["lineage"])),
        key,
        _cursor(fields["cursor"]),
        bool(fields["provisional"]),
    )
    return Header(head, _int(fields["stamp"]), _int(fields["size"]), str(fields["sha256"]))


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no number")
    return value


def _cursor(fields: object) -> Cursor | None:
    if fields is None:
        return None
    if not isinstance(fields, list):
        raise TypeError(f"{fields!r} is no cursor")
    generation, seq, chain = fields
    return Cursor(Generation(generation), _int(seq), bytes.fromhex(chain))


def read_state(data: bytes, header: Header, start: int) -> bytes:
    """The state of the snapshot ``data``. Raises ``Damaged``."""
    state = data[start:]
    if len(state) != header.size or hashlib.sha256(state).hexdigest() != header.digest:
        raise Damaged("its content is damaged")
    return state


def header_room() -> int:
    """So many bytes at the beginning of a snapshot hold any header."""
    return len(SNAPSHOT_MAGIC) + _LENGTH.size + LONGEST_HEADER + _SHA


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# --- names ----------------------------------------------------------------------------------------


def encode_name(path: str, stamp: int) -> bytes:
    """A document's new path, as it is kept beside its snapshot until the next one has it."""
    fields = json.dumps({"version": VERSION, "path": path, "stamp": stamp}).encode()
    return _sha256(fields) + fields


def read_name(data: bytes) -> tuple[str, int]:
    """Path and stamp. Raises ``Damaged``."""
    digest, fields = data[:_SHA], data[_SHA:]
    if _sha256(fields) != digest:
        raise Damaged("is damaged")
    name = json.loads(fields)
    return str(name["path"]), int(name["stamp"])

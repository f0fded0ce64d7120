"""The engine's errors.

::

    CollabError
    ├── ProtocolError            one client sent something that can't be read     (radius: connection)
    ├── RoomError                                                                 (radius: room)
    │   ├── StoreUnavailable     Redis does not answer or refuses for now
    │   ├── CorruptRecord        a record in Redis can't be read
    │   ├── DocumentEnded        its file was deleted or overwritten: the path has, or gets, another document
    │   ├── LocalDiskFailed      this server's own disk refuses: full, read-only, gone
    │   ├── FileUnavailable      the file can't be read or written
    │   │   ├── FileMissing
    │   │   ├── FileIsDirectory
    │   │   └── FileOutsideRoot
    │   └── UnreadableDocument   the file is not a valid document of its kind
    ├── ConfigError              the server must not start like this; the message says what to change
    └── InvariantBroken          a bug of ours

Expected outcomes (a lease refused, a role denied, an append under an old generation) are return
values, not errors. The shell catches by radius, in three places: session, runner, supervisor.
"""

from __future__ import annotations


class CollabError(Exception):
    """Any error of the engine."""


class ProtocolError(CollabError):
    """A client's frame can't be read. ``str(error)`` is safe to send back as a close reason."""


class RoomError(CollabError):
    """One document is in trouble; others are not."""


class StoreUnavailable(RoomError):
    """Redis does not answer, or refuses for now (out of memory, read-only, loading)."""


class CorruptRecord(RoomError):
    """A record in Redis can't be read; the message names the key and the sequence number."""


class DocumentEnded(RoomError):
    """The document's file was deleted or overwritten; ask for the path's document again."""


class LocalDiskFailed(RoomError):
    """This server's own disk (``state_dir``) refuses: full, read-only, gone. The message says which file."""


class FileUnavailable(RoomError):
    """The file can't be read or written; ``path`` is relative to the server's root."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class FileMissing(FileUnavailable):
    """There is no such file."""


class FileIsDirectory(FileUnavailable):
    """The path names a directory."""


class FileOutsideRoot(FileUnavailable):
    """The path leads out of the server's root."""


class UnreadableDocument(RoomError):
    """The file's content is not a valid document of its kind; the message says why."""


class ConfigError(CollabError):
    """The server must not start like this; the message says what to change, without secrets."""


class InvariantBroken(CollabError):
    """Something that can't happen did: a bug of ours, with what was expected."""

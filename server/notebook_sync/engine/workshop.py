"""What all rooms of a node work with, what they tell, and the codes with which they send people away."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from notebook_sync.core.errors import (
    CollabError,
    ConfigError,
    FileIsDirectory,
    FileMissing,
    FileOutsideRoot,
    UnreadableDocument,
)
from notebook_sync.core.ids import DocumentKey, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Member
from notebook_sync.engine.loader import Loader
from notebook_sync.engine.naming import Naming
from notebook_sync.engine.outlived import Outlived
from notebook_sync.engine.outside_edits import Saver
from notebook_sync.engine.supervisor import Supervisor
from notebook_sync.ports import Channel, LocalCopies, Metrics, UpdateStore

CLOSE_UNREADABLE = 4400
CLOSE_MISSING = 4404
CLOSE_OTHER = 4500


@dataclass(frozen=True, slots=True)
class Workshop:
    """Everything a runner works with, the same for all rooms of a node."""

    node: NodeId
    limits: Limits
    supervisor: Supervisor
    store: UpdateStore
    channel: Channel
    loader: Loader
    naming: Naming
    copies: LocalCopies
    outlived: Outlived
    saver: Saver
    metrics: Metrics
    new_client_id: Callable[[], int]
    connection_numbers: itertools.count[int]
    jitter: Callable[[], float]
    level: Callable[[], str]
    """What an acknowledgement by the store survives (docs/protocol.md)."""
    batch_numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    """One count for all rooms: the store takes no number of a node twice, also of a room opened anew."""


@dataclass(frozen=True, slots=True)
class Told:
    """Something about a document that people outside the engine may hear of.

    ``kind``: initialize, load, save, overwrite, clean, join, leave, status, moved (by another program;
    ``message`` is the former path).
    ``level``: DEBUG, INFO, WARNING or ERROR.
    """

    kind: str
    key: DocumentKey
    level: str
    message: str
    member: Member | None = None


def close_code(error: BaseException) -> tuple[int, str]:
    """What people are told when a document can't be opened for this error."""
    match error:
        case FileMissing():
            return CLOSE_MISSING, f"{error.path} does not exist"
        case FileIsDirectory():
            return CLOSE_UNREADABLE, f"{error.path} is a folder"
        case FileOutsideRoot():
            return CLOSE_MISSING, "this path is not in the server's folder"
        case UnreadableDocument():
            return CLOSE_UNREADABLE, str(error)
        case ConfigError() | CollabError():
            return CLOSE_OTHER, str(error)
        case _:
            return CLOSE_OTHER, json.dumps(
                {"reason": "initialization_error", "reloadable": False}, separators=(",", ":")
            )

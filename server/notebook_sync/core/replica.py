"""This node's copy of a document: a bare ``pycrdt.Doc``, nothing observed that an update pays for.

The only module of the core that knows pycrdt. Updates enter it after ``update.decode`` accepted
them. If one fails all the same the Doc may be half changed and must be thrown away (rule 13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pycrdt import Array, Doc, Map, TransactionEvent, merge_updates

from notebook_sync.core.errors import CollabError

STATE = "state"
"""The root map in which jupyter-ydoc documents keep what is not content: path, hash, dirty, …"""


SEED_MARK = "lineage"
"""Key of ``state``, written last in a seed: its lineage."""


class DamagedReplica(CollabError):
    """An update was half applied; this replica must be rebuilt from the log."""


class Replica:
    """One Doc under a client id that nobody used before (rule 14)."""

    def __init__(self, client_id: int, on_server_edit: Callable[[bytes], None] | None = None) -> None:
        self.doc: Doc[Any] = Doc(client_id=client_id)
        self._on_server_edit = on_server_edit
        self._applying = False
        self._changed = False
        self._subscription = self.doc.observe(self._observe)

    def _observe(self, event: TransactionEvent) -> None:
        self._changed = True
        if not self._applying and self._on_server_edit is not None:
            # Only here is the event's own update the right thing to pass on: we made it (rule 1).
            self._on_server_edit(event.update)

    def apply(self, *updates: bytes) -> bool:
        """Integrate v1 updates in order; True if the document changed.

        Raises ``DamagedReplica`` when one can't be integrated; then this replica is of no use any more.
        """
        self._changed = False
        self._applying = True
        try:
            for update in updates:
                self.doc.apply_update(update)
        except Exception as error:
            raise DamagedReplica(str(error)) from error
        except BaseException as error:
            # A Rust panic arrives as pyo3's PanicException, which is no Exception.
            if type(error).__name__ != "PanicException":
                raise
            raise DamagedReplica(str(error)) from error
        finally:
            self._applying = False
        return self._changed

    def unpark(self, updates: Sequence[bytes]) -> None:
        """Integrate what is still parked although all it builds on is there.

        yrs looks through what it parked once for each update that it applies; a chain of parked updates
        may need more. ``updates``: those that were applied, in any order; applying them again is harmless.
        """
        before = None
        while before != (before := self.state_vector()):
            self.apply(*updates)

    def state_vector(self) -> bytes:
        """What this replica has, as an encoded state vector."""
        return self.doc.get_state()

    def diff(self, state_vector: bytes | None = None) -> bytes:
        """One v1 update with what ``state_vector`` lacks; everything without one.

        Raises ``ValueError`` when the state vector can't be read.
        """
        if state_vector is None:
            return self.doc.get_update()
        return self.doc.get_update(state_vector)

    def state(self) -> dict[str, object]:
        """The document's ``state`` map as plain values."""
        value = self.doc.get(STATE, type=Map).to_py()
        return value if value is not None else {}

    def typed_into(self, cells: Mapping[str, str]) -> bool:
        """Whether one of a notebook's cells (id -> source as it was) has another source now."""
        now: dict[str, list[str]] = {cell_id: [] for cell_id in cells}
        array: Array[Any] = self.doc.get("cells", type=Array)
        for cell in array:
            if isinstance(cell, Map) and (cell_id := cell.get("id")) in now:
                now[cell_id].append(str(cell.get("source")))
        # Two cells may have one id for a while; one that is gone can't be typed into.
        return any(sources and cells[cell_id] not in sources for cell_id, sources in now.items())

    def covers_seed(self, lineage: str) -> bool:
        """Whether this has all of the first content of ``lineage``: its mark is the last thing that a seed
        writes, and a replica has a client's structs without gaps (rule 10)."""
        return self.state().get(SEED_MARK) == lineage

    def write_state(self, values: Mapping[str, object]) -> bytes | None:
        """Set keys of the ``state`` map that differ; the update that does it, or None if none does."""
        state: Map[Any] = self.doc.get(STATE, type=Map)
        changes = {key: value for key, value in values.items() if state.get(key) != value}
        if not changes:
            return None
        updates: list[bytes] = []
        kept, self._on_server_edit = self._on_server_edit, updates.append
        try:
            with self.doc.transaction():
                for key, value in changes.items():
                    state[key] = value
        finally:
            self._on_server_edit = kept
        return merge(updates)


def merge(updates: list[bytes], fan_in: int = 50) -> bytes:
    """One v1 update for many, gaps included; as a tree, because merging is quadratic in their number."""
    while len(updates) > 1:
        updates = [
            merge_updates(*updates[i : i + fan_in]) if len(updates[i : i + fan_in]) > 1 else updates[i]
            for i in range(0, len(updates), fan_in)
        ]
    return updates[0]

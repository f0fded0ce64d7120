"""Whether this server is the only one on a state directory, and staying so for a moment.

While the embedded store is away, two servers on one state directory can't agree on who writes a file. One
that is alone there needs no agreement (rules 4 and 9); but it must stay alone until it has written.

Not one lock that all hold shared and one tries to hold alone: raising a lock gives it up first, so two that
try at the same moment may each lose it, and one of them then finds itself alone. Instead each server has a
lock file of its own, and there is one gate. Who starts passes the gate before it shows that it lives; who
wants to be alone closes the gate and then looks whether anybody else lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType

from notebook_sync.adapters.local_disk import (
    LOCK,
    checked,
    disk_trouble,
    has_ended,
    hold_lock,
    make_folder,
    remove_ended_locks,
)
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.ids import NodeId
from notebook_sync.core.limits import Limits

GATE = "gate"
_PAUSE = 0.02


class StateDirLock:
    """``async with`` makes this server one of those on ``directory`` (below the state directory), until it
    leaves or its process ends, however that ends.

    Entering waits while another server is writing alone, for at most ``limits.start_patience`` seconds; then
    it raises ``ConfigError``: that server was stopped in the middle. It raises ``LocalDiskFailed`` when the
    disk refuses.
    """

    def __init__(self, directory: Path, node: NodeId, limits: Limits) -> None:
        self._directory = directory
        self._node = NodeId(checked(node))
        self._limits = limits
        self._lock: int | None = None
        self._gate: int | None = None
        self._writers = 0

    async def __aenter__(self) -> StateDirLock:
        """Show that this server lives."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._limits.start_patience
        while not await asyncio.to_thread(self._begin):
            if loop.time() > end:
                raise ConfigError(
                    f"{self._directory}: another server writes files alone here and does not finish: "
                    "continue or end it, or choose another state_dir"
                )
            await asyncio.sleep(_PAUSE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nobody waits for this server any more."""
        self._open_gate()
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._directory / (self._node + LOCK))
            os.close(self._lock)
            self._lock = None

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """Whether no other server is here; if so, none begins before this ends. Several may be under way.

        False as well when the disk refuses, or another server is just starting.
        """
        # Not in a thread: a lock that a cancelled caller got would never be given back, and nothing here
        # waits for the disk.
        alone = self._writers > 0 or self._close_gate()
        self._writers += alone
        try:
            yield alone
        finally:
            self._writers -= alone
            if alone and self._writers == 0:
                self._open_gate()

    def is_alone(self) -> bool:
        """Whether an ``alone`` that said yes is under way."""
        return self._writers > 0

    # --- locks ------------------------------------------------------------------------------------

    def _begin(self) -> bool:
        """Pass the gate and show that this server lives. False if the gate is closed."""
        with disk_trouble(self._directory):
            make_folder(self._directory)
            gate = self._gate_file()
            try:
                fcntl.flock(gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
                remove_ended_locks(self._directory)
                self._lock = hold_lock(self._directory, self._node)
            except BlockingIOError:
                return False
            finally:
                os.close(gate)
        return True

    def _close_gate(self) -> bool:
        """Close the gate if nobody else is here."""
        gate: int | None = None
        try:
            gate = self._gate_file()
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._others():
                return False
            self._gate, gate = gate, None
        except OSError:
            return False
        finally:
            if gate is not None:
                os.close(gate)
        return True

    def _open_gate(self) -> None:
        if self._gate is not None:
            gate, self._gate = self._gate, None
            os.close(gate)

    def _gate_file(self) -> int:
        return os.open(self._directory / GATE, os.O_RDWR | os.O_CREAT, 0o600)

    def _others(self) -> bool:
        """Whether another server lives here."""
        for path in self._directory.glob("*" + LOCK):
            node = path.name.removesuffix(LOCK)
            if node != self._node and not has_ended(self._directory, node):
                return True
        return False

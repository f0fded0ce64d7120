"""Kernels that are only in the books: for tests about who may reach them, not about what they run."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager, MappingKernelManager

from tests.support.two_groups import FOLDERS


class QuietConnection:
    """A kernel's socket that leads nowhere."""

    kernel_ws_protocol = ""

    def __init__(self, **given: Any) -> None:
        self.session = SimpleNamespace(session="")

    async def prepare(self) -> None: ...

    async def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def handle_incoming_message(self, message: object) -> None: ...


class Books:
    """The managers of a server, with one kernel and one session for each folder after ``reset``."""

    def __init__(self, serverapp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._kernels: Any = serverapp.kernel_manager
        self._sessions: Any = serverapp.session_manager
        self._next = 0

        async def start(manager: Any, *, kernel_id: str | None = None, **options: Any) -> str:
            return self._started(kernel_id)

        for cls in (MappingKernelManager, AsyncMappingKernelManager):
            for method in ("shutdown_kernel", "restart_kernel", "interrupt_kernel"):
                monkeypatch.setattr(cls, method, _nothing)
            monkeypatch.setattr(cls, "start_kernel", start)
        monkeypatch.setitem(serverapp.web_app.settings, "kernel_websocket_connection_class", QuietConnection)

    def kernel(self, folder: str) -> str:
        """The id of the folder's kernel."""
        return f"00000000-0000-0000-0000-00000000000{FOLDERS.index(folder) + 1}"

    def session(self, folder: str) -> str:
        """The id of its session."""
        return f"11111111-0000-0000-0000-00000000000{FOLDERS.index(folder) + 1}"

    async def reset(self) -> None:
        """As at the beginning."""
        self._kernels._kernels.clear()
        self._kernels.homes.clear()
        self._sessions.cursor.execute("DELETE FROM session")
        for folder in FOLDERS:
            kernel = self.kernel(folder)
            self._enter(kernel)
            self._kernels.homes[kernel] = folder
            await self._sessions.save_session(
                self.session(folder), path=f"{folder}/other.ipynb", name="", type="notebook", kernel_id=kernel
            )

    def forget(self) -> None:
        """So that the server does not try to end them."""
        self._kernels._kernels.clear()

    def _started(self, kernel_id: str | None) -> str:
        if kernel_id is None:
            self._next += 1
            kernel_id = f"22222222-0000-0000-0000-{self._next:012}"
        self._enter(kernel_id)
        return kernel_id

    def _enter(self, kernel: str) -> None:
        self._kernels._kernels[kernel] = SimpleNamespace(
            kernel_name="python3",
            last_activity=datetime.now(UTC),
            execution_state="idle",
            reason="",
            update_env=lambda **kwargs: None,
        )


async def _nothing(self: Any, kernel_id: str, **options: Any) -> None:
    if kernel_id not in self:
        self._check_kernel_id(kernel_id)

"""jupyter-nbmodel-client and jupyter-kernel-client, used as their own documentation shows."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_kernel_client import JupyterKernelClient  # type: ignore[import-not-found]  # its own environment's
from jupyter_nbmodel_client import NbModelClient, get_jupyter_notebook_websocket_url  # type: ignore[import-not-found]  # its own environment's
from rpc import serve  # type: ignore[import-not-found]  # beside this script


class Session:
    """One notebook client and, once asked for, one kernel client."""

    def __init__(self) -> None:
        self._notebook: Any = None
        self._kernel: Any = None

    async def open(self, server: str, path: str, token: str, username: str) -> bool:
        url = get_jupyter_notebook_websocket_url(server, path, token)
        self._notebook = NbModelClient(url, path=path, username=username)
        await self._notebook.start()
        await self._notebook.wait_until_synced()
        return bool(self._notebook.synced)

    async def notebook(self) -> Any:
        return self._notebook.as_dict()

    async def add_code_cell(self, source: str) -> int:
        return int(self._notebook.add_code_cell(source))

    async def add_markdown_cell(self, source: str) -> int:
        return int(self._notebook.add_markdown_cell(source))

    async def set_cell_source(self, index: int, source: str) -> None:
        self._notebook.set_cell_source(index, source)

    async def delete_cell(self, index: int) -> None:
        self._notebook.delete_cell(index)

    async def peers(self) -> int:
        return len(self._notebook.get_connected_peers())

    async def start_kernel(self, server: str, token: str) -> str:
        self._kernel = JupyterKernelClient(server_url=server, token=token)
        self._kernel.start()
        return str(self._kernel.id)

    async def execute_cell(self, index: int) -> Any:
        # Blocking, as documented: outputs are written into the model by the hook meanwhile.
        return self._notebook.execute_cell(index, self._kernel)

    async def close(self) -> None:
        if self._kernel is not None:
            self._kernel.stop()
        await self._notebook.stop()


session = Session()
asyncio.run(
    serve(
        {
            name: getattr(session, name)
            for name in (
                "open", "notebook", "add_code_cell", "add_markdown_cell", "set_cell_source", "delete_cell",
                "peers", "start_kernel", "execute_cell", "close",
            )
        }
    )
)  # fmt: skip

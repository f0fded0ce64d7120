"""jupyter-mcp-server 2.2.4: an agent's tools, as a client of our server and as an extension beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from tests.interop.conftest import (
    OpenNotebook,
    StartServer,
    cells_on_disk,
    output_texts,
    sources,
    write_notebook,
)
from tests.interop.driver import DRIVERS, Driver
from tests.interop.environments import PythonEnvironment, client_environment
from tests.support.stock_server import JupyterProcess
from tests.support.waiting import eventually

Tool = Callable[..., str]


def test_an_agent_works_in_the_notebook_beside_a_person(
    server: JupyterProcess, open_notebook: OpenNotebook, clients: ExitStack, tmp_path: Path
) -> None:
    write_notebook(server, "work.ipynb", "x = 20", "x + 1")
    ada = open_notebook(server, "ada")
    command = [
        str(client_environment("mcp").python),
        str(DRIVERS / "mcp_client.py"),
        server.url,
        server.token,
    ]
    agent = clients.enter_context(Driver(command, tmp_path / "mcp.log"))

    def tool(name: str, **arguments: object) -> str:
        answer = agent.call("tool", name=name, arguments=arguments)
        assert not answer["failed"], answer["text"]
        return str(answer["text"])

    tool("use_notebook", notebook_name="work", notebook_path="work.ipynb", kernel_id="NEW")
    work_as_an_agent(tool, server, ada)
    tool("unuse_notebook", notebook_name="work")


def test_as_an_extension_it_finds_the_open_document(
    start_server: StartServer, server_with: Callable[[str], PythonEnvironment], open_notebook: OpenNotebook
) -> None:
    # Its requirements bring jupyter_server_ydoc along, enabled: ours must take its place, not fight it.
    server = start_server(server_with("mcp"), "--JupyterMCPServerExtensionApp.document_id=")
    write_notebook(server, "work.ipynb", "x = 20", "x + 1")
    ada = open_notebook(server, "ada")

    def tool(name: str, **arguments: object) -> str:
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": name, "arguments": arguments},
        }
        answer = httpx.post(f"{server.url}/mcp", headers=server.headers, json=call, timeout=45)
        result: dict[str, Any] = json.loads(answer.text)["result"]
        text = "\n".join(part.get("text", "") for part in result["content"])
        assert not result.get("isError"), text
        return text

    tool("use_notebook", notebook_name="work", notebook_path="work.ipynb", kernel_id="NEW")
    work_as_an_agent(tool, server, ada)


def work_as_an_agent(tool: Tool, server: JupyterProcess, ada: Driver) -> None:
    """Insert, run, read and overwrite cells; a person in the same notebook sees it, types, and is seen."""
    tool("insert_cell", cell_index=2, cell_type="code", cell_source="print(x * 2)")
    eventually(lambda: len(cells_at(ada)) == 3, what="the agent's cell at the person's")
    ada.call("set_cell_source", index=0, source="x = 21")
    eventually(lambda: "x = 21" in tool("read_cell", cell_index=0), what="the person's edit at the agent's")

    tool("execute_cell", cell_index=0)
    assert "42" in tool("execute_cell", cell_index=2)
    assert "42" in tool("read_cell", cell_index=2)
    tool("overwrite_cell_source", cell_index=1, cell_source="x + 2")

    wanted = ["x = 21", "x + 2", "print(x * 2)"]
    eventually(lambda: sources(cells_at(ada)) == wanted, what="the agent's cells at the person's")
    eventually(lambda: sources(cells_on_disk(server)) == wanted, what="the agent's cells in the file")
    eventually(lambda: output_texts(cells_at(ada)[2]) == ["42\n"], what="the agent's outputs at the person's")
    eventually(lambda: output_texts(cells_on_disk(server)[2]) == ["42\n"], what="the agent's outputs on disk")


def cells_at(client: Driver) -> list[dict[str, object]]:
    cells = client.call("notebook")["cells"]
    assert isinstance(cells, list)
    return cells

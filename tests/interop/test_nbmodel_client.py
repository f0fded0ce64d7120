"""jupyter-nbmodel-client 1.5.1 with jupyter-kernel-client 1.0.2: what agents and scripts use."""

from __future__ import annotations

from tests.interop.conftest import OpenNotebook, cells_on_disk, output_texts, sources, write_notebook
from tests.interop.driver import Driver
from tests.support.stock_server import JupyterProcess
from tests.support.waiting import eventually


def test_cells_edited_by_one_reach_the_other_and_the_file(
    server: JupyterProcess, open_notebook: OpenNotebook
) -> None:
    write_notebook(server, "work.ipynb", "x = 1", "y = 2")
    ada, grace = open_notebook(server, "ada"), open_notebook(server, "grace")

    ada.call("set_cell_source", index=0, source="x = 'héllo 🙂'")
    ada.call("add_markdown_cell", source="# Notes")
    eventually(lambda: len(cells_of(grace)) == 3, what="the new cell at the other client")
    grace.call("add_code_cell", source="z = 3")
    grace.call("delete_cell", index=1)

    wanted = ["x = 'héllo 🙂'", "# Notes", "z = 3"]
    eventually(lambda: sources(cells_of(ada)) == wanted, what="ada's cells as wanted")
    eventually(lambda: sources(cells_of(grace)) == wanted, what="grace's cells as wanted")
    eventually(lambda: sources(cells_on_disk(server)) == wanted, what="the file to follow")


def test_outputs_of_a_run_arrive_at_the_other_client_and_in_the_file(
    server: JupyterProcess, open_notebook: OpenNotebook
) -> None:
    write_notebook(server, "work.ipynb", "x = 1")
    ada, grace = open_notebook(server, "ada"), open_notebook(server, "grace")
    index = ada.call("add_code_cell", source="print('one'); print('two')\n6 * 7")
    ada.call("start_kernel", server=server.url, token=server.token)

    result = ada.call("execute_cell", index=index)

    assert result["status"] == "ok"
    wanted = [["one\ntwo\n", "42"]]
    eventually(lambda: outputs_of(cells_of(grace)[index:]) == wanted, what="the outputs at grace")
    eventually(lambda: outputs_of(cells_on_disk(server)[index:]) == wanted, what="the outputs in the file")
    assert cells_of(grace)[index]["execution_count"] == 1


def cells_of(client: Driver) -> list[dict[str, object]]:
    cells = client.call("notebook")["cells"]
    assert isinstance(cells, list)
    return cells


def outputs_of(cells: list[dict[str, object]]) -> list[list[str]]:
    return [output_texts(cell) for cell in cells]

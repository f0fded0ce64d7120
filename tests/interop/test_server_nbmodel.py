"""jupyter-server-nbmodel 0.2.9 beside ours: code runs on the server, outputs land in the shared document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.interop.conftest import (
    OpenNotebook,
    StartServer,
    cells_on_disk,
    output_texts,
    write_notebook,
)
from tests.interop.environments import PythonEnvironment
from tests.support.stock_server import JupyterProcess
from tests.support.waiting import eventually


@pytest.fixture
def running_server(
    server_with: Callable[[str], PythonEnvironment], start_server: StartServer
) -> JupyterProcess:
    return start_server(server_with("server_nbmodel"))


@pytest.mark.parametrize("named_by", ["room", "path"])
def test_outputs_are_written_into_the_shared_document(
    running_server: JupyterProcess, open_notebook: OpenNotebook, named_by: str
) -> None:
    server = running_server
    code = "print('one')\nprint('two')\n6 * 7"
    write_notebook(server, "work.ipynb", "x = 1", code)
    ada = open_notebook(server, "ada")
    session = server.session("work.ipynb")
    room = f"json:notebook:{session['fileId']}"
    # It needs an id to be there in any case; with one it does not find it goes on to the path.
    document = {
        "room": {"document_id": room},
        "path": {"document_id": "json:notebook:of-another-life", "document_path": "work.ipynb"},
    }[named_by]

    result = execute(server, start_kernel(server), code, {**document, "cell_id": "cell-1"})

    assert result["status"] == "ok"
    wanted = ["one\ntwo\n", "42"]
    eventually(lambda: output_texts(ada.call("notebook")["cells"][1]) == wanted, what="outputs at the client")
    eventually(
        lambda: [output_texts(c) for c in cells_on_disk(server)] == [[], wanted], what="outputs in the file"
    )
    assert cells_on_disk(server)[1]["execution_count"] == 1


def test_a_cell_is_run_while_people_type_in_it(
    running_server: JupyterProcess, open_notebook: OpenNotebook
) -> None:
    server = running_server
    # The run waits for a file that the test makes, so what is typed is certainly typed meanwhile.
    wait = "while not pathlib.Path('go').exists(): time.sleep(0.02)"
    code = f"import pathlib, time\nprint('go')\n{wait}\nprint('on')"
    write_notebook(server, "work.ipynb", code)
    ada = open_notebook(server, "ada")
    session = server.session("work.ipynb")
    metadata = {"document_id": f"json:notebook:{session['fileId']}", "cell_id": "cell-0"}

    def cell() -> dict[str, Any]:
        found: dict[str, Any] = ada.call("notebook")["cells"][0]
        return found

    location = submit(server, start_kernel(server), code, metadata)
    eventually(lambda: output_texts(cell()) == ["go\n"], what="the first line of output")
    ada.call("set_cell_source", index=0, source=code + "\n# typed")
    (server.root / "go").touch()
    finished(server, location)

    eventually(lambda: output_texts(cell()) == ["go\non\n"], what="the second line of output")
    assert cell()["source"] == code + "\n# typed"


def start_kernel(server: JupyterProcess) -> str:
    answer = server.request(
        "POST",
        "api/sessions",
        {"path": "work.ipynb", "name": "work.ipynb", "type": "notebook", "kernel": {"name": "python3"}},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["kernel"]["id"])


def submit(server: JupyterProcess, kernel: str, code: str, metadata: dict[str, str]) -> str:
    answer = server.request("POST", f"api/kernels/{kernel}/execute", {"code": code, "metadata": metadata})
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"].lstrip("/")


def finished(server: JupyterProcess, location: str) -> dict[str, Any]:
    def result() -> dict[str, Any]:
        answer = server.request("GET", location)
        assert answer.status_code in (200, 202), answer.text
        content: dict[str, Any] = answer.json()
        return content if answer.status_code == 200 else {}

    return eventually(result, timeout=45, what="the run to finish")


def execute(server: JupyterProcess, kernel: str, code: str, metadata: dict[str, str]) -> dict[str, Any]:
    return finished(server, submit(server, kernel, code, metadata))

"""The example hackathon: a notebook that is valid, clean and runs from top to bottom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "examples" / "hackathon"
NOTEBOOK = FOLDER / "when-should-the-ferry-charge.ipynb"


def cells() -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return list(notebook.cells)


def test_it_is_about_forty_cells_of_several_kinds() -> None:
    assert 35 <= len(cells()) <= 45
    kinds = [cell.cell_type for cell in cells()]
    assert min(kinds.count("markdown"), kinds.count("code")) >= 15
    assert sum("# your turn" in cell.source for cell in cells() if cell.cell_type == "code") >= 5


def test_ids_say_what_a_cell_is_and_are_there_once() -> None:
    ids = [cell.id for cell in cells()]
    assert len(set(ids)) == len(ids)
    assert all(identifier.replace("-", "").isalpha() for identifier in ids)


def test_it_holds_no_outputs_and_asks_for_an_ordinary_kernel() -> None:
    assert not [cell.id for cell in cells() if cell.get("outputs") or cell.get("execution_count")]
    assert nbformat.read(NOTEBOOK, as_version=4).metadata.kernelspec.name == "python3"


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", str(NOTEBOOK)]
    command += ["--output-dir", str(tmp_path), "--ExecutePreprocessor.timeout=240"]
    # Three settings are enough to see that everything works; people try all of them.
    environment = {**os.environ, "FERRY_TRIES": "3"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    run = json.loads((tmp_path / NOTEBOOK.name).read_text())
    outputs = {cell["id"]: cell["outputs"] for cell in run["cells"] if cell["cell_type"] == "code"}
    progress = "".join(line for output in outputs["search"] for line in output["text"])
    assert "3/3" in progress, "the long cell says how far it is"
    kinds = {kind for output in sum(outputs.values(), []) for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= kinds, "it has figures and tables"
    stderr = [o for o in sum(outputs.values(), []) if o.get("name") == "stderr"]
    assert not stderr, "no cell warns"

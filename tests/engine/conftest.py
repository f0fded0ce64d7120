"""What several tests of the engine begin with."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A served folder ``root`` with a notebook of one cell. A short path: the embedded Valkey's socket lies
    below it."""
    path = Path(tempfile.mkdtemp(prefix="jc")).resolve()
    (path / "root").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1", id="one")])
    nbformat.write(notebook, path / "root" / "work.ipynb")
    yield path
    shutil.rmtree(path)

"""The writer, against the standard library's and against nbformat's."""

from __future__ import annotations

import json
from typing import Any

import nbformat
from hypothesis import given, settings
from hypothesis import strategies as st

from notebook_sync.adapters.notebook_form import read_notebook
from notebook_sync.adapters.notebook_writer import indented, write_notebook
from tests.support.notebooks import code, file_of, markdown, notebook, stream

texts = st.text(max_size=20) | st.sampled_from(['"', "\\", "\x00\x1f\x7f", "\u2028", "é😀", "\n\t"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=30,
)


@settings(deadline=None, max_examples=300)
@given(values)
def test_writes_json_as_the_standard_library_does(value: Any) -> None:
    expected = json.dumps(value, ensure_ascii=False, indent=1, separators=(",", ": "), sort_keys=True)
    assert indented(value) == expected


@settings(deadline=None, max_examples=100)
@given(st.lists(texts, max_size=4), st.sampled_from([2, 4, 5]))
def test_writes_notebooks_as_nbformat_does(sources: list[str], minor: int) -> None:
    cells = [markdown(f"m{n}", source) for n, source in enumerate(sources)]
    cells += [code(f"c{n}", source, stream(source), count=n) for n, source in enumerate(sources)]
    content = notebook(*cells, minor=minor)
    written = write_notebook(read_notebook(file_of(content)))
    if minor < 5:
        for cell in content["cells"]:
            del cell["id"]
    assert written.decode() == nbformat.writes(nbformat.from_dict(content)) + "\n"

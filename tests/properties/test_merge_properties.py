"""Properties of merges, on random notebooks and texts."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Text

from notebook_sync.adapters import codec_worker
from notebook_sync.adapters.merge_base import read_slim
from notebook_sync.adapters.notebook_form import Json, read_notebook
from notebook_sync.adapters.text_merge import character_hunks, merge_text
from notebook_sync.core.ids import NOTEBOOK, DocumentKind

TEXT = DocumentKind("text", "file")
_TOKEN = re.compile(r"[obt]\d+q")
_ALPHABET = "ab 12\n\t=(é中😀👩‍🚀\u0301\u200d"


def tokens(text: str | bytes) -> set[str]:
    """The marks that the drawing functions below put into texts, each once."""
    return set(_TOKEN.findall(text.decode() if isinstance(text, bytes) else text))


class Marks:
    """Texts with marks that nothing else has: vanished marks are lost work."""

    def __init__(self, draw: st.DrawFn, side: str) -> None:
        self._draw = draw
        self._side = side
        self._count = 0

    def text(self) -> str:
        self._count += 1
        around = self._draw(st.text(_ALPHABET, max_size=4))
        return f"{around} {self._side}{self._count}q {around}"

    def lines(self) -> str:
        return "\n".join(self.text() for _ in range(self._draw(st.integers(1, 4))))


def new_cell(draw: st.DrawFn, marks: Marks, cell_id: str) -> Json:
    cell: Json = {"cell_type": "markdown", "id": cell_id, "metadata": {}, "source": marks.lines()}
    if draw(st.booleans()):
        cell["metadata"] = {"tags": [marks.text()]}
    if draw(st.booleans()):
        cell["cell_type"] = "code"
        cell["execution_count"] = draw(st.none() | st.integers(0, 9))
        cell["outputs"] = [
            {"output_type": "stream", "name": "stdout", "text": marks.text()}
            for _ in range(draw(st.integers(0, 2)))
        ]
    return cell


def edit_source(draw: st.DrawFn, marks: Marks, source: str) -> str:
    lines = source.split("\n")
    place = draw(st.integers(0, len(lines) - 1))
    match draw(st.sampled_from(["insert", "append", "delete", "rewrite", "typed"])):
        case "insert":
            lines.insert(place, marks.text())
        case "append":
            lines[place] += marks.text()
        case "typed":
            lines[place] = lines[place][:1] + marks.text() + lines[place][1:]
        case "delete" if len(lines) > 1:
            del lines[place]
        case _:
            lines[place] = marks.text()
    return "\n".join(lines)


def edited(draw: st.DrawFn, marks: Marks, notebook: Json, prefix: str) -> Json:
    notebook = copy.deepcopy(notebook)
    cells: list[Json] = notebook["cells"]
    for number in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(cells)))
        cell = cells[place] if place < len(cells) else None
        kind = draw(
            st.sampled_from(["add", "source", "source", "delete", "move", "outputs", "metadata", "type"])
        )
        if cell is None or kind == "add":
            cells.insert(place, new_cell(draw, marks, f"{prefix}{number}"))
        elif kind == "source":
            cell["source"] = edit_source(draw, marks, cell["source"])
        elif kind == "delete":
            cells.remove(cell)
        elif kind == "move":
            cells.remove(cell)
            cells.insert(draw(st.integers(0, len(cells))), cell)
        elif kind == "metadata":
            cell["metadata"] = {**cell["metadata"], draw(st.sampled_from(["x", "y"])): marks.text()}
        elif kind == "outputs" and cell["cell_type"] == "code":
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": marks.text()}]
            cell["execution_count"] = draw(st.integers(0, 9))
        elif kind == "type" and cell["cell_type"] == "code":
            cell["cell_type"] = "raw"
            del cell["outputs"], cell["execution_count"]
    return notebook


@st.composite
def three_notebooks(draw: st.DrawFn) -> tuple[Json, Json, Json]:
    marks = Marks(draw, "b")
    base: Json = {
        "cells": [new_cell(draw, marks, f"base{number}") for number in range(draw(st.integers(1, 5)))],
        "metadata": {"kernelspec": {"name": "k", "display_name": "K"}, "language_info": {"name": "p"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    ours = edited(draw, Marks(draw, "o"), base, "ours")
    theirs = edited(draw, Marks(draw, "t"), base, "theirs")
    return base, ours, theirs


def data_of(notebook: Json) -> bytes:
    return json.dumps(notebook, ensure_ascii=False).encode()


def state_of(notebook: Json) -> bytes:
    return codec_worker.seed(NOTEBOOK, data_of(notebook), True)


def merged_state(state: bytes, update: bytes | None) -> bytes:
    """The state of a second document that got both updates, as any client does."""
    doc: Doc[Any] = Doc()
    doc.apply_update(state)
    if update is not None:
        doc.apply_update(update)
    return doc.get_update()


def rendered(state: bytes) -> Json:
    return read_notebook(codec_worker.render(NOTEBOOK, state).data)


def deleted_knowingly(base: Json, side: Json) -> set[str]:
    """The marks of the base that a side took out."""
    return tokens(data_of(base)) - tokens(data_of(side))


@settings(deadline=None, max_examples=400)
@given(three_notebooks())
def test_nothing_vanishes_that_nobody_deleted(notebooks: tuple[Json, Json, Json]) -> None:
    base, ours, theirs = notebooks
    if not ours["cells"] or not theirs["cells"]:
        return
    state = state_of(ours)
    merge = codec_worker.merge(NOTEBOOK, state, codec_worker.slim(NOTEBOOK, data_of(base)), data_of(theirs))
    result = codec_worker.render(NOTEBOOK, merged_state(state, merge.update)).data
    found = tokens(result) | tokens(merge.loser or b"")
    gone = deleted_knowingly(base, ours) | deleted_knowingly(base, theirs)
    wanted = tokens(data_of(base)) | tokens(data_of(ours)) | tokens(data_of(theirs))
    assert wanted - gone <= found
    # Of what is ours, all is in the document itself but what the file deleted.
    assert tokens(data_of(ours)) - deleted_knowingly(base, theirs) <= tokens(result)
    assert bool(merge.conflicts) == (merge.loser is not None)
    assert merge.loser in (None, data_of(theirs))
    text = result.decode()
    assert all(text.count(token) == 1 for token in tokens(result)), "something is doubled"
    ids = [cell["id"] for cell in read_notebook(result)["cells"]]
    assert len(ids) == len(set(ids))


@settings(deadline=None, max_examples=200)
@given(three_notebooks())
def test_what_only_theirs_changed_is_taken_as_it_is(notebooks: tuple[Json, Json, Json]) -> None:
    base, _, theirs = notebooks
    state = state_of(base)
    merge = codec_worker.merge(NOTEBOOK, state, codec_worker.slim(NOTEBOOK, data_of(base)), data_of(theirs))
    assert merge.loser is None
    assert rendered(merged_state(state, merge.update)) == read_notebook(data_of(theirs))


@settings(deadline=None, max_examples=100)
@given(three_notebooks())
def test_an_unchanged_file_changes_nothing(notebooks: tuple[Json, Json, Json]) -> None:
    base, ours, _ = notebooks
    slim = codec_worker.slim(NOTEBOOK, data_of(base))
    for theirs in (base, ours) if ours["cells"] else (base,):
        merge = codec_worker.merge(NOTEBOOK, state_of(ours), slim, data_of(theirs))
        if ours["cells"]:
            assert (merge.update, merge.loser, merge.conflicts) == (None, None, ())


@settings(deadline=None, max_examples=150)
@given(three_notebooks())
def test_without_a_base_nobodys_cells_are_deleted(notebooks: tuple[Json, Json, Json]) -> None:
    _, ours, theirs = notebooks
    if not ours["cells"]:
        return
    state = state_of(ours)
    merge = codec_worker.merge(NOTEBOOK, state, None, data_of(theirs))
    result = rendered(merged_state(state, merge.update))
    kept = {cell["id"]: cell for cell in result["cells"]}
    for cell in read_notebook(data_of(ours))["cells"]:
        assert kept[cell["id"]] == cell
    assert tokens(data_of(ours)) | tokens(data_of(theirs)) <= tokens(data_of(result)) | tokens(
        merge.loser or b""
    )


@settings(deadline=None, max_examples=100)
@given(three_notebooks())
def test_a_second_merge_of_the_same_file_changes_nothing(notebooks: tuple[Json, Json, Json]) -> None:
    base, ours, theirs = notebooks
    if not ours["cells"] or not theirs["cells"]:
        return
    state = state_of(ours)
    first = codec_worker.merge(NOTEBOOK, state, codec_worker.slim(NOTEBOOK, data_of(base)), data_of(theirs))
    after = merged_state(state, first.update)
    second = codec_worker.merge(
        NOTEBOOK, after, codec_worker.slim(NOTEBOOK, data_of(theirs)), data_of(theirs)
    )
    assert (second.update, second.loser) == (None, None)


@settings(deadline=None, max_examples=150)
@given(three_notebooks())
def test_rendering_is_stable_and_keeps_all(notebooks: tuple[Json, Json, Json]) -> None:
    notebook = notebooks[0]
    once = codec_worker.render(NOTEBOOK, state_of(notebook))
    twice = codec_worker.render(NOTEBOOK, codec_worker.seed(NOTEBOOK, once.data, False))
    assert once.data == twice.data
    assert once.slim == twice.slim == codec_worker.slim(NOTEBOOK, once.data)
    assert read_notebook(once.data) == read_notebook(data_of(notebook))
    assert [cell["id"] for cell in read_slim(once.slim)["cells"]] == [
        cell["id"] for cell in notebook["cells"]
    ]


texts = st.text(_ALPHABET, max_size=60)


@settings(deadline=None, max_examples=500)
@given(texts, texts)
def test_text_edits_make_the_wanted_text(before: str, after: str) -> None:
    before, after = before.replace("\r\n", "\n"), after.replace("\r\n", "\n")
    state = codec_worker.seed(TEXT, before.encode(), False)
    base = codec_worker.slim(TEXT, before.encode())
    merge = codec_worker.merge(TEXT, state, base, after.encode())
    assert merge.loser is None
    assert codec_worker.render(TEXT, merged_state(state, merge.update)).data == after.encode()
    rebuilt, position = "", 0
    for hunk in character_hunks(before, after):
        assert hunk.start >= position
        rebuilt += before[position : hunk.start] + after[hunk.new_start : hunk.new_stop]
        position = hunk.stop
    assert rebuilt + before[position:] == after


@settings(deadline=None, max_examples=300)
@given(texts, texts, texts)
def test_text_merges_are_safe(base: str, ours: str, theirs: str) -> None:
    assert merge_text(base, ours, base).text == ours
    assert merge_text(base, ours, ours).text == ours
    assert merge_text(base, base, theirs).text == theirs
    mirrored = merge_text(base, theirs, ours)
    merged = merge_text(base, ours, theirs)
    assert bool(merged.conflicts) == bool(mirrored.conflicts)
    if not merged.conflicts:
        assert merged.text == mirrored.text


@settings(deadline=None, max_examples=200)
@given(texts, texts, st.integers(0, 60), st.text("xyz😀", min_size=1, max_size=5))
def test_text_typed_during_a_merge_survives(before: str, after: str, place: int, typed: str) -> None:
    state = codec_worker.seed(TEXT, before.encode(), False)
    live: Doc[Any] = Doc()
    live.apply_update(state)
    source = live.get("source", type=Text)
    place = min(place, len(before))
    source.insert(len(before[:place].encode()), typed)
    merge = codec_worker.merge(TEXT, state, codec_worker.slim(TEXT, before.encode()), after.encode())
    if merge.update is not None:
        live.apply_update(merge.update)
    assert typed in str(source)
    assert len(str(source)) == len(after) + len(typed)

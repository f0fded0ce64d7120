"""Edits that leave alone what does not change, checked by real Yjs where browsers would see it."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
from pycrdt import Assoc, Doc, Map, Text

from notebook_sync.adapters import codec_worker
from notebook_sync.adapters.codec_worker import read_document
from notebook_sync.adapters.minimal_edits import edit_notebook, edit_text
from notebook_sync.adapters.notebook_form import Json, read_notebook
from notebook_sync.core.ids import NOTEBOOK
from tests.support.notebooks import (
    TEXT,
    cell_of,
    cells_of,
    code,
    file_of,
    html,
    live,
    markdown,
    notebook,
    shown,
    state_of,
    stream,
)
from tests.support.yjs import Yjs

ALPHABET = ["a", "b", " ", "\n", "é", "e\u0301", "中", "😀", "👩‍🚀", "🇩🇪", "\u200d", "\U0010ffff", "="]


@pytest.fixture(scope="module")
def yjs() -> Iterator[Yjs]:
    with Yjs() as process:
        yield process


def wanted_in(doc: Doc[Any], content: Json) -> list[bytes]:
    """Edit the document to ``content``; the updates that this made."""
    updates: list[bytes] = []
    current, places, _ = read_document(doc)
    subscription = doc.observe(lambda event: updates.append(event.update))
    edit_notebook(doc, current, places, read_notebook(file_of(content)))
    doc.unobserve(subscription)
    assert shown(doc) == read_notebook(file_of(content))
    return updates


def test_carets_stay_where_they_are() -> None:
    doc: Doc[Any] = Doc()
    text = doc.get("t", type=Text)
    before = "first line\nsecond line\nlast line 😀 here\n"
    after = "1st line\nnew line\nsecond line\nlast lines 😁😀 here\n"
    text += before
    # In front of the emoji only: behind them the carets of pycrdt itself are off.
    carets = {word: text.sticky_index(before.index(word), Assoc.AFTER) for word in ("second", "ond", "last")}
    edit_text(text, after)
    assert str(text) == after
    for word, caret in carets.items():
        with doc.transaction() as transaction:
            assert after[caret.get_index(transaction) :].startswith(word)


def test_a_text_with_embedded_objects_is_still_made_right() -> None:
    doc: Doc[Any] = Doc()
    text = doc.get("t", type=Text)
    text += "abc"
    text.insert_embed(1, {"x": 1})
    edit_text(text, "axc")
    assert str(text) == "axc"


def test_browsers_see_the_same_text(yjs: Yjs) -> None:
    """F11: offsets in Yjs are UTF-16 units, in pycrdt UTF-8 bytes."""
    chance = random.Random(11)
    for run in range(60):
        name = f"text {run}"
        before = "".join(chance.choices(ALPHABET, k=chance.randrange(40)))
        state = codec_worker.seed(TEXT, before.encode(), False)
        yjs.make(name)
        yjs.apply(name, state)
        (typed,) = yjs.edit(name, ["insert", "source", 0, "typed😀"])
        for _ in range(3):
            after = "".join(chance.choices(ALPHABET, k=chance.randrange(40)))
            if chance.random() < 0.7 and before:
                cut = chance.randrange(len(before))
                after = before[:cut] + after + before[cut + chance.randrange(3) :]
            merged = codec_worker.merge(TEXT, state, codec_worker.slim(TEXT, before.encode()), after.encode())
            doc = live(state)
            if merged.update is not None:
                pending = yjs.apply(name, merged.update)
                assert pending.structs is None
                assert not pending.deletes
                doc.apply_update(merged.update)
            state, before = doc.get_update(), after
        doc.apply_update(typed)
        assert yjs.text(name, "source") == str(doc.get("source", type=Text))
        assert "typed😀" in yjs.text(name, "source")


def test_browsers_see_the_same_notebook(yjs: Yjs) -> None:
    content = notebook(*(code(f"c{number}", f"x = {number} 😀\n", stream("é\n")) for number in range(8)))
    state = state_of(content)
    yjs.make("notebook")
    yjs.apply("notebook", state)
    theirs = copy.deepcopy(content)
    theirs["cells"].insert(0, theirs["cells"].pop(6))
    theirs["cells"][3]["source"] = "x = 2 😁😀\n"
    theirs["cells"][4]["outputs"] = [stream("é\n"), html("<b>中</b>")]
    theirs["cells"][5]["execution_count"] = 7
    del theirs["cells"][7]
    merged = codec_worker.merge(
        NOTEBOOK, state, codec_worker.slim(NOTEBOOK, file_of(content)), file_of(theirs)
    )
    assert merged.update is not None
    assert yjs.apply("notebook", merged.update).structs is None
    cells = yjs.json("notebook", "cells")
    for cell in cells:
        del cell["execution_state"], cell["metadata"]["trusted"]
    assert cells == theirs["cells"]


BASE = notebook(*(code(f"c{number}", f"x{number} = 1\n", stream("1\n")) for number in range(6)))


def marked(doc: Doc[Any]) -> None:
    """Leave a mark in each cell that only survives if the Y cell itself does."""
    for cell in cells_of(doc):
        cell["mark"] = "here"


def unmarked(doc: Doc[Any]) -> list[str]:
    return [cell["id"] for cell in cells_of(doc) if cell.get("mark") != "here"]


def test_without_a_difference_nothing_is_written() -> None:
    assert wanted_in(live(state_of(BASE)), BASE) == []


def test_only_moved_and_added_cells_are_new() -> None:
    doc = live(state_of(BASE))
    marked(doc)
    theirs = copy.deepcopy(BASE)
    theirs["cells"].append(theirs["cells"].pop(0))
    theirs["cells"].insert(2, markdown("new", "text"))
    theirs["cells"][4]["source"] = "changed"
    theirs["cells"][4]["outputs"] = []
    del theirs["cells"][1]
    assert len(wanted_in(doc, theirs)) == 1
    assert unmarked(doc) == ["new", "c0"]


def test_a_moved_cell_keeps_its_run_and_its_trust() -> None:
    doc = live(state_of(notebook(code("a", "1", html("<b>")), code("b", "2", html("<i>")))))
    for cell in cells_of(doc):
        cell["execution_state"] = "running"
    marked(doc)
    current = shown(doc)
    wanted_in(doc, {**current, "cells": [current["cells"][1], current["cells"][0]]})
    assert len(unmarked(doc)) == 1
    assert [cell["execution_state"] for cell in cells_of(doc)] == ["running", "running"]
    assert [cell["metadata"]["trusted"] for cell in cells_of(doc)] == [True, True]


def test_outputs_that_came_from_outside_are_not_trusted() -> None:
    doc = live(state_of(notebook(code("a", "1", html("<b>")), code("b", "2", stream("x")))))
    wanted_in(
        doc, notebook(code("a", "1", html("<script>")), code("b", "2", stream("y")), code("n", "", html("x")))
    )
    assert [cell["metadata"]["trusted"] for cell in cells_of(doc)] == [False, True, False]
    assert not codec_worker.render(NOTEBOOK, doc.get_update()).trusted
    wanted_in(doc, notebook(code("b", "2", stream("y")), code("a", "1", html("<other>"))))
    assert cell_of(doc, "a")["metadata"]["trusted"] is False


def test_a_moved_cell_with_new_rich_outputs_is_not_trusted() -> None:
    doc = live(state_of(notebook(code("a", "1"), code("b", "2"), code("c", "3"))))
    wanted_in(doc, notebook(code("b", "2"), code("c", "3"), code("a", "1", html("<script>"))))
    assert cell_of(doc, "a")["metadata"]["trusted"] is False


def test_of_many_outputs_only_the_changed_one_is_new() -> None:
    outputs = [stream(f"{number}\n") for number in range(5)]
    doc = live(state_of(notebook(code("a", "1", *outputs))))
    for output in cell_of(doc, "a")["outputs"]:
        output["mark"] = "here"
    changed = [*outputs[:2], stream("new"), *outputs[3:], stream("last")]
    wanted_in(doc, notebook(code("a", "1", *changed)))
    marks = [output.get("mark") for output in cell_of(doc, "a")["outputs"]]
    assert marks == ["here", "here", None, "here", "here", None]


def test_metadata_is_edited_key_by_key() -> None:
    doc = live(state_of(notebook(markdown("a", "x", one=1, two=2))))
    metadata = cell_of(doc, "a")["metadata"]
    events: list[set[str]] = []
    metadata.observe(lambda event: events.append(set(event.keys)))
    wanted_in(doc, notebook(markdown("a", "x", one=1, three=3)))
    assert events == [{"two", "three"}]


def test_notebook_metadata_that_is_no_map_becomes_one() -> None:
    doc = live(state_of(BASE))
    doc.get("meta", type=Map)["metadata"] = {"plain": 1}
    wanted_in(doc, {**BASE, "metadata": {**BASE["metadata"], "title": "x"}, "nbformat_minor": 4 + 2})
    assert isinstance(doc.get("meta", type=Map)["metadata"], Map)


def test_a_copy_of_a_cell_goes_when_cells_are_edited() -> None:
    doc = live(state_of(notebook(markdown("a", "x"), markdown("b", "y"))))
    cells_of(doc).append(Map({"id": "a", "cell_type": "markdown", "source": Text("x"), "metadata": Map()}))
    wanted_in(doc, notebook(markdown("b", "y")))
    assert [cell["id"] for cell in cells_of(doc)] == ["b"]


def test_typing_during_a_merge_survives_in_cells_that_stay() -> None:
    state = state_of(BASE)
    theirs = copy.deepcopy(BASE)
    theirs["cells"][2]["source"] = "x2 = 1\nmore\n"
    theirs["cells"].append(theirs["cells"].pop(0))
    merged = codec_worker.merge(NOTEBOOK, state, codec_worker.slim(NOTEBOOK, file_of(BASE)), file_of(theirs))
    doc = live(state)
    cell_of(doc, "c2")["source"].insert(0, "typed ")
    doc.apply_update(merged.update or b"")
    assert str(cell_of(doc, "c2")["source"]) == "typed x2 = 1\nmore\n"

"""Edits of scripted people do to a document what the stock front end's do."""

from __future__ import annotations

from typing import Any

import pytest
from jupyter_ydoc import YNotebook
from pycrdt import Doc, Text

from jupyter_collab_ext.simulated import notebook_edits as edits
from jupyter_collab_ext.simulated.notebook_edits import Caret


@pytest.fixture
def notebook() -> YNotebook:
    made = YNotebook()
    made.set(
        {
            "cells": [
                {"id": f"c{n}", "cell_type": "code", "source": f"x{n}", "metadata": {}, "outputs": []}
                for n in range(3)
            ],
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )
    return made


def updates_of(doc: Doc[Any], act: Any) -> list[bytes]:
    """The updates that ``act`` makes, one for each transaction."""
    seen: list[bytes] = []
    subscription = doc.observe(lambda event: seen.append(event.update))
    act()
    doc.unobserve(subscription)
    return seen


def test_inserted_cells_are_what_jupyter_ydoc_makes(notebook: YNotebook) -> None:
    cell = edits.insert_cell(notebook.ydoc, 1, "new", "y = 1")
    made = notebook.create_ycell(
        {
            "id": "new",
            "cell_type": "code",
            "source": "y = 1",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
    )
    notebook.ycells.append(made)
    assert edits.cell_ids(notebook.ydoc) == ["c0", "new", "c1", "c2", "new"]
    assert cell.to_py() == notebook.ycells[4].to_py()


def test_a_deleted_cell_is_gone_and_an_unknown_one_an_error(notebook: YNotebook) -> None:
    edits.delete_cell(notebook.ydoc, "c1")
    assert edits.cell_ids(notebook.ydoc) == ["c0", "c2"]
    with pytest.raises(KeyError):
        edits.delete_cell(notebook.ydoc, "c1")


@pytest.mark.parametrize(
    ("to", "order"), [(0, "c1 c0 c2"), (2, "c0 c2 c1"), (9, "c0 c2 c1"), (1, "c0 c1 c2")]
)
def test_a_move_is_one_update_and_keeps_everything(notebook: YNotebook, to: int, order: str) -> None:
    _, cell = edits.find_cell(notebook.ydoc, "c1")
    edits.append_stream(cell, "out\n")
    edits.append_display(cell, "4")
    edits.finish_run(cell, 2)
    before = cell.to_py()
    updates = updates_of(notebook.ydoc, lambda: edits.move_cell(notebook.ydoc, "c1", to))
    assert len(updates) == 1
    assert edits.cell_ids(notebook.ydoc) == order.split()
    _, moved = edits.find_cell(notebook.ydoc, "c1")
    assert moved.to_py() == before
    edits.append_stream(moved, "more\n")
    assert edits.read_document(notebook.ydoc)[order.split().index("c1")].outputs == (
        "stdout: out\n",
        "4",
        "stdout: more\n",
    )


def test_a_run_is_a_handful_of_updates(notebook: YNotebook) -> None:
    _, cell = edits.find_cell(notebook.ydoc, "c0")

    def run() -> None:
        edits.clear_outputs(cell)
        edits.append_stream(cell, "a\n")
        edits.append_stream(cell, "b\n")
        edits.append_display(cell, "c")
        edits.finish_run(cell, 1)

    run()
    assert len(updates_of(notebook.ydoc, run)) == 5
    assert edits.read_document(notebook.ydoc)[0].outputs == ("stdout: a\nb\n", "c")
    assert edits.read_document(notebook.ydoc)[0].execution_count == 1


def test_a_document_and_its_file_read_the_same(notebook: YNotebook) -> None:
    _, cell = edits.find_cell(notebook.ydoc, "c0")
    edits.append_stream(cell, "one\n")
    edits.append_display(cell, "two")
    edits.finish_run(cell, 3)
    assert edits.read_notebook(notebook.get()) == edits.read_document(notebook.ydoc)


class TestCaret:
    @pytest.fixture
    def text(self) -> Text:
        doc: Doc[Text] = Doc()
        text = doc.get("t", type=Text)
        text += "äb\ncd"
        return text

    def test_types_at_the_start_of_every_line(self, text: Text) -> None:
        assert edits.line_starts(text) == [0, 4]
        caret = Caret(text, 4)
        for key in "ü1":
            caret.type(key)
        assert str(text) == "äb\nü1cd"

    def test_stays_behind_its_own_letters_while_others_insert(self, text: Text) -> None:
        caret = Caret(text, 0)
        caret.type("1")
        text.insert(0, "before ")
        text.insert(len("before 1"), "after ")
        caret.type("2")
        assert str(text) == "before 12after äb\ncd"

    def test_takes_back_what_it_typed(self, text: Text) -> None:
        caret = Caret(text, 4)
        for key in "xyz\n":
            caret.type(key)
        text.insert(0, "other ")
        for _ in range(4):
            caret.backspace()
        assert str(text) == "other äb\ncd"

    def test_two_who_begin_at_one_place_do_not_mix(self) -> None:
        one: Doc[Text] = Doc()
        text = one.get("t", type=Text)
        text += "line\n"
        two: Doc[Text] = Doc()
        two.apply_update(one.get_update())
        left, right = Caret(text, 5), Caret(two.get("t", type=Text), 5)
        for a, b in zip("aaaa", "bbbb", strict=True):
            left.type(a)
            right.type(b)
            one_state = one.get_update()
            one.apply_update(two.get_update())
            two.apply_update(one_state)
        assert str(text) == str(two.get("t", type=Text))
        assert "aaaa" in str(text)
        assert "bbbb" in str(text)

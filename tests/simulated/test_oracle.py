"""The oracle finds each kind of harm, and finds none where there is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jupyter_ydoc import YNotebook
from pycrdt import Doc

from jupyter_collab_ext.simulated import TokenLog, judge
from jupyter_collab_ext.simulated import notebook_edits as edits
from jupyter_collab_ext.simulated.oracle import TOKEN, token

FIRST, SECOND, OUTPUT = token("t", 0, 1), token("t", 1, 1), token("o", 0, 2)


@pytest.fixture
def log() -> TokenLog:
    log = TokenLog()
    log.wrote(FIRST, 0, 1.0)
    log.wrote(SECOND, 1, 2.0)
    log.wrote(OUTPUT, 0, 3.0)
    return log


@pytest.fixture
def doc() -> Doc[Any]:
    notebook = YNotebook()
    source = f"{FIRST}\nx = 1\n{SECOND}\n"
    cell = {"id": "a", "cell_type": "code", "source": source, "metadata": {}, "outputs": []}
    notebook.set({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    _, made = edits.find_cell(notebook.ydoc, "a")
    edits.append_stream(made, f"{OUTPUT}\n")
    return notebook.ydoc


def file_of(doc: Doc[Any]) -> bytes:
    return json.dumps(YNotebook(doc).get()).encode()


def test_words_are_recognised() -> None:
    assert TOKEN.findall(f"a {FIRST}b\n{OUTPUT}") == [FIRST, OUTPUT]


def test_nothing_wrong(log: TokenLog, doc: Doc[Any]) -> None:
    report = judge(log, {"one": doc, "two": doc}, {"file": file_of(doc)})
    assert report.right, str(report)
    assert report.written == 3
    assert list(report.copies) == ["one", "two", "file"]


def test_a_lost_word(log: TokenLog, doc: Doc[Any]) -> None:
    _, cell = edits.find_cell(doc, "a")
    del cell["source"][0 : len(FIRST)]
    report = judge(log, {"one": doc})
    assert report.lost() == {FIRST}
    assert not report.right


def test_a_doubled_word_and_cell(log: TokenLog, doc: Doc[Any]) -> None:
    edits.insert_cell(doc, 1, "a", FIRST)
    report = judge(log, {"one": doc})
    assert report.doubled() == {FIRST, "a"}


def test_a_deleted_word_that_is_back(log: TokenLog, doc: Doc[Any]) -> None:
    log.deleted(SECOND, 5.0)
    report = judge(log, {"one": doc})
    assert report.copies["one"].resurrected == [SECOND]
    assert report.deleted == 1


def test_a_word_of_nobody(log: TokenLog, doc: Doc[Any]) -> None:
    edits.insert_cell(doc, 1, "b", token("t", 9, 9))
    assert judge(log, {"one": doc}).copies["one"].unknown == [token("t", 9, 9)]


def test_copies_that_differ(log: TokenLog, doc: Doc[Any]) -> None:
    other: Doc[Any] = Doc()
    other.apply_update(doc.get_update())
    edits.insert_cell(other, 1, "b", "x")
    report = judge(log, {"one": doc, "two": other})
    assert "2 cells instead of 1" in report.copies["two"].difference
    _, cell = edits.find_cell(other, "a")
    cell["source"].insert(0, "y")
    assert "cell 0 differs" in judge(log, {"one": doc, "two": other}).copies["two"].difference


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}"])
def test_a_file_that_is_no_notebook(log: TokenLog, doc: Doc[Any], data: bytes) -> None:
    report = judge(log, {"one": doc}, {"file": data})
    assert report.copies["file"].unreadable
    assert not report.right


def test_missing_words_know_when_they_were_written(log: TokenLog) -> None:
    log.deleted(FIRST, 5.0)
    assert [word.finished for word in log.missing([])] == [2.0, 3.0]

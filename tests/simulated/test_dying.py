"""A tab that dies may take with it what nobody said to be stored, and nothing else."""

from __future__ import annotations

import json

from pycrdt import Array, Doc

from jupyter_collab_ext.simulated import Browser, Group, TokenLog, judge
from jupyter_collab_ext.simulated.notebook_edits import insert_cell, read_document


def _writing(keys: int) -> Group:
    group = Group([Browser("http://127.0.0.1:9")] * 2, "work.ipynb", seed=3, watchers=1)
    for _ in range(keys):
        group.people[0].press_key()
    return group


def test_stored_words_stay_required_and_others_are_excused() -> None:
    group = _writing(300)
    (person,) = group.people
    standing = [word for word in group.log.words if word.deleted is None]
    middle = standing[len(standing) // 2]
    person.client.own_edits.stored = middle.edits
    group.lose(person.client)
    assert {word.token for word in group.log.words} == {
        word.token for word in standing if word.edits <= middle.edits
    }
    assert {word.token for word in standing} <= group.log.excused | group.log.standing
    assert not group.people
    assert person.client not in group.clients


def test_the_judge_takes_excused_words_or_leaves_them_and_still_finds_the_lost() -> None:
    log = TokenLog()
    log.wrote("t0x0001q", 0, 1.0)
    log.wrote("t0x0002q", 0, 2.0)
    log.excuse("t0x0002q")
    for text, lost in (("t0x0001q", 0), ("t0x0001q t0x0002q", 0), ("t0x0002q", 1), ("", 1)):
        doc: Doc[Array[object]] = Doc()
        insert_cell(doc, 0, "one", text)
        notebook = {"cells": [{"id": "one", "cell_type": "code", "source": text, "outputs": []}]}
        report = judge(log, {"tab": doc}, {"file": json.dumps(notebook).encode()})
        assert len(report.lost()) == lost, text
        assert read_document(doc)


def test_a_dead_person_presses_no_key() -> None:
    group = _writing(50)
    (person,) = group.people
    group.lose(person.client)
    before = person.deeds.keys
    person.finish()
    assert person.deeds.keys == before


def test_newcomers_write_words_of_their_own() -> None:
    first = _writing(100)
    later = Group(
        [Browser("http://127.0.0.1:9")] * 2,
        "work.ipynb",
        seed=4,
        watchers=1,
        log=first.log,
        numbered_from=7,
    )
    words = len(first.log.words)
    for _ in range(100):
        later.people[0].press_key()
    later.people[0].finish()
    assert {word.person for word in first.log.words[words:]} == {7}

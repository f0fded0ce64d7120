"""What becomes of a notebook's text view and of its file, in each of the cases."""

from __future__ import annotations

import json

import pytest
from pycrdt import Doc, Text

from notebook_sync.adapters import codec_worker, merge_base
from notebook_sync.adapters.notebook_codec import InlineCodec
from notebook_sync.adapters.notebook_form import Json
from notebook_sync.adapters.text_view import valid_notebook
from notebook_sync.core.errors import UnreadableDocument
from notebook_sync.core.ids import NOTEBOOK
from notebook_sync.ports import ViewMerged
from tests.support.notebooks import TEXT, code, markdown, notebook

CELLS = (code("a", "x = 1\n"), markdown("b", "# Größe 😀"), code("c", "z = 3"))


def written(*cells: Json) -> str:
    """A notebook as the product writes it."""
    state = codec_worker.seed(NOTEBOOK, json.dumps(notebook(*cells)).encode(), True)
    return codec_worker.render(NOTEBOOK, state).data.decode()


BASE = written(*CELLS)


async def merged(text: str, file: str, base: str | None = BASE) -> tuple[str, str, ViewMerged]:
    """Text, file and outcome after one merge."""
    state = codec_worker.seed(TEXT, text.encode(), False)
    slim = None if base is None else merge_base.slim_text(base)
    outcome = await InlineCodec().merge_view(state, slim, file.encode())
    doc: Doc[Text] = Doc()
    doc.apply_update(state)
    if outcome.update is not None:
        doc.apply_update(outcome.update)
    after = str(doc.get("source", type=Text))
    return after, file if outcome.data is None else outcome.data.decode(), outcome


def cells(text: str) -> dict[str, str]:
    return {cell["id"]: "".join(cell["source"]) for cell in json.loads(text)["cells"]}


async def test_what_agrees_is_left_alone() -> None:
    text, file, outcome = await merged(BASE, BASE, None)
    assert (text, file, outcome.update, outcome.data) == (BASE, BASE, None, None)
    assert merge_base.read_slim_text(outcome.slim) == BASE


async def test_the_notebooks_changes_come_to_a_text_that_nobody_edited() -> None:
    changed = written(code("a", "x = 1\n<new> 😀"), *CELLS[1:])
    text, file, outcome = await merged(BASE, changed)
    assert text == file == changed
    assert merge_base.read_slim_text(outcome.slim) == changed
    assert outcome.update is not None
    assert len(outcome.update) < 200  # not the whole text


async def test_a_text_that_alone_was_edited_is_the_file_as_it_is() -> None:
    edited = json.dumps(notebook(code("a", "x = 2"), *CELLS[1:]), indent=3)
    text, file, outcome = await merged(edited, BASE)
    assert text == file == edited
    assert outcome.update is None


@pytest.mark.parametrize(
    "broken",
    [
        BASE.replace('"cells"', '"cells'),
        BASE.replace('"code"', '"cod"', 1),
        BASE.replace('"nbformat": 4', '"nbformat": 3'),
        "",
        "[]",
        "[" * 100_000,
        '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    ],
)
async def test_what_is_no_notebook_yet_touches_nothing(broken: str) -> None:
    changed = written(code("a", "changed here"), *CELLS[1:])
    for file in (BASE, changed):
        text, after, outcome = await merged(broken, file)
        assert not outcome.valid
        assert (text, after) == (broken, file)


async def test_edits_of_both_come_together_by_cell_and_within_one() -> None:
    file = written(code("a", "x = 1\n<notebook>"), *CELLS[1:], code("new", "<notebook's cell>"))
    text = written(
        code("a", "<text> x = 1\n"), CELLS[1], code("c", "z = <text>"), code("mine", "<text's cell>")
    )
    after, saved, outcome = await merged(text, file)
    assert after == saved
    assert cells(after) == {
        "a": "<text> x = 1\n<notebook>",
        "b": "# Größe 😀",
        "c": "z = <text>",
        "mine": "<text's cell>",
        "new": "<notebook's cell>",
    }
    assert (outcome.loser, outcome.conflicts) == (None, ())
    again = await merged(after, saved, after)
    assert (again[2].update, again[2].data) == (None, None)


async def test_in_a_conflict_the_notebook_stays_and_the_text_is_kept() -> None:
    file, text = written(code("a", "x = 10\n"), *CELLS[1:]), written(code("a", "x = 77\n"), *CELLS[1:])
    after, saved, outcome = await merged(text, file)
    assert after == saved == file
    assert outcome.data is None
    assert outcome.loser == text.encode()
    assert outcome.conflicts == ("cell 1 (id a): source",)


async def test_what_was_deleted_on_one_side_stays_deleted() -> None:
    without_b, without_c = written(CELLS[0], CELLS[2]), written(*CELLS[:2])
    after, saved, outcome = await merged(without_b, without_c)
    assert list(cells(after)) == ["a"]
    assert after == saved
    assert outcome.conflicts == ()


@pytest.mark.parametrize("base", [None, "damaged"])
async def test_without_a_base_nothing_is_deleted(base: str | None) -> None:
    state = codec_worker.seed(TEXT, written(CELLS[0], CELLS[2]).encode(), False)
    slim = None if base is None else b"\xff\xff"
    outcome = await InlineCodec().merge_view(state, slim, written(*CELLS[:2]).encode())
    assert outcome.data is not None
    assert set(cells(outcome.data.decode())) == {"a", "b", "c"}


async def test_a_cell_copied_in_the_text_gets_an_id_of_its_own() -> None:
    doubled = json.dumps(notebook(*CELLS, code("c", "z = 4")))
    after, saved, _ = await merged(doubled, written(code("a", "changed"), *CELLS[1:]))
    content = json.loads(after)
    assert after == saved
    assert ["".join(cell["source"]) for cell in content["cells"]] == [
        "changed",
        "# Größe 😀",
        "z = 3",
        "z = 4",
    ]
    assert len({cell["id"] for cell in content["cells"]}) == 4


async def test_cells_without_ids_are_the_same_cells() -> None:
    def old(*sources: str) -> str:
        plain = [{k: v for k, v in code("x", source).items() if k != "id"} for source in sources]
        return json.dumps({**notebook(*plain), "nbformat_minor": 4})

    base = old("the first one", "the second one")
    text, file = old("the first one", "the second one <text>"), old("the first one <file>", "the second one")
    after, saved, outcome = await merged(text, file, base)
    sources = ["".join(cell["source"]) for cell in json.loads(after)["cells"]]
    assert sources == ["the first one <file>", "the second one <text>"]
    assert after == saved
    assert outcome.conflicts == ()


async def test_a_file_that_is_no_notebook_is_refused() -> None:
    with pytest.raises(UnreadableDocument):
        await merged(BASE, "{ broken")


def test_only_what_the_schema_takes_is_valid() -> None:
    assert valid_notebook(BASE) is not None
    assert valid_notebook(BASE.replace('"metadata": {}', '"metadata": []', 1)) is None

"""What every codec must do: the one with a worker process and the one without."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import nbformat
import pytest
import pytest_asyncio
from jupyter_ydoc import YBlob, YNotebook, YUnicode
from pycrdt import Array, Doc, Map, Text

from notebook_sync.adapters.codec_worker import fresh_client_id
from notebook_sync.adapters.merge_base import read_slim
from notebook_sync.adapters.notebook_codec import InlineCodec, NotebookCodec
from notebook_sync.core.errors import RoomError, UnreadableDocument
from notebook_sync.core.ids import NOTEBOOK, DocumentKind
from notebook_sync.core.limits import Limits
from notebook_sync.core.state_vector import decode_state_vector
from notebook_sync.ports import DocumentCodec, Merged
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
    sources,
    state_of,
    stream,
)


@pytest_asyncio.fixture(params=["inline", "worker"], scope="module", loop_scope="module")
async def codec(request: pytest.FixtureRequest) -> AsyncIterator[DocumentCodec]:
    if request.param == "inline":
        yield InlineCodec()
        return
    async with NotebookCodec(Limits()) as worker:
        yield worker


pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYTHING = notebook(
    markdown("m-1", "# Größe 😀\n\ntext", tags=["a"]),
    {
        **markdown("m-2", "![x](attachment:x.svg)"),
        "attachments": {"x.svg": {"image/svg+xml": "<svg>\n</svg>", "image/png": "aGk="}},
    },
    code(
        "c-1",
        "a = 1\nb = 2\n",
        stream("one\ntwo\n"),
        {
            "output_type": "execute_result",
            "data": {
                "text/plain": "1\n2",
                "application/json": {"b": [1, 2.5, None], "a": "x\ny"},
                "application/javascript": "f()\ng()",
            },
            "metadata": {"isolated": True},
            "execution_count": 3,
        },
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["a", "b"]},
        count=3,
        collapsed=False,
    ),
    {**markdown("r_1", "raw"), "cell_type": "raw"},
)


async def test_writes_what_the_contents_manager_writes(codec: DocumentCodec) -> None:
    rendered = await codec.render(NOTEBOOK, await codec.seed(NOTEBOOK, file_of(EVERYTHING), trusted=False))
    assert rendered.data.decode() == nbformat.writes(nbformat.from_dict(EVERYTHING)) + "\n"
    assert rendered.digest == hashlib.sha256(rendered.data).hexdigest()


async def test_rendering_what_was_rendered_changes_nothing(codec: DocumentCodec) -> None:
    once = await codec.render(NOTEBOOK, await codec.seed(NOTEBOOK, file_of(EVERYTHING), trusted=True))
    twice = await codec.render(NOTEBOOK, await codec.seed(NOTEBOOK, once.data, trusted=True))
    assert once == twice


async def test_jupyters_own_model_reads_a_seed_and_we_read_its(codec: DocumentCodec) -> None:
    theirs = YNotebook(live(await codec.seed(NOTEBOOK, file_of(EVERYTHING), trusted=False)))
    model = theirs.get()
    for cell in model["cells"]:
        cell["metadata"].pop("trusted", None)
    assert model == EVERYTHING
    own = YNotebook()
    own.set(nbformat.reads(json.dumps(EVERYTHING), as_version=4))
    assert (await codec.render(NOTEBOOK, own.ydoc.get_update())).data.decode() == nbformat.writes(
        nbformat.from_dict(EVERYTHING)
    ) + "\n"


async def test_each_seed_is_a_history_of_its_own(codec: DocumentCodec) -> None:
    seeds = [await codec.seed(NOTEBOOK, file_of(EVERYTHING), trusted=True) for _ in range(3)]
    clients = [set(decode_state_vector(live(seed).get_state())) for seed in seeds]
    assert all(len(client) == 1 for client in clients)
    assert len(set.union(*clients)) == 3
    assert len({fresh_client_id() for _ in range(100)}) == 100


WITHOUT_IDS = {
    **EVERYTHING,
    "cells": [{k: v for k, v in c.items() if k != "id"} for c in EVERYTHING["cells"]],
}


@pytest.mark.parametrize("content", [EVERYTHING, WITHOUT_IDS, {**EVERYTHING, "cells": []}])
async def test_the_same_file_in_the_same_lineage_is_the_same_history(
    codec: DocumentCodec, content: dict[str, Any]
) -> None:
    data = file_of(content)
    once, twice = [await codec.seed(NOTEBOOK, data, trusted=True, lineage="a" * 32) for _ in range(2)]
    both = live(once)
    before = both.get_state()
    both.apply_update(twice)
    assert both.get_state() == before
    assert (await codec.render(NOTEBOOK, both.get_update())).data == (
        await codec.render(NOTEBOOK, twice)
    ).data


async def test_another_file_lineage_or_trust_is_another_history(codec: DocumentCodec) -> None:
    data = file_of(EVERYTHING)
    seeds = [
        await codec.seed(NOTEBOOK, data, trusted=True, lineage="a" * 32),
        await codec.seed(NOTEBOOK, data + b" ", trusted=True, lineage="a" * 32),
        await codec.seed(NOTEBOOK, data, trusted=True, lineage="b" * 32),
        await codec.seed(NOTEBOOK, data, trusted=False, lineage="a" * 32),
    ]
    assert len({client for seed in seeds for client in decode_state_vector(live(seed).get_state())}) == 4


@pytest.mark.parametrize("trusted", [True, False])
async def test_marks_code_cells_trusted_or_not_and_writes_no_mark(
    codec: DocumentCodec, trusted: bool
) -> None:
    content = notebook(code("c", "1", html("<b>1</b>")), code("d", "2"), markdown("m", "x"))
    state = await codec.seed(NOTEBOOK, file_of(content), trusted=trusted)
    doc = live(state)
    marks = [cell["metadata"].get("trusted") for cell in cells_of(doc)]
    assert marks == [trusted, trusted, None]
    rendered = await codec.render(NOTEBOOK, state)
    assert rendered.trusted == trusted
    assert b"trusted" not in rendered.data


async def test_cells_without_rich_output_need_no_trust(codec: DocumentCodec) -> None:
    content = notebook(code("c", "1", stream("x")), code("d", "2"))
    assert (await codec.render(NOTEBOOK, state_of(content, trusted=False))).trusted


@pytest.mark.parametrize("data", [b"", b" \n"])
async def test_an_empty_file_becomes_a_notebook_with_a_cell(codec: DocumentCodec, data: bytes) -> None:
    rendered = await codec.render(NOTEBOOK, await codec.seed(NOTEBOOK, data, trusted=True))
    written = nbformat.reads(rendered.data.decode(), as_version=4)
    nbformat.validate(written)
    assert [cell.source for cell in written.cells] == [""]
    assert rendered.trusted


async def test_the_minor_version_is_kept_and_old_files_get_no_ids(codec: DocumentCodec) -> None:
    content = notebook(code("", "1"), markdown("", "2"), minor=4)
    for cell in content["cells"]:
        del cell["id"]
    state = await codec.seed(NOTEBOOK, file_of(content), trusted=True)
    ids = [cell["id"] for cell in cells_of(live(state))]
    assert len(set(ids)) == 2
    written = json.loads((await codec.render(NOTEBOOK, state)).data)
    assert written["nbformat_minor"] == 4
    assert ["id" in cell for cell in written["cells"]] == [False, False]


async def test_version_3_is_converted(codec: DocumentCodec) -> None:
    old = {
        "metadata": {"name": "old"},
        "nbformat": 3,
        "nbformat_minor": 0,
        "worksheets": [
            {
                "cells": [
                    {"cell_type": "heading", "level": 2, "metadata": {}, "source": ["Title"]},
                    {
                        "cell_type": "code",
                        "collapsed": False,
                        "input": ["a = 1\n", "a"],
                        "language": "python",
                        "metadata": {},
                        "outputs": [
                            {"output_type": "pyout", "prompt_number": 1, "metadata": {}, "text": ["1"]}
                        ],
                        "prompt_number": 1,
                    },
                ]
            }
        ],
    }
    rendered = await codec.render(NOTEBOOK, await codec.seed(NOTEBOOK, file_of(old), trusted=True))
    written = nbformat.reads(rendered.data.decode(), as_version=4)
    nbformat.validate(written)
    assert [cell.source for cell in written.cells] == ["## Title", "a = 1\na"]
    assert written.cells[1].outputs[0].data == {"text/plain": "1"}
    again = await codec.render(NOTEBOOK, await codec.seed(NOTEBOOK, rendered.data, trusted=True))
    assert again.data == rendered.data


async def test_takes_a_byte_order_mark(codec: DocumentCodec) -> None:
    state = await codec.seed(NOTEBOOK, b"\xef\xbb\xbf" + file_of(EVERYTHING), trusted=True)
    assert (await codec.render(NOTEBOOK, state)).data.startswith(b"{\n")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "nbformat None"),
        (b'{"nbformat": 5, "cells": []}', "nbformat 5"),
        (b'{"nbformat": true, "cells": []}', "nbformat True"),
        (b'{"nbformat": 3}', "can't be converted"),
        (b'{"nbformat": 4, "nbformat_minor": 5}', "no list"),
        (b'{"nbformat": 4, "cells": [1]}', "Cell 1"),
        (b'{"nbformat": 4, "cells": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{\n<<<<<<< HEAD\n"a": 1', "conflict marks of git"),
    ],
)
async def test_says_what_is_wrong_with_an_unreadable_notebook(
    codec: DocumentCodec, data: bytes, says: str
) -> None:
    with pytest.raises(UnreadableDocument, match=says):
        await codec.seed(NOTEBOOK, data, trusted=False)
    with pytest.raises(UnreadableDocument, match=says):
        await codec.merge(NOTEBOOK, state_of(EVERYTHING), None, data)


async def test_an_empty_file_is_no_deletion_of_all(codec: DocumentCodec) -> None:
    base = await codec.slim(NOTEBOOK, file_of(EVERYTHING))
    with pytest.raises(UnreadableDocument, match="empty"):
        await codec.merge(NOTEBOOK, state_of(EVERYTHING), base, b"")


async def test_values_that_the_crdt_can_not_hold_are_made_fit(codec: DocumentCodec) -> None:
    data = (
        b'{"cells": [{"cell_type": "code", "id": "c", "execution_count": null, "metadata": {"big": 1'
        + b"0" * 30
        + b', "huge": 1'
        + b"0" * 400
        + b', "half": "\\ud83d", "pair": "\\ud83d\\ude00"}, "outputs": [], "source": "\\ud800x"}],'
        b' "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    state = await codec.seed(NOTEBOOK, data, trusted=True)
    cell = json.loads((await codec.render(NOTEBOOK, state)).data)["cells"][0]
    assert cell["metadata"]["big"] == 1e30
    assert cell["metadata"]["half"] == "�"
    assert cell["metadata"]["pair"] == "😀"
    assert cell["source"] == ["�x"]


def decided(merged: Merged) -> tuple[bytes | None, bytes | None, tuple[str, ...]]:
    return merged.update, merged.loser, merged.conflicts


async def test_not_a_number_can_be_saved(codec: DocumentCodec) -> None:
    content = notebook(
        code("c", "1", {**html("x"), "data": {"application/json": [float("nan"), float("inf")]}})
    )
    state = await codec.seed(NOTEBOOK, file_of(content), trusted=True)
    assert b"NaN" in (await codec.render(NOTEBOOK, state)).data
    base = await codec.slim(NOTEBOOK, file_of(content))
    merged = await codec.merge(NOTEBOOK, state, base, file_of(content))
    assert decided(merged) == (None, None, ())


def _damage_cells(doc: Doc[Any]) -> None:
    cells = cells_of(doc)
    cells.append(Map())
    cells.append("no cell")
    cells.append(Map({"cell_type": "code", "source": Text("without id")}))
    cells.append(Map({"id": "bad id!", "cell_type": "surprise", "source": ["a", "b"], "metadata": 3}))
    cells.append(Map({"id": "c-1", "cell_type": "markdown", "source": Text("same id"), "metadata": Map()}))
    cells.append(Map({"id": "out", "cell_type": "code", "source": 5, "outputs": [1, {"output_type": "new"}]}))
    cells.append(
        Map({"id": "n", "cell_type": "code", "execution_count": "x", "outputs": "?", "junk": b"\xff"})
    )
    cells.append(
        Map(
            {
                "id": "o",
                "cell_type": "code",
                "outputs": Array([Map({"output_type": "stream", "text": Text("x")})]),
            }
        )
    )


async def test_no_damaged_cell_stops_the_others_from_being_saved(codec: DocumentCodec) -> None:
    doc = live(state_of(EVERYTHING))
    _damage_cells(doc)
    doc.get("meta", type=Map)["nbformat_minor"] = "five"
    state = doc.get_update()
    rendered = await codec.render(NOTEBOOK, state)
    written = nbformat.reads(rendered.data.decode(), as_version=4)
    nbformat.validate(written)
    assert [cell.source for cell in written.cells][4:] == [
        "",
        "without id",
        "ab",
        "same id",
        "5",
        "",
        "",
    ]
    assert len({cell.id for cell in written.cells}) == len(written.cells) == 11
    assert (await codec.render(NOTEBOOK, state)).data == rendered.data
    assert written.cells[8].outputs[0].data == {"application/json": 1}


async def test_a_file_is_merged_into_a_damaged_document(codec: DocumentCodec) -> None:
    doc = live(state_of(EVERYTHING))
    _damage_cells(doc)
    state = doc.get_update()
    rendered = await codec.render(NOTEBOOK, state)
    theirs = json.loads(rendered.data)
    theirs["cells"].reverse()
    theirs["cells"][0]["source"] = "by theirs"
    merged = await codec.merge(NOTEBOOK, state, rendered.slim, file_of(theirs))
    assert merged.loser is None
    assert merged.update is not None
    doc.apply_update(merged.update)
    after = await codec.render(NOTEBOOK, doc.get_update())
    assert json.loads(after.data)["cells"][0]["source"] == ["by theirs"]
    assert [cell["id"] for cell in json.loads(after.data)["cells"]] == [
        cell["id"] for cell in theirs["cells"]
    ]


async def test_a_cell_twice_by_two_moves_at_once_is_written_once(codec: DocumentCodec) -> None:
    doc = live(state_of(EVERYTHING))
    cells = cells_of(doc)
    cells.append(Map({"id": "m-1", "cell_type": "markdown", "source": Text("# Größe 😀\n\ntext")}))
    cells[len(cells) - 1]["metadata"] = Map({"tags": ["a"]})
    rendered = await codec.render(NOTEBOOK, doc.get_update())
    assert rendered.data == (await codec.render(NOTEBOOK, state_of(EVERYTHING))).data


async def test_an_empty_document_renders(codec: DocumentCodec) -> None:
    empty: Doc[Any] = Doc()
    rendered = await codec.render(NOTEBOOK, empty.get_update())
    nbformat.validate(nbformat.reads(rendered.data.decode(), as_version=4))
    assert (await codec.render(TEXT, empty.get_update())).data == b""


async def test_a_state_that_is_no_update_is_the_rooms_error(codec: DocumentCodec) -> None:
    with pytest.raises(RoomError, match="state can't be read"):
        await codec.render(NOTEBOOK, b"\xff\xff")


async def test_the_slim_form_has_hashes_for_outputs(codec: DocumentCodec) -> None:
    big = notebook(code("c", "1", stream("x" * 1_000_000)))
    slim = await codec.slim(NOTEBOOK, file_of(big))
    assert len(slim) < 1000
    assert slim == (await codec.render(NOTEBOOK, state_of(big))).slim
    (output,) = read_slim(slim)["cells"][0]["outputs"]
    assert len(output) == 32


# --- other kinds ---------------------------------------------------------------------------------


async def test_text_files(codec: DocumentCodec) -> None:
    data = "\ufeffeins\r\nzwei 😀\nallein \r steht".encode()
    state = await codec.seed(TEXT, data, trusted=False)
    assert YUnicode(live(state)).get() == "\ufeffeins\nzwei 😀\nallein \r steht"
    rendered = await codec.render(TEXT, state)
    assert rendered.data == data.replace(b"\r\n", b"\n")
    assert rendered.slim == await codec.slim(TEXT, data)


async def test_text_that_is_not_utf8_is_unreadable(codec: DocumentCodec) -> None:
    with pytest.raises(UnreadableDocument, match=r"not UTF-8 text \(byte 3\)"):
        await codec.seed(TEXT, b"ab\xff", trusted=False)


async def test_an_unknown_type_is_a_text_file(codec: DocumentCodec) -> None:
    kind = DocumentKind("text", "nobody-knows")
    state = await codec.seed(kind, b"a\r\nb", trusted=False)
    assert (await codec.render(kind, state)).data == b"a\nb"


async def test_base64_files(codec: DocumentCodec) -> None:
    kind = DocumentKind("base64", "file")
    data = bytes(range(256)) * 2
    state = await codec.seed(kind, data, trusted=False)
    assert base64.decodebytes(YUnicode(live(state)).get().encode()) == data
    assert (await codec.render(kind, state)).data == data


async def test_blobs_are_taken_whole(codec: DocumentCodec) -> None:
    kind = DocumentKind("base64", "blob")
    state = await codec.seed(kind, b"\x00\xffone", trusted=False)
    assert bytes(YBlob(live(state)).get()) == b"\x00\xffone"
    assert (await codec.render(kind, state)).data == b"\x00\xffone"
    base = await codec.slim(kind, b"\x00\xffone")
    merged = await codec.merge(kind, state, base, b"two")
    assert merged.loser is None
    assert merged.update is not None
    doc = live(state)
    doc.apply_update(merged.update)
    assert (await codec.render(kind, doc.get_update())).data == b"two"
    merged = await codec.merge(kind, doc.get_update(), base, b"\x00\xffone")
    assert decided(merged) == (None, None, ())
    conflicting = await codec.merge(kind, doc.get_update(), base, b"three")
    assert decided(conflicting) == (None, b"three", ("the content",))


async def test_text_merge(codec: DocumentCodec) -> None:
    base = b"one\ntwo\nthree\n"
    doc = live(await codec.seed(TEXT, "eins\ntwo\nthree 😀\n".encode(), trusted=False))
    merged = await codec.merge(
        TEXT, doc.get_update(), await codec.slim(TEXT, base), b"one\r\nzwei\r\nthree\r\n"
    )
    assert merged.loser is None
    assert merged.update is not None
    doc.apply_update(merged.update)
    assert (await codec.render(TEXT, doc.get_update())).data == "eins\nzwei\nthree 😀\n".encode()


async def test_text_conflicts_keep_the_document_and_name_the_line(codec: DocumentCodec) -> None:
    state = await codec.seed(TEXT, b"a\nours\n", trusted=False)
    merged = await codec.merge(TEXT, state, await codec.slim(TEXT, b"a\nb\n"), b"a\ntheirs\n")
    assert decided(merged) == (None, b"a\ntheirs\n", ("line 2",))
    without_base = await codec.merge(TEXT, state, None, b"a\ntheirs\n")
    assert decided(without_base) == (None, b"a\ntheirs\n", ("the text",))


@pytest.mark.parametrize("damaged", [b"", b"junk"])
async def test_a_damaged_base_is_none(codec: DocumentCodec, damaged: bytes) -> None:
    state = await codec.seed(TEXT, b"ours", trusted=False)
    assert (await codec.merge(TEXT, state, damaged, b"theirs")).conflicts == ("the text",)
    ours = state_of(notebook(markdown("a", "x")))
    merged = await codec.merge(NOTEBOOK, ours, damaged, file_of(notebook(markdown("b", "y"))))
    assert merged.loser is None
    doc = live(ours)
    doc.apply_update(merged.update or b"")
    shown = json.loads((await codec.render(NOTEBOOK, doc.get_update())).data)
    assert sorted(cell["id"] for cell in shown["cells"]) == ["a", "b"]


async def test_a_merge_is_an_update_of_its_edits_by_a_new_client(codec: DocumentCodec) -> None:
    content = notebook(*(code(f"c{number}", "x = 1\n" * 50, stream("y" * 1000)) for number in range(50)))
    state = state_of(content)
    theirs = json.loads(json.dumps(content))
    theirs["cells"][20]["source"] = "x = 1\n" * 49 + "x = 2\n"
    merged = await codec.merge(NOTEBOOK, state, await codec.slim(NOTEBOOK, file_of(content)), file_of(theirs))
    assert merged.update is not None
    assert len(merged.update) < 60 < len(state) / 1000
    doc = live(state)
    before = decode_state_vector(doc.get_state())
    doc.apply_update(merged.update)
    (new,) = set(decode_state_vector(doc.get_state())) - set(before)
    assert sources(json.loads((await codec.render(NOTEBOOK, doc.get_update())).data))[20][1][-1] == "x = 2\n"
    assert cell_of(doc, "c20")["execution_state"] == "idle"
    assert new not in before


async def test_nothing_is_logged_and_no_warning_for_a_plain_notebook(
    codec: DocumentCodec, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "notebook_sync"):
        await codec.render(NOTEBOOK, await codec.seed(NOTEBOOK, file_of(EVERYTHING), trusted=False))
    assert not caplog.records


# --- what a merge and a rendering say of the cells (rule 28), and of what was never there ---------


async def test_cells_are_named_and_deleted_ones_do_not_come_back(codec: DocumentCodec) -> None:
    before = notebook(markdown("a", "one"), markdown("b", "two"))
    state = await codec.seed(NOTEBOOK, file_of(before), trusted=True)
    doc = live(state)
    del cells_of(doc)[1]
    rendered = await codec.render(NOTEBOOK, doc.get_update())
    assert (rendered.cells, rendered.untouched) == (("a",), False)
    merged = await codec.merge(NOTEBOOK, doc.get_update(), None, file_of(before), seen=("a", "b"))
    assert decided(merged) == (
        None,
        file_of(before),
        ("cell 2 of the file (id b): deleted here, back in the file",),
    )
    assert merged.theirs == ("a", "b")
    assert merged.size.cells == 1
    assert merged.size.bytes == len(rendered.data)
    assert merged.slim == await codec.slim(NOTEBOOK, file_of(before))


async def test_a_cell_that_nobody_ever_had_comes_in_without_a_base(codec: DocumentCodec) -> None:
    state = await codec.seed(NOTEBOOK, file_of(notebook(markdown("a", "one"))), trusted=True)
    theirs = file_of(notebook(markdown("a", "one"), markdown("new", "two")))
    merged = await codec.merge(NOTEBOOK, state, None, theirs, seen=("a",))
    assert merged.update is not None
    doc = live(state)
    doc.apply_update(merged.update)
    assert sources(shown(doc)) == [("a", "one"), ("new", "two")]


@pytest.mark.parametrize("kind", [NOTEBOOK, TEXT])
async def test_what_people_emptied_is_told_from_what_never_had_anything(
    codec: DocumentCodec, kind: DocumentKind
) -> None:
    never: Doc[Any] = Doc()
    never.get("state", type=Map)["path"] = "cells source"
    rendered = await codec.render(kind, never.get_update())
    assert rendered.untouched
    data = file_of(notebook(markdown("a", "one"))) if kind == NOTEBOOK else b"text"
    doc = live(await codec.seed(kind, data, trusted=True))
    assert not (await codec.render(kind, doc.get_update())).untouched
    if kind == NOTEBOOK:
        del cells_of(doc)[0]
    else:
        del doc.get("source", type=Text)[0:4]
    again = live(doc.get_update())  # without what was collected
    rendered = await codec.render(kind, again.get_update())
    assert (rendered.cells, rendered.untouched) == ((), False)


async def test_the_same_file_is_merged_in_once(codec: DocumentCodec) -> None:
    """From the base before it, after people went on typing around what came from it, it could come twice."""
    before = notebook(code("a", "x = 1\n"))
    base, state = await codec.slim(NOTEBOOK, file_of(before)), state_of(before)
    theirs = file_of(notebook(code("a", "x = 1\n<theirs>\n")))
    merged = await codec.merge(NOTEBOOK, state, base, theirs, once=True)
    doc = live(state)
    assert merged.update is not None
    doc.apply_update(merged.update)
    cell_of(doc, "a")["source"].insert(0, "<typed>\n")
    again = await codec.merge(NOTEBOOK, doc.get_update(), base, theirs, once=True)
    assert decided(again) == (None, None, ())
    assert (again.slim, again.theirs) == (merged.slim, ("a",))
    # Whoever brings an earlier content back on purpose gets it.
    restored = await codec.merge(NOTEBOOK, doc.get_update(), await codec.slim(NOTEBOOK, theirs), theirs)
    assert decided(restored) == (None, None, ())
    restored = await codec.merge(NOTEBOOK, doc.get_update(), base, file_of(before))
    assert restored.update is None  # the base says that it changed nothing
    back = (await codec.render(NOTEBOOK, doc.get_update())).slim
    restored = await codec.merge(NOTEBOOK, doc.get_update(), back, theirs)
    assert restored.update is not None

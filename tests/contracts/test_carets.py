"""People's carets, as front ends share them, while another program edits the file: real Yjs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from notebook_sync.adapters import codec_worker
from notebook_sync.adapters.notebook_form import Json
from notebook_sync.core.ids import NOTEBOOK
from tests.support.notebooks import code, file_of, markdown, notebook, state_of, stream
from tests.support.yjs import Yjs

BEFORE = notebook(
    code("one", "first = 1\nsecond = 2\nthird = 3", stream("out\n")),
    markdown("two", "# Größe 😀 of things"),
    code("three", "z = 3"),
)


@pytest.fixture(scope="module")
def yjs() -> Iterator[Yjs]:
    with Yjs() as process:
        yield process


class Page:
    """A browser with the notebook open."""

    def __init__(self, yjs: Yjs) -> None:
        self._yjs = yjs
        self.state = state_of(BEFORE)
        self.base = codec_worker.slim(NOTEBOOK, file_of(BEFORE))
        yjs.make("page")
        yjs.apply("page", self.state)

    def caret(self, cell: str, before: str) -> str:
        """A caret just before these words."""
        source = self.source(cell)
        units = len(source[: source.index(before)].encode("utf-16-le")) // 2
        return self._yjs.caret("page", cell, units)

    def source(self, cell: str) -> str:
        sources = {c["id"]: c["source"] for c in self._yjs.json("page", "cells")}
        return str(sources[cell])

    def behind(self, caret: str) -> str | None:
        """What is behind the caret now; None if its cell is gone."""
        place = self._yjs.place("page", caret)
        if place is None:
            return None
        return self.source(place[0]).encode("utf-16-le")[2 * place[1] :].decode("utf-16-le")

    def file_becomes(self, content: Json) -> None:
        """Another program writes the file, and its changes arrive here."""
        merged = codec_worker.merge(NOTEBOOK, self.state, self.base, file_of(content))
        assert merged.update is not None
        assert self._yjs.apply("page", merged.update).structs is None

    def types(self, cell: str, before: str, text: str) -> None:
        """This person types, and the server has not heard of it yet."""
        source = self.source(cell)
        units = len(source[: source.index(before)].encode("utf-16-le")) // 2
        self._yjs.type("page", cell, units, text)


def cells(**changed: str) -> Json:
    """The notebook with other sources."""
    return notebook(
        *[{**cell, "source": changed.get(cell["id"], cell["source"])} for cell in BEFORE["cells"]]
    )


def test_carets_in_other_cells_stay(yjs: Yjs) -> None:
    page = Page(yjs)
    carets = [page.caret("two", "of things"), page.caret("three", "= 3"), page.caret("two", "😀")]
    added = cells(one="first = 100\nnothing else")
    added["cells"] = [markdown("new", "above all"), *added["cells"], code("last", "end")]
    page.file_becomes(added)
    assert [page.behind(caret) for caret in carets] == ["of things", "= 3", "😀 of things"]


def test_carets_in_the_same_cell_stay_with_their_words(yjs: Yjs) -> None:
    page = Page(yjs)
    carets = [page.caret("one", words) for words in ("= 1", "second", "= 2", "third", "3")]
    page.file_becomes(cells(one="# a new line\nfirst = 1\nsecond = 22\nthird = 3\nfourth = 4"))
    assert [page.behind(caret) for caret in carets] == [
        "= 1\nsecond = 22\nthird = 3\nfourth = 4",
        "second = 22\nthird = 3\nfourth = 4",
        "= 22\nthird = 3\nfourth = 4",
        "third = 3\nfourth = 4",
        "3\nfourth = 4",
    ]


def test_a_caret_in_words_that_are_replaced_stands_where_they_were(yjs: Yjs) -> None:
    page = Page(yjs)
    caret = page.caret("one", "econd")
    page.file_becomes(cells(one="first = 1\nother = 2\nthird = 3"))
    behind = page.behind(caret)
    assert behind is not None
    assert behind.endswith(" = 2\nthird = 3")
    assert behind in ("other = 2\nthird = 3", " = 2\nthird = 3")


def test_carets_after_characters_beyond_the_basic_plane(yjs: Yjs) -> None:
    page = Page(yjs)
    carets = [page.caret("two", "😀"), page.caret("two", "of things")]
    page.file_becomes(cells(two="# Die Größe 😀😀 of many things"))
    assert page.behind(carets[1]) == "of many things"
    assert page.behind(carets[0]) in ("😀😀 of many things", "😀 of many things")


def test_what_somebody_types_at_that_moment_is_there_once_with_the_files_change(yjs: Yjs) -> None:
    page = Page(yjs)
    caret = page.caret("one", "= 2")
    page.types("one", "= 2", "<typed> ")
    page.types("two", "of", "<here> ")
    page.file_becomes(
        cells(one="# a new line\nfirst = 1\nsecond = 22\nthird = 3", two="# Größe 😀 of all things")
    )
    assert page.source("one") == "# a new line\nfirst = 1\nsecond <typed> = 22\nthird = 3"
    assert page.source("two") == "# Größe 😀 <here> of all things"
    assert page.behind(caret) == "= 22\nthird = 3"


def test_new_outputs_and_metadata_move_no_caret(yjs: Yjs) -> None:
    page = Page(yjs)
    carets = [page.caret("one", "second"), page.caret("three", "3")]
    ran = notebook(
        code("one", BEFORE["cells"][0]["source"], stream("other\n"), count=7, tags=["x"]),
        *BEFORE["cells"][1:],
    )
    page.file_becomes(ran)
    assert [page.behind(caret) for caret in carets] == ["second = 2\nthird = 3", "3"]


def test_a_moved_cell_is_the_one_that_nobody_is_in_if_that_is_enough(yjs: Yjs) -> None:
    """Moving makes a cell anew, and a caret in it is lost: so as few as can be are moved."""
    page = Page(yjs)
    caret = page.caret("one", "second")
    moved = cells()
    moved["cells"] = [moved["cells"][2], *moved["cells"][:2]]
    page.file_becomes(moved)
    assert page.behind(caret) == "second = 2\nthird = 3"


def test_the_caret_of_somebody_whose_cell_the_file_deleted_is_gone(yjs: Yjs) -> None:
    page = Page(yjs)
    caret, other = page.caret("two", "of"), page.caret("three", "=")
    rest = cells()
    del rest["cells"][1]
    page.file_becomes(rest)
    assert page.behind(caret) is None
    assert page.behind(other) == "= 3"

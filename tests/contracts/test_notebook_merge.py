"""Three-way merges of notebooks, one rule a test."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from notebook_sync.adapters.merge_base import read_slim, slim_notebook
from notebook_sync.adapters.notebook_form import Json, read_notebook
from notebook_sync.adapters.notebook_merge import merge_metadata, merge_notebooks
from tests.support.notebooks import METADATA, code, file_of, html, markdown, notebook, sources, stream


def merged(base: Json | None, ours: Json, theirs: Json) -> tuple[Json, tuple[str, ...]]:
    """The merge of notebooks as a document and files hold them."""
    slim = None if base is None else read_slim(slim_notebook(read_notebook(file_of(base))))
    result = merge_notebooks(slim, read_notebook(file_of(ours)), read_notebook(file_of(theirs)))
    return result.notebook, result.conflicts


def changed(content: Json, cell_id: str, **changes: Any) -> Json:
    content = copy.deepcopy(content)
    for cell in content["cells"]:
        if cell["id"] == cell_id:
            cell.update(changes)
    return content


def ordered(content: Json, *ids: str) -> Json:
    by_id = {cell["id"]: cell for cell in content["cells"]}
    return {**content, "cells": [copy.deepcopy(by_id[cell_id]) for cell_id in ids]}


BASE = notebook(
    markdown("a", "# Title\n"),
    code("b", "x = 1\ny = 2\n", stream("1\n"), count=1),
    code("c", "z = 3"),
    markdown("d", "end"),
)


def ids(content: Json) -> list[str]:
    return [cell["id"] for cell in content["cells"]]


def test_both_changed_different_lines_of_a_cell() -> None:
    ours = changed(BASE, "b", source="x = 10\ny = 2\n")
    theirs = changed(BASE, "b", source="x = 1\ny = 20\n")
    content, conflicts = merged(BASE, ours, theirs)
    assert dict(sources(content))["b"] == "x = 10\ny = 20\n"
    assert conflicts == ()


def test_both_changed_the_same_line_the_document_wins_and_it_is_said() -> None:
    content, conflicts = merged(
        BASE, changed(BASE, "b", source="x = 10\ny = 2\n"), changed(BASE, "b", source="x = 11\ny = 2\n")
    )
    assert dict(sources(content))["b"] == "x = 10\ny = 2\n"
    assert conflicts == ("cell 2 (id b): source",)


def test_one_moved_a_cell_the_other_edited_it() -> None:
    for ours, theirs in (
        (ordered(BASE, "d", "a", "b", "c"), changed(BASE, "d", source="the end")),
        (changed(BASE, "d", source="the end"), ordered(BASE, "d", "a", "b", "c")),
    ):
        content, conflicts = merged(BASE, ours, theirs)
        assert sources(content)[0] == ("d", "the end")
        assert ids(content) == ["d", "a", "b", "c"]
        assert conflicts == ()


def test_both_moved_a_cell_it_is_where_the_document_has_it() -> None:
    content, conflicts = merged(BASE, ordered(BASE, "d", "a", "b", "c"), ordered(BASE, "a", "d", "b", "c"))
    assert ids(content) == ["d", "a", "b", "c"]
    assert conflicts == ()


def test_both_added_cells() -> None:
    ours = {**BASE, "cells": [*BASE["cells"][:2], markdown("o", "ours"), *BASE["cells"][2:]]}
    theirs = {**BASE, "cells": [markdown("t1", "first"), *BASE["cells"], markdown("t2", "last")]}
    content, conflicts = merged(BASE, ours, theirs)
    assert ids(content) == ["t1", "a", "b", "o", "c", "d", "t2"]
    assert conflicts == ()


def test_a_cell_deleted_in_the_file_goes_if_nobody_changed_it() -> None:
    content, conflicts = merged(BASE, changed(BASE, "b", source="other"), ordered(BASE, "a", "b", "d"))
    assert ids(content) == ["a", "b", "d"]
    assert conflicts == ()


@pytest.mark.parametrize("change", [{"source": "z = 4"}, {"outputs": [stream("3")]}, {"metadata": {"x": 1}}])
def test_a_cell_deleted_in_the_file_stays_if_it_was_changed_here(change: Json) -> None:
    content, conflicts = merged(BASE, changed(BASE, "c", **change), ordered(BASE, "a", "b", "d"))
    assert ids(content) == ["a", "b", "c", "d"]
    assert conflicts == ("cell 3 (id c): deleted in the file, changed here",)


def test_a_cell_deleted_here_does_not_come_back() -> None:
    content, conflicts = merged(BASE, ordered(BASE, "a", "b", "d"), changed(BASE, "b", source="other"))
    assert ids(content) == ["a", "b", "d"]
    assert conflicts == ()


def test_a_cell_deleted_here_and_changed_in_the_file_is_kept_out_and_said() -> None:
    content, conflicts = merged(BASE, ordered(BASE, "a", "b", "d"), changed(BASE, "c", source="z = 4"))
    assert ids(content) == ["a", "b", "d"]
    assert conflicts == ("cell 3 of the file (id c): deleted here, changed in the file",)


def test_outputs_are_taken_whole_from_the_side_that_ran_the_cell() -> None:
    ran = changed(BASE, "b", outputs=[stream("2\n")], execution_count=7)
    content, conflicts = merged(BASE, changed(BASE, "b", source="x = 5\ny = 2\n"), ran)
    assert content["cells"][1] == code("b", "x = 5\ny = 2\n", stream("2\n"), count=7)
    assert conflicts == ()
    content, conflicts = merged(BASE, ran, changed(BASE, "b", source="x = 5\ny = 2\n"))
    assert content["cells"][1] == code("b", "x = 5\ny = 2\n", stream("2\n"), count=7)
    assert conflicts == ()


def test_outputs_that_both_made_differently_are_a_conflict_the_same_are_none() -> None:
    ours = changed(BASE, "b", outputs=[stream("ours")], execution_count=2)
    content, conflicts = merged(BASE, ours, changed(BASE, "b", outputs=[stream("theirs")], execution_count=3))
    assert content["cells"][1] == ours["cells"][1]
    assert conflicts == ("cell 2 (id b): outputs",)
    content, conflicts = merged(BASE, ours, changed(BASE, "b", outputs=[stream("ours")], execution_count=3))
    assert content["cells"][1] == ours["cells"][1]
    assert conflicts == ()


def test_an_execution_count_alone_is_taken_from_who_changed_it() -> None:
    content, _ = merged(BASE, changed(BASE, "b", source="w"), changed(BASE, "b", execution_count=5))
    assert content["cells"][1] == code("b", "w", stream("1\n"), count=5)


def test_a_type_changed_by_one_side_keeps_the_others_text() -> None:
    raw = {"cell_type": "raw", "id": "c", "metadata": {}, "source": "z = 3"}
    theirs = {**BASE, "cells": [*BASE["cells"][:2], raw, BASE["cells"][3]]}
    content, conflicts = merged(BASE, changed(BASE, "c", source="z = 3 # three"), theirs)
    assert content["cells"][2] == {**raw, "source": "z = 3 # three"}
    assert conflicts == ()
    content, conflicts = merged(BASE, theirs, changed(BASE, "c", source="z = 3 # three"))
    assert content["cells"][2] == {**raw, "source": "z = 3 # three"}
    assert conflicts == ()


def test_a_type_change_does_not_drop_the_outputs_of_a_run() -> None:
    raw = {"cell_type": "raw", "id": "c", "metadata": {}, "source": "z = 3"}
    retyped = {**BASE, "cells": [*BASE["cells"][:2], raw, BASE["cells"][3]]}
    ran = changed(BASE, "c", outputs=[stream("out")], execution_count=1)
    content, conflicts = merged(BASE, ran, retyped)
    assert content["cells"][2] == ran["cells"][2]
    assert conflicts == ("cell 3 (id c): type",)
    content, conflicts = merged(BASE, retyped, ran)
    assert content["cells"][2] == raw
    assert conflicts == ("cell 3 (id c): type",)


def test_attachments_are_taken_from_the_side_that_changed_them() -> None:
    with_image = changed(BASE, "a", attachments={"x.png": {"image/png": "aGk="}})
    content, conflicts = merged(BASE, changed(BASE, "a", source="# Other\n"), with_image)
    assert content["cells"][0] == {**with_image["cells"][0], "source": "# Other\n"}
    assert conflicts == ()
    other = changed(BASE, "a", attachments={"x.png": {"image/png": "b3RoZXI="}})
    content, conflicts = merged(BASE, other, with_image)
    assert content["cells"][0] == other["cells"][0]
    assert conflicts == ("cell 1 (id a): attachments",)
    content, conflicts = merged(with_image, changed(with_image, "a", source="s"), BASE)
    assert "attachments" not in content["cells"][0]
    assert conflicts == ()


def test_cell_metadata_is_merged_key_by_key() -> None:
    base = changed(BASE, "a", metadata={"keep": 1, "gone": 1, "deep": {"x": 1, "y": 1}})
    ours = changed(base, "a", metadata={"keep": 1, "gone": 1, "deep": {"x": 2, "y": 1}, "o": 1})
    theirs = changed(base, "a", metadata={"keep": 1, "deep": {"x": 1, "y": 2}, "t": 1})
    content, conflicts = merged(base, ours, theirs)
    assert content["cells"][0]["metadata"] == {"keep": 1, "deep": {"x": 2, "y": 2}, "o": 1, "t": 1}
    assert conflicts == ()


def test_metadata_conflicts() -> None:
    ours = {**changed(BASE, "a", metadata={"x": 1}), "metadata": {**METADATA, "title": "ours"}}
    theirs = {**changed(BASE, "a", metadata={"x": 2}), "metadata": {**METADATA, "title": "theirs", "new": 1}}
    content, conflicts = merged(BASE, ours, theirs)
    assert content["cells"][0]["metadata"] == {"x": 1}
    assert content["metadata"] == {**METADATA, "title": "ours", "new": 1}
    assert conflicts == ("cell 1 (id a): metadata", "notebook metadata: title")


def test_what_a_kernel_start_fills_in_is_no_conflict() -> None:
    ours = {**BASE, "metadata": {**METADATA, "language_info": {"name": "python", "version": "3.11"}}}
    theirs = {**BASE, "metadata": {**METADATA, "language_info": {"name": "python", "version": "3.12"}}}
    content, conflicts = merged(BASE, ours, theirs)
    assert content["metadata"] == ours["metadata"]
    assert conflicts == ()


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"), [(4, 4, 5, 5), (4, 5, 4, 5), (2, 4, 5, 5), (5, 5, 4, 4)]
)
def test_the_minor_version(base: int, ours: int, theirs: int, expected: int) -> None:
    versions = [{**BASE, "nbformat_minor": minor} for minor in (base, ours, theirs)]
    assert merged(*versions)[0]["nbformat_minor"] == expected


# --- without a base (rule 17) --------------------------------------------------------------------


def test_without_a_base_nothing_is_deleted_and_the_document_wins() -> None:
    ours = notebook(markdown("a", "ours"), markdown("same", "s"), markdown("o", "only ours"))
    theirs = notebook(markdown("t", "only theirs"), markdown("same", "s"), markdown("a", "theirs"))
    content, conflicts = merged(None, ours, theirs)
    assert sources(content) == [("t", "only theirs"), ("a", "ours"), ("same", "s"), ("o", "only ours")]
    assert conflicts == ("cell 1 (id a): different in the file",)


def test_without_a_base_the_same_cells_under_new_ids_are_not_doubled() -> None:
    renamed = {**BASE, "cells": [{**cell, "id": f"new{number}"} for number, cell in enumerate(BASE["cells"])]}
    content, conflicts = merged(None, BASE, renamed)
    assert content["cells"] == read_notebook(file_of(BASE))["cells"]
    assert conflicts == ()


def test_metadata_without_a_base_is_united() -> None:
    assert merge_metadata(None, {"a": 1, "d": {"x": 1}}, {"b": 2, "a": 3, "d": {"y": 1}}) == (
        {"a": 1, "d": {"x": 1, "y": 1}, "b": 2},
        ["a"],
    )


# --- cells without a known id --------------------------------------------------------------------


def without_ids(content: Json) -> Json:
    cells = [{key: value for key, value in cell.items() if key != "id"} for cell in content["cells"]]
    return {**content, "cells": cells, "nbformat_minor": 4}


def test_files_without_ids_are_matched_by_content() -> None:
    ours = {**changed(BASE, "a", source="# Title here\n"), "nbformat_minor": 4}
    theirs = without_ids(
        {
            **BASE,
            "cells": [
                markdown("", "new"),
                BASE["cells"][0],
                BASE["cells"][2],
                {**BASE["cells"][1], "source": "x = 1\ny = 5\n"},
            ],
        }
    )
    content, conflicts = merged(without_ids(BASE), ours, theirs)
    texts = {cell_id: source for cell_id, source in sources(content) if cell_id in "abcd"}
    assert texts == {"a": "# Title here\n", "b": "x = 1\ny = 5\n", "c": "z = 3"}
    assert sorted(source for _, source in sources(content)) == [
        "# Title here\n",
        "new",
        "x = 1\ny = 5\n",
        "z = 3",
    ]
    assert conflicts == ()


def test_a_program_that_gives_all_cells_new_ids_deletes_none() -> None:
    theirs = {**BASE, "cells": [{**cell, "id": f"new{number}"} for number, cell in enumerate(BASE["cells"])]}
    theirs["cells"].insert(1, markdown("added", "added"))
    ours = changed(BASE, "b", source="x = 1\ny = 3\n")
    content, conflicts = merged(BASE, ours, theirs)
    assert ids(content) == ["a", "added", "b", "c", "d"]
    assert dict(sources(content))["b"] == "x = 1\ny = 3\n"
    assert conflicts == ()


def test_a_new_cell_that_both_have_under_two_ids_is_taken_once() -> None:
    ours = {**BASE, "cells": [*BASE["cells"], markdown("one", "the same")]}
    theirs = {**BASE, "cells": [*BASE["cells"], markdown("other", "the same")]}
    content, conflicts = merged(BASE, ours, theirs)
    assert ids(content) == ["a", "b", "c", "d", "one"]
    assert conflicts == ()


def test_a_new_cell_that_both_have_under_one_id_and_differently_is_a_conflict() -> None:
    ours = {**BASE, "cells": [*BASE["cells"], markdown("one", "ours")]}
    theirs = {**BASE, "cells": [*BASE["cells"], markdown("one", "theirs")]}
    content, conflicts = merged(BASE, ours, theirs)
    assert sources(content)[-1] == ("one", "ours")
    assert conflicts == ("cell 5 (id one): different in the file",)


def test_a_rich_output_hides_nothing_in_a_hash() -> None:
    base = notebook(code("c", "1", html("<b>"), stream("x")))
    theirs = notebook(code("c", "1", html("<i>"), stream("x")))
    content, _ = merged(base, base, theirs)
    assert content["cells"][0]["outputs"][0] == html("<i>")

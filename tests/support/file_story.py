"""A site with two files, somebody who has them open, and what file and people say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pycrdt import Array

from notebook_sync.core.ids import DocumentKey
from tests.support.memory_site import Node, Site
from tests.support.notebooks import TEXT, code, file_of, markdown, notebook
from tests.support.tabs import WORK, Tab
from tests.support.waiting import wait_until

PATH = WORK.path
NOTES = DocumentKey(TEXT, "notes.txt")
CELLS = notebook(code("one", "x = 1"), markdown("two", "# Two"), code("three", "z = 3"))


def site_with_files() -> Site:
    """A notebook and a text file in a folder; no server runs yet."""
    made = Site()
    made.files.external_write(PATH, file_of(CELLS))
    made.files.external_write(NOTES.path, b"first line\nsecond line\n")
    return made


async def opened(node: Node, key: DocumentKey = WORK) -> Tab:
    """Somebody has the document open, and the file was looked at."""
    tab = Tab().join(node, key)
    await wait_until(lambda: tab.synced, what="the document")
    await at_rest(node, key)
    return tab


async def at_rest(node: Node, key: DocumentKey = WORK) -> None:
    """Stored, saved, and said so."""
    runner = node.registry.find(key)
    assert runner is not None
    await wait_until(
        lambda: runner.room.saved and runner.room.stored and runner.checkpointer.stamp is not None,
        what="rest",
    )


def file_cells(site: Site, path: str = PATH) -> list[tuple[str, str]]:
    try:
        content = json.loads(site.files.content(path))
    except (ValueError, KeyError):  # broken, or not there
        return [("", "")]
    return [(c["id"], "".join(c["source"])) for c in content["cells"]]


def y_cells(tab: Tab) -> Array[Any]:
    cells: Array[Any] = tab.doc.get("cells", type=Array)
    return cells


def tab_cells(tab: Tab) -> list[tuple[str, str]]:
    return [(c["id"], "".join(c["source"])) for c in json.loads(str(y_cells(tab)))]


def changed(site: Site, change: Callable[[dict[str, str]], None], path: str = PATH) -> bytes:
    """The file with other sources: ``change`` edits a dict of them by id; a new id is a new cell."""
    content = json.loads(site.files.content(path))
    sources = {c["id"]: "".join(c["source"]) for c in content["cells"]}
    known = {c["id"]: c for c in content["cells"]}
    change(sources)
    content["cells"] = [{**known.get(i, code(i, "")), "source": text} for i, text in sources.items()]
    return file_of(content)


async def same_everywhere(site: Site, *tabs: Tab) -> list[tuple[str, str]]:
    """What all tabs and the file say once they agree."""
    await wait_until(
        lambda: all(tab_cells(tab) == file_cells(site) for tab in tabs), what="agreement of tabs and file"
    )
    return file_cells(site)

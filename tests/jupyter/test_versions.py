"""Versions by REST, and stock ways of saving and going back that roll nobody's typing back."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import nbformat
import pytest
from jupyter_events import EventLogger
from jupyter_server.services.contents.filecheckpoints import AsyncGenericFileCheckpoints
from jupyter_server.services.contents.manager import AsyncContentsManager
from jupyter_ydoc import YNotebook
from pycrdt import Array
from tornado.httpclient import HTTPClientError

from jupyter_collab_ext.bases import Bases
from jupyter_collab_ext.events import SESSION
from jupyter_collab_ext.extension import JupyterCollab
from notebook_sync.app import NotRestored
from notebook_sync.core.errors import CorruptRecord, LocalDiskFailed, StoreUnavailable
from notebook_sync.core.ids import NOTEBOOK, DocumentKey
from notebook_sync.core.limits import Limits
from tests.support.jupyter_wait import read, until
from tests.support.people_here import Event
from tests.support.typing_people import TypingPeople, typing_people
from tests.support.waiting import wait_until

PATH = "work.ipynb"
KEY = DocumentKey(NOTEBOOK, PATH)
pytestmark = pytest.mark.filterwarnings("ignore:.*ContentsManager.*:DeprecationWarning")
Fetch = Callable[..., Awaitable[Any]]


@pytest.fixture(params=["async", "sync"])
def either_manager(request: pytest.FixtureRequest) -> None:
    """Both kinds of contents managers; to be asked for before the server."""
    if request.param == "sync":
        request.getfixturevalue("sync_manager")
    manager = request.getfixturevalue("jp_serverapp").contents_manager
    assert isinstance(manager, AsyncContentsManager) == (request.param == "async")


@pytest.fixture(params=["async", "sync", "generic"])
def any_checkpoints(request: pytest.FixtureRequest, jp_server_config: dict[str, Any]) -> None:
    """Managers of both kinds, and checkpoints that know nothing of the manager's files."""
    if request.param == "sync":
        request.getfixturevalue("sync_manager")
    if request.param == "generic":
        generic = "jupyter_server.services.contents.filecheckpoints.AsyncGenericFileCheckpoints"
        jp_server_config["AsyncContentsManager"] = {"checkpoints_class": generic}
    checkpoints = request.getfixturevalue("jp_serverapp").contents_manager.checkpoints
    assert isinstance(checkpoints, AsyncGenericFileCheckpoints) == (request.param == "generic")


@pytest.fixture
def sync_manager(jp_server_config: dict[str, Any]) -> None:
    manager = "jupyter_server.services.contents.largefilemanager.LargeFileManager"
    jp_server_config["ServerApp"]["contents_manager_class"] = manager


async def call(jp_fetch: Fetch, *parts: str, body: object = None, method: str = "GET", **query: str) -> Any:
    """The JSON that an endpoint answers, None for an empty answer."""
    sent = None if body is None and method in ("GET", "DELETE") else json.dumps(body) if body else ""
    answer = await jp_fetch(*parts, method=method, body=sent, params=query, allow_nonstandard_methods=True)
    return json.loads(answer.body) if answer.body else None


async def refusal(answer: Awaitable[Any]) -> tuple[int, str]:
    """Status and sentence of a request that must fail."""
    with pytest.raises(HTTPClientError) as error:
        await answer
    response = error.value.response
    assert response is not None
    return error.value.code, json.loads(response.body)["message"]


async def versions(jp_fetch: Fetch, path: str = PATH) -> list[dict[str, Any]]:
    listed = await call(jp_fetch, "api/collaboration/versions", path)
    assert listed["path"] == path
    found: list[dict[str, Any]] = listed["versions"]
    return found


async def text_of(jp_fetch: Fetch, version: dict[str, Any]) -> str:
    """All sources of a version."""
    model = await call(jp_fetch, "api/collaboration/versions", PATH, version=version["id"])
    return "\n".join(cell["source"] for cell in model["content"]["cells"])


async def texts(jp_fetch: Fetch) -> list[str]:
    return [await text_of(jp_fetch, version) for version in await versions(jp_fetch)]


async def opened(room: Any) -> None:
    socket = await room(PATH)
    await read(socket, lambda message: message[:2] == b"\x00\x01" or message[:2] == b"\x00\x00")


async def with_a_version(jp_fetch: Fetch) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = await versions(jp_fetch)
        return bool(found)

    await wait_until(there, what="a first version")
    return found[-1]


# --- by REST --------------------------------------------------------------------------------------


async def test_a_file_that_nobody_opened_has_no_versions(
    server: Any, jp_fetch: Fetch, notebook: Callable[..., Path]
) -> None:
    notebook(PATH, "x = 1")
    assert await versions(jp_fetch) == []


async def test_versions_are_listed_read_and_restored(
    collab: JupyterCollab, jp_fetch: Fetch, room: Any, notebook: Callable[..., Path]
) -> None:
    path = notebook(PATH, "x = 1", "y = 2")
    await opened(room)
    first = await with_a_version(jp_fetch)
    assert set(first) == {"id", "at", "reason", "by", "note", "size"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", first["at"])
    assert first["reason"] == "schedule"
    model = await call(jp_fetch, "api/collaboration/versions", PATH, version=first["id"])
    assert model["content"]["cells"] == nbformat.read(path, as_version=4)["cells"]
    assert (model["type"], model["format"], model["path"], model["writable"]) == (
        "notebook",
        "json",
        PATH,
        False,
    )
    document = await collab.get_document(path=PATH, content_type="notebook", file_format="json", copy=False)
    assert document is not None
    source = cast(YNotebook, document).ycells[0]["source"]
    source += " # changed"
    answer = await call(
        jp_fetch, "api/collaboration/versions", PATH, method="POST", body={"version": first["id"]}
    )
    assert answer["version"] == first["id"]
    assert answer["before"]["reason"] == "restore"
    assert [cell["source"] for cell in document.source["cells"]] == ["x = 1", "y = 2"]
    assert "x = 1 # changed" in await text_of(jp_fetch, answer["before"])
    assert [version["id"] for version in await versions(jp_fetch)] == [answer["before"]["id"], first["id"]]
    again = await call(
        jp_fetch, "api/collaboration/versions", PATH, method="POST", body={"version": first["id"]}
    )
    assert again["before"] is None


@pytest.mark.parametrize("body", [None, [], {"version": 7}, {}])
async def test_a_restore_of_nothing_is_refused_with_an_example(
    server: Any, jp_fetch: Fetch, notebook: Callable[..., Path], body: object
) -> None:
    notebook(PATH, "x = 1")
    status, sentence = await refusal(
        jp_fetch("api/collaboration/versions", PATH, method="POST", body=json.dumps(body))
    )
    assert status == 400
    assert '{"version": ' in sentence


async def test_what_is_not_there_is_404_with_a_sentence(
    server: Any, jp_fetch: Fetch, room: Any, notebook: Callable[..., Path]
) -> None:
    notebook(PATH, "x = 1")
    await opened(room)
    for wanted in ("1800000000000-00000000", "../../session.key"):
        status, sentence = await refusal(call(jp_fetch, "api/collaboration/versions", PATH, version=wanted))
        assert (status, "has no version" in sentence) == (404, True)
        body = {"version": wanted}
        status, sentence = await refusal(
            call(jp_fetch, "api/collaboration/versions", PATH, method="POST", body=body)
        )
        assert (status, "has no version" in sentence) == (404, True)
    for path in (".collab/people.json", "a/../../b.ipynb"):
        status, _ = await refusal(jp_fetch("api/collaboration/versions", path))
        assert status == 404


async def test_text_files_have_versions_too(
    server: Any, jp_fetch: Fetch, room: Any, jp_root_dir: Path
) -> None:
    (jp_root_dir / "notes.md").write_text("# Notes\n")
    socket = await room("notes.md", "text", "file")
    await read(socket, lambda message: message[:2] == b"\x00\x00")
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = await versions(jp_fetch, "notes.md")
        return bool(found)

    await wait_until(there)
    model = await call(jp_fetch, "api/collaboration/versions", "notes.md", version=found[0]["id"])
    assert (model["content"], model["type"], model["format"]) == ("# Notes\n", "file", "text")


@pytest.mark.parametrize(
    ("who", "look", "restore"),
    [("participant-1", 200, 200), ("observer-1", 200, 403), ("nobody", 403, 403), ("organiser", 200, 200)],
)
async def test_who_may_look_and_who_may_restore(event: Event, who: str, look: int, restore: int) -> None:
    path = "group-1/work.ipynb"
    endpoint = f"api/collaboration/versions/{path}"
    async with event.browser("organiser") as organiser, event.browser(who) as browser:
        made = await organiser.request("POST", f"api/contents/{path}/checkpoints")
        assert made.status == 201, "a stock checkpoint: nobody opened it as a shared document yet"
        body = {"format": "json", "type": "notebook"}
        await organiser.request("PUT", f"api/collaboration/session/{path}", body=body)
        made = await organiser.request("POST", f"api/contents/{path}/checkpoints")
        version = json.loads(made.body)["id"]
        assert (await browser.request("GET", endpoint)).status == look
        assert (await browser.request("GET", endpoint, params={"version": version})).status == look
        answer = await browser.request("POST", endpoint, body={"version": version})
        assert answer.status == restore, answer.body
        for method in ("PUT", "PATCH", "DELETE"):
            assert (await browser.request(method, endpoint, body={})).status in (403, 405)


# --- while two people type ------------------------------------------------------------------------

Act = Callable[[Fetch, dict[str, Any]], Awaitable[None]]


async def by_rest(jp_fetch: Fetch, first: dict[str, Any]) -> None:
    """A restore of the first version."""
    await call(jp_fetch, "api/collaboration/versions", PATH, method="POST", body={"version": first["id"]})


async def by_checkpoint(jp_fetch: Fetch, first: dict[str, Any]) -> None:
    """JupyterLab's *Revert Notebook to Checkpoint*."""
    listed = await call(jp_fetch, "api/contents", PATH, "checkpoints")
    assert first["id"] in [checkpoint["id"] for checkpoint in listed]
    await jp_fetch("api/contents", PATH, "checkpoints", first["id"], method="POST", body="")


async def by_put(jp_fetch: Fetch, first: dict[str, Any]) -> None:
    """A stock save of the first content by somebody of whom nothing is known."""
    model = await call(jp_fetch, "api/collaboration/versions", PATH, version=first["id"])
    body = {"type": "notebook", "format": "json", "content": model["content"]}
    saved = await jp_fetch(
        "api/contents", PATH, method="PUT", body=json.dumps(body), headers={"User-Agent": "a stranger"}
    )
    assert json.loads(saved.body)["path"] == PATH


@pytest.mark.parametrize("act", [by_rest, by_checkpoint, by_put])
async def test_going_back_loses_nothing_that_is_typed_meanwhile(
    server: Any, jp_fetch: Fetch, notebook: Callable[..., Path], act: Act, jp_base_url: str
) -> None:
    path = notebook(PATH, "x = 1", "y = 2")
    url = f"http://127.0.0.1:{server.port}{jp_base_url}"
    async with typing_people(url, server.identity_provider.token, PATH) as people:
        first = await with_a_version(jp_fetch)
        for _ in range(3):
            await people.typed()
            await act(jp_fetch, first)
            await people.all_see(["x = 1", "y = 2"])
            after = len(people.words)
        await people.typed()
        await people.stop()
        assert people.doubled() == people.missing(after) == []
        # What was typed into a cell that the restore took away at that moment follows as a version.
        await wait_until(lambda: all_found(people, jp_fetch), what="each word is somewhere")
        assert people.shown()[0].startswith("x = 1")
        assert people.shown()[1] == "y = 2"
        await until(lambda: file_sources(path) == people.shown(), "the file follows")


async def all_found(people: TypingPeople, jp_fetch: Fetch) -> bool:
    return not people.unfound(await texts(jp_fetch))


def file_sources(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


async def test_a_stock_save_brings_only_what_its_author_changed_since_the_last_read(
    either_manager: None, server: Any, jp_fetch: Fetch, notebook: Callable[..., Path], jp_base_url: str
) -> None:
    notebook(PATH, "x = 1", "y = 2")
    url = f"http://127.0.0.1:{server.port}{jp_base_url}"
    async with typing_people(url, server.identity_provider.token, PATH) as people:
        await with_a_version(jp_fetch)
        content = (await call(jp_fetch, "api/contents", PATH))["content"]
        for number in range(3):
            await people.typed()
            content["cells"][1]["source"] = f"y = {number + 10}"
            body = {"type": "notebook", "format": "json", "content": content}
            saved = await call(jp_fetch, "api/contents", PATH, method="PUT", body=body)
            assert saved["content"] is None
            looked = await call(jp_fetch, "api/contents", PATH, content="0")
            assert looked["last_modified"] >= saved["last_modified"]
        await people.typed()
        await people.stop()
        assert people.doubled() == people.missing() == []
        assert people.shown()[1] == "y = 12"
        puts = [version for version in await versions(jp_fetch) if version["reason"] == "put"]
        assert len(puts) == 3


async def test_where_a_stock_save_meets_typing_the_typing_stays_and_the_save_is_a_version(
    server: Any, jp_fetch: Fetch, notebook: Callable[..., Path], jp_base_url: str
) -> None:
    notebook(PATH, "x = 1", "y = 2")
    url = f"http://127.0.0.1:{server.port}{jp_base_url}"
    async with typing_people(url, server.identity_provider.token, PATH) as people:
        await with_a_version(jp_fetch)
        content = (await call(jp_fetch, "api/contents", PATH))["content"]
        await people.typed()
        content["cells"][0]["source"] = "everything is different here"
        content["cells"][1]["source"] = "y = 3"
        body = {"type": "notebook", "format": "json", "content": content}
        await call(jp_fetch, "api/contents", PATH, method="PUT", body=body)
        await people.stop()
        assert people.doubled() == people.missing() == []
        assert people.shown()[1] == "y = 3"
        (loser,) = [version for version in await versions(jp_fetch) if version["reason"] == "merge"]
        assert "everything is different here" in await text_of(jp_fetch, loser)
        assert "cell 1" in loser["note"]


# --- checkpoints ----------------------------------------------------------------------------------


async def test_checkpoints_of_a_shared_document_are_versions(
    either_manager: None, server: Any, jp_fetch: Fetch, room: Any, notebook: Callable[..., Path]
) -> None:
    path = notebook(PATH, "x = 1")
    await opened(room)
    first = await with_a_version(jp_fetch)
    made = await call(jp_fetch, "api/contents", PATH, "checkpoints", method="POST")
    assert made["id"] == first["id"], "nothing has changed since"
    content = json.loads(path.read_text())
    content["cells"][0]["source"] = "x = 2"
    body = {"type": "notebook", "format": "json", "content": content}
    await call(jp_fetch, "api/contents", PATH, method="PUT", body=body)
    second = await call(jp_fetch, "api/contents", PATH, "checkpoints", method="POST")
    listed = await call(jp_fetch, "api/contents", PATH, "checkpoints")
    assert [checkpoint["id"] for checkpoint in listed][-1] == second["id"]
    assert set(listed[0]) == {"id", "last_modified"}
    assert (await versions(jp_fetch))[0]["reason"] == "checkpoint"
    await jp_fetch("api/contents", PATH, "checkpoints", first["id"], method="POST", body="")
    assert file_sources(path) == ["x = 1"], "the file holds it when the answer comes"
    status, sentence = await refusal(
        jp_fetch("api/contents", PATH, "checkpoints", first["id"], method="DELETE")
    )
    assert status == 403
    assert "by themselves" in sentence
    status, sentence = await refusal(
        jp_fetch("api/contents", PATH, "checkpoints", "1800000000000-00000000", method="POST", body="")
    )
    assert status == 404


async def test_a_checkpoint_from_before_the_document_was_shared_is_restored_as_edits(
    any_checkpoints: None, server: Any, jp_fetch: Fetch, room: Any, notebook: Callable[..., Path]
) -> None:
    path = notebook(PATH, "x = 1")
    stock = await call(jp_fetch, "api/contents", PATH, "checkpoints", method="POST")
    assert stock["id"] == "checkpoint"
    notebook(PATH, "x = 2")
    await opened(room)
    await with_a_version(jp_fetch)
    listed = await call(jp_fetch, "api/contents", PATH, "checkpoints")
    assert listed[0]["id"] == "checkpoint"
    await jp_fetch("api/contents", PATH, "checkpoints", "checkpoint", method="POST", body="")
    assert file_sources(path) == ["x = 1"]
    assert (await texts(jp_fetch))[0] == "x = 2"
    status, _ = await refusal(
        jp_fetch("api/contents", PATH, "checkpoints", "no-such", method="POST", body="")
    )
    assert status == 404


async def test_files_that_nobody_shares_are_saved_and_restored_as_before(
    either_manager: None,
    server: Any,
    jp_fetch: Fetch,
    notebook: Callable[..., Path],
    jp_root_dir: Path,
) -> None:
    path = notebook(PATH, "x = 1")
    await call(jp_fetch, "api/contents", PATH, "checkpoints", method="POST")
    model = await call(jp_fetch, "api/contents", PATH)
    model["content"]["cells"][0]["source"] = "x = 2"
    body = {"type": "notebook", "format": "json", "content": model["content"]}
    saved = await call(jp_fetch, "api/contents", PATH, method="PUT", body=body)
    assert (saved["name"], file_sources(path)) == (PATH, ["x = 2"])
    assert [c["id"] for c in await call(jp_fetch, "api/contents", PATH, "checkpoints")] == ["checkpoint"]
    await jp_fetch("api/contents", PATH, "checkpoints", "checkpoint", method="POST", body="")
    assert file_sources(path) == ["x = 1"]
    await jp_fetch("api/contents", PATH, "checkpoints", "checkpoint", method="DELETE")
    assert await call(jp_fetch, "api/contents", PATH, "checkpoints") == []
    text = {"type": "file", "format": "text", "content": "new"}
    uploaded = await jp_fetch("api/contents", "notes.txt", method="PUT", body=json.dumps(text))
    assert uploaded.code == 201
    again = await jp_fetch("api/contents", "notes.txt", method="PUT", body=json.dumps(text))
    assert again.code == 200
    assert (jp_root_dir / "notes.txt").read_text() == "new"
    copied = await call(jp_fetch, "api/contents", method="POST", body={"copy_from": PATH})
    assert copied["name"] != PATH
    assert not (jp_root_dir / ".collab").exists(), "no document was opened, so nothing is kept"


async def test_a_save_of_a_shared_document_that_is_closed_is_merged_into_it(
    collab: JupyterCollab, jp_fetch: Fetch, room: Any, notebook: Callable[..., Path]
) -> None:
    """It may be open at another server."""
    path = notebook(PATH, "x = 1")
    content = (await call(jp_fetch, "api/contents", PATH))["content"]
    await call(
        jp_fetch,
        "api/collaboration/session",
        PATH,
        method="PUT",
        body={"format": "json", "type": "notebook"},
    )
    content["cells"][0]["source"] = "x = 2"
    body = {"type": "notebook", "format": "json", "content": content}
    await call(jp_fetch, "api/contents", PATH, method="PUT", body=body)
    assert file_sources(path) == ["x = 2"]
    assert collab.service is not None
    assert collab.service.engine is not None
    document = await collab.service.engine.live_document(KEY)
    assert str(document.get("cells", type=Array)[0]["source"]) == "x = 2"
    assert await texts(jp_fetch) == ["x = 1"]


async def test_before_a_large_upload_in_parts_the_document_is_kept(
    server: Any, jp_fetch: Fetch, room: Any, jp_root_dir: Path
) -> None:
    (jp_root_dir / "notes.md").write_text("before")
    socket = await room("notes.md", "text", "file")
    await read(socket, lambda message: message[:2] == b"\x00\x00")
    for chunk, content in ((1, "one "), (2, "two "), (-1, "three")):
        body = {"type": "file", "format": "text", "content": content, "chunk": chunk}
        await call(jp_fetch, "api/contents", "notes.md", method="PUT", body=body)
    assert (jp_root_dir / "notes.md").read_text() == "one two three"
    listed = await versions(jp_fetch, "notes.md")
    model = await call(jp_fetch, "api/collaboration/versions", "notes.md", version=listed[-1]["id"])
    assert model["content"] == "before"


async def test_versions_follow_a_rename(
    server: Any, jp_fetch: Fetch, room: Any, notebook: Callable[..., Path]
) -> None:
    notebook(PATH, "x = 1")
    await opened(room)
    first = await with_a_version(jp_fetch)
    await jp_fetch("api/contents", PATH, method="PATCH", body=json.dumps({"path": "other.ipynb"}))
    assert first in await versions(jp_fetch, "other.ipynb")


async def test_a_save_that_is_no_notebook_is_refused_and_changes_nothing(
    server: Any, jp_fetch: Fetch, room: Any, notebook: Callable[..., Path]
) -> None:
    path = notebook(PATH, "x = 1")
    await opened(room)
    await with_a_version(jp_fetch)
    for content in ({"cells": 7}, "text", {"cells": [{"cell_type": "code"}], "nbformat": 3}):
        body = {"type": "notebook", "format": "json", "content": content}
        status, _ = await refusal(call(jp_fetch, "api/contents", PATH, method="PUT", body=body))
        assert status == 400
    assert file_sources(path) == ["x = 1"]


# --- what a login last had ------------------------------------------------------------------------


def test_bases_are_bounded_and_the_oldest_go() -> None:
    bases = Bases(Limits(put_bases=3, put_base_bytes=10))
    for number in range(5):
        bases.remember("ann", f"{number}.ipynb", NOTEBOOK, b"12")
    assert len(bases) == 3
    assert bases.last("ann", "0.ipynb", NOTEBOOK) is None
    assert bases.last("ann", "4.ipynb", NOTEBOOK) == b"12"
    assert bases.last("ben", "4.ipynb", NOTEBOOK) is None
    bases.remember("ann", "2.ipynb", NOTEBOOK, b"12345678")
    assert [bases.last("ann", f"{number}.ipynb", NOTEBOOK) for number in (2, 3, 4)] == [
        b"12345678",
        None,
        b"12",
    ]
    bases.remember("ann", "huge.ipynb", NOTEBOOK, b"1" * 11)
    assert len(bases) == 0


def test_a_folder_that_moved_takes_its_bases_away() -> None:
    bases = Bases(Limits())
    bases.remember("ann", "a/x.ipynb", NOTEBOOK, b"1")
    bases.remember("ann", "ab.ipynb", NOTEBOOK, b"1")
    bases.forget("a")
    assert bases.last("ann", "a/x.ipynb", NOTEBOOK) is None
    assert bases.last("ann", "ab.ipynb", NOTEBOOK) == b"1"


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_save_without_a_change_is_no_change(
    server: Any, jp_fetch: Fetch, room: Any, notebook: Callable[..., Path], trusted: bool
) -> None:
    """Also if the manager marks cells as trusted in what it gives out, and joins lines."""
    path = notebook(PATH, "x = 1\ny = 2\n", "import this")
    if trusted:
        server.contents_manager.notary.sign(nbformat.read(path, as_version=4))
    await opened(room)
    await with_a_version(jp_fetch)
    content = (await call(jp_fetch, "api/contents", PATH))["content"]
    assert content["cells"][0]["metadata"].get("trusted", False) in (trusted, True)
    before = path.read_bytes()
    body = {"type": "notebook", "format": "json", "content": content}
    await call(jp_fetch, "api/contents", PATH, method="PUT", body=body)
    await jp_fetch(
        "api/contents", PATH, method="PUT", body=json.dumps(body), headers={"User-Agent": "a stranger"}
    )
    assert len(await versions(jp_fetch)) == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("outcome", "status", "said"),
    [
        (StoreUnavailable("nothing was changed"), 503, "store is away"),
        (LocalDiskFailed("the disk is full"), 507, "nothing was changed"),
        (CorruptRecord("the version is damaged on disk"), 500, "damaged"),
        (NotRestored("somebody else is restoring"), 409, "somebody else"),
        (NotRestored("no such version", missing=True), 404, "no such version"),
    ],
)
async def test_why_nothing_was_restored_is_said_at_each_way_of_going_back(
    collab: JupyterCollab,
    jp_fetch: Fetch,
    room: Any,
    notebook: Callable[..., Path],
    outcome: Exception | NotRestored,
    status: int,
    said: str,
) -> None:
    path = notebook(PATH, "x = 1")
    await opened(room)
    first = await with_a_version(jp_fetch)
    assert collab.service is not None
    assert collab.service.engine is not None

    async def fails(*_: object) -> NotRestored:
        if isinstance(outcome, NotRestored):
            return outcome
        raise outcome

    engine_versions: Any = collab.service.engine.versions
    engine_versions.restore = engine_versions.put = fails
    content = json.loads(path.read_text())
    for call_that_fails in (
        call(jp_fetch, "api/collaboration/versions", PATH, method="POST", body={"version": first["id"]}),
        jp_fetch("api/contents", PATH, "checkpoints", first["id"], method="POST", body=""),
        call(
            jp_fetch,
            "api/contents",
            PATH,
            method="PUT",
            body={"type": "notebook", "format": "json", "content": content},
        ),
    ):
        code, sentence = await refusal(call_that_fails)
        assert code == status
        assert said in sentence
    assert file_sources(path) == ["x = 1"]


async def test_everybody_who_listens_hears_who_restored_what(
    server: Any, jp_fetch: Fetch, room: Any, session: Any, notebook: Callable[..., Path]
) -> None:
    heard: list[dict[str, Any]] = []

    async def listener(logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        heard.append(data)

    server.event_logger.add_listener(schema_id=SESSION, listener=listener)
    path = notebook(PATH, "x = 1")
    await opened(room)
    first = await with_a_version(jp_fetch)
    content = json.loads(path.read_text())
    content["cells"][0]["source"] = "x = 2"
    body = {"type": "notebook", "format": "json", "content": content}
    await call(jp_fetch, "api/contents", PATH, method="PUT", body=body)
    await call(jp_fetch, "api/collaboration/versions", PATH, method="POST", body={"version": first["id"]})

    def told() -> list[dict[str, Any]]:
        return [event for event in heard if "kept as a version" in event.get("msg", "")]

    await until(lambda: len(told()) == 2, "both are heard")
    saved, restored = told()
    assert " saved a whole content over this document; " in saved["msg"]
    assert " restored the version of " in restored["msg"]
    _, names = await session(PATH)
    assert {(event["room"], event["path"], event["level"]) for event in told()} == {
        (f"json:notebook:{names['fileId']}", PATH, "INFO")
    }

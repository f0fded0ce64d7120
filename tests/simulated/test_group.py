"""Clients, people and groups against the plain relay, on good days and bad ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc
from tornado.httpserver import HTTPServer

from benchmarks.floor import application
from jupyter_collab_ext.simulated import Browser, CollabClient, Group, Habits, judge
from jupyter_collab_ext.simulated.notebook_edits import cell_ids, insert_cell, read_document
from tests.support.stock_server import free_port
from tests.support.waiting import wait_until

QUICK = Habits(pace=0.005)
USER: dict[str, object] = {"name": "Ada"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    cell = {"id": "seed", "cell_type": "code", "source": "x = 1\n", "metadata": {}, "outputs": []}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "work.ipynb").write_text(json.dumps(notebook))
    return tmp_path


@pytest.fixture
async def relay(root: Path) -> AsyncIterator[HTTPServer]:
    server = application(root).listen(0, "127.0.0.1")
    yield server
    server.stop()
    await server.close_all_connections()


@pytest.fixture
def browser(relay: HTTPServer) -> Browser:
    (socket,) = relay._sockets.values()
    return Browser(f"http://127.0.0.1:{socket.getsockname()[1]}")


@asynccontextmanager
async def running(client: CollabClient) -> AsyncIterator[CollabClient]:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.run())
        try:
            yield client
        finally:
            await client.close()


async def test_a_group_does_everything_and_ends_in_one_content(browser: Browser) -> None:
    async with Group([browser] * 4, "work.ipynb", seed=1, habits=QUICK) as group:
        await group.until_synced()
        deeds = [person.deeds for person in group.people]
        kinds = ("words", "cells_inserted", "cells_deleted", "cells_moved", "runs")

        def all_done() -> bool:
            return all(sum(getattr(deed, kind) for deed in deeds) for kind in kinds)

        async with asyncio.timeout(60):
            while not all_done() or not group.log.gone:
                await group.work(1)
        await group.until_settled(20)
        joiner = await group.join(browser)
        report = judge(group.log, {str(n): client.doc for n, client in enumerate(group.clients)})
        assert report.right, str(report)
        assert read_document(joiner.doc) == read_document(group.clients[0].doc)
        assert len(deeds) == 3
        assert report.deleted
        assert [client.traffic.faults for client in group.clients] == [[]] * 5


async def test_the_same_seed_writes_the_same(browser: Browser) -> None:
    def written(seed: int) -> list[str]:
        group = Group([browser] * 2, "work.ipynb", seed=seed)
        (person,) = group.people
        for _ in range(400):
            person.press_key()
        person.finish()
        return [word.token for word in group.log.words] + cell_ids(person.client.doc)

    assert written(3) == written(3)
    assert written(3) != written(4)


async def test_edits_made_offline_arrive_after_reconnecting_with_the_same_document(browser: Browser) -> None:
    async with Group([browser] * 2, "work.ipynb", seed=1, watchers=2) as group:
        await group.until_synced()
        one, two = group.clients
        session = one.session
        one.cut()
        await wait_until(lambda: not one.synced, 5, "offline")
        insert_cell(one.doc, 0, "offline")
        insert_cell(two.doc, 0, "meanwhile")
        await group.until_settled(20)
        assert {"offline", "meanwhile", "seed"} == set(cell_ids(two.doc))
        assert one.session == session
        assert one.traffic.connections == 2
        assert [close.code for close in one.closes] == [1006]
        assert one.reloads_forced == 0


async def test_a_client_waits_for_a_server_that_is_not_there(root: Path) -> None:
    port = free_port()
    client = CollabClient(Browser(f"http://127.0.0.1:{port}"), "work.ipynb", user=USER)
    async with running(client):
        await wait_until(lambda: len(client.closes) >= 2, 10, "two tries")
        server = application(root).listen(port, "127.0.0.1")
        await client.until_synced(10)
        assert cell_ids(client.doc) == ["seed"]
        server.stop()


async def test_awareness_of_all_is_seen_by_all(browser: Browser) -> None:
    async with Group([browser] * 3, "work.ipynb", seed=1) as group:
        await group.until_synced()
        group.clients[0].set_awareness("cursors", [])
        await wait_until(
            lambda: all(
                client.peers.get(group.clients[0].doc.client_id, {}).get("cursors") == []
                for client in group.clients
            ),
            5,
            "everybody sees the caret",
        )


async def test_a_save_that_nobody_answers_times_out(browser: Browser) -> None:
    client = CollabClient(browser, "work.ipynb", user=USER)
    with pytest.raises(ConnectionError):
        await client.save()
    async with running(client):
        await client.until_synced(5)
        with pytest.raises(TimeoutError):
            await client.save(within=0.2)


async def test_waiting_says_what_is_missing(browser: Browser) -> None:
    async with Group([browser] * 2, "work.ipynb", seed=1) as group:
        await group.until_synced()
        group.log.wrote("t0x9999q", 0, 0.0)
        with pytest.raises(TimeoutError, match="t0x9999q"):
            await group.until_settled(0.3)


async def test_edits_of_others_are_not_sent_back(browser: Browser) -> None:
    async with Group([browser] * 2, "work.ipynb", seed=1, watchers=2) as group:
        await group.until_synced()
        one, two = group.clients
        await group.until_settled(5)
        before = two.sync_frames_sent
        insert_cell(one.doc, 0, "news")
        await group.until_settled(5)
        assert "news" in cell_ids(two.doc)
        assert two.sync_frames_sent == before


def test_a_document_of_a_client_is_its_own() -> None:
    clients = [CollabClient(Browser("http://127.0.0.1:1"), "x", user=USER) for _ in range(2)]
    docs: list[Doc[Any]] = [client.doc for client in clients]
    assert docs[0].client_id != docs[1].client_id

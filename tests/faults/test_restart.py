"""kill -9 while people type: they come back with the same session, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio

from jupyter_collab_ext.simulated import Group, Habits
from tests.support.servers import RealServer, judged
from tests.support.waiting import wait_until

HABITS = Habits(pace=0.1)


async def _killed_while_typing(server: RealServer, group: Group, seconds: float) -> None:
    async def kill() -> None:
        await wait_until(lambda: len(group.log.words) >= 6, 60, "people have begun to write")
        await server.restart_after_kill()

    await asyncio.gather(group.work(seconds), kill())
    await group.until_synced()


async def _valkey_killed_while_typing(server: RealServer, group: Group) -> None:
    await wait_until(lambda: server.valkey() is not None, 30, "a Valkey is there")
    words = len(group.log.words)
    await wait_until(lambda: len(group.log.words) >= words + 6, 60, "people write")
    killed = server.kill_valkey()
    await wait_until(
        lambda: (now := server.valkey()) is not None and now.pid != killed, 30, "a new Valkey is there"
    )


async def test_kill_9_of_the_server(server: RealServer, seconds: float, kills: int) -> None:
    server.write_notebook("work.ipynb")
    async with Group([server.browser()] * 7, "work.ipynb", seed=11, habits=HABITS) as group:
        await group.until_synced()
        sessions = [client.session for client in group.clients]
        for _ in range(kills):
            await _killed_while_typing(server, group, seconds)
        report = await judged(server, group)
        print(report)
        assert report.right, str(report)
        assert [client.session for client in group.clients[: len(sessions)]] == sessions
        assert sum(client.reloads_forced for client in group.clients) == 0
        assert all(client.traffic.connections > 1 for client in group.clients[:7])


async def test_kill_9_of_the_embedded_valkey(server: RealServer, seconds: float, kills: int) -> None:
    server.write_notebook("work.ipynb")
    async with Group([server.browser()] * 7, "work.ipynb", seed=12, habits=HABITS) as group:
        await group.until_synced()

        async def kill() -> None:
            for _ in range(kills):
                await _valkey_killed_while_typing(server, group)

        await asyncio.gather(group.work(max(seconds, 8.0 * kills)), kill())
        report = await judged(server, group)
        print(report)
        assert report.right, str(report)
        assert sum(client.reloads_forced for client in group.clients) == 0
        # a short pause at most: nobody was even disconnected
        assert all(client.traffic.connections == 1 for client in group.clients)


async def test_kill_9_of_both_and_nobody_comes_back(server: RealServer, seconds: float) -> None:
    server.write_notebook("work.ipynb")
    people = Group([server.browser()] * 7, "work.ipynb", seed=13, habits=HABITS, wants=("stored",))
    async with people as group:
        await group.until_synced()
        await group.work(seconds)
        await group.until_stored(30)
        log = group.log
        server.kill_valkey()
        await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    async with Group([server.browser()], "work.ipynb", seed=14) as later:
        await later.until_synced()
        later.log = log
        report = await judged(server, later)
        print(report)
        assert report.right, str(report)


async def test_the_embedded_valkey_ends_with_the_killed_server(server: RealServer) -> None:
    await wait_until(lambda: server.valkey() is not None, 30, "a Valkey is there")
    await asyncio.to_thread(server.kill)
    await wait_until(lambda: server.valkey() is None, 10, "the Valkey is gone")

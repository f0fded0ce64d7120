"""The load of one benchmark round, in a process of its own so that it can't slow the server's loop.

Reads a ``LoadOrder`` as one line of JSON, joins, prints ``ready``; a line on standard input starts
the work; the results are printed as one line of JSON. It reports its own loop's lag: a slow client
must not be taken for a slow server.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from jupyter_collab_ext.simulated import TYPING_ONLY, Browser, CollabClient, Group, Habits, Person, judge
from jupyter_collab_ext.simulated.frames import decode_state_vector
from jupyter_collab_ext.simulated.notebook_edits import CellContent, read_notebook
from jupyter_collab_ext.simulated.oracle import Report

LAG_PROBE = 0.01
SETTLE_WITHIN = 60.0
FILE_WITHIN = 20.0
"""Seconds of quiet after which a file that still lacks words is reported so."""


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """What to do. ``paths``: one notebook for each group; ``root``: where their files are, or empty
    when the server saves none; ``pace``: seconds between keys of one person; ``typing_only``: no
    cells inserted, moved, deleted or run."""

    url: str
    token: str | None
    root: str
    paths: tuple[str, ...]
    clients: int
    watchers: int
    seconds: float
    pace: float
    seed: int
    typing_only: bool = False


@dataclass(slots=True)
class LoadResult:
    """What happened. Latencies are milliseconds from just before a key is written to the moment it is
    in another client's document; one sample for each key and reader."""

    latencies: list[float]
    lags: list[float]
    keys: int
    runs: int
    cells_moved: int
    words: int
    lost: int
    doubled: int
    wrong_copies: list[str]
    missing_on_disk: int
    join_seconds: float
    settle_seconds: float
    reloads_forced: int
    reconnects: int
    faults: list[str]
    frames_received: int
    bytes_received: int


class LatencyProbe:
    """Measures one group. A key is visible for a reader once the reader's document has the clock that
    the key used; deletions use none and are not measured."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.measuring = True
        """Off once all have settled: a late joiner gets everything at once, long after it was typed."""
        self._keys: dict[int, list[tuple[int, float]]] = defaultdict(list)
        self._seen: dict[tuple[int, int], int] = defaultdict(int)

    def key_pressed(self, person: Person) -> None:
        """``person`` is about to edit."""
        id = person.client.doc.client_id
        clock = decode_state_vector(person.client.doc.get_state()).get(id, 0)
        keys = self._keys[id]
        if keys and keys[-1][0] == clock:
            keys.pop()  # the last edit was a deletion: nobody can have seen a clock of it
        keys.append((clock, time.perf_counter()))

    def document_changed(self, reader: CollabClient) -> None:
        """``reader`` has applied something."""
        if not self.measuring:
            return
        now = time.perf_counter()
        own = reader.doc.client_id
        vector = decode_state_vector(reader.doc.get_state())
        for writer, keys in self._keys.items():
            if writer == own:
                continue
            at, clock = self._seen[own, writer], vector.get(writer, 0)
            while at < len(keys) and keys[at][0] < clock:
                self.latencies.append((now - keys[at][1]) * 1000)
                at += 1
            self._seen[own, writer] = at


async def measure_lag(lags: list[float]) -> None:
    """Append how much later than asked this loop wakes up, in ms, until cancelled."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(LAG_PROBE)
        lags.append((time.perf_counter() - before - LAG_PROBE) * 1000)


async def carry_out(order: LoadOrder) -> LoadResult:
    """Join, wait for the start line, work, settle, judge."""
    probes = [LatencyProbe() for _ in order.paths]
    browsers = [Browser(order.url, token=order.token) for _ in range(order.clients)]
    typing = TYPING_ONLY if order.typing_only else Habits()
    habits = Habits(**{**asdict(typing), "pace": order.pace})
    groups = [
        Group(
            browsers,
            path,
            seed=order.seed + number,
            watchers=order.watchers,
            habits=habits,
            on_remote=probe.document_changed,
            on_key=probe.key_pressed,
        )
        for number, (path, probe) in enumerate(zip(order.paths, probes, strict=True))
    ]
    async with AsyncExitStack() as stack:
        before = time.perf_counter()
        for group in groups:
            await stack.enter_async_context(group)
        async with asyncio.TaskGroup() as joining:
            for group in groups:
                joining.create_task(group.until_synced())
        joined = time.perf_counter() - before
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        lags: list[float] = []
        async with asyncio.TaskGroup() as working:
            probing = working.create_task(measure_lag(lags))
            async with asyncio.TaskGroup() as writing:
                for group in groups:
                    writing.create_task(group.work(order.seconds))
            probing.cancel()
        print("worked", flush=True)
        before = time.perf_counter()
        async with asyncio.TaskGroup() as settling:
            for group in groups:
                settling.create_task(_settle(group))
        settled = time.perf_counter() - before
        for probe in probes:
            probe.measuring = False
        reports = [await _judge(group, browsers[0]) for group in groups]
        missing = await _missing_on_disk(order, groups)
        for browser in browsers:
            browser.close()
        return _result(groups, probes, lags, reports, missing, joined, settled)


async def _settle(group: Group) -> None:
    try:
        await group.until_settled(SETTLE_WITHIN)
    except TimeoutError as error:
        # not the end: the oracle reports below what is missing where
        print(error, file=sys.stderr)


async def _judge(group: Group, browser: Browser) -> Report:
    copies = {f"client {number}": client.doc for number, client in enumerate(group.clients)}
    try:
        copies["fresh joiner"] = (await group.join(browser)).doc
    except (TimeoutError, ConnectionError) as error:
        print(f"fresh joiner: {error}", file=sys.stderr)
    return judge(group.log, copies)


async def _missing_on_disk(order: LoadOrder, groups: list[Group]) -> int:
    """Standing words that are not in the files after ``FILE_WITHIN`` seconds of quiet."""
    if not order.root:
        return 0
    missing = len(groups)
    deadline = time.perf_counter() + FILE_WITHIN
    while missing and time.perf_counter() < deadline:
        await asyncio.sleep(0.2)
        missing = 0
        for group in groups:
            text = await asyncio.to_thread((Path(order.root) / group.path).read_text)
            missing += len(group.log.missing(_cells(text)))
    return missing


def _cells(text: str) -> list[CellContent]:
    """The cells of a file; none of a torn one, which a server that writes in place shows now and then."""
    try:
        return read_notebook(json.loads(text))
    except ValueError:
        return []


def _result(
    groups: list[Group],
    probes: list[LatencyProbe],
    lags: list[float],
    reports: list[Report],
    missing: int,
    joined: float,
    settled: float,
) -> LoadResult:
    clients = list(chain.from_iterable(group.clients for group in groups))
    deeds = [person.deeds for group in groups for person in group.people]
    return LoadResult(
        latencies=[sample for probe in probes for sample in probe.latencies],
        lags=lags,
        keys=sum(deed.keys for deed in deeds),
        runs=sum(deed.runs for deed in deeds),
        cells_moved=sum(deed.cells_moved for deed in deeds),
        words=sum(report.written for report in reports),
        lost=sum(len(report.lost()) for report in reports),
        doubled=sum(len(report.doubled()) for report in reports),
        wrong_copies=[str(report) for report in reports if not report.right],
        missing_on_disk=missing,
        join_seconds=joined,
        settle_seconds=settled,
        reloads_forced=sum(client.reloads_forced for client in clients),
        reconnects=sum(max(0, client.traffic.connections - 1) for client in clients),
        faults=[fault for client in clients for fault in client.traffic.faults],
        frames_received=sum(client.traffic.received_frames for client in clients),
        bytes_received=sum(client.traffic.received_bytes for client in clients),
    )


def main() -> None:
    """One round."""
    order = LoadOrder(**json.loads(sys.stdin.readline()))
    print(json.dumps(asdict(asyncio.run(carry_out(order)))), flush=True)


if __name__ == "__main__":
    main()

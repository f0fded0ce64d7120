"""``python -m benchmarks.store``: what the update store costs on the embedded Valkey, by itself.

Appends arrive at a fixed rate and go as the engine sends them: one call in flight, whose batch is all that
came meanwhile. Besides: many documents at once, loading, and compacting. Figures are JSON in ``results/``.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
import time
from collections.abc import Awaitable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pycrdt import Doc, Text

from benchmarks.figures import machine, spread, write_results
from notebook_sync.adapters.embedded_valkey import EmbeddedValkey
from notebook_sync.adapters.redis_connection import connect
from notebook_sync.adapters.redis_store import RedisUpdateStore
from notebook_sync.core.ids import DocumentId, Generation, Lineage, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import Appended, Batch, Compacted, Loaded

NODE, L, G = NodeId("a" * 16), Lineage("1" * 32), Generation("2" * 32)
LIMITS = Limits()
SECONDS = 5.0


async def new_document(store: RedisUpdateStore, seed: bytes = b"\x00\x00") -> DocumentId:
    document = DocumentId(secrets.token_hex(16))
    await store.reserve(document, L)
    assert await store.seed(document, L, G, seed)
    return document


async def group_commit(store: RedisUpdateStore, rate: int) -> dict[str, Any]:
    """``rate`` updates of 40 bytes a second into one document, for ``SECONDS``."""
    document = await new_document(store)
    waiting: list[tuple[float, bytes]] = []
    delays: list[float] = []
    batches = sent = 0
    done = False
    arrived = asyncio.Event()

    async def produce() -> None:
        nonlocal sent, done
        start = time.perf_counter()
        while (elapsed := time.perf_counter() - start) < SECONDS:
            due = int(elapsed * rate)
            waiting.extend((time.perf_counter(), bytes(40)) for _ in range(due - sent))
            sent = max(sent, due)
            arrived.set()
            await asyncio.sleep(1 / min(rate, 1000))
        done = True
        arrived.set()

    async def commit() -> None:
        nonlocal batches
        while not (done and not waiting):
            if not waiting:
                arrived.clear()
                await arrived.wait()
                continue
            taken, waiting[:] = waiting[: LIMITS.append_batch_updates], waiting[LIMITS.append_batch_updates :]
            batches += 1
            answer = await store.append(document, Batch(L, G, NODE, batches, tuple(u for _, u in taken)))
            assert isinstance(answer, Appended)
            now = time.perf_counter()
            delays.extend((now - since) * 1000 for since, _ in taken)

    cpu = time.process_time()
    await asyncio.gather(produce(), commit())
    used = time.process_time() - cpu
    return {
        "updates": sent,
        "updates_per_batch": round(sent / batches, 2),
        "delay_ms": spread(delays),
        "client_cpu_us_per_update": round(used / sent * 1e6, 1),
    }


async def timed(work: Awaitable[object]) -> float:
    """Milliseconds that it takes."""
    start = time.perf_counter()
    await work
    return (time.perf_counter() - start) * 1000


async def single(store: RedisUpdateStore, documents: int, seconds: float = 3.0) -> dict[str, Any]:
    """As many appends of one update as will go, one in flight for each of so many documents."""
    ids = [await new_document(store) for _ in range(documents)]
    end = time.perf_counter() + seconds
    delays: list[float] = []

    async def write(document: DocumentId) -> None:
        number = 0
        while time.perf_counter() < end:
            number += 1
            batch = Batch(L, G, NODE, number, (bytes(40),))
            delays.append(await timed(store.append(document, batch)))

    cpu = time.process_time()
    await asyncio.gather(*(write(document) for document in ids))
    used = time.process_time() - cpu
    return {
        "appends_per_second": round(len(delays) / seconds),
        "delay_ms": spread(delays),
        "client_cpu_us_per_append": round(used / len(delays) * 1e6, 1),
    }


async def long_log(store: RedisUpdateStore, entries: int) -> dict[str, Any]:
    """Loading and compacting a document whose log has so many keystrokes."""
    doc: Doc[Any] = Doc()
    text = doc.get("t", type=Text)
    document = await new_document(store)
    for number in range(1, entries + 1):
        before = doc.get_state()
        text += "x"
        await store.append(document, Batch(L, G, NODE, number, (doc.get_update(before),)))
    load = await timed(store.load(document))
    start = time.perf_counter()
    assert await store.compact(document) == Compacted(entries)
    compact = (time.perf_counter() - start) * 1000
    after = await timed(store.load(document))
    loaded = await store.load(document)
    assert isinstance(loaded, Loaded)
    return {
        "load_ms": round(load, 1),
        "compact_ms": round(compact, 1),
        "load_compacted_ms": round(after, 1),
        "snapshot_bytes": len(loaded.snapshot),
    }


async def big_snapshot(store: RedisUpdateStore, size: int) -> dict[str, Any]:
    """Seeding and loading a big document, and how long another caller waits for an append meanwhile."""
    other = await new_document(store)
    waits: list[float] = []
    done = False

    async def meanwhile() -> None:
        number = 0
        while not done:
            number += 1
            batch = Batch(L, G, NODE, number, (bytes(40),))
            waits.append(await timed(store.append(other, batch)))
            await asyncio.sleep(0.001)

    async def work() -> tuple[float, float]:
        nonlocal done
        snapshot = secrets.token_bytes(size)
        start = time.perf_counter()
        document = await new_document(store, snapshot)
        seeded = time.perf_counter()
        await store.load(document)
        end = time.perf_counter()
        done = True
        return (seeded - start) * 1000, (end - seeded) * 1000

    (seed, load), _ = await asyncio.gather(work(), meanwhile())
    return {"seed_ms": round(seed, 1), "load_ms": round(load, 1), "others_wait_ms": spread(waits)}


async def measure() -> dict[str, object]:
    """All of it, on a fresh embedded Valkey."""
    with (
        tempfile.TemporaryDirectory(prefix="b") as state,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor,
    ):
        async with EmbeddedValkey(Path(state), LIMITS) as embedded:
            redis = await connect(embedded.url, LIMITS)
            store = RedisUpdateStore(redis, "bench", LIMITS, executor)
            results: dict[str, object] = {"machine": machine()}
            for rate in (50, 500, 5000):
                results[f"group commit, {rate}/s"] = await group_commit(store, rate)
            for documents in (1, 10, 70):
                results[f"single appends, {documents} documents"] = await single(store, documents)
            for entries in (500, 5000):
                results[f"log of {entries}"] = await long_log(store, entries)
            results["snapshot of 50 MB"] = await big_snapshot(store, 50_000_000)
            await redis.aclose()
        return results


def main() -> None:
    """Measure, print, keep."""
    results = asyncio.run(measure())
    print(json.dumps(results, indent=1))
    print(write_results("store", results))


if __name__ == "__main__":
    main()

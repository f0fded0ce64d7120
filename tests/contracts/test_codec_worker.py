"""The codec's worker process: it dies, hangs, starts again, and never stalls the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from notebook_sync.adapters.notebook_codec import NotebookCodec
from notebook_sync.adapters.worker_process import WorkerDied, WorkerProcess, WorkerTooSlow
from notebook_sync.core.errors import CollabError, InvariantBroken, RoomError, UnreadableDocument
from notebook_sync.core.ids import NOTEBOOK
from notebook_sync.core.limits import Limits
from tests.support.notebooks import code, file_of, notebook, state_of, stream
from tests.support.waiting import eventually
from tests.support.worker_tasks import (
    die,
    die_the_first_time,
    fail_ours,
    fail_strangely,
    hang,
    modules,
    panic,
    priority,
    talk,
    variables,
    wait_a_little,
)

SMALL = notebook(code("a", "x = 1"))


@pytest_asyncio.fixture
async def codec() -> AsyncIterator[NotebookCodec]:
    async with NotebookCodec(Limits()) as started:
        yield started


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    started = WorkerProcess(timeout=30)
    yield started
    started.shutdown()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- the process ---------------------------------------------------------------------------------


def test_answers_in_another_process_that_is_nice(worker: WorkerProcess) -> None:
    pid = worker.submit(os.getpid).result()
    assert pid == worker.pid != os.getpid()
    assert worker.submit(priority).result() == min(19, os.nice(0) + 5)


def test_is_given_no_secrets_and_no_main_script(
    worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "secret")
    monkeypatch.setenv("JUPYTER_COLLAB_REDIS_URL", "redis://:secret@host")
    given = worker.submit(variables).result()
    assert not [name for name in given if name.startswith("JUPYTER")]
    assert "secret" not in str(given)
    loaded = worker.submit(modules).result()
    assert not loaded & {"__mp_main__", "nbformat", "jupyter_server", "tornado", "redis"}


def test_what_a_library_prints_does_not_garble_answers(worker: WorkerProcess) -> None:
    assert [worker.submit(talk).result() for _ in range(3)] == ["answer"] * 3


def test_a_dead_worker_fails_one_call_and_is_replaced(worker: WorkerProcess) -> None:
    dying, next_one = worker.submit(die), worker.submit(os.getpid)
    with pytest.raises(WorkerDied, match="during die"):
        dying.result()
    assert is_alive(next_one.result())


def test_an_endless_call_is_ended() -> None:
    worker = WorkerProcess(timeout=0.3)
    try:
        with pytest.raises(WorkerTooSlow, match=r"hang was ended after 0\.3 s"):
            worker.submit(hang).result()
        assert worker.submit(len, "abc").result() == 3
    finally:
        worker.shutdown()


def test_errors_come_back_as_what_they_are(worker: WorkerProcess) -> None:
    with pytest.raises(InvariantBroken, match="ours"):
        worker.submit(fail_ours).result()
    with pytest.raises(RoomError, match="Unpicklable: what happened"):
        worker.submit(fail_strangely).result()
    with pytest.raises(RoomError, match="PanicException"):
        worker.submit(panic).result()
    assert worker.submit(len, "abc").result() == 3


def test_shutdown_ends_the_process_and_may_be_repeated() -> None:
    worker = WorkerProcess(timeout=30)
    pid = worker.submit(os.getpid).result()
    worker.shutdown()
    assert not is_alive(pid)
    worker.shutdown()
    with pytest.raises(RuntimeError):
        worker.submit(os.getpid)


def test_shutdown_may_cancel_what_waits() -> None:
    worker = WorkerProcess(timeout=30)
    running = worker.submit(wait_a_little)
    waiting = [worker.submit(os.getpid) for _ in range(3)]
    worker.shutdown(cancel_futures=True)
    assert running.done()
    assert waiting[-1].cancelled()
    assert worker.pid is None


def test_it_ends_with_the_process_that_started_it() -> None:
    """However that dies: the worker reads the end of its pipe."""
    script = (
        "import os, signal, sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        "from notebook_sync.adapters.worker_process import WorkerProcess\n"
        "print(WorkerProcess(30).submit(os.getpid).result(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    pid = int(ended.stdout)
    eventually(lambda: not is_alive(pid) or _is_zombie(pid), timeout=10, what="the end of the worker")


def _is_zombie(pid: int) -> bool:
    """Gone but for its entry, where nobody collects orphans."""
    with contextlib.suppress(OSError):
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    return False


# --- the codec over it ---------------------------------------------------------------------------


async def test_a_call_whose_worker_dies_is_made_again(codec: NotebookCodec) -> None:
    state = await codec.seed(NOTEBOOK, file_of(SMALL), trusted=True)
    for _ in range(3):
        pid = codec.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        rendered = await codec.render(NOTEBOOK, state)
        assert b"x = 1" in rendered.data
        assert codec.worker_pid != pid


async def test_a_document_that_kills_the_worker_twice_is_its_rooms_error(codec: NotebookCodec) -> None:
    bad = codec._call(die)
    state = state_of(SMALL)
    good = codec.render(NOTEBOOK, state)
    outcomes = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(outcomes[0], RoomError)
    assert "twice" in str(outcomes[0])
    assert not isinstance(outcomes[1], BaseException)


async def test_the_second_try_counts(codec: NotebookCodec, tmp_path: Path) -> None:
    assert await codec._call(die_the_first_time, str(tmp_path / "mark")) == "done"


async def test_others_may_use_the_process(codec: NotebookCodec) -> None:
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(codec.executor, os.getpid) == codec.worker_pid
    assert codec.worker_pid is not None
    os.kill(codec.worker_pid, signal.SIGKILL)
    with pytest.raises(CollabError):
        await loop.run_in_executor(codec.executor, os.getpid)
    assert await loop.run_in_executor(codec.executor, os.getpid) == codec.worker_pid


async def test_a_cancelled_call_leaves_the_codec_usable(codec: NotebookCodec) -> None:
    state = state_of(SMALL)
    for _ in range(5):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await codec.render(NOTEBOOK, state)
    assert b"x = 1" in (await codec.render(NOTEBOOK, state)).data


async def test_errors_for_people_cross_over(codec: NotebookCodec) -> None:
    with pytest.raises(UnreadableDocument, match="not valid JSON"):
        await codec.seed(NOTEBOOK, b"{", trusted=False)


async def test_a_slow_document_is_given_up(codec: NotebookCodec) -> None:
    async with NotebookCodec(replace(Limits(), codec_timeout=0.05)) as impatient:
        big = file_of(
            notebook(*(code(f"c{number}", "x\n" * 500, stream("y\n" * 5000)) for number in range(500)))
        )
        with pytest.raises(RoomError, match="was ended after"):
            await impatient.seed(NOTEBOOK, big, trusted=True)


async def test_a_big_notebook_does_not_stall_the_event_loop(codec: NotebookCodec) -> None:
    outputs = [stream("0123456789" * 2000) for _ in range(2)]
    content = notebook(*(code(f"c{number}", "x = 1\n" * 20, *outputs) for number in range(250)))
    state = state_of(content)
    assert len(state) > 9_000_000
    loop = asyncio.get_running_loop()
    stalls: list[float] = []
    ticking = loop.call_soon(lambda: None)

    def tick(due: float) -> None:
        nonlocal ticking
        stalls.append(loop.time() - due)
        ticking = loop.call_later(0.002, tick, loop.time() + 0.002)

    tick(loop.time())
    started = loop.time()
    rendered = await codec.render(NOTEBOOK, state)
    took = loop.time() - started
    ticking.cancel()
    assert len(rendered.data) > 9_000_000
    assert len(stalls) > 10
    # On the loop itself the call would be one stall, as long as it takes; a busy machine slows both.
    assert max(stalls) < took / 2

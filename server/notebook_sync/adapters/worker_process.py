"""One worker process behind the interface of an executor.

The CRDT library and the JSON encoder hold the interpreter lock for as long as they run, so a thread
would stall the event loop; a process does not. This is a plain child process that is spoken to over
its pipes, not a ``ProcessPoolExecutor``:

- a spawned pool worker runs the main script again, which for ``jupyter lab`` means to import all of
  JupyterLab before the first call; and it keeps a second process as resource tracker;
- it takes one call at a time, so a call that kills the worker fails alone (a broken pool fails
  all that wait);
- a call that never ends can be ended;
- it ends by itself when this process dies, however that dies, and Ctrl-C does not reach it, so the
  last save can still be made.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, BinaryIO, ParamSpec, TypeVar

from notebook_sync.core.errors import CollabError, RoomError

P = ParamSpec("P")
T = TypeVar("T")

_NICENESS = 5
_LENGTH_BYTES = 8
_STOP_PATIENCE = 5.0
_APART = 64 * 1024
"""Byte strings from this length on are sent beside the pickle."""
_KEPT_VARIABLES = ("HOME", "LANG", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
_KEPT_PREFIXES = ("LC_", "PYTHON", "DYLD_")
"""The worker is given no other variables: it needs no token and no password."""

_BOOT = f"""
import json, sys
sys.path[:] = json.loads(sys.stdin.buffer.readline())
from {__name__} import serve
serve()
"""


class WorkerDied(RoomError):
    """The worker process ended during a call; the next call gets a new one."""


class WorkerTooSlow(RoomError):
    """A call took longer than allowed and was ended with its worker."""


class WorkerProcess(Executor):
    """An executor of one process, started at the first call (or by ``start``) and again after its death.

    Functions must be importable, arguments and results picklable. A call raises what the function
    raised; ``WorkerDied`` or ``WorkerTooSlow`` (after ``timeout`` seconds) when the process ended.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="codec-worker")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while there is a process."""
        process = self._process
        return process.pid if process is not None else None

    def start(self) -> Future[None]:
        """Start the process ahead of the first call."""
        return self._thread.submit(self._start)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._thread.submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Finish (or cancel) the calls in the queue, then end the process."""
        with contextlib.suppress(RuntimeError):  # a second shutdown: the thread takes nothing any more
            self._thread.submit(self._stop) if not cancel_futures else None
        self._thread.shutdown(wait=wait, cancel_futures=cancel_futures)
        if cancel_futures and wait:
            self._stop()

    # All below runs in the one thread.

    def _start(self) -> None:
        if self._process is not None:
            return
        variables = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIXES)
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=variables,
            start_new_session=True,
        )
        to_worker = self._pipes(self._process)[0]
        to_worker.write(json.dumps([entry for entry in sys.path if isinstance(entry, str)]).encode() + b"\n")

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        request = _pack((fn, args, kwargs))
        late = threading.Event()
        try:
            self._start()
            process = self._process
            assert process is not None
            timer = threading.Timer(self._timeout, _end, (process, late))
            timer.daemon = True
            timer.start()
            try:
                ok, value = self._exchange(process, request)
            finally:
                timer.cancel()
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            self._stop(kill=True)
            if late.is_set():
                raise WorkerTooSlow(f"{fn.__name__} was ended after {self._timeout:g} s") from None
            raise WorkerDied(f"the worker process ended during {fn.__name__} ({error})") from None
        if ok:
            return value
        raise value

    def _exchange(self, process: subprocess.Popen[bytes], request: Message) -> tuple[bool, Any]:
        to_worker, from_worker = self._pipes(process)
        _send(to_worker, request)
        ok, value = _unpack(_receive(from_worker))
        return ok, value

    @staticmethod
    def _pipes(process: subprocess.Popen[bytes]) -> tuple[BinaryIO, BinaryIO]:
        assert process.stdin is not None
        assert process.stdout is not None
        return process.stdin, process.stdout  # type: ignore[return-value]  # typed as IO[bytes]

    def _stop(self, kill: bool = False) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in self._pipes(process):
            with contextlib.suppress(OSError):
                pipe.close()
        if kill:
            process.kill()
        try:
            process.wait(_STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


# --- messages ------------------------------------------------------------------------------------

Message = list[bytes]
"""A pickle, then the long byte strings that it refers to: pickling those too would copy each of them
twice on either side, with the interpreter lock held."""


class _Pickler(pickle.Pickler):
    def __init__(self, file: BinaryIO, apart: Message) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._apart = apart

    def persistent_id(self, obj: Any) -> int | None:
        if type(obj) is not bytes or len(obj) < _APART:
            return None
        self._apart.append(obj)
        return len(self._apart) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, apart: Message) -> None:
        super().__init__(file)
        self._apart = apart

    def persistent_load(self, pid: Any) -> bytes:
        part: bytes = self._apart[pid]
        return part


def _pack(value: object) -> Message:
    pickled = io.BytesIO()
    apart: Message = []
    _Pickler(pickled, apart).dump(value)
    return [pickled.getvalue(), *apart]


def _unpack(message: Message) -> Any:
    return _Unpickler(io.BytesIO(message[0]), message[1:]).load()


def _send(pipe: BinaryIO, message: Message) -> None:
    pipe.write(len(message).to_bytes(_LENGTH_BYTES, "big"))
    for part in message:
        pipe.write(len(part).to_bytes(_LENGTH_BYTES, "big"))
        pipe.write(part)
    pipe.flush()


def _receive(pipe: BinaryIO) -> Message:
    return [_read(pipe, _length(pipe)) for _ in range(_length(pipe))]


def _length(pipe: BinaryIO) -> int:
    return int.from_bytes(_read(pipe, _LENGTH_BYTES), "big")


def _read(pipe: BinaryIO, length: int) -> bytes:
    data: bytes = pipe.read(length)
    if len(data) < length:
        raise EOFError("its pipe closed")
    return data


# --- the other side ------------------------------------------------------------------------------


def serve() -> None:
    """Answer calls until the pipe closes. The worker's main function."""
    os.nice(_NICENESS)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    requests = sys.stdin.buffer
    while True:
        try:
            request = _receive(requests)
        except EOFError:
            return
        try:
            _send(answers, _answer(request))
        except BrokenPipeError:
            return


def _answer(request: Message) -> Message:
    try:
        fn, args, kwargs = _unpack(request)
        return _pack((True, fn(*args, **kwargs)))
    except CollabError as error:
        return _failure(error)
    except BaseException as error:  # noqa: BLE001 - the caller gets it; a panic of the CRDT library is no Exception
        return _failure(RoomError(f"{type(error).__name__}: {error}"))


def _failure(error: Exception) -> Message:
    try:
        answer = _pack((False, error))
        _unpack(answer)
    except Exception:  # noqa: BLE001 - whatever an error's own pickling does wrong, its text still arrives
        answer = _pack((False, RoomError(str(error))))
    return answer

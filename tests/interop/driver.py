"""The test's end of a client that runs as a process in its own environment."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

DRIVERS = Path(__file__).parent / "drivers"

CALL_TIMEOUT = 60.0
"""Seconds a call into a client may take."""


class ClientFailed(AssertionError):
    """The client raised, ended or did not answer; the message holds what it said."""


class Driver:
    """A client process that answers calls; ``with`` starts and ends it."""

    def __init__(self, command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None) -> None:
        self._command = list(command)
        self._log = log
        self._environ = {**os.environ, **(environ or {})}
        self._answers: queue.Queue[str] = queue.Queue()

    def call(self, name: str, /, *, timeout: float = CALL_TIMEOUT, **arguments: object) -> Any:
        """What the client answers; arguments and answer are JSON values.

        Raises ClientFailed with the client's own traceback or the end of its log.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"call": name, "with": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=timeout)
        except (BrokenPipeError, queue.Empty) as silence:
            raise ClientFailed(f"{name}: no answer\n{self._tail()}") from silence
        if not line:
            raise ClientFailed(f"{name}: the client ended\n{self._tail()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ClientFailed(f"{name}: {answer['error']}\n{self._tail()}")
        return answer["answer"]

    def __enter__(self) -> Driver:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True, encoding="utf-8",
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended already, which is what closing asks for
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""

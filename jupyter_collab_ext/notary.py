"""Trust in notebooks: Jupyter's own signatures, for the engine's files.

A trusted notebook's outputs may run scripts in the browser. Jupyter signs a notebook's content when
every cell was run or trusted by the server's user; the engine asks and signs with the same notary, so
a notebook that was trusted before stays so, and one that came from elsewhere does not become so.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import nbformat
from nbformat.reader import reads
from nbformat.sign import NotebookNotary

log = logging.getLogger(__name__)

T = TypeVar("T")

# nbformat has no types.
_read: Any = reads
_convert: Any = nbformat.convert

STORE_TIMEOUT = 10.0
"""Seconds that a thread waits for the event loop to look a signature up."""


class NotebookSigner:
    """The file store's signer, made on the event loop. Its methods are called in threads.

    Reading a notebook and hashing it takes long and is done where it is called; the database of
    signatures belongs to the thread that opened it, which is the event loop's.

    Args:
        notary: the contents manager's.
    """

    def __init__(self, notary: NotebookNotary) -> None:
        self._notary: Any = notary
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def is_trusted(self, data: bytes) -> bool:
        """Whether exactly this content was signed. False for what is not a notebook."""
        try:
            signature = self._signature(data)
            return self._on_loop(
                lambda: bool(self._notary.store.check_signature(signature, self._notary.algorithm))
            )
        except Exception:  # noqa: BLE001  # nbformat and its database raise many kinds; what can't be checked isn't trusted
            log.debug("a notebook's signature could not be checked", exc_info=True)
            return False

    def sign(self, data: bytes) -> None:
        """Remember that this content is trusted; content that is not a notebook is left alone."""
        try:
            signature = self._signature(data)
            self._on_loop(lambda: self._notary.store.store_signature(signature, self._notary.algorithm))
        except Exception:  # noqa: BLE001  # as above; the notebook is then only less trusted than it could be
            log.warning("a notebook could not be signed as trusted", exc_info=True)

    def _signature(self, data: bytes) -> str:
        # Without nbformat's validation, which can change what is read: signatures must be the contents API's.
        notebook = _read(data.decode())
        if notebook.get("nbformat") != 4:
            notebook = _convert(notebook, 4)
        return str(self._notary.compute_signature(notebook))

    def _on_loop(self, work: Callable[[], T]) -> T:
        if threading.get_ident() == self._thread:
            return work()
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001  # raised again in the thread that asked
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(STORE_TIMEOUT)

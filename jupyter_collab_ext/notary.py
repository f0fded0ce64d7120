"""Trust in notebooks: Jupyter's own signatures, for the engine's files.

A trusted notebook's outputs may run scripts in the browser. Jupyter signs a notebook's content when
every cell was run or trusted by the server's user; the engine asks and signs with the same notary, so
a notebook that was trusted before stays so, and one that came from elsewhere does not become so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import nbformat
from nbformat.reader import reads
from nbformat.sign import NotebookNotary

log = logging.getLogger(__name__)


class NotebookSigner:
    """The file store's signer. Its methods take long for big notebooks and are called in threads.

    Args:
        notary: gives the contents manager's notary, which is made after the extension.
    """

    def __init__(self, notary: Callable[[], NotebookNotary]) -> None:
        self._notary = notary

    def is_trusted(self, data: bytes) -> bool:
        """Whether exactly this content was signed. False for what is not a notebook."""
        notebook = _notebook(data)
        return notebook is not None and bool(self._notary().check_signature(notebook))

    def sign(self, data: bytes) -> None:
        """Remember that this content is trusted; content that is not a notebook is left alone."""
        notebook = _notebook(data)
        if notebook is not None:
            self._notary().sign(notebook)


def _notebook(data: bytes) -> Any:
    # Without nbformat's validation, which can change what is read, so that the signature is the contents API's.
    try:
        notebook = reads(data.decode())
        return notebook if notebook.get("nbformat") == 4 else nbformat.convert(notebook, 4)
    except Exception:  # noqa: BLE001  # nbformat raises many kinds of errors; a notebook that can't be read has no signature
        log.debug("a notebook without a readable content has no signature", exc_info=True)
        return None

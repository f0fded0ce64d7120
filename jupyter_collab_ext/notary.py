"""Trust in notebooks: Jupyter's own signatures, for the engine's files.

A trusted notebook's outputs may run scripts in the browser. Jupyter signs a notebook's content when
every cell was run or trusted by the server's user; the engine asks and signs with the same notary, so
a notebook that was trusted before stays so, and one that came from elsewhere does not become so.
"""

from __future__ import annotations

import logging
from typing import Any

import nbformat
from nbformat.reader import reads
from nbformat.sign import NotebookNotary

log = logging.getLogger(__name__)

# nbformat has no types.
_read: Any = reads
_convert: Any = nbformat.convert


class NotebookSigner:
    """The file store's signer. Its methods take long for big notebooks and are called in threads.

    Args:
        notary: the contents manager's.
    """

    def __init__(self, notary: NotebookNotary) -> None:
        self._notary: Any = notary

    def is_trusted(self, data: bytes) -> bool:
        """Whether exactly this content was signed. False for what is not a notebook."""
        try:
            return bool(self._notary.check_signature(_notebook(data)))
        except Exception:  # noqa: BLE001  # nbformat and its database raise many kinds; what can't be checked isn't trusted
            log.debug("a notebook's signature could not be checked", exc_info=True)
            return False

    def sign(self, data: bytes) -> None:
        """Remember that this content is trusted; content that is not a notebook is left alone."""
        try:
            self._notary.sign(_notebook(data))
        except Exception:  # noqa: BLE001  # as above; the notebook is then only less trusted than it could be
            log.warning("a notebook could not be signed as trusted", exc_info=True)


def _notebook(data: bytes) -> Any:
    # Without nbformat's validation, which can change what is read: the signature must be the contents API's.
    notebook: Any = _read(data.decode())
    return notebook if notebook.get("nbformat") == 4 else _convert(notebook, 4)
